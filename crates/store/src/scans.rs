//! Scans: how they are written down, read, listed and erased.

use std::{collections::BTreeMap, fmt, time::Duration};

use filesafety_model::{
    AccountId, DeliveryId, EventId, Judgement, KeyId, Password, ScanId, ScanState, ScanTypes, Sha256, Timestamp, Verdict,
};
use rusqlite::Connection;
use serde_json::value::RawValue;
use sha2::Digest;

use crate::{
    Blob, DeliveryStatus, Lease, QuotaExceeded, Result, Store,
    secrets::Purpose,
    sqlite::{Reply, columns::json, queue, scans as sql},
};

/// How the caller waits, and so the lane of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Submission {
    /// The caller waits for the verdict.
    Sync,
    /// The caller comes back, or is called back.
    Async,
}

/// Where the bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceRecord {
    /// They came with the request.
    Bytes,
    /// They come, or came, by an upload URL.
    Upload,
    /// They are fetched from a URL.
    Url,
}

/// A scan as its caller asked for it.
#[derive(Clone, Debug)]
pub struct NewScan {
    pub id: ScanId,
    pub account: AccountId,
    pub key: Option<KeyId>,
    pub created_at: Timestamp,
    pub lane: Submission,
    pub source: SourceRecord,
    pub types: ScanTypes,
    /// The text of a JSON object; it comes back byte for byte.
    pub metadata: Option<String>,
    pub webhook: Option<WebhookTarget>,
    /// The names of the events the caller wants; empty: the account's.
    pub events: Vec<String>,
    /// The policy it is judged by, as text.
    pub policy: String,
    /// All that must be equal, besides the bytes, for an earlier judgement to be reused.
    pub fingerprint: String,
    pub idempotency: Option<IdempotencyKey>,
    /// Known before the bytes are.
    pub file_name: Option<String>,
    /// Stored encrypted until the verdict.
    pub password: Option<ArchivePassword>,
}

/// A password that came with a file. `Debug` does not show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePassword {
    pub password: Password,
    /// The same for the same password in this store; without the master key nobody can tell it, nor guess the password by it.
    pub mark: String,
}

/// Where a webhook goes. The URL may hold a token: it is stored encrypted, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    pub url: String,
    /// `host` or `host:port`, fit to be shown.
    pub url_host: String,
}

/// What makes a repeated request the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    /// A digest of the request's other fields, without the bytes.
    pub fields: [u8; 32],
}

/// What an idempotency key stands for already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub scan: ScanId,
    pub fields: [u8; 32],
    /// `None` while the bytes are not known.
    pub sha256: Option<Sha256>,
}

/// What is known of a file besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    pub name: Option<String>,
    pub size: u64,
    pub sha256: Sha256,
    pub media_type: String,
}

/// How a scan ended, and what is told of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub at: Timestamp,
    /// `None`: no bytes were ever had, or the scan's row has the facts already.
    pub file: Option<FileFacts>,
    pub judgement: Judgement,
    /// Of what really judged, where that may be something newer than what stood when the scan was accepted: it replaces the scan's.
    pub fingerprint: Option<String>,
    pub announcement: Announcement,
    /// Ignored when the scan has no webhook.
    pub delivery: Option<FirstDelivery>,
}

/// An event, written down with the fact it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub event: EventId,
    /// `scan.complete`, …
    pub name: String,
    pub sequence: u32,
    /// JSON; these bytes are what every attempt sends and signs.
    pub body: String,
    pub created_at: Timestamp,
}

/// The delivery that is written in the transaction of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDelivery {
    pub id: DeliveryId,
    pub due_at: Timestamp,
}

/// A scan as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanRecord {
    pub id: ScanId,
    pub account: AccountId,
    pub key: Option<KeyId>,
    pub created_at: Timestamp,
    pub lane: Submission,
    pub source: SourceRecord,
    pub types: ScanTypes,
    pub metadata: Option<String>,
    /// `None` until the bytes are known.
    pub file: Option<FileFacts>,
    pub file_name: Option<String>,
    pub events: Vec<String>,
    pub policy: String,
    pub fingerprint: String,
    pub state: StateRecord,
    pub deduplicated: bool,
    /// How many verdicts it has had, its first included; the sequence of its newest event.
    pub sequence: u32,
    /// When newer data last turned its verdict.
    pub updated_at: Option<Timestamp>,
    pub webhook: Option<WebhookState>,
    /// Given only with a scan that is to be run: by a claim, or an open upload URL.
    pub password: Option<ArchivePassword>,
}

