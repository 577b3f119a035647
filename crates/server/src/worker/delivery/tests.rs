use std::sync::Mutex;

use filesafety::{SigningSecret, sign};
use filesafety_model::{DeliveryId, Judgement, ScanId, ScanTypes, SecretId, Sha256, Verdict};
use filesafety_store::{
    Access, Announcement, AttemptView, FileFacts, FirstDelivery, MasterKey, NewScan, Options, Outcome as Finished, SourceRecord, Submission,
};
use http::HeaderMap;
use http_body_util::BodyExt;
use rustls::RootCertStore;
use tokio::time::Instant;

use super::*;
use crate::egress::testing::{Authority, Validity, answer, loopback, serve, serve_raw};

const SECRET: [u8; 32] = [7; 32];
const BODY: &str = r#"{"event":"scan.complete"}"#;

struct Bench {
    store: Store,
    account: AccountId,
    deliverer: Arc<Deliverer>,
    running: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new(roots: RootCertStore, retry: &str, timeout: Duration) -> Self {
        let bench = Self::without_secret(roots, retry, timeout).await;
        let id = SecretId::new(clock::now(), clock::entropy());
        bench.store.add_signing_secret(bench.account, id, &SECRET, clock::now()).await.unwrap();
        bench
    }

    async fn without_secret(roots: RootCertStore, retry: &str, timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { data_dir: folder.path().to_owned(), master_key: MasterKey::new([1; 32]), access: Access::Exclusive };
        let store = Store::open(options).await.unwrap();
        let account = store.ensure_default_account(AccountId::new(clock::now(), clock::entropy()), clock::now()).await.unwrap().id;
        let deliverer = Deliverer::new(store.clone(), loopback(roots), retry.parse().unwrap(), timeout, Arc::default());
        let running = tokio::spawn(deliverer.clone().run());
        Self { store, account, deliverer, running, _folder: folder }
    }

    /// A finished scan whose webhook is due now.
    async fn announce(&self, url: &str) -> ScanId {
        let now = clock::now();
        let id = ScanId::new(now, clock::entropy());
        let url_host = url.split('/').nth(2).unwrap().to_owned();
        let new = NewScan {
            id,
            account: self.account,
            key: None,
            created_at: now,
            lane: Submission::Sync,
            source: SourceRecord::Bytes,
            types: ScanTypes::ALL,
            metadata: None,
            webhook: Some(WebhookTarget { url: url.to_owned(), url_host }),
            events: Vec::new(),
            policy: "strict".to_owned(),
            fingerprint: String::new(),
            idempotency: None,
            file_name: None,
            password: None,
        };
        let file = FileFacts { name: None, size: 0, sha256: Sha256::new([0; 32]), media_type: "text/plain".to_owned() };
        let judgement = Judgement { verdict: Verdict::Clean, virus: None, nsfw: None, coverage: Default::default(), failure: None };
        let event = EventId::new(now, clock::entropy());
        let announcement = Announcement { event, name: "scan.complete".to_owned(), sequence: 1, body: BODY.to_owned(), created_at: now };
        let delivery = Some(FirstDelivery { id: DeliveryId::new(now, clock::entropy()), due_at: now });
        let outcome = Finished { at: now, file: Some(file), judgement, fingerprint: None, announcement, delivery };
        let recorded = self.store.record_finished(new, outcome, false).await.unwrap();
        assert!(matches!(recorded, filesafety_store::Recorded::Recorded), "{recorded:?}");
        id
    }

    async fn attempts(&self, scan: ScanId) -> Vec<AttemptView> {
        self.store.deliveries(self.account, scan).await.unwrap().attempts
    }

