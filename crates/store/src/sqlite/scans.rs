//! Scans: rows written, ended, read, listed, erased.

use filesafety_model::{AccountId, Judgement, ScanId, ScanState, Sha256, Timestamp, Verdict};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params, types::Value};

use super::{
    columns::{
        all, damaged, digest_if_any, from_json, number, number_if_any, parsed, parsed_if_any, signed, time, time_if_any, types, types_text,
    },
    events,
};
use crate::{
    Conflict, Cursor, DeliveryStatus, Earlier, FileFacts, ListFilter, NewScan, Page, QuotaExceeded, Result, Reusable, ScanRecord,
    StateRecord, StoreError, UploadSlot, WebhookState,
    blob::BlobRow,
    scans::{Finish, IDEMPOTENCY_KEPT, Label},
};

/// A new scan with what was made of it before the transaction.
pub(crate) struct Prepared {
    pub(crate) new: NewScan,
    pub(crate) events: String,
    /// Sealed.
    pub(crate) webhook_url: Option<Vec<u8>>,
    /// Sealed.
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) labels: Vec<Label>,
}

/// Where a new row begins.
pub(crate) enum Begin<'a> {
    Awaiting { token_hash: [u8; 32], expires_at: Timestamp },
    InQueue(QueueRow<'a>),
    Finished(&'a Finish),
}

/// A scan that has its content, on its way into the queue or already held.
pub(crate) struct QueueRow<'a> {
    pub(crate) queued_at: Timestamp,
    pub(crate) file: Option<&'a FileFacts>,
    pub(crate) blob: Option<&'a BlobRow>,
    /// Sealed.
    pub(crate) url: Option<&'a [u8]>,
    /// By who accepted it.
    pub(crate) held: Option<Held>,
    pub(crate) counted: Timestamp,
}

/// A claim that a row begins with.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) until: Timestamp,
    pub(crate) started: bool,
}

const RECORD: &str = "SELECT s.id, s.account, s.key, s.created_at, s.lane, s.source, s.types, s.metadata, s.events, s.policy, s.fingerprint, \
     s.webhook_host, s.file_name, s.size, s.sha256, s.media_type, s.state, s.judgement, s.finished_at, s.deduplicated, s.expires_at, s.sequence, s.updated_at ";

const INSERT: &str = "INSERT INTO scans (id, account, key, created_at, lane, source, types, metadata, events, policy, fingerprint, \
     webhook_url, webhook_host, file_name, size, sha256, media_type, state, verdict, judgement, finished_at, deduplicated, counted, \
     token_hash, expires_at, queued_at, attempt, lease_until, started, blob, blob_size, blob_key, url, archive_password) \
     VALUES (:id, :account, :key, :created_at, :lane, :source, :types, :metadata, :events, :policy, :fingerprint, \
     :webhook_url, :webhook_host, :file_name, :size, :sha256, :media_type, :state, :verdict, :judgement, :finished_at, :deduplicated, :counted, \
     :token_hash, :expires_at, :queued_at, :attempt, :lease_until, :started, :blob, :blob_size, :blob_key, :url, :archive_password)";

