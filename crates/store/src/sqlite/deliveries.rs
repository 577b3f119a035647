//! Deliveries: claims that are fair between hosts, and the log of attempts.

use filesafety_model::{AccountId, DeliveryId, EventId, ScanId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::columns::{all, firsts, number, number_if_any, parsed, signed, time, time_if_any};
use crate::{AttemptError, AttemptRecord, Conflict, DeliveryStatus, Next, Result, StoreError};

/// A claimed delivery, with its URL still sealed.
pub(crate) struct ClaimRow {
    pub(crate) id: DeliveryId,
    pub(crate) attempt: u32,
    pub(crate) try_number: u32,
    pub(crate) account: AccountId,
    pub(crate) scan: ScanId,
    pub(crate) event: EventId,
    pub(crate) event_name: String,
    pub(crate) url: Vec<u8>,
    pub(crate) url_host: String,
    pub(crate) body: String,
}

/// An attempt as it was logged.
pub(crate) struct AttemptRow {
    pub(crate) delivery: DeliveryId,
    pub(crate) event: EventId,
    pub(crate) event_name: String,
    pub(crate) number: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) millis: Option<u64>,
    pub(crate) address: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<AttemptError>,
    pub(crate) response_head: Vec<u8>,
    pub(crate) next_at: Option<Timestamp>,
}

/// A sealed URL and its host.
pub(crate) type SealedTarget = (Vec<u8>, String);

/// A delivery that is due.
struct Due {
    id: String,
    due_at: i64,
}

/// Claims what is due: of each host in turn, the host that waits longest first.
pub(crate) fn claim(conn: &Connection, now: Timestamp, until: Timestamp, limit: u32, per_host: u32) -> Result<Vec<ClaimRow>> {
    return_overdue(conn, now)?;
    let mut hosts = Vec::new();
    for host in waiting_hosts(conn)? {
        let due = due_of_host(conn, &host, now, limit, per_host)?;
        hosts.extend((!due.is_empty()).then_some(due));
    }
    let mut turns: Vec<(usize, Due)> = hosts.into_iter().flat_map(|due| due.into_iter().enumerate()).collect();
    turns.sort_by_key(|(place, due)| (*place, due.due_at));
    turns.truncate(limit as usize);
    turns.into_iter().map(|(_, due)| lease(conn, &due.id, now, until)).collect()
}

/// Hosts with deliveries that wait: one look into the index for each.
fn waiting_hosts(conn: &Connection) -> Result<Vec<String>> {
    let mut query = conn.prepare_cached(
        "WITH RECURSIVE waiting (host) AS ( \
           SELECT min(host) FROM deliveries WHERE status = 'pending' \
           UNION ALL \
           SELECT (SELECT min(host) FROM deliveries WHERE status = 'pending' AND host > waiting.host) FROM waiting WHERE host IS NOT NULL) \
         SELECT host FROM waiting WHERE host IS NOT NULL",
    )?;
    firsts(query.query([])?)
}

/// What may go to the host now: a later event of a scan waits for the earlier ones.
fn due_of_host(conn: &Connection, host: &str, now: Timestamp, limit: u32, per_host: u32) -> Result<Vec<Due>> {
    let mut query = conn.prepare_cached("SELECT count(*) FROM deliveries WHERE status = 'delivering' AND host = ?1")?;
    let under_way: i64 = query.query_row([host], |row| row.get(0))?;
    let room = i64::from(per_host.min(limit)).min(i64::from(per_host) - under_way);
    if room <= 0 {
        return Ok(Vec::new());
    }
    let mut query = conn.prepare_cached(
        "SELECT d.id, d.due_at FROM deliveries d WHERE d.status = 'pending' AND d.host = ?1 AND d.due_at <= ?2 \
         AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.scan = d.scan AND e.row < d.row AND e.status IN ('pending', 'delivering')) \
         ORDER BY d.due_at LIMIT ?3",
    )?;
    all(query.query(params![host, now.as_millis(), room])?, |row| Ok(Due { id: row.get("id")?, due_at: row.get("due_at")? }))
}

