//! The application against a service that answers as each test wants it to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use avatar_upload::{App, Settings};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{post, put},
};
use filesafety::{SigningSecret, sign};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and the rest of a picture";

/// A service that gives every scan the same verdict, and says so by webhook at once.
struct Service {
    address: SocketAddr,
    submissions: Arc<Mutex<Vec<Value>>>,
}

#[derive(Clone)]
struct Judge {
    address: SocketAddr,
    /// The webhook's fields besides the usual ones; `None`: it never finishes.
    verdict: Option<Value>,
    submissions: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    async fn start(verdict: impl Into<Option<Value>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let submissions = Arc::new(Mutex::new(Vec::new()));
        let judge = Judge { address, verdict: verdict.into(), submissions: submissions.clone() };
        let router = Router::new().route("/v1/scan", post(invite)).route("/put", put(take)).with_state(judge);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, submissions }
    }

    fn submissions(&self) -> Vec<Value> {
        self.submissions.lock().unwrap().clone()
    }
}

async fn invite(State(judge): State<Judge>, Json(submission): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut submissions = judge.submissions.lock().unwrap();
    submissions.push(submission);
    let url = format!("http://{}/put", judge.address);
    let id = scan_id(submissions.len());
    (StatusCode::CREATED, Json(json!({ "scan_id": id, "status": "awaiting_upload", "upload_url": url, "expires_at": "" })))
}