/// Where a scan stands, with what it has there.
#[derive(Clone, Debug, PartialEq)]
pub enum StateRecord {
    AwaitingUpload { expires_at: Timestamp },
    Pending,
    Scanning,
    Finished { at: Timestamp, judgement: Box<Judgement> },
}

/// How far the newest webhook of a scan has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookState {
    pub url_host: String,
    /// `Pending` until the scan has finished; `None` when it finished and nothing is to be sent.
    pub status: Option<DeliveryStatus>,
    /// Attempts so far, over all schedules.
    pub attempts: u32,
    pub delivery: Option<DeliveryId>,
    pub event: Option<EventId>,
}

/// The answer to a scan that was judged before it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recorded {
    Recorded,
    QuotaExceeded(QuotaExceeded),
    IdempotencyTaken(Earlier),
}

/// Where an accepted scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into the queue, unless that many wait already.
    Queue { limit: u64 },
    /// The caller runs it already, in memory, and holds its lease from here on.
    Running {
        until: Timestamp,
        /// Whether its bytes are being touched already, so that a crash counts. If not, [`Store::start`] says when.
        started: bool,
    },
}

/// The answer to a scan that came with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Accepted {
    Queued,
    /// It was placed as [`Place::Running`].
    Running(Lease),
    QuotaExceeded(QuotaExceeded),
    IdempotencyTaken(Earlier),
    /// The queue is full.
    Overloaded,
}

/// The answer to a request for an upload URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Awaiting {
    Awaiting,
    IdempotencyTaken(Earlier),
    /// The account has as many open upload URLs as it may.
    TooManyOpen,
}

/// What an upload URL leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum UploadSlot {
    Open(Box<ScanRecord>),
    /// Its bytes came already; the scan as it stands.
    Used(Box<ScanRecord>),
    Expired(Box<ScanRecord>),
    /// No such scan, or the token is not its token.
    Unknown,
}

/// An earlier judgement of the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reusable {
    pub scan: ScanId,
    pub judgement: Judgement,
    pub file: FileFacts,
}

/// Which scans to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    pub verdict: Option<Verdict>,
    pub status: Option<ScanState>,
    pub file_hash: Option<Sha256>,
    /// Inclusive, on `created_at`.
    pub since: Option<Timestamp>,
    /// Exclusive, on `created_at`.
    pub until: Option<Timestamp>,
    /// Top-level keys of the metadata with their values as text: strings as they are, numbers as written, `true`, `false`, `null`.
    pub metadata: Vec<(String, String)>,
    /// How many to give at most; clamped to 1..=100.
    pub limit: u32,
    pub cursor: Option<Cursor>,
}

/// A place between two scans of the list. It stays where it is when scans are added or erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: Timestamp,
    pub scan: ScanId,
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor from an earlier answer")]
pub struct CursorError;

/// A stretch of the list, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub scans: Vec<ScanRecord>,
    /// `None`: nothing follows.
    pub next: Option<Cursor>,
}

impl Store {
    /// Writes down a scan that was judged in memory: quota, idempotency, scan, event and delivery at once. A `failed` one counts nothing.
    pub async fn record_finished(&self, new: NewScan, outcome: Outcome, deduplicated: bool) -> Result<Recorded> {
        let (scan, finish) = (self.prepare(new)?, Finish::new(outcome, deduplicated)?);
        let recorded = self.write(move |conn| {
            if let Some(earlier) = taken(conn, &scan.new)? {
                return Ok(Recorded::IdempotencyTaken(earlier));
            }
            if finish.counts()
                && let Err(exceeded) = sql::count(conn, scan.new.account, scan.new.created_at)?
            {
                return Ok(Recorded::QuotaExceeded(exceeded));
            }
            sql::insert(conn, &scan, &sql::Begin::Finished(&finish))?;
            sql::announce(conn, scan.new.id, &finish)?;
            Ok(Recorded::Recorded)
        });
        let recorded = recorded.await?;
        self.signal_finished();
        Ok(recorded)
    }

    /// Accepts a scan with its bytes. The blob is deleted unless it is accepted.
    pub async fn accept(&self, new: NewScan, file: FileFacts, blob: Blob, place: Place) -> Result<Accepted> {
        let row = blob.row(self.sealer(), &new.id.to_string())?;
        let scan = self.prepare(new)?;
        let job = move |conn: &Connection| {
            let at = scan.new.created_at;
            let queue = sql::QueueRow { file: Some(&file), blob: Some(&row), ..place.row(at) };
            Ok((insert_accepted(conn, &scan, place, queue)?, blob))
        };
        self.accepted(self.writer().run_then(job, keep_if_accepted).await)
    }

