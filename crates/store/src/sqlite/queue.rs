//! The queue: whose turn it is, leases, and what a crash leaves behind.

use std::collections::HashMap;

use filesafety_model::{FailureCode, Judgement, ScanId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    columns::{firsts, json, number, parsed},
    scans,
};
use crate::{Beside, ClaimLimit, Lease, QueueDepths, Recovered, Result, ScanRecord, StoreError, Submission, blob::BlobRow};

/// Who had the last turns. Kept in memory: a restart may give a turn twice, and no more.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Sync starts since the last async one.
    sync_in_a_row: u32,
    served: HashMap<String, u64>,
    turn: u64,
}

impl Turns {
    /// One start in four is async while any waits.
    const SYNC_IN_A_ROW: u32 = 3;

    fn lanes(&self) -> [Submission; 2] {
        if self.sync_in_a_row >= Self::SYNC_IN_A_ROW {
            [Submission::Async, Submission::Sync]
        } else {
            [Submission::Sync, Submission::Async]
        }
    }

    /// Of the accounts that wait, the one that waited for its turn the longest.
    fn next_account<'a>(&self, waiting: &'a [String]) -> Option<&'a String> {
        waiting.iter().min_by_key(|account| self.served.get(*account).copied().unwrap_or(0))
    }

    fn took(&mut self, lane: Submission, account: &str) {
        match lane {
            Submission::Sync => self.sync_in_a_row = self.sync_in_a_row.saturating_add(1),
            Submission::Async => {
                self.sync_in_a_row = 0;
                self.turn = self.turn.saturating_add(1);
                self.served.insert(account.to_owned(), self.turn);
            }
        }
    }
}

/// A claimed scan, with its content still sealed.
pub(crate) struct ClaimedRow {
    pub(crate) lease: Lease,
    pub(crate) scan: ScanRecord,
    pub(crate) blob_size: Option<u64>,
    pub(crate) url: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) suspect: bool,
    pub(crate) crashes: u32,
}

/// Claims up to `limit` scans that are no suspects.
pub(crate) fn claim(conn: &Connection, turns: &mut Turns, now: Timestamp, until: Timestamp, limit: ClaimLimit) -> Result<Vec<ClaimedRow>> {
    let mut accounts = waiting_accounts(conn)?;
    turns.served.retain(|account, _| accounts.contains(account));
    let mut claimed = Vec::new();
    let mut sync_left = limit.sync;
    while claimed.len() < limit.total as usize {
        let lanes = turns.lanes().into_iter().filter(|lane| *lane == Submission::Async || sync_left > 0);
        let Some((lane, account, scan)) = next(conn, turns, lanes, &mut accounts)? else { break };
        turns.took(lane, &account);
        sync_left -= u32::from(lane == Submission::Sync);
        claimed.extend(lease_or_end(conn, &scan, now, until)?);
    }
    Ok(claimed)
}

fn next(
    conn: &Connection,
    turns: &Turns,
    lanes: impl Iterator<Item = Submission>,
    accounts: &mut Vec<String>,
) -> Result<Option<(Submission, String, String)>> {
    for lane in lanes {
        let found = match lane {
            Submission::Sync => oldest(
                conn,
                "SELECT account, id FROM scans WHERE state = 'pending' AND suspect = 0 AND lane = 'sync' ORDER BY queued_at, row LIMIT 1",
                [],
            )?,
            Submission::Async => next_async(conn, turns, accounts)?,
        };
        if let Some((account, scan)) = found {
            return Ok(Some((lane, account, scan)));
        }
    }
    Ok(None)
}

fn next_async(conn: &Connection, turns: &Turns, accounts: &mut Vec<String>) -> Result<Option<(String, String)>> {
    while let Some(account) = turns.next_account(accounts).cloned() {
        let sql = "SELECT account, id FROM scans WHERE state = 'pending' AND suspect = 0 AND lane = 'async' AND account = ?1 \
             ORDER BY queued_at, row LIMIT 1";
        match oldest(conn, sql, [&account])? {
            Some(found) => return Ok(Some(found)),
            None => accounts.retain(|other| *other != account),
        }
    }
    Ok(None)
}