/// The webhook is quicker than the answer: the worst order of the two.
async fn take(State(judge): State<Judge>) -> (StatusCode, Json<Value>) {
    let (number, submission) = {
        let submissions = judge.submissions.lock().unwrap();
        (submissions.len(), submissions.last().unwrap().clone())
    };
    if let Some(verdict) = &judge.verdict {
        let hook = submission["webhook_url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let (app, path) = hook.split_once('/').unwrap();
        let body = event(number, verdict, &submission["metadata"]);
        let (status, _) = deliver(app.parse().unwrap(), &format!("/{path}"), &body, &secret()).await;
        assert_eq!(status, 200);
    }
    (StatusCode::ACCEPTED, Json(json!({ "scan_id": scan_id(number), "status": "pending" })))
}

fn scan_id(number: usize) -> String {
    format!("scn_01ARYZ6S4{number:017}")
}

fn event(number: usize, verdict: &Value, metadata: &Value) -> String {
    let mut event = json!({ "event": "scan.complete", "scan_id": scan_id(number), "virus": null, "nsfw": null, "file_hash": null,
        "metadata": metadata, "completed_at": "2026-09-21T14:13:20.120Z", "sequence": 1, "failure": null });
    event.as_object_mut().unwrap().extend(verdict.as_object().unwrap().clone());
    event.to_string()
}

fn secret() -> SigningSecret {
    SigningSecret::generate([7; 32])
}

async fn deliver(app: SocketAddr, path: &str, body: &str, secret: &SigningSecret) -> (u16, String) {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let signature = sign::sign(std::slice::from_ref(secret), "evt_1", now, body.as_bytes());
    let headers =
        format!("content-type: application/json\r\nwebhook-id: evt_1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: {signature}\r\n");
    ask(app, "POST", path, &headers, body.as_bytes()).await
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // Whoever refuses a body may close before it is all sent.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// The application, until it is stopped.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(folder: &Path, service: SocketAddr) -> Self {
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            folder: folder.to_owned(),
            service: format!("http://{service}"),
            key: "fs_live_x".into(),
            secret: secret(),
        };
        let app = App::start(settings).await.unwrap();
        let address = app.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(app.run(async move {
            let _ = stopped.await;
        }));
        Self { address, stop, task }
    }

    async fn upload(&self, name: &str, content: &[u8]) -> (u16, String) {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"{name}\"\r\n\r\n");
        let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
        ask(self.address, "POST", "/avatars", "content-type: multipart/form-data; boundary=b\r\n", &body).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        ask(self.address, "GET", path, "", b"").await
    }

    /// The page once it says so.
    async fn page_with(&self, text: &str) -> String {
        for _ in 0..400 {
            let (_, page) = self.get("/").await;
            if page.contains(text) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{text:?} never came: {}", self.get("/").await.1);
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// The path of the only upload, by the file's name.
fn picture(folder: &Path) -> String {
    let mut files = std::fs::read_dir(folder.join("files")).unwrap();
    format!("/avatars/{}", files.next().unwrap().unwrap().file_name().to_string_lossy())
}

#[tokio::test]
async fn what_failed_for_a_passing_reason_is_submitted_three_times_more() {
    let folder = tempfile::tempdir().unwrap();
    let passing = json!({ "verdict": "failed", "failure": { "code": "engine_unavailable", "message": "No <answer>.", "retryable": true } });
    let service = Service::start(passing).await;
    let app = Running::start(folder.path(), service.address).await;
    assert_eq!(app.upload("a.png", PNG).await.0, 303);
    let page = app.page_with("Not checked").await;
    assert!(page.contains("No &lt;answer&gt;."));
    let numbers: Vec<_> = service.submissions().iter().map(|submission| submission["metadata"]["submission"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(app.get(&picture(folder.path())).await.0, 404);
}

#[tokio::test]
async fn what_failed_for_good_is_not_submitted_again() {
    let folder = tempfile::tempdir().unwrap();
    let lasting = json!({ "verdict": "failed", "failure": { "code": "storage_lost", "message": "Gone.", "retryable": false } });
    let service = Service::start(lasting).await;
    let app = Running::start(folder.path(), service.address).await;
    app.upload("a.png", PNG).await;
    app.page_with("Not checked").await;
    assert_eq!(service.submissions().len(), 1);
}

#[tokio::test]
async fn only_what_is_clean_is_served() {
    for (verdict, word, status) in [("clean", "Published", 200), ("infected", "Quarantined", 404), ("mixed", "Quarantined", 404)] {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(json!({ "verdict": verdict })).await;
        let app = Running::start(folder.path(), service.address).await;
        app.upload("a.png", PNG).await;
        app.page_with(word).await;
        let (served, answer) = app.get(&picture(folder.path())).await;
        assert_eq!(served, status, "{verdict}");
        assert_eq!(answer.contains("content-type: image/png") && answer.contains("rest of a picture"), status == 200);
        assert_eq!(app.get(&format!("{}/review", picture(folder.path()))).await.0, 404);
        assert_eq!(app.get("/avatars/..%2Favatars.db").await.0, 404);
    }
}

#[tokio::test]
async fn a_person_decides_about_what_may_not_be_safe_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let nsfw = json!({ "verdict": "nsfw", "nsfw": { "clean": false, "applied": true, "categories": ["explicit_nudity"] } });
    let service = Service::start(nsfw).await;
    let app = Running::start(folder.path(), service.address).await;
    app.upload("a.png", PNG).await;
    assert!(app.page_with("In review").await.contains("explicit nudity"));
    let picture = picture(folder.path());
    assert_eq!(app.get(&picture).await.0, 404);
    assert_eq!(app.get(&format!("{picture}/review")).await.0, 200);
    let approve = format!("{picture}/approve");
    assert_eq!(ask(app.address, "POST", &approve, "sec-fetch-site: cross-site\r\n", b"").await.0, 403);
    assert_eq!(app.get(&picture).await.0, 404);
    assert_eq!(ask(app.address, "POST", &approve, "sec-fetch-site: same-origin\r\n", b"").await.0, 303);
    assert_eq!(app.get(&picture).await.0, 200);
    assert_eq!(ask(app.address, "POST", &format!("{picture}/reject"), "", b"").await.0, 303);
    assert_eq!(app.get(&picture).await.0, 200, "what was decided is not decided again");
}

#[tokio::test]
async fn forged_webhooks_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(None).await;
    let app = Running::start(folder.path(), service.address).await;
    app.upload("a.png", PNG).await;
    let metadata = service.submissions()[0]["metadata"].clone();
    let clean = json!({ "verdict": "clean" });
    let forged = deliver(app.address, "/webhooks/filesafety", &event(1, &clean, &metadata), &SigningSecret::generate([8; 32])).await;
    assert_eq!(forged.0, 401);
    let unknown = deliver(app.address, "/webhooks/filesafety", &event(2, &clean, &metadata), &secret()).await;
    assert_eq!(unknown.0, 503, "a scan that was not submitted from here");
    assert!(app.get("/").await.1.contains("data-state=\"checking\""));
    assert_eq!(app.get(&picture(folder.path())).await.0, 404);
}

#[tokio::test]
async fn what_cannot_be_submitted_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever is there answers 404 to everything.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new()).await });
    let app = Running::start(folder.path(), address).await;
    let (status, page) = app.upload("a.png", PNG).await;
    assert!(status == 503 && page.contains("role=\"alert\"") && page.contains("No uploads yet."), "{page}");
    assert_eq!(std::fs::read_dir(folder.path().join("files")).unwrap().count(), 0);
}

#[tokio::test]
async fn forms_that_cannot_be_taken_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(None).await;
    let app = Running::start(folder.path(), service.address).await;
    let large = vec![b'x'; (5 << 20) + 1];
    for (content, status, text) in [(&b""[..], 400, "Choose a file"), (&large, 413, "larger than 5 MB")] {
        let (answered, page) = app.upload("a", content).await;
        assert!(answered == status && page.contains(text), "{answered} {page}");
    }
    let (status, _) = ask(app.address, "POST", "/avatars", "content-type: text/plain\r\n", b"x").await;
    assert_eq!(status, 415);
    assert!(service.submissions().is_empty());
}

#[tokio::test]
async fn what_waits_at_a_stop_is_submitted_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let silent = Service::start(None).await;
    let app = Running::start(folder.path(), silent.address).await;
    assert_eq!(app.upload("<b>a</b>.png", PNG).await.0, 303);
    app.stop().await;
    let service = Service::start(json!({ "verdict": "clean" })).await;
    let app = Running::start(folder.path(), service.address).await;
    assert!(app.page_with("Published").await.contains("&lt;b&gt;a&lt;/b&gt;.png"));
    assert_eq!(service.submissions().len(), 1);
}
