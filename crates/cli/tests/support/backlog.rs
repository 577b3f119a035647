//! Deliveries put into the store of a server that is down, as an outage leaves them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filesafety_model::{Coverage, DeliveryId, EventId, Judgement, ScanId, ScanTypes, Sha256, Timestamp, Verdict};
use filesafety_store::{
    Access, Announcement, FileFacts, FirstDelivery, MasterKey, NewScan, Outcome, Recorded, SourceRecord, Store, Submission, WebhookTarget,
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::support::Options;

/// Transactions that wait for the writer at once.
const AT_ONCE: usize = 512;

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the year 9999"))
}

/// Finished scans of the default account, their webhooks due at `due_at`; `url` gives where each goes.
///
/// The server must have run once in this folder, and not run now.
pub(crate) fn fill(options: &Options, count: usize, due_at: Timestamp, url: impl Fn(usize) -> String) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let master_key = MasterKey::load_or_create(&options.data().join("master.key")).expect("the server made one");
        let opening = filesafety_store::Options { data_dir: options.data(), master_key, access: Access::Exclusive };
        let store = Arc::new(Store::open(opening).await.expect("the server is down"));
        let accounts = store.accounts().await.expect("accounts");
        let account = accounts.iter().find(|account| account.name == "default").expect("the default account").id;
        let mut writing = tokio::task::JoinSet::new();
        for number in 0..count {
            let (store, url) = (Arc::clone(&store), url(number));
            while writing.len() >= AT_ONCE {
                writing.join_next().await.expect("one is under way").expect("it is written");
            }
            writing.spawn(async move {
                let (new, outcome) = scan(account, url, due_at);
                let recorded = store.record_finished(new, outcome, false).await.expect("it is written");
                assert_eq!(recorded, Recorded::Recorded);
            });
        }
        writing.join_all().await;
        store.close().await;
    });
}

fn scan(account: filesafety_model::AccountId, url: String, due_at: Timestamp) -> (NewScan, Outcome) {
    let (at, id) = (now(), ScanId::new(now(), entropy()));
    let url_host = url.split('/').nth(2).expect("an absolute URL").to_owned();
    let new = NewScan {
        id,
        account,
        key: None,
        created_at: at,
        lane: Submission::Sync,
        source: SourceRecord::Bytes,
        types: ScanTypes::ALL,
        metadata: None,
        webhook: Some(WebhookTarget { url, url_host }),
        events: Vec::new(),
        policy: "strict".to_owned(),
        fingerprint: "f".to_owned(),
        idempotency: None,
        file_name: None,
        password: None,
    };
    let outcome = Outcome {
        at,
        file: Some(FileFacts { name: None, size: 0, sha256: Sha256::new([0; 32]), media_type: "text/plain".to_owned() }),
        judgement: Judgement { verdict: Verdict::Clean, virus: None, nsfw: None, coverage: Coverage::default(), failure: None },
        fingerprint: None,
        announcement: Announcement {
            event: EventId::new(at, entropy()),
            name: "scan.complete".to_owned(),
            sequence: 1,
            body: format!("{{\"event\":\"scan.complete\",\"scan_id\":\"{id}\",\"verdict\":\"clean\",\"padding\":\"{}\"}}", "x".repeat(300)),
            created_at: at,
        },
        delivery: Some(FirstDelivery { id: DeliveryId::new(at, entropy()), due_at }),
    };
    (new, outcome)
}

fn entropy() -> [u8; 10] {
    let mut bytes = [0; 10];
    SystemRandom::new().fill(&mut bytes).expect("entropy");
    bytes
}

/// Long ago enough to be due.
pub(crate) fn due_now() -> Timestamp {
    now().minus(Duration::from_secs(1))
}