    /// Accepts a scan whose bytes are still to be fetched from `url`, which is stored encrypted.
    pub async fn accept_url(&self, new: NewScan, url: String, place: Place) -> Result<Accepted> {
        let url = self.sealer().seal(Purpose::FetchUrl, &new.id.to_string(), url.as_bytes())?;
        let scan = self.prepare(new)?;
        let job = move |conn: &Connection| {
            let queue = sql::QueueRow { url: Some(&url), ..place.row(scan.new.created_at) };
            insert_accepted(conn, &scan, place, queue)
        };
        self.accepted(self.write(job).await)
    }

    /// Opens an upload URL, of which only the digest of its token is kept. Counts no quota yet.
    /// Of the account's upload URLs that have not expired, at most `open_limit` may be open.
    pub async fn await_upload(&self, new: NewScan, token_hash: [u8; 32], expires_at: Timestamp, open_limit: u64) -> Result<Awaiting> {
        let scan = self.prepare(new)?;
        let job = move |conn: &Connection| {
            if let Some(earlier) = taken(conn, &scan.new)? {
                return Ok(Awaiting::IdempotencyTaken(earlier));
            }
            if sql::open_uploads(conn, scan.new.account, scan.new.created_at, open_limit)? >= open_limit {
                return Ok(Awaiting::TooManyOpen);
            }
            sql::insert(conn, &scan, &sql::Begin::Awaiting { token_hash, expires_at })?;
            Ok(Awaiting::Awaiting)
        };
        self.write(job).await
    }

    /// The token of a scan's upload URL: always the same, so that a repeated request gets the same URL.
    pub fn upload_token(&self, scan: ScanId) -> String {
        self.sealer().token(&scan.to_string())
    }

    /// What an upload URL leads to at `now`.
    pub async fn upload_slot(&self, scan: ScanId, token_hash: [u8; 32], now: Timestamp) -> Result<UploadSlot> {
        let (slot, sealed) = self.read(move |conn| sql::upload_slot(conn, scan, &token_hash, now)).await?;
        Ok(match slot {
            UploadSlot::Open(record) => {
                let password = self.unseal_password(scan, sealed.as_deref());
                UploadSlot::Open(Box::new(ScanRecord { password, ..*record }))
            }
            UploadSlot::Used(_) | UploadSlot::Expired(_) | UploadSlot::Unknown => slot,
        })
    }

    /// The password with its mark in this store.
    pub fn archive_password(&self, password: Password) -> ArchivePassword {
        // No row is called so: it can be no token of an upload URL.
        let mark = self.sealer().token(&format!("archive password {}", data_encoding::HEXLOWER.encode(password.reveal())));
        ArchivePassword { password, mark }
    }

    /// One that does not open is as none: the file is then found encrypted.
    pub(crate) fn unseal_password(&self, scan: ScanId, sealed: Option<&[u8]>) -> Option<ArchivePassword> {
        let opened = self.sealer().open(Purpose::ArchivePassword, &scan.to_string(), sealed?);
        match opened.map(Password::new) {
            Ok(Ok(password)) => Some(self.archive_password(password)),
            Ok(Err(_)) | Err(_) => {
                tracing::error!(%scan, "the password of a file is lost");
                None
            }
        }
    }

    /// Uses an upload URL up: the bytes are here. [`Conflict::UploadUsed`](crate::Conflict::UploadUsed) when another upload was first,
    /// [`Conflict::UploadExpired`](crate::Conflict::UploadExpired) when the scan was ended meanwhile. The blob is deleted unless it is accepted.
    pub async fn accept_upload(&self, scan: ScanId, now: Timestamp, file: FileFacts, blob: Blob, place: Place) -> Result<Accepted> {
        let row = blob.row(self.sealer(), &scan.to_string())?;
        let job = move |conn: &Connection| {
            let account = sql::awaited(conn, scan)?;
            let queue = sql::QueueRow { file: Some(&file), blob: Some(&row), ..place.row(now) };
            let refused = admit(conn, account, now, place)?;
            if refused.is_none() {
                sql::enqueue(conn, scan, &queue)?;
            }
            Ok((refused.unwrap_or(place.accepted(scan)), blob))
        };
        self.accepted(self.writer().run_then(job, keep_if_accepted).await)
    }

