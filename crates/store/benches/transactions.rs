//! Durable transactions a second: one caller alone, 200 at once, and as many one after the other with an fsync each, for the ratio.

#![allow(clippy::print_stdout, reason = "a bench tells its numbers")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so by panicking")]

use std::{
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use filesafety_model::{AccountId, Coverage, DeliveryId, EventId, Judgement, ScanId, ScanTypes, Sha256, Timestamp, Verdict};
use filesafety_store::{
    Access, Announcement, FileFacts, FirstDelivery, MasterKey, NewScan, Options, Outcome, Recorded, SourceRecord, Store, Submission,
    WebhookTarget,
};

const CALLERS: u64 = 200;
const EACH: u64 = 100;
const ALONE: u64 = 500;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data_dir: folder.path().join("data"), master_key: MasterKey::new([7; 32]), access: Access::Exclusive };
    let store = Store::open(options).await.unwrap();
    let account = store.ensure_default_account(AccountId::new(now(), entropy()), now()).await.unwrap().id;

    let fsyncs = ALONE as f64 / fsync_alone(folder.path()).as_secs_f64();
    let begun = Instant::now();
    let mut waits: Vec<Duration> = Vec::new();
    for _ in 0..ALONE {
        let one = Instant::now();
        record(&store, account).await;
        waits.push(one.elapsed());
    }
    waits.sort();
    let alone = ALONE as f64 / begun.elapsed().as_secs_f64();
    println!("one caller: {alone:.0}/s, p50 {:?}, p99 {:?}", waits[waits.len() / 2], waits[waits.len() * 99 / 100]);

    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            for _ in 0..EACH {
                record(&store, account).await;
            }
        });
    }
    callers.join_all().await;
    let together = (CALLERS * EACH) as f64 / begun.elapsed().as_secs_f64();
    println!("{CALLERS} callers: {together:.0}/s, {:.1} × one fsync after the other ({fsyncs:.0}/s)", together / fsyncs);
    store.close().await;
}

fn fsync_alone(folder: &std::path::Path) -> Duration {
    let mut file = std::fs::File::create(folder.join("probe")).unwrap();
    let begun = Instant::now();
    for _ in 0..ALONE {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    begun.elapsed()
}

/// A small scan as the express way writes it: scan, label, event, delivery, quota.
async fn record(store: &Store, account: AccountId) {
    let mut content = [0; 32];
    content[..10].copy_from_slice(&entropy());
    let new = NewScan {
        id: ScanId::new(now(), entropy()),
        account,
        key: None,
        created_at: now(),
        lane: Submission::Sync,
        source: SourceRecord::Bytes,
        types: ScanTypes::ALL,
        metadata: Some("{\"upload_id\":\"upl_456\"}".into()),
        webhook: Some(WebhookTarget { url: "https://a.example/hook".into(), url_host: "a.example".into() }),
        events: vec![],
        policy: "strict".into(),
        fingerprint: "f".into(),
        idempotency: None,
        file_name: None,
        password: None,
    };
    let event = EventId::new(now(), entropy());
    let outcome = Outcome {
        at: now(),
        file: Some(FileFacts { name: Some("a.bin".into()), size: 9, sha256: Sha256::new(content), media_type: "text/plain".into() }),
        judgement: Judgement { verdict: Verdict::Clean, virus: None, nsfw: None, coverage: Coverage::default(), failure: None },
        fingerprint: None,
        announcement: Announcement { event, name: "scan.complete".into(), sequence: 1, body: "x".repeat(400), created_at: now() },
        delivery: Some(FirstDelivery { id: DeliveryId::new(now(), entropy()), due_at: now() }),
    };
    assert_eq!(store.record_finished(new, outcome, false).await.unwrap(), Recorded::Recorded);
}

fn now() -> Timestamp {
    "2026-09-15T12:00:00Z".parse().unwrap()
}

fn entropy() -> [u8; 10] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}