/// Writes a new row, its labels and its idempotency key.
pub(crate) fn insert(conn: &Connection, scan: &Prepared, begin: &Begin<'_>) -> Result<()> {
    let new = &scan.new;
    let queue = if let Begin::InQueue(row) = begin { Some(row) } else { None };
    let finish = if let Begin::Finished(finish) = begin { Some(*finish) } else { None };
    let held = queue.and_then(|row| row.held);
    let (state, token_hash, expires_at) = match begin {
        Begin::Awaiting { token_hash, expires_at } => (ScanState::AwaitingUpload, Some(token_hash), Some(expires_at.as_millis())),
        Begin::InQueue(_) if held.is_some() => (ScanState::Scanning, None, None),
        Begin::InQueue(_) => (ScanState::Pending, None, None),
        Begin::Finished(finish) => (finish.state, None, None),
    };
    let file = queue.and_then(|row| row.file).or(finish.and_then(|finish| finish.outcome.file.as_ref()));
    let counted = queue.map(|row| row.counted).or(finish.filter(|finish| finish.counts()).map(|_| new.created_at));
    let inserted = conn.prepare_cached(INSERT)?.execute(named_params! {
        ":id": new.id.to_string(),
        ":account": new.account.to_string(),
        ":key": new.key.map(String::from),
        ":created_at": new.created_at.as_millis(),
        ":lane": new.lane.as_str(),
        ":source": new.source.as_str(),
        ":types": types_text(new.types),
        ":metadata": new.metadata,
        ":events": scan.events,
        ":policy": new.policy,
        ":fingerprint": finish.and_then(|finish| finish.outcome.fingerprint.as_ref()).unwrap_or(&new.fingerprint),
        ":webhook_url": scan.webhook_url,
        ":webhook_host": new.webhook.as_ref().map(|target| &target.url_host),
        ":file_name": file.and_then(|file| file.name.as_ref()).or(new.file_name.as_ref()),
        ":size": file.map(|file| signed(file.size)),
        ":sha256": file.map(|file| file.sha256.as_bytes()),
        ":media_type": file.map(|file| &file.media_type),
        ":state": state.as_str(),
        ":verdict": finish.map(|finish| finish.outcome.judgement.verdict.as_str()),
        ":judgement": finish.map(|finish| &finish.judgement),
        ":finished_at": finish.map(|finish| finish.outcome.at.as_millis()),
        ":deduplicated": finish.is_some_and(|finish| finish.deduplicated),
        ":counted": counted.map(|at| at.this_month().as_millis()),
        ":token_hash": token_hash,
        ":expires_at": expires_at,
        ":queued_at": queue.map(|row| row.queued_at.as_millis()),
        ":attempt": u32::from(held.is_some()),
        ":lease_until": held.map(|held| held.until.as_millis()),
        ":started": held.is_some_and(|held| held.started),
        ":blob": queue.and_then(|row| row.blob).map(|blob| &blob.name),
        ":blob_size": queue.and_then(|row| row.blob).map(|blob| signed(blob.size)),
        ":blob_key": queue.and_then(|row| row.blob).map(|blob| &blob.sealed_key),
        ":url": queue.and_then(|row| row.url),
        ":archive_password": scan.password.as_ref().filter(|_| finish.is_none()),
    });
    inserted.map_err(|error| if is_duplicate(&error) { Conflict::IdExists.into() } else { StoreError::from(error) })?;
    insert_labels(conn, scan)?;
    remember(conn, new)
}

pub(crate) fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(error.extended_code, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
    })
}

fn insert_labels(conn: &Connection, scan: &Prepared) -> Result<()> {
    if scan.labels.is_empty() {
        return Ok(());
    }
    let (account, id, at) = (scan.new.account.to_string(), scan.new.id.to_string(), scan.new.created_at.as_millis());
    let mut insert = conn.prepare_cached("INSERT OR IGNORE INTO labels (account, label, created_at, scan) VALUES (?1, ?2, ?3, ?4)")?;
    for label in &scan.labels {
        insert.execute(params![account, label, at, id])?;
    }
    Ok(())
}