    /// Uses an upload URL up by a scan that was judged in memory. Conflicts as [`Store::accept_upload`].
    pub async fn record_upload_finished(&self, scan: ScanId, outcome: Outcome, deduplicated: bool) -> Result<Recorded> {
        let finish = Finish::new(outcome, deduplicated)?;
        let job = move |conn: &Connection| {
            let account = sql::awaited(conn, scan)?;
            if finish.counts()
                && let Err(exceeded) = sql::count(conn, account, finish.outcome.at)?
            {
                return Ok(Recorded::QuotaExceeded(exceeded));
            }
            sql::finish(conn, scan, &finish)?;
            sql::count_in(conn, scan, finish.counts().then_some(finish.outcome.at))?;
            sql::announce(conn, scan, &finish)?;
            Ok(Recorded::Recorded)
        };
        let recorded = self.write(job).await?;
        self.signal_finished();
        Ok(recorded)
    }

    /// One scan of the account. Another account's is `NotFound`.
    pub async fn scan(&self, account: AccountId, scan: ScanId) -> Result<ScanRecord> {
        self.read(move |conn| sql::get(conn, Some(account), scan)).await
    }

    /// The account's scans, newest first.
    pub async fn scans(&self, account: AccountId, filter: ListFilter) -> Result<Page> {
        let labels: Vec<_> = filter.metadata.iter().map(|(key, value)| label(key, value)).collect();
        self.read(move |conn| sql::list(conn, account, &filter, &labels)).await
    }

    /// The newest `complete` scan of the same bytes and fingerprint that finished at `not_before` or later, and was judged by engines:
    /// a judgement that was itself reused is not reused again, or none would ever be too old.
    pub async fn reuse(&self, account: AccountId, sha256: Sha256, fingerprint: &str, not_before: Timestamp) -> Result<Option<Reusable>> {
        let fingerprint = fingerprint.to_owned();
        self.read(move |conn| sql::reusable(conn, account, &sha256, &fingerprint, not_before)).await
    }

    /// What the idempotency key stands for, for 24 hours after its first use.
    pub async fn idempotent(&self, account: AccountId, key: &str, now: Timestamp) -> Result<Option<Earlier>> {
        let key = key.to_owned();
        self.read(move |conn| sql::earlier(conn, account, &key, now)).await
    }

    /// Erases a scan with its bytes, metadata, events and deliveries. [`Conflict::ScanInProgress`](crate::Conflict::ScanInProgress) while it is
    /// scanned: while its lease holds at `now`.
    pub async fn delete(&self, account: AccountId, scan: ScanId, now: Timestamp) -> Result<()> {
        let blobs = self.blobs().clone();
        let job = move |conn: &Connection| sql::delete(conn, account, scan, now);
        self.writer().run_then(job, move |deleted, reply| blobs.remove_then_reply(deleted, reply)).await?;
        self.writer().mark_erased();
        Ok(())
    }

    fn prepare(&self, new: NewScan) -> Result<sql::Prepared> {
        let url = |target: &WebhookTarget| self.sealer().seal(Purpose::ScanWebhook, &new.id.to_string(), target.url.as_bytes());
        let webhook_url = new.webhook.as_ref().map(url).transpose()?;
        let seal = |given: &ArchivePassword| self.sealer().seal(Purpose::ArchivePassword, &new.id.to_string(), given.password.reveal());
        let password = new.password.as_ref().map(seal).transpose()?;
        let labels = new.metadata.as_deref().map(labels).unwrap_or_default();
        Ok(sql::Prepared { events: json(&new.events)?, webhook_url, password, labels, new })
    }

    fn accepted(&self, accepted: Result<Accepted>) -> Result<Accepted> {
        if let Ok(Accepted::Queued) = accepted {
            self.signal_queue();
        }
        accepted
    }
}

/// How long an idempotency key is remembered.
pub(crate) const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A digest of one top-level key of metadata and its value as text.
pub(crate) type Label = [u8; 16];

/// An outcome as it is written down.
pub(crate) struct Finish {
    pub(crate) outcome: Outcome,
    pub(crate) state: ScanState,
    /// JSON.
    pub(crate) judgement: String,
    pub(crate) deduplicated: bool,
}

impl Finish {
    pub(crate) fn new(outcome: Outcome, deduplicated: bool) -> Result<Self> {
        let state = finished_as(outcome.judgement.verdict);
        Ok(Self { judgement: json(&outcome.judgement)?, outcome, state, deduplicated })
    }

