//! Stores, and the things to put into them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use filesafety_model::{
    AccountId, Coverage, DeliveryId, EventId, FailureCode, Judgement, KeyId, NsfwFinding, ScanId, ScanTypes, SecretId, Sha256, Timestamp,
    Verdict, VirusFinding,
};
use filesafety_store::{
    Access, AccountChange, Announcement, AttemptRecord, Blob, Claims, FileFacts, FirstDelivery, IdempotencyKey, ListFilter, MasterKey,
    NewScan, OpenError, Options, Outcome, SourceRecord, Store, Submission, Turn, WebhookTarget,
};
use tempfile::TempDir;

pub(crate) const QUEUE: filesafety_store::Place = filesafety_store::Place::Queue { limit: 10_000 };

/// A store in a folder of its own, with one account.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) account: AccountId,
    pub(crate) folder: TempDir,
}

pub(crate) async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder, Access::Exclusive).await.unwrap();
    let account = store.ensure_default_account(AccountId::new(now(), entropy()), now()).await.unwrap();
    Fixture { store, account: account.id, folder }
}

pub(crate) async fn open(folder: &TempDir, access: Access) -> Result<Store, OpenError> {
    Store::open(options(folder, access)).await
}

pub(crate) fn options(folder: &TempDir, access: Access) -> Options {
    Options { data_dir: folder.path().join("data"), master_key: MasterKey::new([7; 32]), access }
}

pub(crate) fn entropy() -> [u8; 10] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

/// The middle of a month.
pub(crate) fn now() -> Timestamp {
    "2026-09-15T12:00:00Z".parse().unwrap()
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    now().plus(Duration::from_secs(seconds))
}

pub(crate) fn scan_id() -> ScanId {
    ScanId::new(now(), entropy())
}

pub(crate) fn key_id() -> KeyId {
    KeyId::new(now(), entropy())
}

pub(crate) fn secret_id() -> SecretId {
    SecretId::new(now(), entropy())
}

pub(crate) fn new_scan(account: AccountId) -> NewScan {
    NewScan {
        id: scan_id(),
        account,
        key: None,
        created_at: now(),
        lane: Submission::Async,
        source: SourceRecord::Bytes,
        types: ScanTypes::ALL,
        metadata: None,
        webhook: None,
        events: vec![],
        policy: "strict".into(),
        fingerprint: "f1".into(),
        idempotency: None,
        file_name: None,
        password: None,
    }
}

pub(crate) fn webhook(host: &str) -> Option<WebhookTarget> {
    Some(WebhookTarget { url: format!("https://{host}/hook?token=SESAME"), url_host: host.into() })
}

pub(crate) fn idempotency(key: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { key: key.into(), fields: [3; 32] })
}

pub(crate) fn facts(content: u8) -> FileFacts {
    FileFacts { name: Some("a.txt".into()), size: 3, sha256: Sha256::new([content; 32]), media_type: "text/plain".into() }
}

pub(crate) fn judgement(verdict: Verdict) -> Judgement {
    if verdict == Verdict::Failed {
        return Judgement::failed(FailureCode::EngineUnavailable, "no answer");
    }
    let nsfw = NsfwFinding {
        clean: Some(true),
        applied: false,
        categories: vec![],
        confidence: 0.25,
        scores: None,
        views: vec![],
        reason: None,
        path: None,
    };
    let virus = VirusFinding::default();
    Judgement { verdict, virus: Some(virus), nsfw: Some(nsfw), coverage: Coverage::default(), failure: None }
}

pub(crate) fn outcome(verdict: Verdict) -> Outcome {
    Outcome {
        at: at(1),
        file: Some(facts(1)),
        judgement: judgement(verdict),
        fingerprint: None,
        announcement: Announcement {
            event: EventId::new(now(), entropy()),
            name: "scan.complete".into(),
            sequence: 1,
            body: "{\"event\":\"scan.complete\"}".into(),
            created_at: at(1),
        },
        delivery: Some(FirstDelivery { id: DeliveryId::new(now(), entropy()), due_at: at(5) }),
    }
}

pub(crate) fn attempt(status: u16) -> AttemptRecord {
    AttemptRecord {
        started_at: at(6),
        millis: 12,
        address: Some("192.0.2.1:443".into()),
        tls: Some("1.3".into()),
        status: Some(status),
        error: None,
        response_head: vec![b'x'; 5000],
    }
}

/// Claims what is due, whatever is under way.
pub(crate) async fn claims(store: &Store, now: Timestamp, until: Timestamp) -> Claims {
    store.claim_deliveries(now, until, 100, |line| Turn::Take(line.due.len())).await.unwrap()
}

pub(crate) fn all() -> ListFilter {
    ListFilter { limit: 100, ..ListFilter::default() }
}

pub(crate) fn quota(quota: u64) -> AccountChange {
    AccountChange { quota: Some(Some(quota)), ..AccountChange::default() }
}

pub(crate) async fn blob(store: &Store, bytes: &[u8]) -> Blob {
    let mut writer = store.blob_writer().await.unwrap();
    writer.write(bytes).await.unwrap();
    writer.finish().await.unwrap()
}

impl Fixture {
    /// A scan with bytes in the queue.
    pub(crate) async fn queued(&self, change: impl FnOnce(&mut NewScan)) -> ScanId {
        let mut new = new_scan(self.account);
        change(&mut new);
        let id = new.id;
        let accepted = self.store.accept(new, facts(1), blob(&self.store, b"abc").await, QUEUE).await.unwrap();
        assert_eq!(accepted, filesafety_store::Accepted::Queued);
        id
    }

    /// A scan that was judged in memory.
    pub(crate) async fn finished(&self, change: impl FnOnce(&mut NewScan, &mut Outcome)) -> ScanId {
        let (mut new, mut outcome) = (new_scan(self.account), outcome(Verdict::Clean));
        change(&mut new, &mut outcome);
        let id = new.id;
        let recorded = self.store.record_finished(new, outcome, false).await.unwrap();
        assert_eq!(recorded, filesafety_store::Recorded::Recorded);
        id
    }

    pub(crate) async fn used(&self) -> u64 {
        self.store.usage(self.account, now()).await.unwrap().used
    }

    pub(crate) fn uploads(&self) -> Vec<std::path::PathBuf> {
        let folder = std::fs::read_dir(self.folder.path().join("data/uploads")).unwrap();
        folder.map(|entry| entry.unwrap().path()).collect()
    }
}
