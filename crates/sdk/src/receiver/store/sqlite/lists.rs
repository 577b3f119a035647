//! The pending set and the dead letters.

use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::{
    Connection, Row, params,
    types::{FromSql, FromSqlError, FromSqlResult, ValueRef},
};

use super::Result;
use crate::{
    event::Verdict,
    receiver::store::{Counts, DeadLetter, EventKey, from_millis, to_millis},
};

pub(super) fn add_pending(conn: &Connection, scan_ids: &[String], now: SystemTime) -> Result<()> {
    let mut insert = conn.prepare_cached("INSERT INTO filesafety_pending (scan_id, changed_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for scan_id in scan_ids {
        insert.execute(params![scan_id, to_millis(now)])?;
    }
    Ok(())
}

pub(super) fn dead_letters(conn: &Connection, after: Option<&EventKey>, most: usize) -> Result<Vec<DeadLetter>> {
    let (scan_id, event, sequence) = after.map_or(("", "", 0), |key| (&key.scan_id, &key.event, key.sequence));
    let mut query = conn.prepare_cached(
        "SELECT scan_id, event, sequence, verdict, attempts, error, received_at, settled_at, body FROM filesafety_inbox
         WHERE state = 'dead' AND (scan_id, event, sequence) > (?1, ?2, ?3) ORDER BY scan_id, event, sequence LIMIT ?4",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Ok(query.query_map(params![scan_id, event, sequence, most], read)?.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn replay(conn: &Connection, key: &EventKey, now: SystemTime) -> Result<bool> {
    let id = params![key.scan_id, key.event, key.sequence, to_millis(now)];
    let revived = conn
        .prepare_cached(
            "UPDATE filesafety_inbox SET state = 'waiting', due_at = ?4, attempts = 0, settled_at = NULL
             WHERE scan_id = ?1 AND event = ?2 AND sequence = ?3 AND state = 'dead'",
        )?
        .execute(id)?;
    if revived == 0 {
        return Ok(false);
    }
    conn.prepare_cached(
        "UPDATE processed_webhooks SET state = 'waiting', settled_at = NULL WHERE scan_id = ?1 AND event = ?2 AND sequence = ?3",
    )?
    .execute(params![key.scan_id, key.event, key.sequence])?;
    Ok(true)
}

pub(super) fn counts(conn: &Connection) -> Result<Counts> {
    let count = |sql| -> Result<u64> {
        let rows: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    };
    Ok(Counts {
        waiting: count("SELECT count(*) FROM filesafety_inbox WHERE due_at IS NOT NULL")?,
        dead: count("SELECT count(*) FROM filesafety_inbox WHERE state = 'dead'")?,
        pending: count("SELECT count(*) FROM filesafety_pending WHERE done = 0")?,
    })
}

pub(super) fn sweep(conn: &Connection, before: SystemTime) -> Result<u64> {
    let before = to_millis(before);
    let forgotten = conn.execute("DELETE FROM filesafety_pending WHERE changed_at < ?1", [before])?;
    let set_aside = conn.execute("DELETE FROM filesafety_inbox WHERE state = 'superseded' AND settled_at < ?1", [before])?;
    Ok(u64::try_from(forgotten + set_aside).unwrap_or(u64::MAX))
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        key: EventKey { scan_id: row.get(0)?, event: row.get(1)?, sequence: row.get(2)? },
        verdict: row.get(3)?,
        attempts: row.get(4)?,
        error: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        received_at: from_millis(row.get(6)?),
        died_at: from_millis(row.get(7)?),
        body: Bytes::from(row.get::<_, Vec<u8>>(8)?),
    })
}

impl FromSql for Verdict {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::of_stored(value.as_str()?).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}
