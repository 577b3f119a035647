//! `DELETE /v1/scan/{id}`: everything about a scan is gone.

use std::time::Duration;

use crate::support::archives::{Member, zip};
use crate::support::client::Connection;
use crate::support::clock::{holds_for, wait_for};
use crate::support::data::any_file_contains;
use crate::support::{Form, Options, Receiver, Reply, Server};

#[test]
fn it_is_gone_for_every_call() {
    let server = Server::shared();
    let id = server.scan(b"to be deleted").scan_id();
    let answer = server.request("DELETE", &format!("/v1/scan/{id}")).send();
    assert_eq!(answer.status, 204);
    assert!(answer.body.is_empty());
    server.get(&format!("/v1/scan/{id}")).expect_error(404, "scan_not_found");
    server.get(&format!("/v1/scan/{id}/deliveries")).expect_error(404, "scan_not_found");
    server.post(&format!("/v1/scan/{id}/redeliver")).send().expect_error(404, "scan_not_found");
    server.request("DELETE", &format!("/v1/scan/{id}")).send().expect_error(404, "scan_not_found");
}

#[test]
fn an_id_of_nobody_is_not_found() {
    let server = Server::shared();
    server.request("DELETE", "/v1/scan/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV").send().expect_error(404, "scan_not_found");
}

#[test]
fn its_retries_are_cancelled() {
    let server = Options::new().start();
    let receiver = Receiver::replying([Reply::Status(500), Reply::Status(500), Reply::Status(500), Reply::Status(500)]);
    let form = Form::of("a", b"deleted between attempts").text("webhook_url", &receiver.url());
    let id = server.post("/v1/scan").form(form).send().scan_id();
    receiver.one();
    wait_for("the attempt to be over", Duration::from_secs(10), || {
        (server.request("DELETE", &format!("/v1/scan/{id}")).send().status == 204).then_some(())
    });
    let before = receiver.received().len();
    holds_for("no further attempt", Duration::from_secs(3), || receiver.received().len() == before);
}

#[test]
fn nothing_of_it_stays_on_the_disk() {
    let server = Options::new().start();
    let mark = "a-mark-that-must-not-stay-7c1e";
    let receiver = Receiver::start();
    let form = Form::of(&format!("{mark}.txt"), b"deleted from the disk")
        .text("metadata", &format!(r#"{{"mark":"{mark}"}}"#))
        .text("webhook_url", &receiver.url());
    let id = server.post("/v1/scan").form(form).send().scan_id();
    server.with_webhook(&id, "delivered", Duration::from_secs(10));
    assert_eq!(server.request("DELETE", &format!("/v1/scan/{id}")).send().status, 204);
    // An orderly end folds the write-ahead log into the file.
    let options = server.options().clone();
    let mut server = server;
    server.terminate();
    server.wait_for_end(Duration::from_secs(20));
    assert!(!any_file_contains(&options.data(), mark.as_bytes()));
}

#[test]
fn a_scan_that_runs_is_a_conflict() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").start();
    let member = Member::deflated("text", &b"busy ".repeat(2_000_000));
    let slow = zip(&vec![member; 24]);
    let id = server.post("/v1/scan/async").form(Form::of("slow.zip", &slow)).send().scan_id();
    let mut connection = Connection::open(server.address()).expect("a connection");
    let delete = server.request("DELETE", &format!("/v1/scan/{id}"));
    wait_for("the scan to run", Duration::from_secs(20), || {
        let state = connection.exchange(&server.request("GET", &format!("/v1/scan/{id}"))).expect("an answer").expect(200);
        assert_ne!(state["status"], "complete", "it was too quick to be met running");
        (state["status"] == "scanning").then_some(())
    });
    connection.exchange(&delete).expect("an answer").expect_error(409, "scan_in_progress");
    server.finished(&id);
    assert_eq!(connection.exchange(&delete).expect("an answer").status, 204);
}