/// Counts the attempt before it is made: a crash mid-request must use up a try.
fn lease(conn: &Connection, id: &str, now: Timestamp, until: Timestamp) -> Result<ClaimRow> {
    conn.prepare_cached(
        "UPDATE deliveries SET status = 'delivering', attempts = attempts + 1, tries = tries + 1, lease_until = ?2 WHERE id = ?1",
    )?
    .execute(params![id, until.as_millis()])?;
    conn.prepare_cached("INSERT INTO attempts (delivery, number, started_at) SELECT id, attempts, ?2 FROM deliveries WHERE id = ?1")?
        .execute(params![id, now.as_millis()])?;
    let mut query = conn.prepare_cached(
        "SELECT d.id, d.attempts, d.tries, d.account, d.scan, d.event, e.name, e.body, s.webhook_url, d.host FROM deliveries d \
         JOIN events e ON e.id = d.event JOIN scans s ON s.id = d.scan WHERE d.id = ?1",
    )?;
    let mut rows = query.query([id])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    Ok(ClaimRow {
        id: parsed(row, "id")?,
        attempt: number(row, "attempts")?,
        try_number: number(row, "tries")?,
        account: parsed(row, "account")?,
        scan: parsed(row, "scan")?,
        event: parsed(row, "event")?,
        event_name: row.get("name")?,
        url: row.get::<_, Option<Vec<u8>>>("webhook_url")?.unwrap_or_default(),
        url_host: row.get("host")?,
        body: row.get("body")?,
    })
}

/// Claims that ran out by `now`: their sender is gone, nobody knows how far it came.
fn return_overdue(conn: &Connection, now: Timestamp) -> Result<()> {
    let end = now.as_millis();
    conn.prepare_cached(
        "UPDATE attempts SET error_kind = 'interrupted', error_text = 'The sender stopped before the answer came.', next_at = ?1 \
         WHERE (delivery, number) IN (SELECT id, attempts FROM deliveries WHERE status = 'delivering' AND lease_until <= ?1)",
    )?
    .execute([end])?;
    conn.prepare_cached(
        "UPDATE deliveries SET status = 'pending', lease_until = NULL, due_at = ?1 WHERE status = 'delivering' AND lease_until <= ?1",
    )?
    .execute([end])?;
    Ok(())
}

/// Ends all claims: their process is gone. The next look for due deliveries brings them back. How many.
pub(crate) fn recover(conn: &Connection) -> Result<u64> {
    Ok(conn.prepare_cached("UPDATE deliveries SET lease_until = 0 WHERE status = 'delivering'")?.execute([])? as u64)
}

pub(crate) fn finish(conn: &Connection, id: DeliveryId, attempt: u32, record: &AttemptRecord, next: Next) -> Result<()> {
    let (status, due_at) = match next {
        Next::Delivered => (DeliveryStatus::Delivered, None),
        Next::RetryAt(at) => (DeliveryStatus::Pending, Some(at.as_millis())),
        Next::Abandoned => (DeliveryStatus::Abandoned, None),
    };
    let id = id.to_string();
    let held = conn
        .prepare_cached(
            "UPDATE deliveries SET status = ?3, due_at = coalesce(?4, due_at), lease_until = NULL WHERE id = ?1 AND attempts = ?2 AND status = 'delivering'",
        )?
        .execute(params![id, attempt, status.as_str(), due_at])?;
    if held == 0 {
        return Err(StoreError::LeaseLost);
    }
    let head = record.response_head.get(..AttemptRecord::MAX_RESPONSE_HEAD).unwrap_or(&record.response_head);
    conn.prepare_cached(
        "UPDATE attempts SET started_at = ?3, millis = ?4, address = ?5, status = ?6, error_kind = ?7, error_text = ?8, response_head = ?9, \
         next_at = ?10 WHERE delivery = ?1 AND number = ?2",
    )?
    .execute(params![
        id,
        attempt,
        record.started_at.as_millis(),
        signed(record.millis),
        record.address,
        record.status,
        record.error.as_ref().map(|error| &error.kind),
        record.error.as_ref().map(|error| &error.text),
        head,
        due_at
    ])?;
    Ok(())
}

pub(crate) fn give_back(conn: &Connection, id: DeliveryId, attempt: u32, due_at: Timestamp) -> Result<()> {
    let id = id.to_string();
    let held = conn
        .prepare_cached(
            "UPDATE deliveries SET status = 'pending', due_at = ?3, lease_until = NULL, attempts = attempts - 1, tries = tries - 1 \
             WHERE id = ?1 AND attempts = ?2 AND status = 'delivering'",
        )?
        .execute(params![id, attempt, due_at.as_millis()])?;
    if held == 0 {
        return Err(StoreError::LeaseLost);
    }
    conn.prepare_cached("DELETE FROM attempts WHERE delivery = ?1 AND number = ?2")?.execute(params![id, attempt])?;
    Ok(())
}

