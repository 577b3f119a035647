//! Lines and their turns; claims.

use std::{collections::VecDeque, time::Duration};

use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Timestamp};
use rusqlite::{Connection, params};

use super::columns::{all, number, parsed, signed};
use crate::{Lane, Line, Result, StoreError, Turn};

/// Lines of each lane that are looked at in one transaction.
const LINES: u32 = 128;
/// Rows of one line that are put behind in one turn.
const MOVED: u32 = 32;
/// Rows changed in one round of what may touch very many: others write between rounds.
const ROUND: u32 = 250;

const IN_TURN: &str = "SELECT row, host, account FROM lines WHERE lane = ?1 AND turn_at <= ?2 ORDER BY turn_at LIMIT ?3";
const NEXT_TURN: &str = "SELECT min(turn_at) FROM lines WHERE lane = ?1";
const HEAD: &str = "SELECT row, due_at FROM deliveries WHERE status = 'pending' AND blocked = 0 AND host = ?1 AND account = ?2 AND lane = ?3 \
     AND due_at <= ?4 ORDER BY due_at LIMIT ?5";
const PUT_BEHIND: &str = "UPDATE deliveries SET lane = 'retry' WHERE row IN (SELECT row FROM deliveries WHERE status = 'pending' \
     AND blocked = 0 AND host = ?1 AND account = ?2 AND lane = 'first' AND due_at < ?3 ORDER BY due_at LIMIT ?4)";
const NEXT_DUE: &str =
    "SELECT min(due_at) FROM deliveries WHERE status = 'pending' AND blocked = 0 AND host = ?1 AND account = ?2 AND lane = ?3";
const OVERDUE: &str = "SELECT row, id, attempts FROM deliveries WHERE status = 'delivering' AND lease_until <= ?1 LIMIT ?2";
const LEASE_END: &str = "SELECT min(lease_until) FROM deliveries WHERE status = 'delivering'";
const HELD: &str = "SELECT EXISTS (SELECT 1 FROM lines WHERE held IS NOT NULL AND host = ?1)";
const RELEASE: &str = "UPDATE lines SET turn_at = ?2, held = NULL WHERE row IN \
     (SELECT row FROM lines WHERE held IS NOT NULL AND host = ?1 AND (held = 'room' OR ?3) ORDER BY turn_at LIMIT ?4)";
const BRING_BACK: &str = "UPDATE deliveries SET due_at = ?1 WHERE row IN (SELECT d.row FROM lines l CROSS JOIN deliveries d \
     ON d.host = l.host AND d.account = l.account AND d.lane = l.lane WHERE d.status = 'pending' AND d.blocked = 0 AND d.due_at > ?1 LIMIT ?2)";

/// What a look at the lines gave.
pub(crate) struct Found {
    pub(crate) rows: Vec<ClaimRow>,
    pub(crate) next: Option<Timestamp>,
    pub(crate) no_room: bool,
}

/// A claimed delivery, with its URL still sealed.
pub(crate) struct ClaimRow {
    pub(crate) id: DeliveryId,
    pub(crate) attempt: u32,
    pub(crate) try_number: u32,
    pub(crate) account: AccountId,
    pub(crate) scan: ScanId,
    pub(crate) event: EventId,
    pub(crate) event_name: String,
    pub(crate) host: String,
    pub(crate) lane: Lane,
    pub(crate) url: Vec<u8>,
    pub(crate) url_host: String,
    pub(crate) body: String,
}

/// A row of the table.
struct LineRow {
    row: i64,
    host: String,
    account: AccountId,
    lane: Lane,
    /// Whether it had a turn in this look.
    served: bool,
}

/// The lines of a lane whose turn it is.
struct InTurn {
    lane: Lane,
    lines: VecDeque<LineRow>,
    open: bool,
}

/// What a turn led to.
enum Served {
    /// The line has another turn later.
    Done,
    /// It took all that was offered, and may have more: once the others had their turn.
    Again,
    /// Its lane has no room.
    NoRoom,
}

pub(crate) fn claim(
    conn: &Connection,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
    mut turn: impl FnMut(&Line) -> Turn,
) -> Result<Found> {
    return_overdue(conn, now)?;
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        lanes.push(InTurn { lane, lines: in_turn(conn, lane, now)?.into(), open: true });
    }
    let mut rows = Vec::new();
    let mut asked = true;
    while asked && rows.len() < limit {
        asked = false;
        for lane in lanes.iter_mut().filter(|lane| lane.open) {
            let Some(mut line) = lane.lines.pop_front() else { continue };
            asked = true;
            match serve(conn, &line, now, until, &mut turn, &mut rows)? {
                Served::Done => {}
                Served::Again => {
                    line.served = true;
                    lane.lines.push_back(line);
                }
                Served::NoRoom => {
                    lane.open = false;
                    lane.lines.push_front(line);
                }
            }
        }
    }
    for line in lanes.iter().flat_map(|lane| &lane.lines).filter(|line| line.served) {
        plan(conn, line, now)?;
    }
    let mut next = lease_end(conn)?;
    for lane in lanes.iter().filter(|lane| lane.open) {
        next = next.into_iter().chain(next_turn(conn, lane.lane)?).min();
    }
    Ok(Found { rows, next, no_room: lanes.iter().any(|lane| !lane.open) })
}

