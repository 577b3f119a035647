//! A scan that nobody waits for still ends, and says so.

use std::time::Duration;

use serde_json::json;

use crate::support::eicar::eicar;
use crate::support::{Form, Receiver, Server, Site};

#[test]
fn it_is_accepted_at_once_and_finishes() {
    let server = Server::shared();
    let answer = server.post("/v1/scan/async").form(Form::of("eicar.com", &eicar())).send();
    let body = answer.expect(202);
    assert_eq!(body["status"], "pending");
    assert!(body["eta_seconds"].is_number(), "{body}");
    let scan = server.finished(&answer.scan_id());
    assert_eq!(scan["verdict"], "infected");
    assert_eq!(scan["file"]["name"], "eicar.com");
}

#[test]
fn its_webhook_says_what_its_state_says() {
    let server = Server::shared();
    let receiver = Receiver::start();
    let form = Form::of("a.txt", b"asynchronous").text("webhook_url", &receiver.url()).text("metadata", r#"{"upload_id":"upl_456"}"#);
    let answer = server.post("/v1/scan/async").form(form).send();
    answer.expect(202);
    let event = receiver.one().event();
    let scan = server.finished(&answer.scan_id());
    assert_eq!(event["scan_id"], scan["scan_id"]);
    for same in ["verdict", "virus", "nsfw", "file_hash", "metadata", "completed_at"] {
        assert_eq!(event[same], scan[same], "{same}");
    }
    server.with_webhook(&answer.scan_id(), "delivered", Duration::from_secs(5));
}

#[test]
fn a_url_is_fetched_later() {
    let server = Server::shared();
    let site = Site::of(eicar());
    let answer = server.post("/v1/scan/async").json(&json!({"url": site.url("/files/eicar.com")})).send();
    assert_eq!(answer.expect(202)["status"], "pending");
    assert_eq!(server.finished(&answer.scan_id())["verdict"], "infected");
}

#[test]
fn without_a_file_it_gives_an_upload_url() {
    let body = Server::shared().post("/v1/scan/async").json(&json!({})).send().expect(201);
    assert_eq!(body["status"], "awaiting_upload");
    assert!(body["upload_url"].is_string());
}

#[test]
fn a_missing_file_is_refused() {
    let sentence =
        Server::shared().post("/v1/scan/async").form(Form::new().text("metadata", "{}")).send().expect_error(400, "validation_error");
    assert!(sentence.contains("file"), "{sentence}");
}
