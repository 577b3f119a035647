//! `Idempotency-Key`: a repeat is no second scan.

use std::time::Duration;

use serde_json::json;

use crate::support::account::Account;
use crate::support::client::Connection;
use crate::support::clock::wait_for;
use crate::support::{Answer, Form, Options, Receiver, Server};

fn scan(server: &Server, key: &str, form: Form) -> Answer {
    server.post("/v1/scan").header("idempotency-key", key).form(form).send()
}

#[test]
fn a_repeat_answers_with_the_same_scan() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    let form = Form::of("a.txt", b"only once").text("webhook_url", &receiver.url());
    let first = scan(&server, "only-once", form.clone());
    assert_eq!(first.header("idempotent-replayed"), None);
    first.expect_verdict("clean");
    server.with_webhook(&first.scan_id(), "delivered", Duration::from_secs(10));
    let second = scan(&server, "only-once", form);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.expect_verdict("clean")["scan_id"], first.scan_id());
    assert_eq!(server.get("/v1/usage").expect(200)["scans_used"], 1);
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn other_bytes_or_fields_are_a_conflict() {
    let server = Server::shared();
    scan(&server, "bytes-or-fields", Form::of("a.txt", b"these bytes")).expect_verdict("clean");
    scan(&server, "bytes-or-fields", Form::of("a.txt", b"other bytes")).expect_error(409, "idempotency_conflict");
    let fields = Form::of("a.txt", b"these bytes").text("metadata", r#"{"other":1}"#);
    scan(&server, "bytes-or-fields", fields).expect_error(409, "idempotency_conflict");
}

#[test]
fn a_repeat_while_the_first_uploads_is_told_so() {
    let server = Server::shared();
    let body = Form::of("a.txt", b"slowly uploaded").finish();
    let request = server
        .post("/v1/scan")
        .header("idempotency-key", "still-uploading")
        .header("content-type", &Form::content_type())
        .header("content-length", &body.len().to_string())
        .header("expect", "100-continue");
    let mut first = Connection::open(server.address()).expect("a connection");
    first.send_head(&request).expect("sent");
    // The server asks for the body: it knows of the first.
    assert_eq!(first.head().expect("an interim answer").status, 100);
    first.write(&body[..60]).expect("sent");
    let repeat = scan(&server, "still-uploading", Form::of("a.txt", b"slowly uploaded"));
    repeat.expect_error(409, "idempotency_in_progress");
    first.write(&body[60..]).expect("sent");
    first.answer().expect("an answer").expect_verdict("clean");
    assert_eq!(scan(&server, "still-uploading", Form::of("a.txt", b"slowly uploaded")).header("idempotent-replayed"), Some("true"));
}

#[test]
fn a_refusal_is_not_remembered() {
    let server = Server::shared();
    scan(&server, "refused-first", Form::of("a.txt", b"x").text("metadata", "[]")).expect_error(400, "validation_error");
    let answer = scan(&server, "refused-first", Form::of("a.txt", b"x"));
    assert_eq!(answer.header("idempotent-replayed"), None);
    answer.expect_verdict("clean");
}

#[test]
fn an_upload_that_broke_is_not_remembered() {
    let server = Server::shared();
    let request = server
        .post("/v1/scan")
        .header("idempotency-key", "broken-first")
        .header("content-type", &Form::content_type())
        .header("content-length", "5000");
    let mut broken = Connection::open(server.address()).expect("a connection");
    broken.send_head(&request).expect("sent");
    broken.write(b"--").expect("sent");
    drop(broken);
    wait_for("the broken upload to be forgotten", Duration::from_secs(10), || {
        let answer = scan(&server, "broken-first", Form::of("a.txt", b"whole"));
        (answer.status == 200).then_some(())
    });
}

#[test]
fn it_holds_for_every_way_in() {
    let server = Server::shared();
    let open = || server.post("/v1/scan").header("idempotency-key", "an-upload-url").json(&json!({"metadata": {"a": 1}})).send();
    let (first, second) = (open(), open());
    let invitation = first.expect(201);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.expect(201), invitation, "the same URL once more: the first answer may never have arrived");
    let url = invitation["upload_url"].as_str().expect("a URL");
    let target = &url[url.find("/v1/").expect("a path")..];
    server.anonymous("PUT", target).body("by the repeated URL").send().expect_verdict("clean");
    assert_eq!(open().expect_verdict("clean")["scan_id"], invitation["scan_id"], "and then what the scan is");
    let later = || server.post("/v1/scan/async").header("idempotency-key", "an-async-scan").form(Form::of("a", b"async, once")).send();
    let (first, second) = (later(), later());
    assert_eq!(first.scan_id(), second.scan_id());
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
}

#[test]
fn keys_belong_to_an_account() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let first = scan(&server, "whose-key", Form::of("a", b"mine"));
    let other = account.request(&server, "POST", "/v1/scan").header("idempotency-key", "whose-key").form(Form::of("a", b"theirs")).send();
    other.expect_verdict("clean");
    assert_ne!(first.scan_id(), other.scan_id());
}

#[test]
fn a_malformed_key_is_refused() {
    let server = Server::shared();
    for key in ["", &"k".repeat(256), "tab\there", "\u{fc}"] {
        scan(&server, key, Form::of("a", b"x")).expect_error(400, "validation_error");
    }
    scan(&server, &"k".repeat(255), Form::of("a", b"x")).expect_verdict("clean");
}

#[test]
fn it_outlives_a_restart() {
    let server = Options::new().start();
    let first = scan(&server, "across-a-crash", Form::of("a", b"before the crash"));
    first.expect_verdict("clean");
    let server = server.kill().start();
    let second = scan(&server, "across-a-crash", Form::of("a", b"before the crash"));
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.scan_id(), first.scan_id());
}

#[test]
fn racers_with_one_key_make_one_scan() {
    let server = Options::new().start();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| scan(&server, "racers", Form::of("a", b"a race")))).collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
    });
    for answer in &answers {
        assert!(answer.status == 200 || (answer.status == 409 && answer.json()["code"] == "idempotency_in_progress"), "{}", answer.text());
    }
    assert_eq!(server.get("/v1/scans").expect(200)["scans"].as_array().map(Vec::len), Some(1));
}