fn serve(
    conn: &Connection,
    line: &LineRow,
    now: Timestamp,
    until: Timestamp,
    turn: &mut impl FnMut(&Line) -> Turn,
    rows: &mut Vec<ClaimRow>,
) -> Result<Served> {
    let due = due(conn, line, now)?;
    if due.is_empty() {
        plan(conn, line, now)?;
        return Ok(Served::Done);
    }
    let shown = Line {
        host: line.host.clone(),
        account: line.account,
        lane: line.lane,
        due: due.iter().map(|(_, due_at)| Timestamp::from_millis(*due_at)).collect(),
    };
    match turn(&shown) {
        Turn::Take(count) => {
            for (row, _) in due.iter().take(count.max(1)) {
                rows.push(lease(conn, *row, line, now, until)?);
            }
            if count >= Line::HEAD {
                return Ok(Served::Again);
            }
            plan(conn, line, now)?;
            Ok(Served::Done)
        }
        Turn::Hold { until, why } => {
            conn.prepare_cached("UPDATE lines SET turn_at = ?2, held = ?3 WHERE row = ?1")?.execute(params![
                line.row,
                until.as_millis(),
                why.as_str()
            ])?;
            Ok(Served::Done)
        }
        Turn::Behind { before } => {
            put_behind(conn, line, before, now)?;
            plan(conn, line, now)?;
            Ok(Served::Done)
        }
        Turn::NoRoom => Ok(Served::NoRoom),
    }
}

/// Moves the oldest first attempts of a line to the line of its retries, which has a turn at once.
fn put_behind(conn: &Connection, line: &LineRow, before: Timestamp, now: Timestamp) -> Result<()> {
    let account = line.account.to_string();
    conn.prepare_cached(PUT_BEHIND)?.execute(params![line.host, account, before.as_millis(), MOVED])?;
    conn.prepare_cached(
        "INSERT INTO lines (host, account, lane, turn_at) VALUES (?1, ?2, 'retry', ?3) \
         ON CONFLICT (host, account, lane) DO UPDATE SET turn_at = excluded.turn_at WHERE excluded.turn_at < turn_at",
    )?
    .execute(params![line.host, account, now.as_millis()])?;
    Ok(())
}

fn in_turn(conn: &Connection, lane: Lane, now: Timestamp) -> Result<Vec<LineRow>> {
    let mut query = conn.prepare_cached(IN_TURN)?;
    all(query.query(params![lane.as_str(), now.as_millis(), LINES])?, |row| {
        Ok(LineRow { row: row.get("row")?, host: row.get("host")?, account: parsed(row, "account")?, lane, served: false })
    })
}

/// The head of a line: rows with the times at which they were due.
fn due(conn: &Connection, line: &LineRow, now: Timestamp) -> Result<Vec<(i64, i64)>> {
    let mut query = conn.prepare_cached(HEAD)?;
    let rows = query.query(params![line.host, line.account.to_string(), line.lane.as_str(), now.as_millis(), Line::HEAD as i64])?;
    all(rows, |row| Ok((row.get("row")?, row.get("due_at")?)))
}

/// The line's next turn: when its head is due, or behind the lines that wait now. A line in which nobody stands goes.
fn plan(conn: &Connection, line: &LineRow, now: Timestamp) -> Result<()> {
    let mut query = conn.prepare_cached(NEXT_DUE)?;
    let params = params![line.host, line.account.to_string(), line.lane.as_str()];
    match query.query_row(params, |row| row.get::<_, Option<i64>>(0))? {
        Some(due_at) => conn
            .prepare_cached("UPDATE lines SET turn_at = ?2, held = NULL WHERE row = ?1")?
            .execute(params![line.row, due_at.max(now.as_millis())])?,
        None => conn.prepare_cached("DELETE FROM lines WHERE row = ?1")?.execute([line.row])?,
    };
    Ok(())
}

/// Counts the attempt before it is made: a crash mid-request must use up a try.
fn lease(conn: &Connection, row: i64, line: &LineRow, now: Timestamp, until: Timestamp) -> Result<ClaimRow> {
    conn.prepare_cached(
        "UPDATE deliveries SET status = 'delivering', lane = 'retry', attempts = attempts + 1, tries = tries + 1, lease_until = ?2 WHERE row = ?1",
    )?
    .execute(params![row, until.as_millis()])?;
    let mut query = conn.prepare_cached(
        "SELECT d.id, d.attempts, d.tries, d.scan, d.event, e.name, e.body, s.webhook_url, s.webhook_host FROM deliveries d \
         JOIN events e ON e.id = d.event JOIN scans s ON s.id = d.scan WHERE d.row = ?1",
    )?;
    let mut rows = query.query([row])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    let claim = ClaimRow {
        id: parsed(row, "id")?,
        attempt: number(row, "attempts")?,
        try_number: number(row, "tries")?,
        account: line.account,
        scan: parsed(row, "scan")?,
        event: parsed(row, "event")?,
        event_name: row.get("name")?,
        host: line.host.clone(),
        lane: line.lane,
        url: row.get::<_, Option<Vec<u8>>>("webhook_url")?.unwrap_or_default(),
        url_host: row.get::<_, Option<String>>("webhook_host")?.unwrap_or_default(),
        body: row.get("body")?,
    };
    conn.prepare_cached("INSERT INTO attempts (delivery, number, started_at) VALUES (?1, ?2, ?3)")?.execute(params![
        claim.id.to_string(),
        claim.attempt,
        now.as_millis()
    ])?;
    Ok(claim)
}

