use std::time::Duration;

use filesafety_model::{ScanState, Verdict};
use filesafety_store::{
    Accepted, Access, Awaiting, MasterKey, Next, OpenError, Options, RetentionPolicy, StateRecord, Store, StoreError, UploadSlot,
};

use crate::support::{QUEUE, all, at, attempt, blob, claims, facts, fixture, idempotency, new_scan, now, open, options, outcome, webhook};

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn one_server_and_any_number_of_commands() {
    let f = fixture().await;
    assert!(matches!(open(&f.folder, Access::Exclusive).await, Err(OpenError::InUse)));
    let beside = open(&f.folder, Access::Shared).await.unwrap();
    assert_eq!(beside.accounts().await.unwrap().len(), 1);
    f.store.close().await;
    let next = open(&f.folder, Access::Exclusive).await.unwrap();
    next.ping().await.unwrap();
}

#[tokio::test]
async fn a_wrong_master_key_opens_nothing() {
    let f = fixture().await;
    let wrong = Options { master_key: MasterKey::new([8; 32]), ..options(&f.folder, Access::Shared) };
    assert!(matches!(Store::open(wrong).await, Err(OpenError::WrongMasterKey)));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let f = fixture().await;
    f.store.close().await;
    let conn = rusqlite::Connection::open(f.folder.path().join("data/filesafety.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let refused = open(&f.folder, Access::Exclusive).await;
    assert!(matches!(refused, Err(OpenError::NewerSchema { found: 99, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_master_key_is_made_once_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/master.key");
    let key = MasterKey::load_or_create(&path).unwrap();
    assert_eq!(MasterKey::load_or_create(&path).unwrap(), key);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    std::fs::write(&path, "short").unwrap();
    assert!(matches!(MasterKey::load_or_create(&path), Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn what_was_erased_is_in_no_file() {
    let f = fixture().await;
    let secret = "{\"patient\":\"GRETEL-4711\"}";
    let erased = f.finished(|new, outcome| {
        (new.metadata, new.webhook) = (Some(secret.into()), webhook("a.example"));
        outcome.announcement.body = secret.into();
    });
    let erased = erased.await;
    f.finished(|_, _| {}).await;
    f.store.delete(f.account, erased, at(1)).await.unwrap();
    f.store.close().await;
    for entry in std::fs::read_dir(f.folder.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { vec![] };
        for text in [&b"GRETEL"[..], b"SESAME"] {
            assert!(!bytes.windows(6).any(|window| window == text), "{path:?}");
        }
    }
}

#[tokio::test]
async fn secrets_are_encrypted_in_the_store() {
    let f = fixture().await;
    f.queued(|new| new.webhook = webhook("a.example")).await;
    assert_eq!(f.store.accept_url(new_scan(f.account), "https://x.example/SESAME".into(), QUEUE).await.unwrap(), Accepted::Queued);
    let target = f.folder.path().join("copy.db");
    f.store.backup(&target).await.unwrap();
    assert!(!std::fs::read(&target).unwrap().windows(6).any(|window| window == b"SESAME"));
}

#[tokio::test]
async fn a_backup_opens_as_a_store() {
    let f = fixture().await;
    let id = f.finished(|_, _| {}).await;
    let folder = tempfile::tempdir().unwrap();
    let data = options(&folder, Access::Exclusive).data_dir;
    std::fs::create_dir(&data).unwrap();
    let writes = async {
        for _ in 0..50 {
            f.finished(|_, _| {}).await;
        }
    };
    let target = data.join("filesafety.db");
    let (copied, ()) = tokio::join!(f.store.backup(&target), writes);
    copied.unwrap();
    assert!(matches!(f.store.backup(&target).await, Err(StoreError::Unavailable(_))));
    let copy = open(&folder, Access::Exclusive).await.unwrap();
    assert_eq!(copy.scan(f.account, id).await.unwrap(), f.store.scan(f.account, id).await.unwrap());
}

#[tokio::test]
async fn upload_urls_expire_in_silence() {
    let f = fixture().await;
    let mut new = new_scan(f.account);
    new.webhook = webhook("a.example");
    let id = new.id;
    assert_eq!(f.store.await_upload(new, [1; 32], at(3600), 10).await.unwrap(), Awaiting::Awaiting);
    let grace = RetentionPolicy { upload_grace: Duration::from_secs(60), ..RetentionPolicy::default() };
    assert_eq!(f.store.sweep(at(3659), grace).await.unwrap().uploads_expired, 0);
    assert_eq!(f.store.sweep(at(3660), grace).await.unwrap().uploads_expired, 1);
    let scan = f.store.scan(f.account, id).await.unwrap();
    assert_eq!((scan.status(), scan.webhook.unwrap().status), (ScanState::Failed, None));
    assert!(matches!(f.store.upload_slot(id, [1; 32], now()).await.unwrap(), UploadSlot::Expired(_)));
    let late = f.store.accept_upload(id, at(3700), facts(1), blob(&f.store, b"abc").await, QUEUE).await;
    assert!(matches!(late, Err(StoreError::Conflict(filesafety_store::Conflict::UploadExpired))));
    assert!(f.uploads().is_empty());
    assert!(f.store.events_since(f.account, filesafety_store::After::Beginning, now(), 10).await.unwrap().events.is_empty());
    assert_eq!((claims(&f.store, now(), at(1)).await.next, f.used().await), (None, 0));
}

#[tokio::test]
async fn everything_goes_in_its_time() {
    let f = fixture().await;
    let id = f.finished(|new, _| (new.idempotency, new.webhook) = (idempotency("k"), webhook("a.example"))).await;
    f.finished(|_, _| {}).await;
    let claim = claims(&f.store, at(5), at(20)).await.claims.remove(0);
    f.store.finish_attempt(&claim, attempt(500), Next::Abandoned).await.unwrap();
    let policy = RetentionPolicy::default();
    let early = f.store.sweep(at(DAY - 1), policy).await.unwrap();
    assert_eq!((early.events, early.idempotency_keys, early.erased), (0, 0, 0));
    let day = f.store.sweep(at(DAY + 1), policy).await.unwrap();
    assert_eq!((day.events, day.idempotency_keys, day.erased, day.more), (1, 1, 0, false));
    // What a webhook still tells is kept with its scan.
    f.store.redeliver(f.account, id, at(DAY + 2)).await.unwrap();
    let again = claims(&f.store, at(DAY + 2), at(DAY + 9)).await.claims.remove(0);
    assert_eq!(again.body, claim.body);
    assert_eq!(f.store.sweep(at(90 * DAY + 1), policy).await.unwrap().erased, 2);
    assert!(f.store.scans(f.account, all()).await.unwrap().scans.is_empty());
}

#[tokio::test]
async fn an_overdue_scan_is_ended_with_its_webhook_before_its_bytes_go() {
    let f = fixture().await;
    let id = f.queued(|new| new.webhook = webhook("a.example")).await;
    let lease = f.store.claim(now(), at(2 * DAY), 1).await.unwrap().remove(0).lease;
    let policy = RetentionPolicy::default();
    assert!(f.store.sweep(at(DAY - 1), policy).await.unwrap().overdue.is_empty());
    let overdue = f.store.sweep(at(DAY), policy).await.unwrap().overdue;
    assert_eq!((overdue.len(), overdue[0].id, f.uploads().len()), (1, id, 1));
    f.store.end_overdue(id, outcome(Verdict::Failed)).await.unwrap();
    assert!(matches!(f.store.end_overdue(id, outcome(Verdict::Failed)).await, Err(StoreError::LeaseLost)));
    assert!(matches!(f.store.complete(lease, outcome(Verdict::Clean)).await, Err(StoreError::LeaseLost)));
    assert!(f.uploads().is_empty());
    assert!(matches!(f.store.scan(f.account, id).await.unwrap().state, StateRecord::Finished { .. }));
    assert_eq!(claims(&f.store, at(5), at(9)).await.claims.len(), 1);
    assert_eq!(f.used().await, 0);
}

#[test]
fn closes_while_the_blocking_threads_are_all_taken() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    let (free, taken) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let f = fixture().await;
        let busy = tokio::task::spawn_blocking(move || taken.recv());
        f.store.close().await;
        assert!(matches!(f.store.ping().await, Err(StoreError::Unavailable(_))));
        drop(free);
        assert!(busy.await.unwrap().is_err());
    });
}
