//! The way of an event: taken in, claimed, settled. Functions on a connection that is inside a transaction.

use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Result;
use crate::receiver::store::{
    Acceptance, Admission, Claim, Claimed, Claims, EventKey, NewEvent, Outcome, Settled, SignedHeaders, from_millis, to_millis,
};

pub(super) fn accept(conn: &Connection, event: &NewEvent, admission: Admission, now: SystemTime) -> Result<Acceptance> {
    let key = &event.key;
    if conn.prepare_cached("SELECT 1 FROM processed_webhooks WHERE scan_id = ?1 AND event = ?2 AND sequence = ?3")?.exists(params![
        key.scan_id,
        key.event,
        key.sequence
    ])? {
        return Ok(Acceptance::Duplicate);
    }
    if admission == Admission::PendingScans && !is_pending(conn, &key.scan_id)? {
        return Ok(Acceptance::UnknownScan);
    }
    let superseded = is_superseded(conn, key)?;
    let (state, due_at) = if superseded { ("superseded", None) } else { ("waiting", Some(to_millis(now))) };
    let settled_at = superseded.then(|| to_millis(now));
    conn.prepare_cached(
        "INSERT INTO processed_webhooks (scan_id, event, sequence, state, received_at, settled_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![key.scan_id, key.event, key.sequence, state, to_millis(now), settled_at])?;
    conn.prepare_cached(
        "INSERT INTO filesafety_inbox (scan_id, event, sequence, state, due_at, verdict, webhook_id, webhook_timestamp, webhook_signature,
         received_at, settled_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        key.scan_id,
        key.event,
        key.sequence,
        state,
        due_at,
        event.verdict.as_str(),
        event.headers.id,
        event.headers.timestamp,
        event.headers.signature,
        to_millis(now),
        settled_at,
        &event.body[..],
    ])?;
    Ok(if superseded { Acceptance::Superseded } else { Acceptance::Stored })
}

pub(super) fn is_pending(conn: &Connection, scan_id: &str) -> Result<bool> {
    Ok(conn.prepare_cached("SELECT 1 FROM filesafety_pending WHERE scan_id = ?1")?.exists([scan_id])?)
}

/// Of each scan the lowest sequence that is due, unless another of its events is claimed.
const DUE: &str = "
SELECT id, scan_id, event, sequence, attempts, fence, webhook_id, webhook_timestamp, webhook_signature, received_at, body
FROM filesafety_inbox AS mine
WHERE due_at <= ?1 AND NOT EXISTS (
  SELECT 1 FROM filesafety_inbox AS other
  WHERE other.scan_id = mine.scan_id AND other.id <> mine.id AND other.due_at IS NOT NULL
    AND (other.state = 'claimed' AND other.due_at > ?1
      OR other.due_at <= ?1 AND (other.sequence, other.event) < (mine.sequence, mine.event)))
ORDER BY due_at, id LIMIT ?2";

pub(super) fn claim(conn: &Connection, most: usize, now: SystemTime, until: SystemTime) -> Result<Claims> {
    let mut claims = Claims::default();
    let due: Vec<(i64, Claimed)> = conn
        .prepare_cached(DUE)?
        .query_map(params![to_millis(now), i64::try_from(most).unwrap_or(i64::MAX)], |row| Ok((row.get(0)?, read_claimed(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, mut claimed) in due {
        if is_superseded(conn, &claimed.claim.key)? {
            set_aside(conn, id, &claimed.claim.key, now)?;
            claims.superseded += 1;
            continue;
        }
        conn.prepare_cached(
            "UPDATE filesafety_inbox SET state = 'claimed', due_at = ?2, attempts = attempts + 1, fence = fence + 1 WHERE id = ?1",
        )?
        .execute(params![id, to_millis(until)])?;
        claimed.attempt = claimed.attempt.saturating_add(1);
        claimed.claim.fence += 1;
        claims.events.push(claimed);
    }
    let next: Option<i64> =
        conn.prepare_cached("SELECT min(due_at) FROM filesafety_inbox WHERE due_at IS NOT NULL")?.query_row([], |row| row.get(0))?;
    claims.next_due = next.map(from_millis);
    Ok(claims)
}

pub(super) fn settle(conn: &Connection, claim: &Claim, outcome: &Outcome, now: SystemTime) -> Result<Settled> {
    let key = &claim.key;
    let id: Option<i64> = conn
        .prepare_cached(
            "SELECT id FROM filesafety_inbox WHERE scan_id = ?1 AND event = ?2 AND sequence = ?3 AND fence = ?4 AND state = 'claimed'",
        )?
        .query_row(params![key.scan_id, key.event, key.sequence, claim.fence], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Settled::Lost) };
    let now = to_millis(now);
    match outcome {
        Outcome::Handled => {
            conn.prepare_cached("DELETE FROM filesafety_inbox WHERE id = ?1")?.execute([id])?;
            mark(conn, key, "handled", now)?;
            conn.prepare_cached("UPDATE filesafety_pending SET done = 1, changed_at = ?2 WHERE scan_id = ?1")?
                .execute(params![key.scan_id, now])?;
        }
        Outcome::Retry { at, error } => {
            conn.prepare_cached("UPDATE filesafety_inbox SET state = 'waiting', due_at = ?2, error = ?3 WHERE id = ?1")?
                .execute(params![id, to_millis(*at), error])?;
        }
        Outcome::Dead { error } => {
            conn.prepare_cached("UPDATE filesafety_inbox SET state = 'dead', due_at = NULL, error = ?2, settled_at = ?3 WHERE id = ?1")?
                .execute(params![id, error, now])?;
            mark(conn, key, "dead", now)?;
        }
    }
    Ok(Settled::Written)
}

/// What a process that is gone had claimed becomes due.
pub(super) fn free_claims(conn: &Connection, now: SystemTime) -> Result<()> {
    let freed = conn.execute("UPDATE filesafety_inbox SET state = 'waiting', due_at = ?1 WHERE state = 'claimed'", [to_millis(now)])?;
    if freed > 0 {
        tracing::info!(events = freed, "events that were being handled when the receiver ended are handled again");
    }
    Ok(())
}

fn is_superseded(conn: &Connection, key: &EventKey) -> Result<bool> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM processed_webhooks WHERE scan_id = ?1 AND sequence > ?2 AND state = 'handled'")?
        .exists(params![key.scan_id, key.sequence])?)
}

fn set_aside(conn: &Connection, id: i64, key: &EventKey, now: SystemTime) -> Result<()> {
    let now = to_millis(now);
    conn.prepare_cached("UPDATE filesafety_inbox SET state = 'superseded', due_at = NULL, settled_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    mark(conn, key, "superseded", now)
}

fn mark(conn: &Connection, key: &EventKey, state: &str, now: i64) -> Result<()> {
    conn.prepare_cached("UPDATE processed_webhooks SET state = ?4, settled_at = ?5 WHERE scan_id = ?1 AND event = ?2 AND sequence = ?3")?
        .execute(params![key.scan_id, key.event, key.sequence, state, now])?;
    Ok(())
}

/// In the order of the columns of [`DUE`], before it is counted.
fn read_claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    Ok(Claimed {
        claim: Claim { key: EventKey { scan_id: row.get(1)?, event: row.get(2)?, sequence: row.get(3)? }, fence: row.get(5)? },
        attempt: row.get(4)?,
        headers: SignedHeaders { id: row.get(6)?, timestamp: row.get(7)?, signature: row.get(8)? },
        received_at: from_millis(row.get(9)?),
        body: Bytes::from(row.get::<_, Vec<u8>>(10)?),
    })
}