/// Claims that ran out by `now`: their sender is gone, nobody knows how far it came.
fn return_overdue(conn: &Connection, now: Timestamp) -> Result<()> {
    let mut query = conn.prepare_cached(OVERDUE)?;
    let overdue: Vec<(i64, String, i64)> =
        all(query.query(params![now.as_millis(), ROUND])?, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for (row, id, attempt) in overdue {
        conn.prepare_cached(
            "UPDATE attempts SET error_kind = 'interrupted', error_text = 'The sender stopped before the answer came.', next_at = ?3 \
             WHERE delivery = ?1 AND number = ?2",
        )?
        .execute(params![id, attempt, now.as_millis()])?;
        conn.prepare_cached("UPDATE deliveries SET status = 'pending', lease_until = NULL, due_at = ?2 WHERE row = ?1")?
            .execute(params![row, now.as_millis()])?;
    }
    Ok(())
}

fn lease_end(conn: &Connection) -> Result<Option<Timestamp>> {
    let mut query = conn.prepare_cached(LEASE_END)?;
    Ok(query.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp::from_millis))
}

fn next_turn(conn: &Connection, lane: Lane) -> Result<Option<Timestamp>> {
    let mut query = conn.prepare_cached(NEXT_TURN)?;
    Ok(query.query_row([lane.as_str()], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp::from_millis))
}

/// Attempts at the host have ended: lines that were held for it have their turn, a few at a time. One whose circuit is open does only after
/// a success.
pub(crate) fn release(conn: &Connection, host: &str, succeeded: bool, now: Timestamp) -> Result<()> {
    const AT_ONCE: u32 = 8;
    // Mostly there are none: to ask first costs less than to change none.
    if conn.prepare_cached(HELD)?.query_row([host], |row| row.get::<_, bool>(0))? {
        conn.prepare_cached(RELEASE)?.execute(params![host, now.as_millis(), succeeded, AT_ONCE])?;
    }
    Ok(())
}

/// Gives every line its turn.
pub(crate) fn wake_lines(conn: &Connection, now: Timestamp) -> Result<()> {
    conn.prepare_cached("UPDATE lines SET turn_at = ?1, held = NULL WHERE turn_at > ?1")?.execute([now.as_millis()])?;
    Ok(())
}

/// Brings deliveries that are planned later than `latest` back to it, in one round. Whether there are more.
pub(crate) fn bring_back(conn: &Connection, latest: Timestamp) -> Result<bool> {
    let moved = conn.prepare_cached(BRING_BACK)?.execute(params![latest.as_millis(), ROUND])?;
    Ok(moved >= ROUND as usize)
}

pub(crate) fn extend_claims(conn: &Connection, by: Duration) -> Result<()> {
    let millis = signed(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    conn.prepare_cached("UPDATE deliveries SET lease_until = lease_until + ?1 WHERE status = 'delivering'")?.execute([millis])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, sqlite::schema};

    #[test]
    fn no_claim_looks_at_what_waits_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = crate::sqlite::connect(&folder.path().join("t.db"), Access::Exclusive).unwrap();
        schema::migrate(&mut conn).unwrap();
        for (sql, indexes) in [
            (IN_TURN, ["lines_in_turn"].as_slice()),
            (NEXT_TURN, &["lines_in_turn"]),
            (HEAD, &["COVERING INDEX deliveries_in_line"]),
            (NEXT_DUE, &["COVERING INDEX deliveries_in_line"]),
            (OVERDUE, &["deliveries_leased"]),
            (LEASE_END, &["deliveries_leased"]),
            (HELD, &["lines_held"]),
            (RELEASE, &["lines_held"]),
            (BRING_BACK, &["SCAN l", "deliveries_in_line"]),
        ] {
            let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = query.query(rusqlite::params_from_iter([0; 5].into_iter().take(parameters(sql)))).unwrap();
            let plan: Vec<String> = all(rows, |row| Ok(row.get(3)?)).unwrap();
            let plan = plan.join("; ");
            assert!(
                indexes.iter().all(|index| plan.contains(index)) && !plan.contains("SCAN deliveries") && !plan.contains("SCAN d"),
                "{sql}: {plan}"
            );
            assert!(!plan.contains("B-TREE"), "{sql}: {plan}");
        }
    }

    fn parameters(sql: &str) -> usize {
        (1..=9).filter(|number| sql.contains(&format!("?{number}"))).count()
    }
}