fn remember(conn: &Connection, new: &NewScan) -> Result<()> {
    let Some(idempotency) = &new.idempotency else { return Ok(()) };
    conn.prepare_cached("INSERT OR REPLACE INTO idempotency (account, key, scan, fields, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![new.account.to_string(), idempotency.key, new.id.to_string(), idempotency.fields, new.created_at.as_millis()])?;
    Ok(())
}

/// What an idempotency key stands for at `now`.
pub(crate) fn earlier(conn: &Connection, account: AccountId, key: &str, now: Timestamp) -> Result<Option<Earlier>> {
    let mut query = conn.prepare_cached(
        "SELECT i.scan, i.fields, s.sha256 FROM idempotency i JOIN scans s ON s.id = i.scan WHERE i.account = ?1 AND i.key = ?2 AND i.created_at > ?3",
    )?;
    let mut rows = query.query(params![account.to_string(), key, now.minus(IDEMPOTENCY_KEPT).as_millis()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Earlier { scan: parsed(row, "scan")?, fields: row.get("fields")?, sha256: digest_if_any(row, "sha256")? }))
}

/// Counts one scan in the month of `at`, in one statement, unless the quota forbids it.
pub(crate) fn count(conn: &Connection, account: AccountId, at: Timestamp) -> Result<std::result::Result<(), QuotaExceeded>> {
    let (account, period) = (account.to_string(), at.this_month().as_millis());
    let counted = conn
        .prepare_cached(
            "INSERT INTO usage (account, period, used) \
             SELECT id, ?2, 1 FROM accounts WHERE id = ?1 AND (quota IS NULL OR overage = 'allow' OR quota > 0) \
             ON CONFLICT (account, period) DO UPDATE SET used = used + 1 \
             WHERE (SELECT quota IS NULL OR overage = 'allow' OR usage.used < quota FROM accounts WHERE id = ?1)",
        )?
        .execute(params![account, period])?;
    if counted == 1 {
        return Ok(Ok(()));
    }
    let mut query = conn.prepare_cached(
        "SELECT a.quota, coalesce(u.used, 0) AS used FROM accounts a LEFT JOIN usage u ON u.account = a.id AND u.period = ?2 WHERE a.id = ?1",
    )?;
    let mut rows = query.query(params![account, period])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    let quota = number_if_any(row, "quota")?.unwrap_or(0);
    Ok(Err(QuotaExceeded { quota, used: number(row, "used")?, period_ends: at.next_month() }))
}

/// Moves a scan whose upload has come into the queue, or to who runs it.
pub(crate) fn enqueue(conn: &Connection, scan: ScanId, queue: &QueueRow<'_>) -> Result<()> {
    let state = if queue.held.is_some() { ScanState::Scanning } else { ScanState::Pending };
    conn.prepare_cached(
        "UPDATE scans SET state = :state, queued_at = :queued_at, file_name = coalesce(:file_name, file_name), size = :size, sha256 = :sha256, \
         media_type = :media_type, counted = :counted, attempt = :attempt, lease_until = :lease_until, started = :started, \
         blob = :blob, blob_size = :blob_size, blob_key = :blob_key WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": scan.to_string(),
        ":state": state.as_str(),
        ":queued_at": queue.queued_at.as_millis(),
        ":file_name": queue.file.and_then(|file| file.name.as_ref()),
        ":size": queue.file.map(|file| signed(file.size)),
        ":sha256": queue.file.map(|file| file.sha256.as_bytes()),
        ":media_type": queue.file.map(|file| &file.media_type),
        ":counted": queue.counted.this_month().as_millis(),
        ":attempt": u32::from(queue.held.is_some()),
        ":lease_until": queue.held.map(|held| held.until.as_millis()),
        ":started": queue.held.is_some_and(|held| held.started),
        ":blob": queue.blob.map(|blob| &blob.name),
        ":blob_size": queue.blob.map(|blob| signed(blob.size)),
        ":blob_key": queue.blob.map(|blob| &blob.sealed_key),
    })?;
    Ok(())
}

/// Ends a scan whose row stands: its verdict, its content forgotten, its quota given back when it failed. Returns the blob to delete.
pub(crate) fn finish(conn: &Connection, scan: ScanId, finish: &Finish) -> Result<Option<String>> {
    let id = scan.to_string();
    let mut query = conn.prepare_cached("SELECT account, blob, counted FROM scans WHERE id = ?1")?;
    let before = query.query_row([&id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?)));
    let (account, blob, counted) = before?;
    let kept = counted.filter(|_| finish.counts());
    if let (Some(period), None) = (counted, kept) {
        conn.prepare_cached("UPDATE usage SET used = used - 1 WHERE account = ?1 AND period = ?2 AND used > 0")?
            .execute(params![account, period])?;
    }
    let outcome = &finish.outcome;
    let file = outcome.file.as_ref();
    conn.prepare_cached(
        "UPDATE scans SET state = :state, verdict = :verdict, judgement = :judgement, finished_at = :at, deduplicated = :deduplicated, \
         fingerprint = coalesce(:fingerprint, fingerprint), file_name = coalesce(:file_name, file_name), size = coalesce(:size, size), sha256 = coalesce(:sha256, sha256), \
         media_type = coalesce(:media_type, media_type), counted = :counted, lease_until = NULL, started = 0, alone = 0, suspect = 0, \
         blob = NULL, blob_size = NULL, blob_key = NULL, url = NULL, archive_password = NULL WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": id,
        ":state": finish.state.as_str(),
        ":verdict": outcome.judgement.verdict.as_str(),
        ":judgement": finish.judgement,
        ":at": outcome.at.as_millis(),
        ":deduplicated": finish.deduplicated,
        ":fingerprint": outcome.fingerprint,
        ":file_name": file.and_then(|file| file.name.as_ref()),
        ":size": file.map(|file| signed(file.size)),
        ":sha256": file.map(|file| file.sha256.as_bytes()),
        ":media_type": file.map(|file| &file.media_type),
        ":counted": kept,
    })?;
    Ok(blob)
}