pub(crate) fn bring_forward(conn: &Connection, id: DeliveryId, at: Timestamp) -> Result<()> {
    conn.prepare_cached("UPDATE deliveries SET due_at = ?2 WHERE id = ?1 AND status = 'pending' AND attempts = 0 AND due_at > ?2")?
        .execute(params![id.to_string(), at.as_millis()])?;
    Ok(())
}

pub(crate) fn next_due(conn: &Connection, now: Timestamp) -> Result<Option<Timestamp>> {
    let mut query = conn.prepare_cached(
        "SELECT min(at) FROM (SELECT min(due_at) AS at FROM deliveries WHERE status = 'pending' AND due_at > ?1 \
         UNION ALL SELECT min(lease_until) FROM deliveries WHERE status = 'delivering')",
    )?;
    Ok(query.query_row([now.as_millis()], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp::from_millis))
}

/// Every attempt of the scan, and where they went.
pub(crate) fn attempts(conn: &Connection, account: AccountId, scan: ScanId) -> Result<(Vec<AttemptRow>, Option<SealedTarget>)> {
    let mut query = conn.prepare_cached("SELECT webhook_url, webhook_host FROM scans WHERE id = ?1 AND account = ?2")?;
    let target = query.query_row([scan.to_string(), account.to_string()], |row| {
        Ok(row.get::<_, Option<Vec<u8>>>(0)?.zip(row.get::<_, Option<String>>(1)?))
    })?;
    let mut query = conn.prepare_cached(
        "SELECT a.delivery, d.event, e.name, a.number, a.started_at, a.millis, a.address, a.status, a.error_kind, a.error_text, \
         a.response_head, a.next_at FROM deliveries d JOIN attempts a ON a.delivery = d.id JOIN events e ON e.id = d.event \
         WHERE d.scan = ?1 ORDER BY a.started_at, d.row, a.number",
    )?;
    Ok((all(query.query([scan.to_string()])?, attempt)?, target))
}

fn attempt(row: &Row<'_>) -> Result<AttemptRow> {
    let kind: Option<String> = row.get("error_kind")?;
    Ok(AttemptRow {
        delivery: parsed(row, "delivery")?,
        event: parsed(row, "event")?,
        event_name: row.get("name")?,
        number: number(row, "number")?,
        started_at: time(row, "started_at")?,
        millis: number_if_any(row, "millis")?,
        address: row.get("address")?,
        status: number_if_any(row, "status")?,
        error: kind.zip(row.get("error_text")?).map(|(kind, text)| AttemptError { kind, text }),
        response_head: row.get("response_head")?,
        next_at: time_if_any(row, "next_at")?,
    })
}

/// Makes the scan's newest delivery due at `now`, with a fresh schedule.
pub(crate) fn redeliver(conn: &Connection, account: AccountId, scan: ScanId, now: Timestamp) -> Result<DeliveryId> {
    let mut query = conn.prepare_cached(
        "SELECT s.finished_at IS NOT NULL AS finished, s.webhook_host IS NOT NULL AS webhook, d.id, d.status FROM scans s \
         LEFT JOIN deliveries d ON d.scan = s.id WHERE s.id = ?1 AND s.account = ?2 ORDER BY d.row DESC LIMIT 1",
    )?;
    let mut rows = query.query([scan.to_string(), account.to_string()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    let (finished, webhook): (bool, bool) = (row.get("finished")?, row.get("webhook")?);
    if !webhook {
        return Err(Conflict::NoWebhook.into());
    }
    if !finished {
        return Err(Conflict::ScanInProgress.into());
    }
    let id: DeliveryId = super::columns::parsed_if_any(row, "id")?.ok_or(StoreError::Conflict(Conflict::NoWebhook))?;
    if parsed::<DeliveryStatus>(row, "status")? == DeliveryStatus::Delivering {
        return Err(Conflict::DeliveryInProgress.into());
    }
    drop(rows);
    conn.prepare_cached("UPDATE deliveries SET status = 'pending', due_at = ?2, tries = 0 WHERE id = ?1")?
        .execute(params![id.to_string(), now.as_millis()])?;
    Ok(id)
}
