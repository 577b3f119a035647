-- Deliveries wait in lines: those of one account to one host and port, first attempts and retries apart. A line has its turn at a time of
-- its own, so that a claim looks at lines whose turn it is and never at the deliveries that wait behind a receiver that is down.

-- As `host:port`. What had no port was https.
UPDATE deliveries SET host = host || ':443' WHERE instr(host, ':') = 0 OR host GLOB '*]';
ALTER TABLE deliveries ADD COLUMN lane TEXT NOT NULL DEFAULT 'first' CHECK (lane IN ('first', 'retry'));
-- Whether an earlier delivery of its scan is neither delivered nor abandoned.
ALTER TABLE deliveries ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
UPDATE deliveries SET lane = 'retry' WHERE attempts > 0;
UPDATE deliveries SET blocked = 1 WHERE status = 'pending' AND EXISTS
    (SELECT 1 FROM deliveries e WHERE e.scan = deliveries.scan AND e.row < deliveries.row AND e.status IN ('pending', 'delivering'));

DROP INDEX deliveries_by_host;
DROP INDEX deliveries_due;
DROP INDEX deliveries_under_way;
CREATE INDEX deliveries_in_line ON deliveries (host, account, lane, due_at) WHERE status = 'pending' AND blocked = 0;
CREATE INDEX deliveries_newest ON deliveries (account, id);
CREATE INDEX deliveries_undelivered ON deliveries (account, id) WHERE status <> 'delivered';
CREATE INDEX deliveries_abandoned ON deliveries (account, id) WHERE status = 'abandoned';

CREATE TABLE lines (
    row INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    account TEXT NOT NULL,
    lane TEXT NOT NULL CHECK (lane IN ('first', 'retry')),
    -- Its turn: never later than its earliest delivery is due, unless it is held.
    turn_at INTEGER NOT NULL,
    -- Why its deliveries wait although they are due.
    held TEXT CHECK (held IN ('room', 'circuit')),
    UNIQUE (host, account, lane)
) STRICT;
CREATE INDEX lines_in_turn ON lines (lane, turn_at);
CREATE INDEX lines_held ON lines (host, turn_at) WHERE held IS NOT NULL;
INSERT INTO lines (host, account, lane, turn_at)
    SELECT host, account, lane, min(due_at) FROM deliveries WHERE status = 'pending' AND blocked = 0 GROUP BY host, account, lane;

-- Whatever makes a delivery wait, or wait less long, gives its line a turn in time.
CREATE TRIGGER deliveries_lined_up AFTER INSERT ON deliveries WHEN new.status = 'pending' BEGIN
    UPDATE deliveries SET blocked = 1 WHERE row = new.row AND EXISTS
        (SELECT 1 FROM deliveries e WHERE e.scan = new.scan AND e.row < new.row AND e.status IN ('pending', 'delivering'));
    INSERT INTO lines (host, account, lane, turn_at) VALUES (new.host, new.account, new.lane, new.due_at)
        ON CONFLICT (host, account, lane) DO UPDATE SET turn_at = excluded.turn_at WHERE excluded.turn_at < turn_at;
END;
CREATE TRIGGER deliveries_planned AFTER UPDATE OF status, due_at, blocked ON deliveries WHEN new.status = 'pending' AND new.blocked = 0 BEGIN
    INSERT INTO lines (host, account, lane, turn_at) VALUES (new.host, new.account, new.lane, new.due_at)
        ON CONFLICT (host, account, lane) DO UPDATE SET turn_at = excluded.turn_at WHERE excluded.turn_at < turn_at;
END;

-- The version of TLS that was spoken.
ALTER TABLE attempts ADD COLUMN tls TEXT;