/// Writes down in which month the scan counts, if it does.
pub(crate) fn count_in(conn: &Connection, scan: ScanId, at: Option<Timestamp>) -> Result<()> {
    conn.prepare_cached("UPDATE scans SET counted = ?2 WHERE id = ?1")?
        .execute(params![scan.to_string(), at.map(|at| at.this_month().as_millis())])?;
    Ok(())
}

/// Writes down the event of a finished scan, and the delivery if it has a webhook.
pub(crate) fn announce(conn: &Connection, scan: ScanId, finish: &Finish) -> Result<()> {
    events::announce(conn, scan, &finish.outcome.announcement, finish.outcome.delivery.as_ref())?;
    Ok(())
}

/// How many upload URLs of the account are open at `now`, counted up to `limit`.
pub(crate) fn open_uploads(conn: &Connection, account: AccountId, now: Timestamp, limit: u64) -> Result<u64> {
    let mut query = conn.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM scans WHERE account = ?1 AND state = 'awaiting_upload' AND finished_at IS NULL AND expires_at > ?3 \
         LIMIT ?2)",
    )?;
    Ok(query.query_row(params![account.to_string(), signed(limit), now.as_millis()], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// One scan, if it is the account's.
pub(crate) fn get(conn: &Connection, account: Option<AccountId>, scan: ScanId) -> Result<ScanRecord> {
    let found = select(conn, "FROM scans s WHERE s.id = ?1", [scan.to_string()])?;
    let record = found.into_iter().next().ok_or(StoreError::NotFound)?;
    if account.is_some_and(|account| account != record.account) { Err(StoreError::NotFound) } else { Ok(record) }
}

/// What an upload URL leads to, and the sealed password of its scan.
pub(crate) fn upload_slot(conn: &Connection, scan: ScanId, token_hash: &[u8; 32], now: Timestamp) -> Result<(UploadSlot, Option<Vec<u8>>)> {
    let mut query = conn.prepare_cached("SELECT token_hash, archive_password FROM scans WHERE id = ?1")?;
    let stored = query.query_row([scan.to_string()], |row| Ok((row.get::<_, Option<[u8; 32]>>(0)?, row.get(1)?))).optional()?;
    let (stored, password) = stored.unwrap_or_default();
    // Digests of random tokens: how many bytes agree tells nothing of use.
    if stored.as_ref() != Some(token_hash) {
        return Ok((UploadSlot::Unknown, None));
    }
    let record = Box::new(get(conn, None, scan)?);
    let slot = match &record.state {
        StateRecord::AwaitingUpload { expires_at } if *expires_at > now => UploadSlot::Open(record),
        StateRecord::AwaitingUpload { .. } => UploadSlot::Expired(record),
        StateRecord::Finished { .. } if record.file.is_none() => UploadSlot::Expired(record),
        StateRecord::Pending | StateRecord::Scanning | StateRecord::Finished { .. } => UploadSlot::Used(record),
    };
    Ok((slot, password))
}

/// The newest judgement of the same bytes that was not itself reused.
pub(crate) fn reusable(
    conn: &Connection,
    account: AccountId,
    sha256: &Sha256,
    fingerprint: &str,
    not_before: Timestamp,
) -> Result<Option<Reusable>> {
    let mut query = conn.prepare_cached(
        "SELECT id, judgement, file_name, size, sha256, media_type FROM scans WHERE account = ?1 AND sha256 = ?2 AND fingerprint = ?3 \
         AND state = 'complete' AND deduplicated = 0 AND finished_at >= ?4 ORDER BY finished_at DESC LIMIT 1",
    )?;
    let mut rows = query.query(params![account.to_string(), sha256.as_bytes(), fingerprint, not_before.as_millis()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let file = file(row)?.ok_or_else(|| damaged("sha256"))?;
    Ok(Some(Reusable { scan: parsed(row, "id")?, judgement: from_json(row, "judgement")?, file }))
}

/// A page of the account's scans, newest first.
pub(crate) fn list(conn: &Connection, account: AccountId, filter: &ListFilter, labels: &[Label]) -> Result<Page> {
    let limit = filter.limit.clamp(1, 100) as usize;
    let (sql, values) = list_query(account, filter, labels, limit + 1);
    let mut query = conn.prepare_cached(&sql)?;
    let mut scans = all(query.query(rusqlite::params_from_iter(values))?, |row| record(conn, row))?;
    let more = scans.len() > limit;
    scans.truncate(limit);
    let next = scans.last().filter(|_| more).map(|last| Cursor { created_at: last.created_at, scan: last.id });
    Ok(Page { scans, next })
}

/// Each filter has an index that gives the scans in order; a metadata filter is its own, and leads.
fn list_query(account: AccountId, filter: &ListFilter, labels: &[Label], limit: usize) -> (String, Vec<Value>) {
    let mut sql = String::from(RECORD);
    let mut values: Vec<Value> = vec![account.to_string().into()];
    let order = if let Some((first, others)) = labels.split_first() {
        sql.push_str("FROM labels l CROSS JOIN scans s ON s.id = l.scan WHERE l.account = ?1 AND l.label = ?2 AND s.account = ?1");
        values.push(first.to_vec().into());
        for label in others {
            values.push(label.to_vec().into());
            sql.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM labels o WHERE o.account = ?1 AND o.label = ?{} AND o.created_at = l.created_at AND o.scan = l.scan)",
                values.len()
            ));
        }
        ("l.created_at", "l.scan")
    } else {
        sql.push_str("FROM scans s WHERE s.account = ?1");
        ("s.created_at", "s.id")
    };
    let mut narrow = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {condition} ?{}", values.len()));
    };
    if let Some(verdict) = filter.verdict {
        narrow("s.verdict =", verdict.as_str().to_owned().into());
    }
    if let Some(hash) = filter.file_hash {
        narrow("s.sha256 =", hash.as_bytes().to_vec().into());
    }
    if let Some(since) = filter.since {
        narrow(&format!("{} >=", order.0), since.as_millis().into());
    }
    if let Some(until) = filter.until {
        narrow(&format!("{} <", order.0), until.as_millis().into());
    }
    if let Some(cursor) = filter.cursor {
        values.push(cursor.created_at.as_millis().into());
        values.push(cursor.scan.to_string().into());
        sql.push_str(&format!(" AND ({}, {}) < (?{}, ?{})", order.0, order.1, values.len() - 1, values.len()));
    }
    // Written out: only so does SQLite see that the partial indexes apply.
    match filter.status {
        None => {}
        Some(ScanState::Complete) => sql.push_str(" AND s.state = 'complete'"),
        Some(ScanState::Failed) => sql.push_str(" AND s.verdict = 'failed'"),
        Some(state @ (ScanState::AwaitingUpload | ScanState::Pending | ScanState::Scanning)) => {
            sql.push_str(&format!(" AND s.state = '{}' AND s.finished_at IS NULL", state.as_str()));
        }
    }
    sql.push_str(&format!(" ORDER BY {} DESC, {} DESC LIMIT {limit}", order.0, order.1));
    (sql, values)
}

