-- Times are milliseconds since 1970 in UTC. Ids are text. What is sealed is encrypted with the master key.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('generation', 1);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    plan TEXT NOT NULL,
    quota INTEGER,
    overage TEXT NOT NULL CHECK (overage IN ('allow', 'refuse')),
    rate TEXT,
    events TEXT NOT NULL,
    webhook_url BLOB,
    webhook_host TEXT
) STRICT;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    sha256 BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX keys_of_account ON keys (account);

CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id),
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX secrets_of_account ON secrets (account);

-- Scans counted in the calendar month that begins at period.
CREATE TABLE usage (
    account TEXT NOT NULL REFERENCES accounts (id),
    period INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (account, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE scans (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL REFERENCES accounts (id),
    key TEXT,
    created_at INTEGER NOT NULL,
    lane TEXT NOT NULL CHECK (lane IN ('sync', 'async')),
    source TEXT NOT NULL CHECK (source IN ('bytes', 'upload', 'url')),
    types TEXT NOT NULL,
    metadata TEXT,
    events TEXT NOT NULL,
    policy TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    webhook_url BLOB,
    webhook_host TEXT,
    -- The file.
    file_name TEXT,
    size INTEGER,
    sha256 BLOB,
    media_type TEXT,
    -- Where it stands.
    state TEXT NOT NULL CHECK (state IN ('awaiting_upload', 'pending', 'scanning', 'complete', 'failed')),
    verdict TEXT,
    judgement TEXT,
    finished_at INTEGER,
    deduplicated INTEGER NOT NULL DEFAULT 0,
    -- The month it counts in; null when it does not count.
    counted INTEGER,
    -- Its upload URL.
    token_hash BLOB,
    expires_at INTEGER,
    -- Its place in the queue.
    queued_at INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    started INTEGER NOT NULL DEFAULT 0,
    alone INTEGER NOT NULL DEFAULT 0,
    suspect INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    -- Its bytes until the verdict.
    blob TEXT,
    blob_size INTEGER,
    blob_key BLOB,
    url BLOB,
    CHECK ((finished_at IS NOT NULL) = (state IN ('complete', 'failed'))),
    CHECK (finished_at IS NULL OR (blob IS NULL AND blob_key IS NULL AND url IS NULL))
) STRICT;
CREATE INDEX scans_newest ON scans (account, created_at, id);
CREATE INDEX scans_by_verdict ON scans (account, verdict, created_at, id) WHERE verdict IS NOT NULL;
CREATE INDEX scans_by_hash ON scans (account, sha256, created_at, id) WHERE sha256 IS NOT NULL;
CREATE INDEX scans_reusable ON scans (account, sha256, fingerprint, finished_at) WHERE state = 'complete' AND deduplicated = 0;
CREATE INDEX scans_finished ON scans (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX scans_unfinished ON scans (account, state, created_at, id) WHERE finished_at IS NULL;
CREATE INDEX scans_awaiting ON scans (expires_at) WHERE state = 'awaiting_upload';
CREATE INDEX scans_in_line ON scans (suspect, lane, queued_at, row) WHERE state = 'pending';
CREATE INDEX scans_taking_turns ON scans (suspect, lane, account, queued_at, row) WHERE state = 'pending';
CREATE INDEX scans_by_wait ON scans (queued_at) WHERE finished_at IS NULL;
CREATE INDEX scans_leased ON scans (lease_until) WHERE state = 'scanning';
CREATE INDEX scans_with_blob ON scans (blob) WHERE blob IS NOT NULL;

-- One row for each top-level value of a scan's metadata: a digest of the key and the value.
CREATE TABLE labels (
    account TEXT NOT NULL,
    label BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    scan TEXT NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    PRIMARY KEY (account, label, created_at, scan)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_of_scan ON labels (scan);

CREATE TABLE idempotency (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    scan TEXT NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    fields BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_of_scan ON idempotency (scan);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- seq is the order of commit. It is never used again, so that a stream that stands at an erased event misses nothing.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    scan TEXT NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    body TEXT NOT NULL,
    -- Whether a delivery needs the body, for as long as the scan is kept.
    webhook INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_stream ON events (account, seq);
CREATE INDEX events_of_scan ON events (scan);
CREATE INDEX events_by_age ON events (created_at) WHERE webhook = 0;

CREATE TABLE deliveries (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    scan TEXT NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    event TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivering', 'delivered', 'abandoned')),
    -- Of all schedules; the number of the newest attempt.
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Of the present schedule.
    tries INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    lease_until INTEGER
) STRICT;
CREATE INDEX deliveries_of_scan ON deliveries (scan, row);
CREATE INDEX deliveries_of_event ON deliveries (event);
CREATE INDEX deliveries_by_host ON deliveries (host, due_at) WHERE status = 'pending';
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE status = 'pending';
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE status = 'delivering';
CREATE INDEX deliveries_under_way ON deliveries (host) WHERE status = 'delivering';

CREATE TABLE attempts (
    delivery TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    millis INTEGER,
    address TEXT,
    status INTEGER,
    error_kind TEXT,
    error_text TEXT,
    response_head BLOB NOT NULL DEFAULT x'',
    next_at INTEGER,
    PRIMARY KEY (delivery, number)
) STRICT;

-- How much waits, counted by triggers, so that a full queue is told in one look.
CREATE TABLE depths (
    name TEXT PRIMARY KEY,
    rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO depths VALUES
    ('awaiting_upload', 0), ('pending_sync', 0), ('pending_async', 0), ('scanning_sync', 0), ('scanning_async', 0),
    ('delivery_pending', 0), ('delivery_delivering', 0);

CREATE TRIGGER scans_inserted AFTER INSERT ON scans WHEN new.finished_at IS NULL BEGIN
    UPDATE depths SET rows = rows + 1 WHERE name = CASE new.state WHEN 'awaiting_upload' THEN new.state ELSE new.state || '_' || new.lane END;
END;
CREATE TRIGGER scans_deleted AFTER DELETE ON scans WHEN old.finished_at IS NULL BEGIN
    UPDATE depths SET rows = rows - 1 WHERE name = CASE old.state WHEN 'awaiting_upload' THEN old.state ELSE old.state || '_' || old.lane END;
END;
CREATE TRIGGER scans_moved AFTER UPDATE OF state ON scans WHEN new.state <> old.state BEGIN
    UPDATE depths SET rows = rows - 1 WHERE name = CASE old.state WHEN 'awaiting_upload' THEN old.state ELSE old.state || '_' || old.lane END;
    UPDATE depths SET rows = rows + 1 WHERE name = CASE new.state WHEN 'awaiting_upload' THEN new.state ELSE new.state || '_' || new.lane END;
END;
CREATE TRIGGER deliveries_inserted AFTER INSERT ON deliveries BEGIN
    UPDATE depths SET rows = rows + 1 WHERE name = 'delivery_' || new.status;
END;
CREATE TRIGGER deliveries_deleted AFTER DELETE ON deliveries BEGIN
    UPDATE depths SET rows = rows - 1 WHERE name = 'delivery_' || old.status;
END;
CREATE TRIGGER deliveries_moved AFTER UPDATE OF status ON deliveries WHEN new.status <> old.status BEGIN
    UPDATE depths SET rows = rows - 1 WHERE name = 'delivery_' || old.status;
    UPDATE depths SET rows = rows + 1 WHERE name = 'delivery_' || new.status;
END;
