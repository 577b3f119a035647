//! The stream of events.

use filesafety_model::{AccountId, EventId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{all, number, parsed, time};
use crate::{EventPage, EventRecord, Result};

pub(crate) fn since(conn: &Connection, account: AccountId, after: Option<EventId>, kept_from: Timestamp, limit: u32) -> Result<EventPage> {
    let (account, kept_from) = (account.to_string(), kept_from.as_millis());
    let mut query = conn.prepare_cached("SELECT seq FROM events WHERE id = ?1 AND account = ?2 AND created_at >= ?3")?;
    let place: Option<i64> = match after {
        Some(id) => query.query_row(params![id.to_string(), account, kept_from], |row| row.get(0)).optional()?,
        None => None,
    };
    let mut query = conn.prepare_cached(
        "SELECT id, scan, name, sequence, body, created_at FROM events WHERE account = ?1 AND seq > ?2 AND created_at >= ?3 ORDER BY seq LIMIT ?4",
    )?;
    let rows = query.query(params![account, place.unwrap_or(-1), kept_from, limit])?;
    let events = all(rows, |row| {
        Ok(EventRecord {
            id: parsed(row, "id")?,
            scan: parsed(row, "scan")?,
            name: row.get("name")?,
            sequence: number(row, "sequence")?,
            body: row.get("body")?,
            created_at: time(row, "created_at")?,
        })
    })?;
    Ok(EventPage { gap: after.is_some() && place.is_none(), events })
}

pub(crate) fn newest(conn: &Connection, account: AccountId) -> Result<Option<EventId>> {
    let mut query = conn.prepare_cached("SELECT id FROM events WHERE account = ?1 ORDER BY seq DESC LIMIT 1")?;
    let mut rows = query.query([account.to_string()])?;
    rows.next()?.map(|row| parsed(row, "id")).transpose()
}
