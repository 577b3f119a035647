//! The stream of events.

use filesafety_model::{AccountId, EventId, ScanId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{json, number, parsed, time};
use crate::{After, Announcement, EventPage, EventPlace, EventRecord, FirstDelivery, Result};

/// Before the first event of all.
const BEGINNING: EventPlace = EventPlace(0);

/// Writes down an event, and its delivery where the scan has a webhook and its owner asked for the event: by the scan's own list, or
/// where it has none, by the account's. Whether there is a delivery.
pub(crate) fn announce(conn: &Connection, scan: ScanId, told: &Announcement, delivery: Option<&FirstDelivery>) -> Result<bool> {
    let (id, event) = (scan.to_string(), told.event.to_string());
    let webhook = delivery.is_some() && wants(conn, &id, &told.name)?;
    conn.prepare_cached(
        "INSERT INTO events (id, account, scan, name, sequence, body, webhook, created_at) \
         SELECT ?1, account, id, ?3, ?4, ?5, ?6, ?7 FROM scans WHERE id = ?2",
    )?
    .execute(params![event, id, told.name, told.sequence, told.body, webhook, told.created_at.as_millis()])?;
    if let Some(delivery) = delivery.filter(|_| webhook) {
        conn.prepare_cached(
            "INSERT INTO deliveries (id, account, scan, event, host, status, due_at) \
             SELECT ?1, account, id, ?3, CASE WHEN instr(webhook_host, ':') = 0 OR webhook_host GLOB '*]' THEN webhook_host || ':443' ELSE webhook_host END, \
             'pending', ?4 FROM scans WHERE id = ?2",
        )?
        .execute(params![delivery.id.to_string(), id, event, delivery.due_at.as_millis()])?;
    }
    Ok(webhook)
}

/// Whether the scan has a webhook that is to tell of events of this name.
fn wants(conn: &Connection, scan: &str, event: &str) -> Result<bool> {
    let mut query = conn.prepare_cached(
        "SELECT s.webhook_host IS NOT NULL AND instr(CASE s.events WHEN '[]' THEN a.events ELSE s.events END, ?2) > 0 \
         FROM scans s JOIN accounts a ON a.id = s.account WHERE s.id = ?1",
    )?;
    // In its quotes, as it stands in a list of JSON.
    Ok(query.query_row(params![scan, json(&event)?], |row| row.get(0))?)
}

pub(crate) fn since(conn: &Connection, account: AccountId, after: After, kept_from: Timestamp, limit: u32) -> Result<EventPage> {
    let found = match after {
        After::Event(id) => place_of(conn, account, id, kept_from)?,
        After::Place(place) => Some(place),
        // A place that was never reached is of a store that was put back to an earlier day.
        After::Bookmark { place, at } => (at >= kept_from && place.0 <= reached(conn)?).then_some(place),
        After::Beginning => Some(BEGINNING),
    };
    let mut page = EventPage { gap: found.is_none(), events: Vec::new(), place: found.unwrap_or(BEGINNING) };
    let mut query = conn.prepare_cached(
        "SELECT seq, id, scan, name, sequence, body, created_at FROM events WHERE account = ?1 AND seq > ?2 AND created_at >= ?3 ORDER BY seq LIMIT ?4",
    )?;
    let mut rows = query.query(params![account.to_string(), page.place.0, kept_from.as_millis(), limit])?;
    while let Some(row) = rows.next()? {
        page.place = EventPlace(row.get("seq")?);
        page.events.push(EventRecord {
            id: parsed(row, "id")?,
            scan: parsed(row, "scan")?,
            name: row.get("name")?,
            sequence: number(row, "sequence")?,
            body: row.get("body")?,
            created_at: time(row, "created_at")?,
        });
    }
    Ok(page)
}

/// The last place that any event ever had.
fn reached(conn: &Connection) -> Result<i64> {
    let mut query = conn.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?;
    Ok(query.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

pub(crate) fn newest(conn: &Connection, account: AccountId) -> Result<EventPlace> {
    let mut query = conn.prepare_cached("SELECT max(seq) FROM events WHERE account = ?1")?;
    Ok(query.query_row([account.to_string()], |row| row.get::<_, Option<i64>>(0))?.map_or(BEGINNING, EventPlace))
}

fn place_of(conn: &Connection, account: AccountId, id: EventId, kept_from: Timestamp) -> Result<Option<EventPlace>> {
    let mut query = conn.prepare_cached("SELECT seq FROM events WHERE id = ?1 AND account = ?2 AND created_at >= ?3")?;
    let found = query.query_row(params![id.to_string(), account.to_string(), kept_from.as_millis()], |row| row.get(0)).optional()?;
    Ok(found.map(EventPlace))
}
