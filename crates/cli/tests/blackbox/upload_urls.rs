//! An upload URL lets a browser send the file itself, once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Connection;
use crate::support::eicar::eicar;
use crate::support::{Answer, Options, Receiver, Request, Server};

fn open(server: &Server, fields: &Value) -> Value {
    server.post("/v1/scan").json(fields).send().expect(201)
}

/// The request that a browser makes: no key, the bytes alone.
fn put(server: &Server, scan: &Value, content: &[u8]) -> Request {
    server.anonymous("PUT", path(scan)).header("content-type", "application/octet-stream").body(content)
}

fn path(scan: &Value) -> &str {
    let url = scan["upload_url"].as_str().expect("an upload URL");
    let (_, rest) = url.split_once("://").expect("an absolute URL");
    &rest[rest.find('/').expect("a path")..]
}

fn send(server: &Server, scan: &Value, content: &[u8]) -> Answer {
    put(server, scan, content).send()
}

#[test]
fn the_answer_says_where_and_until_when() {
    let server = Server::shared();
    let scan = open(&server, &json!({"metadata": {"upload_id": "upl_1"}}));
    assert_eq!(scan["status"], "awaiting_upload");
    let url = scan["upload_url"].as_str().expect("a URL");
    assert!(url.starts_with(&format!("http://{}/", server.address())), "{url}");
    assert!(scan["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(server.state(scan["scan_id"].as_str().expect("an id"))["status"], "awaiting_upload");
}

#[test]
fn it_never_takes_the_host_that_a_client_names() {
    let server = Server::shared();
    let answer = server.post("/v1/scan").header("x-forwarded-host", "evil.example").json(&json!({})).send().expect(201);
    assert!(!answer.to_string().contains("evil.example"));
}

#[test]
fn the_public_url_is_what_it_starts_with() {
    let server = Options::new().env("FILESAFETY_PUBLIC_URL", "https://files.example.com/scan").start();
    let scan = open(&server, &json!({}));
    assert!(scan["upload_url"].as_str().is_some_and(|url| url.starts_with("https://files.example.com/scan/")), "{scan}");
}

#[test]
fn the_upload_answers_with_the_verdict() {
    let server = Server::shared();
    let receiver = Receiver::start();
    let scan = open(&server, &json!({"webhook_url": receiver.url(), "metadata": {"n": 12}}));
    let result = send(&server, &scan, &eicar()).expect_verdict("infected");
    assert_eq!(result["scan_id"], scan["scan_id"]);
    assert_eq!(result["metadata"], json!({"n": 12}));
    assert_eq!(receiver.one().event()["scan_id"], scan["scan_id"]);
}

#[test]
fn prefer_respond_async_answers_at_once() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    let answer = put(&server, &scan, b"a file put, asynchronous").header("prefer", "respond-async").send();
    answer.expect(202);
    assert_eq!(server.finished(&answer.scan_id())["verdict"], "clean");
}

#[test]
fn a_second_upload_is_a_conflict() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    send(&server, &scan, b"the first").expect_verdict("clean");
    let answer = send(&server, &scan, b"the second");
    answer.expect_error(409, "upload_conflict");
    let state = server.state(scan["scan_id"].as_str().expect("an id"));
    assert_eq!(state["file"]["size"], b"the first".len());
}

#[test]
fn two_uploads_at_once_are_one() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..6)
            .map(|number| {
                let (server, scan) = (&server, &scan);
                scope.spawn(move || send(server, scan, format!("racer {number}").as_bytes()).status)
            })
            .collect();
        uploads.into_iter().map(|upload| upload.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
}

#[test]
fn a_broken_upload_may_be_repeated() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&put(&server, &scan, b"").header("content-length", "1000")).expect("sent");
    connection.write(b"only the beginning").expect("sent");
    drop(connection);
    let scan_id = scan["scan_id"].as_str().expect("an id");
    assert_eq!(server.state(scan_id)["status"], "awaiting_upload");
    let content = b"all of it this time";
    let result = crate::support::clock::wait_for("the broken upload to be forgotten", Duration::from_secs(10), || {
        let answer = send(&server, &scan, content);
        (answer.status != 409).then_some(answer)
    });
    assert_eq!(result.expect_verdict("clean")["file"]["size"], content.len());
}