    async fn until(&self, reached: impl Fn(DeliveryCounts) -> bool) {
        let waiting = async {
            while !reached(self.deliverer.counts()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
        self.deliverer.drain();
        self.deliverer.drained().await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_is_tried_by_the_schedule_and_abandoned() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ids = seen.clone();
    let address = serve(None, move |request| {
        ids.lock().unwrap().push(header(request.headers(), sign::ID_HEADER).unwrap_or_default().to_owned());
        async { answer(503, &[("retry-after", "0")], "no") }
    })
    .await;
    let bench = Bench::new(RootCertStore::empty(), "30ms,60ms", Duration::from_secs(5)).await;
    let scan = bench.announce(&format!("http://{address}/hook")).await;
    bench.until(|counts| counts.abandoned == 1).await;

    let attempts = bench.attempts(scan).await;
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.status, attempt.next_attempt_at.is_some())).collect();
    assert_eq!(told, [(1, Some(503), true), (2, Some(503), true), (3, Some(503), false)]);
    assert_eq!((attempts[0].error.as_ref().unwrap().kind.as_str(), &attempts[0].response_head[..]), ("status", &b"no"[..]));
    assert_eq!(bench.deliverer.counts(), DeliveryCounts { delivered: 0, failed: 2, abandoned: 1 });
    assert_eq!(*seen.lock().unwrap(), vec![attempts[0].event.to_string(); 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_receivers_delay_nobody_else() {
    let silent = serve_raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let good = serve(None, |_| async { answer(200, &[], "") }).await;
    let bench = Bench::new(RootCertStore::empty(), "1h", Duration::from_secs(3)).await;
    for _ in 0..40 {
        bench.announce(&format!("http://{silent}/")).await;
    }
    let started = Instant::now();
    for _ in 0..40 {
        bench.announce(&format!("http://{good}/")).await;
    }
    bench.until(|counts| counts.delivered == 40).await;
    // Draining waited for the attempts under way, one time limit at most.
    assert!(bench.deliverer.counts().failed <= 16, "{:?}", bench.deliverer.counts());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_signed_over_the_frozen_body() {
    let authority = Authority::new();
    let secret = SigningSecret::from_bytes(&SECRET).unwrap();
    let address = serve(Some(authority.server("localhost", Validity::Now)), move |request| {
        let secret = secret.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let of = |name| header(&parts.headers, name);
            let signed = sign::Headers { id: of("webhook-id"), timestamp: of("webhook-timestamp"), signature: of("webhook-signature") };
            let now = clock::now().as_millis() / 1000;
            let plain =
                of("content-type") == Some("application/json") && of("user-agent").is_some_and(|agent| agent.starts_with("FileSafety/"));
            match sign::verify(&[secret], &signed, &body, now, sign::TOLERANCE) {
                Ok(()) if plain => answer(204, &[], ""),
                other => answer(401, &[], format!("{other:?}")),
            }
        }
    })
    .await;
    let bench = Bench::new(authority.roots(), "", Duration::from_secs(5)).await;
    let url = format!("https://localhost:{}/hook", address.port());
    let target = WebhookTarget { url: url.clone(), url_host: String::new() };
    let test = bench.deliverer.send_test(bench.account, &target).await.unwrap();
    assert_eq!((test.status, test.error), (Some(204), None), "{:?}", String::from_utf8_lossy(&test.response_head));
    let scan = bench.announce(&url).await;
    bench.until(|counts| counts.delivered + counts.abandoned == 1).await;
    let attempts = bench.attempts(scan).await;
    assert_eq!((attempts.len(), attempts[0].status, &attempts[0].error), (1, Some(204), &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_unsigned() {
    let bench = Bench::without_secret(RootCertStore::empty(), "", Duration::from_secs(5)).await;
    let scan = bench.announce("https://localhost:1/").await;
    bench.until(|counts| counts.abandoned == 1).await;
    assert_eq!(bench.attempts(scan).await[0].error.as_ref().unwrap().kind, "no_secret");
}

#[test]
fn shares_lie_between_nought_and_one() {
    let shares: Vec<f64> = (0..100).map(|_| random_share()).collect();
    assert!(shares.iter().all(|share| (0.0..1.0).contains(share)) && shares[0] != shares[1]);
}

/// Prints a rate; asserts only that all arrive. `cargo test --release -- --ignored --nocapture delivers_ten_thousand`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn delivers_ten_thousand() {
    let authority = Authority::new();
    let address = serve(Some(authority.server("localhost", Validity::Now)), |_| async { answer(200, &[], "") }).await;
    let bench = Bench::new(authority.roots(), "1h", Duration::from_secs(10)).await;
    let url = format!("https://localhost:{}/", address.port());
    let started = Instant::now();
    let bench = Arc::new(bench);
    let mut announcing = JoinSet::new();
    for _ in 0..100 {
        let (bench, url) = (bench.clone(), url.clone());
        announcing.spawn(async move {
            for _ in 0..100 {
                bench.announce(&url).await;
            }
        });
    }
    announcing.join_all().await;
    let announced = started.elapsed();
    while bench.deliverer.counts().delivered < 10_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("announced in {announced:?}, delivered in {:?}", started.elapsed());
}