/// Erases a scan and all that is its. Returns the blob to delete.
pub(crate) fn delete(conn: &Connection, account: AccountId, scan: ScanId, now: Timestamp) -> Result<Option<String>> {
    let mut query =
        conn.prepare_cached("SELECT blob, state = 'scanning' AND lease_until > ?3 AS held FROM scans WHERE id = ?1 AND account = ?2")?;
    let mut rows = query.query(params![scan.to_string(), account.to_string(), now.as_millis()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    if row.get::<_, Option<bool>>("held")? == Some(true) {
        return Err(Conflict::ScanInProgress.into());
    }
    let blob = row.get("blob")?;
    drop(rows);
    erase(conn, scan)?;
    Ok(blob)
}

/// Labels, idempotency keys, events, deliveries and attempts go with the row.
pub(crate) fn erase(conn: &Connection, scan: ScanId) -> Result<()> {
    conn.prepare_cached("DELETE FROM scans WHERE id = ?1")?.execute([scan.to_string()])?;
    Ok(())
}

/// The blobs that rows name.
pub(crate) fn blobs(conn: &Connection) -> Result<std::collections::HashSet<String>> {
    let mut query = conn.prepare_cached("SELECT blob FROM scans WHERE blob IS NOT NULL")?;
    Ok(super::columns::firsts(query.query([])?)?.into_iter().collect())
}

/// A row of a query that begins with [`RECORD`].
pub(crate) fn record(conn: &Connection, row: &Row<'_>) -> Result<ScanRecord> {
    let id: ScanId = parsed(row, "id")?;
    let state = match parsed::<ScanState>(row, "state")? {
        ScanState::AwaitingUpload => StateRecord::AwaitingUpload { expires_at: time(row, "expires_at")? },
        ScanState::Pending => StateRecord::Pending,
        ScanState::Scanning => StateRecord::Scanning,
        state @ (ScanState::Complete | ScanState::Failed) => {
            let judgement: Box<Judgement> = from_json(row, "judgement")?;
            if (judgement.verdict == Verdict::Failed) != (state == ScanState::Failed) {
                return Err(damaged("verdict"));
            }
            StateRecord::Finished { at: time(row, "finished_at")?, judgement }
        }
    };
    let webhook = match row.get::<_, Option<String>>("webhook_host")? {
        Some(url_host) => Some(webhook(conn, id, url_host, matches!(state, StateRecord::Finished { .. }))?),
        None => None,
    };
    Ok(ScanRecord {
        id,
        account: parsed(row, "account")?,
        key: parsed_if_any(row, "key")?,
        created_at: time(row, "created_at")?,
        lane: parsed(row, "lane")?,
        source: parsed(row, "source")?,
        types: types(row, "types")?,
        metadata: row.get("metadata")?,
        file: file(row)?,
        file_name: row.get("file_name")?,
        events: from_json(row, "events")?,
        policy: row.get("policy")?,
        fingerprint: row.get("fingerprint")?,
        state,
        deduplicated: row.get("deduplicated")?,
        sequence: number(row, "sequence")?,
        updated_at: time_if_any(row, "updated_at")?,
        webhook,
        password: None,
    })
}

fn file(row: &Row<'_>) -> Result<Option<FileFacts>> {
    let Some(sha256) = digest_if_any(row, "sha256")? else { return Ok(None) };
    Ok(Some(FileFacts { name: row.get("file_name")?, size: number(row, "size")?, sha256, media_type: row.get("media_type")? }))
}

fn webhook(conn: &Connection, scan: ScanId, url_host: String, finished: bool) -> Result<WebhookState> {
    let none = WebhookState { url_host, status: (!finished).then_some(DeliveryStatus::Pending), attempts: 0, delivery: None, event: None };
    if !finished {
        return Ok(none);
    }
    let mut query = conn.prepare_cached("SELECT id, event, status, attempts FROM deliveries WHERE scan = ?1 ORDER BY row DESC LIMIT 1")?;
    let mut rows = query.query([scan.to_string()])?;
    let Some(row) = rows.next()? else { return Ok(none) };
    Ok(WebhookState {
        status: Some(parsed(row, "status")?),
        attempts: number(row, "attempts")?,
        delivery: Some(parsed(row, "id")?),
        event: Some(parsed(row, "event")?),
        ..none
    })
}

/// The account of a scan whose upload is awaited, or the conflict that forbids using its URL.
pub(crate) fn awaited(conn: &Connection, scan: ScanId) -> Result<AccountId> {
    let mut query = conn.prepare_cached("SELECT account, state, sha256 FROM scans WHERE id = ?1 AND token_hash IS NOT NULL")?;
    let mut rows = query.query([scan.to_string()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    match parsed::<ScanState>(row, "state")? {
        ScanState::AwaitingUpload => parsed(row, "account"),
        ScanState::Failed if digest_if_any(row, "sha256")?.is_none() => Err(Conflict::UploadExpired.into()),
        ScanState::Pending | ScanState::Scanning | ScanState::Complete | ScanState::Failed => Err(Conflict::UploadUsed.into()),
    }
}

/// Scans of a query over `scans s`.
pub(crate) fn select(conn: &Connection, rest: &str, params: impl rusqlite::Params) -> Result<Vec<ScanRecord>> {
    let mut query = conn.prepare_cached(&format!("{RECORD}{rest}"))?;
    all(query.query(params)?, |row| record(conn, row))
}