    /// Whether it counts against the quota.
    pub(crate) fn counts(&self) -> bool {
        self.state != ScanState::Failed
    }
}

impl Place {
    fn row<'a>(self, at: Timestamp) -> sql::QueueRow<'a> {
        let held = match self {
            Self::Queue { .. } => None,
            Self::Running { until, started } => Some(sql::Held { until, started }),
        };
        sql::QueueRow { queued_at: at, file: None, blob: None, url: None, held, counted: at }
    }

    fn accepted(self, scan: ScanId) -> Accepted {
        match self {
            Self::Queue { .. } => Accepted::Queued,
            Self::Running { until, .. } => Accepted::Running(Lease { scan, attempt: 1, until }),
        }
    }
}

fn finished_as(verdict: Verdict) -> ScanState {
    match verdict {
        Verdict::Failed => ScanState::Failed,
        Verdict::Clean | Verdict::Infected | Verdict::Nsfw | Verdict::Mixed => ScanState::Complete,
    }
}

fn taken(conn: &Connection, new: &NewScan) -> Result<Option<Earlier>> {
    match &new.idempotency {
        Some(idempotency) => sql::earlier(conn, new.account, &idempotency.key, new.created_at),
        None => Ok(None),
    }
}

fn insert_accepted(conn: &Connection, scan: &sql::Prepared, place: Place, queue: sql::QueueRow<'_>) -> Result<Accepted> {
    if let Some(earlier) = taken(conn, &scan.new)? {
        return Ok(Accepted::IdempotencyTaken(earlier));
    }
    if let Some(refused) = admit(conn, scan.new.account, scan.new.created_at, place)? {
        return Ok(refused);
    }
    sql::insert(conn, scan, &sql::Begin::InQueue(queue))?;
    Ok(place.accepted(scan.new.id))
}

/// Counts a scan that gets its place, or tells why it does not.
fn admit(conn: &Connection, account: AccountId, at: Timestamp, place: Place) -> Result<Option<Accepted>> {
    if let Place::Queue { limit } = place {
        let depths = queue::depths(conn)?;
        if depths.pending_sync.saturating_add(depths.pending_async) >= limit {
            return Ok(Some(Accepted::Overloaded));
        }
    }
    Ok(sql::count(conn, account, at)?.err().map(Accepted::QuotaExceeded))
}

fn keep_if_accepted(result: Result<(Accepted, Blob)>, reply: Reply<Accepted>) {
    let answer = result.map(|(accepted, blob)| {
        match accepted {
            Accepted::Queued | Accepted::Running(_) => blob.keep(),
            Accepted::QuotaExceeded(_) | Accepted::IdempotencyTaken(_) | Accepted::Overloaded => drop(blob),
        }
        accepted
    });
    // A caller that went away wants no answer.
    let _ = reply.send(answer);
}

/// The labels of a JSON object's top-level values that are neither arrays nor objects.
fn labels(metadata: &str) -> Vec<Label> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(metadata).unwrap_or_default();
    let text = |value: &RawValue| match value.get().as_bytes().first() {
        Some(b'{' | b'[') | None => None,
        Some(b'"') => serde_json::from_str::<String>(value.get()).ok(),
        Some(_) => Some(value.get().to_owned()),
    };
    fields.iter().filter_map(|(key, value)| Some(label(key, &text(value)?))).collect()
}

fn label(key: &str, value: &str) -> Label {
    let digest = sha2::Sha256::new().chain_update((key.len() as u64).to_be_bytes()).chain_update(key).chain_update(value).finalize();
    let mut label = Label::default();
    label.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    label
}

impl ScanRecord {
    /// Its state, without what comes with it.
    pub fn status(&self) -> ScanState {
        match &self.state {
            StateRecord::AwaitingUpload { .. } => ScanState::AwaitingUpload,
            StateRecord::Pending => ScanState::Pending,
            StateRecord::Scanning => ScanState::Scanning,
            StateRecord::Finished { judgement, .. } => finished_as(judgement.verdict),
        }
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookTarget").field("url", &"[redacted]").field("url_host", &self.url_host).finish()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.created_at.as_millis(), self.scan)
    }
}

impl std::str::FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> std::result::Result<Self, CursorError> {
        let (millis, scan) = text.split_once('_').ok_or(CursorError)?;
        let millis: i64 = millis.parse().map_err(|_| CursorError)?;
        Ok(Self { created_at: Timestamp::from_millis(millis), scan: scan.parse().map_err(|_| CursorError)? })
    }
}