#[test]
fn any_origin_may_use_it() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    let preflight = server
        .anonymous("OPTIONS", path(&scan))
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "content-type,prefer")
        .send();
    assert!(matches!(preflight.status, 200 | 204), "{}", preflight.status);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert!(preflight.header("access-control-allow-methods").is_some_and(|methods| methods.contains("PUT")));
    let allowed = preflight.header("access-control-allow-headers").expect("allowed headers").to_ascii_lowercase();
    assert!(allowed == "*" || (allowed.contains("content-type") && allowed.contains("prefer")), "{allowed}");
    let answer = put(&server, &scan, b"from a browser").header("origin", "https://app.example.com").send();
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    answer.expect_verdict("clean");
}

#[test]
fn a_token_of_nobody_is_not_found() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    let mut wrong = path(&scan).to_owned();
    let last = wrong.pop().expect("a token");
    wrong.push(if last == 'A' { 'B' } else { 'A' });
    // The last letter of a token may hold spare bits: change one in the middle as well.
    let middle = wrong.len() - 10;
    wrong.replace_range(middle..=middle, if &wrong[middle..=middle] == "x" { "y" } else { "x" });
    let answer = server.anonymous("PUT", &wrong).body("stolen").send();
    assert_eq!(answer.status, 404, "{}", answer.text());
    send(&server, &scan, b"the owner still can").expect_verdict("clean");
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let sentence =
        Server::shared().post("/v1/scan").json(&json!({"webhookurl": "https://a.example"})).send().expect_error(400, "validation_error");
    assert!(sentence.contains("webhookurl"), "{sentence}");
}

#[test]
fn an_account_has_at_most_a_thousand_open() {
    let server = Options::new().start();
    let mut connection = Connection::open(server.address()).expect("a connection");
    let request = server.post("/v1/scan").json(&json!({}));
    for number in 0..1000 {
        let answer = connection.exchange(&request).expect("an answer");
        assert_eq!(answer.status, 201, "upload URL {number}: {}", answer.text());
    }
    let answer = connection.exchange(&request).expect("an answer");
    answer.expect_error(429, "rate_limited");
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn past_its_time_it_is_gone_and_the_scan_failed() {
    let server = Options::new().env("FILESAFETY_UPLOAD_URL_LIFE", "1s").env("FILESAFETY_UPLOAD_TIMEOUT", "2s").start();
    let receiver = Receiver::start();
    let scan = open(&server, &json!({"webhook_url": receiver.url()}));
    let answer = crate::support::clock::wait_for("the URL to expire", Duration::from_secs(10), || {
        let preflight = server.anonymous("PUT", path(&scan)).header("content-length", "10").header("expect", "100-continue");
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send_head(&preflight).expect("sent");
        let answer = connection.head().expect("an answer");
        (answer.status != 100).then_some(answer)
    });
    assert_eq!(answer.status, 410);
    send(&server, &scan, b"too late").expect_error(410, "upload_expired");
    let result = server.finished(scan["scan_id"].as_str().expect("an id"));
    assert_eq!(result["failure"]["code"], "upload_expired");
    assert_eq!(result["failure"]["retryable"], false);
    assert!(receiver.received().is_empty(), "that one sends no webhook");
}

#[test]
fn the_sender_may_name_the_file() {
    let server = Server::shared();
    let scan = open(&server, &json!({}));
    let bad = put(&server, &scan, b"named").header("x-file-name", "%ff.pdf").send();
    bad.expect_error(400, "validation_error");
    assert!(bad.text().contains("x-file-name"), "{}", bad.text());
    let result = put(&server, &scan, b"named").header("x-file-name", "R%C3%A9sum%C3%A9%202.pdf").send().expect_verdict("clean");
    assert_eq!(result["file"]["name"], "R\u{e9}sum\u{e9} 2.pdf");
}
