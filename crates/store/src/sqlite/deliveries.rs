//! Deliveries: what follows their attempts.

use std::collections::HashMap;

use filesafety_model::{AccountId, DeliveryId, ScanId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    columns::{parsed, parsed_if_any, signed},
    lines,
};
use crate::{AttemptRecord, Conflict, DeliveryStatus, FinishedAttempt, Next, Result, StoreError};

/// Ends all claims: their process is gone. The next look for due deliveries brings them back. How many.
pub(crate) fn recover(conn: &Connection) -> Result<u64> {
    Ok(conn.prepare_cached("UPDATE deliveries SET lease_until = 0 WHERE status = 'delivering'")?.execute([])? as u64)
}

/// Writes down attempts that ended, and gives the lines of their hosts a turn. Which of them still held their claims.
pub(crate) fn finish(conn: &Connection, ended: &[FinishedAttempt], now: Timestamp) -> Result<Vec<bool>> {
    let mut hosts: HashMap<&str, bool> = HashMap::new();
    let mut held = Vec::with_capacity(ended.len());
    for attempt in ended {
        held.push(finish_one(conn, attempt)?);
        *hosts.entry(&attempt.host).or_default() |= attempt.next == Next::Delivered;
    }
    for (host, succeeded) in hosts {
        lines::release(conn, host, succeeded, now)?;
    }
    Ok(held)
}

fn finish_one(conn: &Connection, ended: &FinishedAttempt) -> Result<bool> {
    let (status, due_at) = match ended.next {
        Next::Delivered => (DeliveryStatus::Delivered, None),
        Next::RetryAt(at) => (DeliveryStatus::Pending, Some(at.as_millis())),
        Next::Abandoned => (DeliveryStatus::Abandoned, None),
    };
    let (id, record) = (ended.delivery.to_string(), &ended.record);
    let held = conn
        .prepare_cached(
            "UPDATE deliveries SET status = ?3, due_at = coalesce(?4, due_at), lease_until = NULL WHERE id = ?1 AND attempts = ?2 AND status = 'delivering'",
        )?
        .execute(params![id, ended.attempt, status.as_str(), due_at])?;
    if held == 0 {
        return Ok(false);
    }
    let head = record.response_head.get(..AttemptRecord::MAX_RESPONSE_HEAD).unwrap_or(&record.response_head);
    conn.prepare_cached(
        "UPDATE attempts SET started_at = ?3, millis = ?4, address = ?5, tls = ?6, status = ?7, error_kind = ?8, error_text = ?9, \
         response_head = ?10, next_at = ?11 WHERE delivery = ?1 AND number = ?2",
    )?
    .execute(params![
        id,
        ended.attempt,
        record.started_at.as_millis(),
        signed(record.millis),
        record.address,
        record.tls,
        record.status,
        record.error.as_ref().map(|error| &error.kind),
        record.error.as_ref().map(|error| &error.text),
        head,
        due_at
    ])?;
    if due_at.is_none() {
        unblock_next(conn, &id)?;
    }
    Ok(true)
}

/// The delivery came to its end: the next event of its scan may go.
fn unblock_next(conn: &Connection, id: &str) -> Result<()> {
    conn.prepare_cached(
        "UPDATE deliveries SET blocked = 0 WHERE blocked = 1 AND row = \
         (SELECT min(n.row) FROM deliveries d JOIN deliveries n ON n.scan = d.scan AND n.row > d.row WHERE d.id = ?1)",
    )?
    .execute([id])?;
    Ok(())
}

pub(crate) fn give_back(conn: &Connection, id: DeliveryId, attempt: u32, due_at: Timestamp) -> Result<()> {
    let id = id.to_string();
    let held = conn
        .prepare_cached(
            "UPDATE deliveries SET status = 'pending', due_at = ?3, lease_until = NULL, attempts = attempts - 1, tries = tries - 1, \
             lane = CASE attempts WHEN 1 THEN 'first' ELSE 'retry' END WHERE id = ?1 AND attempts = ?2 AND status = 'delivering'",
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
    let id: DeliveryId = parsed_if_any(row, "id")?.ok_or(StoreError::Conflict(Conflict::NoWebhook))?;
    if parsed::<DeliveryStatus>(row, "status")? == DeliveryStatus::Delivering {
        return Err(Conflict::DeliveryInProgress.into());
    }
    drop(rows);
    conn.prepare_cached("UPDATE deliveries SET status = 'pending', due_at = ?2, tries = 0 WHERE id = ?1")?
        .execute(params![id.to_string(), now.as_millis()])?;
    Ok(id)
}