fn oldest(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Option<(String, String)>> {
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(params)?;
    rows.next()?.map(|row| Ok((row.get("account")?, row.get("id")?))).transpose()
}

/// The accounts with async scans in line: one look into the index for each, however many scans they have.
fn waiting_accounts(conn: &Connection) -> Result<Vec<String>> {
    let mut query = conn.prepare_cached(
        "WITH RECURSIVE waiting (account) AS ( \
           SELECT min(account) FROM scans WHERE state = 'pending' AND suspect = 0 AND lane = 'async' \
           UNION ALL \
           SELECT (SELECT min(account) FROM scans WHERE state = 'pending' AND suspect = 0 AND lane = 'async' AND account > waiting.account) \
           FROM waiting WHERE account IS NOT NULL) \
         SELECT account FROM waiting WHERE account IS NOT NULL",
    )?;
    firsts(query.query([])?)
}

/// Claims the oldest suspect unless one is claimed.
pub(crate) fn claim_suspect(conn: &Connection, now: Timestamp, until: Timestamp) -> Result<Option<ClaimedRow>> {
    let busy: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM scans WHERE state = 'scanning' AND suspect = 1)")?
        .query_row([], |row| row.get(0))?;
    if busy {
        return Ok(None);
    }
    let sql = "SELECT account, id FROM scans WHERE state = 'pending' AND suspect = 1 ORDER BY queued_at, row LIMIT 1";
    while let Some((_, scan)) = oldest(conn, sql, [])? {
        if let Some(claimed) = lease_or_end(conn, &scan, now, until)? {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

/// One row that cannot be read must not stop the queue: it would be the oldest for ever.
fn lease_or_end(conn: &Connection, id: &str, now: Timestamp, until: Timestamp) -> Result<Option<ClaimedRow>> {
    match lease(conn, id, until) {
        Ok(claimed) => Ok(Some(claimed)),
        Err(StoreError::Corrupt(cause)) => {
            tracing::error!(scan = id, cause, "a scan's row cannot be read; it ends without a webhook");
            end_unreadable(conn, id, now)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Ends a scan without reading it. Its bytes, whose key goes here, are swept at the next start.
fn end_unreadable(conn: &Connection, id: &str, now: Timestamp) -> Result<()> {
    let judgement = Judgement::failed(FailureCode::StorageLost, "What was stored of the scan cannot be read; send the file again.");
    conn.prepare_cached(
        "UPDATE usage SET used = used - 1 WHERE (account, period) = (SELECT account, counted FROM scans WHERE id = ?1) AND used > 0",
    )?
    .execute([id])?;
    conn.prepare_cached(
        "UPDATE scans SET state = 'failed', verdict = ?2, judgement = ?3, finished_at = ?4, counted = NULL, lease_until = NULL, started = 0, \
         alone = 0, suspect = 0, blob = NULL, blob_size = NULL, blob_key = NULL, url = NULL, archive_password = NULL WHERE id = ?1",
    )?
    .execute(params![id, judgement.verdict.as_str(), json(&judgement)?, now.as_millis()])?;
    Ok(())
}

fn lease(conn: &Connection, id: &str, until: Timestamp) -> Result<ClaimedRow> {
    conn.prepare_cached(
        "UPDATE scans SET state = 'scanning', attempt = attempt + 1, lease_until = ?2, started = 0, alone = 0 WHERE id = ?1",
    )?
    .execute(params![id, until.as_millis()])?;
    let mut query =
        conn.prepare_cached("SELECT id, attempt, blob_size, url, archive_password, suspect, crashes FROM scans WHERE id = ?1")?;
    let mut rows = query.query([id])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    let scan: ScanId = parsed(row, "id")?;
    Ok(ClaimedRow {
        lease: Lease { scan, attempt: number(row, "attempt")?, until },
        blob_size: super::columns::number_if_any(row, "blob_size")?,
        url: row.get("url")?,
        password: row.get("archive_password")?,
        suspect: row.get("suspect")?,
        crashes: number(row, "crashes")?,
        scan: scans::get(conn, None, scan)?,
    })
}

/// What a lease still holds is changed by `set`, a list of assignments.
fn update_held(conn: &Connection, lease: Lease, set: &str) -> Result<()> {
    let sql = format!("UPDATE scans SET {set} WHERE id = ?1 AND state = 'scanning' AND attempt = ?2");
    match conn.prepare_cached(&sql)?.execute(params![lease.scan.to_string(), lease.attempt])? {
        0 => Err(StoreError::LeaseLost),
        _ => Ok(()),
    }
}

pub(crate) fn start(conn: &Connection, lease: Lease, beside: Beside) -> Result<()> {
    match beside {
        Beside::Others => update_held(conn, lease, "started = 1, alone = 0"),
        Beside::Nothing => update_held(conn, lease, "started = 1, alone = 1"),
    }
}

pub(crate) fn renew(conn: &Connection, lease: Lease, until: Timestamp) -> Result<()> {
    update_held(conn, lease, "lease_until = lease_until")?;
    conn.prepare_cached("UPDATE scans SET lease_until = ?2 WHERE id = ?1")?.execute(params![lease.scan.to_string(), until.as_millis()])?;
    Ok(())
}

pub(crate) fn release(conn: &Connection, lease: Lease) -> Result<()> {
    update_held(conn, lease, "state = 'pending', lease_until = NULL, started = 0, alone = 0")
}

/// Proves that the lease is the newest claim, and not ended.
pub(crate) fn hold(conn: &Connection, lease: Lease) -> Result<()> {
    let mut query = conn.prepare_cached("SELECT 1 FROM scans WHERE id = ?1 AND state = 'scanning' AND attempt = ?2")?;
    if query.exists(params![lease.scan.to_string(), lease.attempt])? { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// Makes a scan that did not end its holder's no more.
pub(crate) fn seize(conn: &Connection, scan: ScanId) -> Result<()> {
    let seized = conn
        .prepare_cached("UPDATE scans SET attempt = attempt + 1 WHERE id = ?1 AND state IN ('pending', 'scanning')")?
        .execute([scan.to_string()])?;
    if seized == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
}

/// Puts back what ran out by `now`, or all that is claimed.
pub(crate) fn recover(conn: &Connection, now: Option<Timestamp>) -> Result<Recovered> {
    let mut query =
        conn.prepare_cached("SELECT count(*), coalesce(sum(started), 0) FROM scans WHERE state = 'scanning' AND lease_until <= ?1")?;
    let end = now.map_or(i64::MAX, Timestamp::as_millis);
    let (all, suspects): (i64, i64) = query.query_row([end], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if all > 0 {
        conn.prepare_cached(
            "UPDATE scans SET state = 'pending', lease_until = NULL, suspect = max(suspect, started), crashes = crashes + (started AND alone), \
             started = 0, alone = 0 WHERE state = 'scanning' AND lease_until <= ?1",
        )?
        .execute([end])?;
    }
    Ok(Recovered { suspects: suspects.unsigned_abs(), released: (all - suspects).unsigned_abs(), deliveries: 0 })
}

/// Where the bytes of a held scan are.
pub(crate) fn blob_of(conn: &Connection, lease: Lease) -> Result<BlobRow> {
    hold(conn, lease)?;
    let mut query = conn.prepare_cached("SELECT blob, blob_size, blob_key FROM scans WHERE id = ?1 AND blob IS NOT NULL")?;
    let mut rows = query.query([lease.scan.to_string()])?;
    let row = rows.next()?.ok_or_else(|| StoreError::Corrupt(format!("{} has no upload", lease.scan)))?;
    Ok(BlobRow { name: row.get("blob")?, size: number(row, "blob_size")?, sealed_key: row.get("blob_key")? })
}

pub(crate) fn depths(conn: &Connection) -> Result<QueueDepths> {
    let mut query = conn.prepare_cached("SELECT name, rows FROM depths")?;
    let mut rows = query.query([])?;
    let mut depths = QueueDepths::default();
    while let Some(row) = rows.next()? {
        add_depth(&mut depths, row)?;
    }
    Ok(depths)
}

fn add_depth(depths: &mut QueueDepths, row: &Row<'_>) -> Result<()> {
    let rows: u64 = number(row, "rows")?;
    match row.get_ref("name")?.as_str().unwrap_or_default() {
        "awaiting_upload" => depths.awaiting_upload = rows,
        "pending_sync" => depths.pending_sync = rows,
        "pending_async" => depths.pending_async = rows,
        "scanning_sync" | "scanning_async" => depths.scanning = depths.scanning.saturating_add(rows),
        "delivery_pending" => depths.deliveries_pending = rows,
        "delivery_delivering" => depths.deliveries_delivering = rows,
        // Delivered and abandoned ones are not counted.
        _ => {}
    }
    Ok(())
}

/// The suspects that wait.
pub(crate) fn suspects(conn: &Connection) -> Result<u64> {
    let mut query = conn.prepare_cached("SELECT count(*) FROM scans WHERE state = 'pending' AND suspect = 1")?;
    Ok(query.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
}
