//! What goes when its time is over, in rounds that the writer can bear.

use filesafety_model::{FailureCode, Judgement, ScanId, Timestamp, Verdict};
use rusqlite::{Connection, params};

use super::{
    columns::{all, json, parsed},
    scans,
};
use crate::{Result, RetentionPolicy, Swept};

/// Rows of each kind in one round.
const ROUND: u32 = 200;

pub(crate) fn sweep(conn: &Connection, now: Timestamp, policy: &RetentionPolicy) -> Result<Swept> {
    let uploads_expired = expire_uploads(conn, now.minus(policy.upload_grace), now)?;
    let erased = erase_finished(conn, now.minus(policy.finished))?;
    let events = count(
        conn,
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE webhook = 0 AND created_at <= ?1 ORDER BY created_at LIMIT ?2)",
        now.minus(policy.events),
    )?;
    let idempotency_keys = count(
        conn,
        "DELETE FROM idempotency WHERE (account, key) IN (SELECT account, key FROM idempotency WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)",
        now.minus(policy.idempotency),
    )?;
    let overdue = scans::select(
        conn,
        "FROM scans s WHERE s.finished_at IS NULL AND s.queued_at <= ?1 ORDER BY s.queued_at LIMIT ?2",
        params![now.minus(policy.unfinished).as_millis(), ROUND],
    )?;
    let full = |rows: u64| rows >= u64::from(ROUND);
    let more = [uploads_expired, erased, events, idempotency_keys, overdue.len() as u64].into_iter().any(full);
    Ok(Swept { erased, events, idempotency_keys, uploads_expired, overdue, more })
}

fn count(conn: &Connection, sql: &str, until: Timestamp) -> Result<u64> {
    Ok(conn.prepare_cached(sql)?.execute(params![until.as_millis(), ROUND])? as u64)
}

fn expire_uploads(conn: &Connection, expired_by: Timestamp, now: Timestamp) -> Result<u64> {
    let judgement = Judgement::failed(FailureCode::UploadExpired, "Nothing was uploaded before the upload URL expired.");
    let expired = conn
        .prepare_cached(
            "UPDATE scans SET state = 'failed', verdict = ?3, judgement = ?4, finished_at = ?5 WHERE row IN \
             (SELECT row FROM scans WHERE state = 'awaiting_upload' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        )?
        .execute(params![expired_by.as_millis(), ROUND, Verdict::Failed.as_str(), json(&judgement)?, now.as_millis()])?;
    Ok(expired as u64)
}

/// Finished scans have no bytes any more.
fn erase_finished(conn: &Connection, until: Timestamp) -> Result<u64> {
    let mut query = conn.prepare_cached("SELECT id FROM scans WHERE finished_at <= ?1 ORDER BY finished_at LIMIT ?2")?;
    let old: Vec<ScanId> = all(query.query(params![until.as_millis(), ROUND])?, |row| parsed(row, "id"))?;
    for scan in &old {
        scans::erase(conn, *scan)?;
    }
    Ok(old.len() as u64)
}
