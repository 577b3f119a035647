//! The client against a server that does as it is told, also where that is wrong.

mod server;

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpListener,
};

use super::*;
use crate::event::Verdict;
use server::{Reply, Server, key_of, ok, refuse, refuse_early, scan, serve};

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_one_key() {
    let server = Server::start([Reply::Hangup, Reply::Say(502, "", "<html>".into()), ok(scan("clean"))]).await;
    let client = server.client();
    assert!(client.scan(b"content".to_vec()).await.unwrap().is_clean());
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|one| key_of(one) == key_of(&asked[0]) && one.body == asked[0].body));
    assert!(asked[0].body.contains("content") && asked[0].head.contains("x-api-key: fs_live_x"));
    let _ = client.scan(b"content".to_vec()).await;
    assert_ne!(key_of(&server.asked()[3]), key_of(&asked[0]), "another submission is another scan");
}

#[tokio::test]
async fn a_reader_that_was_begun_is_not_sent_again() {
    for reply in [Reply::Hangup, refuse(503, "overloaded"), refuse(429, "rate_limited")] {
        let server = Server::start([reply, ok(scan("clean"))]).await;
        let error = server.client().scan(FileSource::reader(&b"content"[..])).await.unwrap_err();
        assert!(error.is_temporary(), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_reader_that_was_not_begun_is_still_there_when_the_service_is() {
    let server = Server::start([]).await;
    let gone = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let policy = RetryPolicy::default().tries(40).backoff(Duration::from_millis(20), Duration::from_millis(20));
    let client = Client::builder(format!("http://{gone}"), "fs_live_x").retry(policy).build().unwrap();
    let call = tokio::spawn(client.scan(FileSource::reader(&b"content"[..])).into_future());
    tokio::time::sleep(Duration::from_millis(60)).await;
    let listener = TcpListener::bind(gone).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let replies = Arc::new(Mutex::new(VecDeque::from([ok(scan("clean"))])));
    tokio::spawn(serve(stream, 0, server.asked.clone(), replies));
    assert!(call.await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let gone = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let client = Client::builder(format!("http://{gone}"), "fs_live_x").retry(RetryPolicy::none()).build().unwrap();
    assert!(matches!(client.get("scn_1").await, Err(ClientError::Unreachable(_))));
}

#[tokio::test]
async fn what_the_service_asks_to_wait_is_waited_up_to_a_point() {
    let pause = |seconds: &'static str| Reply::Say(503, seconds, r#"{"error":"No.","code":"overloaded"}"#.into());
    let server = Server::start([pause("retry-after: 1\r\n"), ok(scan("clean")), pause("retry-after: 61\r\n")]).await;
    let (client, before) = (server.client(), Instant::now());
    client.get("scn_1").await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(1));
    let before = Instant::now();
    let error = client.get("scn_1").await.unwrap_err();
    assert_eq!(error.refusal().unwrap().retry_after, Some(Duration::from_secs(61)));
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn each_refusal_has_its_remedy() {
    type Expected = fn(&ClientError) -> bool;
    let table: [(u16, &str, Expected); 14] = [
        (400, "validation_error", |error| matches!(error, ClientError::Validation(_))),
        (401, "invalid_api_key", |error| matches!(error, ClientError::Unauthorized(_))),
        (404, "scan_not_found", |error| matches!(error, ClientError::NotFound(_))),
        (405, "method_not_allowed", |error| matches!(error, ClientError::Validation(_))),
        (408, "upload_too_slow", |error| matches!(error, ClientError::TooSlow(_))),
        (409, "idempotency_conflict", |error| matches!(error, ClientError::Conflict(_))),
        (410, "upload_expired", |error| matches!(error, ClientError::UploadExpired(_))),
        (413, "file_too_large", |error| matches!(error, ClientError::TooLarge(_))),
        (415, "unsupported_media_type", |error| matches!(error, ClientError::Validation(_))),
        (422, "fetch_refused", |error| matches!(error, ClientError::Validation(_))),
        (429, "quota_exceeded", |error| matches!(error, ClientError::QuotaExceeded(_))),
        (429, "rate_limited", |error| matches!(error, ClientError::RateLimited(_))),
        (500, "internal_error", |error| matches!(error, ClientError::Unavailable(_))),
        (503, "storage_unavailable", |error| matches!(error, ClientError::Unavailable(_))),
    ];
    for (status, code, is_expected) in table {
        let server = Server::start([refuse(status, code)]).await;
        let client = server.builder().retry(RetryPolicy::none()).build().unwrap();
        let error = client.get("scn_1").await.unwrap_err();
        assert!(is_expected(&error), "{status} {code}: {error:?}");
        let refusal = error.refusal().unwrap();
        assert_eq!((refusal.status, refusal.code.as_deref(), refusal.request_id.as_deref()), (status, Some(code), Some("req_1")));
        assert_eq!(refusal.message, "No. [31m", "control characters stay out of logs");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_file_is_sent_is_heard() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::builder(url, "fs_live_x").retry(RetryPolicy::none()).build().unwrap();
    std::thread::spawn(|| refuse_early(listener));
    for _ in 0..50 {
        for file in [FileSource::bytes(vec![0; 20 << 20]), FileSource::reader(tokio::io::repeat(0))] {
            let error = client.scan(file).await.unwrap_err();
            assert!(matches!(error, ClientError::TooLarge(_)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_no_repeat_can_cure_is_not_repeated() {
    for (status, code) in [(401, "invalid_api_key"), (413, "file_too_large"), (429, "quota_exceeded"), (409, "idempotency_conflict")] {
        let server = Server::start([refuse(status, code), ok(scan("clean"))]).await;
        assert!(server.client().scan(b"x".to_vec()).await.is_err());
        assert_eq!(server.asked().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_first_try_that_still_uploads_is_waited_for() {
    let server = Server::start([refuse(409, "idempotency_in_progress"), ok(scan("infected"))]).await;
    assert_eq!(server.client().scan(b"x".to_vec()).await.unwrap().verdict, Some(Verdict::Infected));
}

#[tokio::test]
async fn other_servers_are_not_believed() {
    let redirect = "location: http://127.0.0.1:1/\r\n";
    let others = [
        Reply::Say(404, "", "<html>".into()),
        Reply::Say(200, "", "<html>".into()),
        Reply::Say(302, redirect, String::new()),
        Reply::Say(307, redirect, String::new()),
        ok("{}"),
        ok(scan("harmless")),
        ok(""),
    ];
    for reply in others {
        let server = Server::start([reply]).await;
        let error = server.client().get("scn_1").await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let server = Server::start([Reply::Endless]).await;
    assert!(matches!(server.client().get("scn_1").await, Err(ClientError::Protocol(_))));
    for reply in [Reply::Drip, Reply::Silence] {
        let server = Server::start([reply]).await;
        let client = server.builder().answer_within(Duration::from_millis(300)).retry(RetryPolicy::none()).build().unwrap();
        let before = Instant::now();
        assert!(matches!(client.get("scn_1").await, Err(ClientError::Interrupted(_))));
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_slow_upload_lives_while_it_moves_and_ends_when_it_stands_still() {
    let server = Server::start([ok(scan("clean"))]).await;
    let client = server.builder().answer_within(Duration::from_millis(400)).retry(RetryPolicy::none()).build().unwrap();
    let before = Instant::now();
    assert!(client.scan(FileSource::reader(Slow { left: 10, pause: None })).await.unwrap().is_clean());
    assert!(before.elapsed() >= Duration::from_millis(900));
    let (reader, _writer) = tokio::io::duplex(10);
    assert!(matches!(client.scan(FileSource::reader(reader)).await, Err(ClientError::Interrupted(_))));
}

/// A byte every 100 ms.
struct Slow {
    left: u8,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(100))));
        std::task::ready!(pause.as_mut().poll(context));
        self.pause = None;
        if self.left > 0 {
            self.left -= 1;
            buffer.put_slice(b"x");
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_the_connections_fault() {
    let server = Server::start([]).await;
    let broken = unreadable();
    assert!(matches!(server.client().scan(broken).await, Err(ClientError::File(_))));
    let shorter = FileSource::reader(&b"abc"[..]).length(4);
    assert!(matches!(server.client().scan(shorter).await, Err(ClientError::File(_))));
    assert!(matches!(server.client().scan(FileSource::path("/nonexistent")).await, Err(ClientError::File(_))));
}

fn unreadable() -> FileSource {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("the disk is gone")))
        }
    }
    FileSource::reader(Broken)
}

#[tokio::test]
async fn a_failed_scan_is_an_outcome_and_not_an_error() {
    let failed = Reply::Say(502, "", r#"{"error":"No.","code":"upstream_error","scan_id":"scn_1"}"#.into());
    let server = Server::start([failed, ok(scan("failed"))]).await;
    assert_eq!(server.client().scan(b"x".to_vec()).await.unwrap().verdict, Some(Verdict::Failed));
    let asked = server.asked();
    assert!(asked.len() == 2 && asked[1].head.starts_with("get /v1/scan/scn_1 "));
}

#[tokio::test]
async fn a_verdict_that_takes_longer_than_an_answer_is_asked_for() {
    let underway = || Reply::Say(202, "", r#"{"scan_id":"scn_1","status":"scanning"}"#.into());
    let server = Server::start([underway(), ok(scan("")), Reply::Hangup, ok(scan("nsfw"))]).await;
    assert_eq!(server.client().scan(b"x".to_vec()).await.unwrap().verdict, Some(Verdict::Nsfw));

    let server = Server::start([underway()].into_iter().chain((0..100).map(|_| ok(scan(""))))).await;
    let client = server.builder().verdict_within(Duration::from_millis(250)).build().unwrap();
    let error = client.scan(b"x".to_vec()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unfinished { scan_id, cause: None } if scan_id == "scn_1"));

    let server = Server::start([underway(), refuse(401, "invalid_api_key")]).await;
    let error = server.client().scan(b"x".to_vec()).await.unwrap_err();
    assert_eq!(error.scan_id(), Some("scn_1"), "the id of an accepted file is never lost: {error}");
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_found_again() {
    let used = || refuse(409, "upload_conflict");
    let server = Server::start([Reply::Hangup, used(), ok(scan("clean"))]).await;
    assert!(server.client().upload(&server.place(), b"x".to_vec()).await.unwrap().is_clean());
    let asked = server.asked();
    assert!(asked[0].head.starts_with("put /v1/uploads/scn_1/token ") && asked[0].body == "x");
    assert!(!asked[0].head.contains("x-api-key"), "the key goes to the service alone");

    let server = Server::start([used()]).await;
    let error = server.client().upload(&server.place(), b"x".to_vec()).await.unwrap_err();
    assert!(matches!(error, ClientError::Conflict(_)), "somebody else's bytes are not ours");
    let server = Server::start([Reply::Say(503, "", r#"{"error":"No.","code":"overloaded"}"#.into()), used()]).await;
    let error = server.client().upload_async(&server.place(), b"x".to_vec()).await.unwrap_err();
    assert!(matches!(error, ClientError::Conflict(_)), "the try before was refused: these are not its bytes");
}

#[tokio::test]
async fn a_file_asked_for_over_tls_is_not_sent_in_the_clear() {
    let server = Server::start([]).await;
    let client = Client::new("https://files.example.com", "fs_live_x").unwrap();
    assert!(matches!(client.upload(&server.place(), b"x".to_vec()).await, Err(ClientError::Unsendable(_))));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_deletion_that_was_lost_is_a_deletion() {
    let server = Server::start([Reply::Hangup, refuse(404, "scan_not_found"), refuse(404, "scan_not_found")]).await;
    server.client().delete("scn_1").await.unwrap();
    assert!(matches!(server.client().delete("scn_1").await, Err(ClientError::NotFound(_))));
}

#[tokio::test]
async fn what_a_repeat_would_do_twice_is_not_repeated() {
    let server = Server::start([Reply::Hangup, Reply::Hangup]).await;
    assert!(matches!(server.client().redeliver("scn_1").await, Err(ClientError::Interrupted(_))));
    assert!(server.client().test_webhook("https://a.example").await.is_err());
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn ids_never_become_other_addresses() {
    let server = Server::start([]).await;
    for id in ["", "../usage", "scn_1/redeliver", "scn_1?x", "scn_1#", "scn_%31", "scn_1 ", "scn_\u{e9}", &"a".repeat(65)] {
        assert!(matches!(server.client().get(id).await, Err(ClientError::Unsendable(_))), "{id}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn fields_go_as_they_were_given() {
    let accepted = r#"{"scan_id":"scn_1","status":"pending","eta_seconds":3}"#;
    let server = Server::start([Reply::Say(202, "", accepted.into()), Reply::Say(202, "", accepted.into())]).await;
    let client = server.client();
    let metadata: crate::event::Metadata = serde_json::from_str(r#"{"z": 18446744073709551616, "a":1.10}"#).unwrap();
    let file = FileSource::bytes("x").named("a\"\r\n\\.txt");
    let given = client.scan_async(file).metadata(&metadata).scan_types([ScanType::Virus]).events(["scan.complete"]).fresh();
    assert_eq!(given.idempotency_key("order 7").await.unwrap().eta_seconds, Some(3));
    let asked = server.asked().remove(0);
    for part in [r#"{"z": 18446744073709551616, "a":1.10}"#, r#"["virus"]"#, r#"["scan.complete"]"#, r#"filename="a%22%0D%0A\\.txt""#] {
        assert!(asked.body.contains(part), "{part} in {}", asked.body);
    }
    assert!(asked.head.contains("cache-control: no-cache") && key_of(&asked) == "order 7");

    client.scan_url("https://a.example/?b").webhook_url("https://c.example").metadata(&metadata).respond_async().await.unwrap();
    let asked = server.asked().remove(1);
    assert_eq!(
        asked.body,
        r#"{"url":"https://a.example/?b","webhook_url":"https://c.example","metadata":{"z": 18446744073709551616, "a":1.10}}"#
    );
    assert!(asked.head.starts_with("post /v1/scan/async "));
    let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(client.upload_url().metadata(&unwritable).await, Err(ClientError::Unsendable(_))));
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::start((0..5).map(|_| ok(scan("clean")))).await;
    let client = server.client();
    for _ in 0..5 {
        client.get("scn_1").await.unwrap();
    }
    assert!(server.asked().iter().all(|asked| asked.connection == 0));
}

#[tokio::test]
async fn lists_come_a_page_at_a_time() {
    let page = |scans: &str, cursor: &str| ok(format!(r#"{{"scans":[{scans}],"next_cursor":{cursor}}}"#));
    let one = scan("clean");
    let server = Server::start([page(&format!("{one},{one}"), "\"c1\""), Reply::Hangup, page("", "\"c2\""), page(&one, "null")]).await;
    let mut list = server.client().list(ScanFilter::new().limit(2));
    let mut seen = 0;
    while list.next().await.unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 3);
    let targets: Vec<_> = server.asked().iter().map(|asked| asked.head.lines().next().unwrap().to_owned()).collect();
    assert!(targets[1].contains("limit=2&cursor=c1") && targets[3].contains("cursor=c2"), "{targets:?}");
    let server = Server::start([page("", "\"c1\""), page("", "\"c1\"")]).await;
    assert!(matches!(server.client().list(ScanFilter::new()).next().await, Err(ClientError::Protocol(_))));
}

#[cfg(feature = "receiver")]
#[tokio::test]
async fn an_expected_scan_is_in_the_pending_set_before_its_bytes_are_sent() {
    use crate::receiver::{PendingSet, memory::MemoryStore};

    const ID: &str = "scn_01ARYZ6S410000000000000000";
    let pending = PendingSet::new(MemoryStore::new());
    let place = |server: &Server, id: &str| {
        let url = format!("http://{}/put", server.address);
        Reply::Say(201, "", format!(r#"{{"scan_id":"{id}","status":"awaiting_upload","upload_url":"{url}","expires_at":""}}"#))
    };
    // An id that the set refuses: the bytes stay here.
    let server = Server::start([]).await;
    server.reply(place(&server, "scn_-"));
    let error = server.client().scan_async(b"x".to_vec()).expected_by(&pending).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unregistered { scan_id, .. } if scan_id == "scn_-"), "{error:?}");
    assert_eq!(server.asked().len(), 1);
    // The bytes are refused: the id is in the set all the same.
    server.reply(place(&server, ID));
    server.reply(refuse(413, "file_too_large"));
    assert!(!pending.contains(ID).await.unwrap());
    let submit = server.client().scan(b"x".to_vec()).metadata(&serde_json::json!({ "n": 1 })).fresh();
    assert!(matches!(submit.expected_by(&pending).await, Err(ClientError::TooLarge(_))));
    assert!(pending.contains(ID).await.unwrap());
    let asked = server.asked();
    assert!(asked[1].body == r#"{"metadata":{"n":1}}"# && asked[2].head.contains("no-cache") && asked[2].body == "x");
}
