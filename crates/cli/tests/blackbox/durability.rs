//! What was answered is kept, and what was judged is deleted.

use std::fs;
use std::time::Duration;

use crate::support::account::expect_success;
use crate::support::archives::Zeros;
use crate::support::client::Connection;
use crate::support::clock::wait_for;
use crate::support::data::{any_file_contains, uploads_in};
use crate::support::eicar::eicar;
use crate::support::{Form, Options, Receiver, Server};

#[test]
fn an_answered_verdict_outlives_a_crash() {
    let mut options = Options::new();
    for round in 0..5 {
        let server = options.start();
        let scan = server.scan(format!("{round} before the crash").as_bytes()).expect_verdict("clean");
        options = server.kill();
        let server = options.start();
        let state = server.state(scan["scan_id"].as_str().expect("an id"));
        assert_eq!(state["verdict"], "clean");
        options = server.kill();
    }
}

#[test]
fn an_accepted_file_outlives_a_crash() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    let ids: Vec<String> = (0..10)
        .map(|number| {
            let content = [eicar(), format!("{number}").into_bytes()].concat();
            let answer = server.post("/v1/scan/async").form(Form::of("a", &content).text("webhook_url", &receiver.url())).send();
            answer.expect(202);
            answer.scan_id()
        })
        .collect();
    let server = server.kill().start();
    for id in &ids {
        assert_eq!(server.finished(id)["verdict"], "infected");
        wait_for("its webhook", Duration::from_secs(20), || (!receiver.of_scan(id).is_empty()).then_some(()));
    }
    assert_eq!(uploads_in(&server.options().data()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn no_upload_stays_and_none_is_readable_while_it_waits() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").start();
    let mark = b"a-mark-in-the-content-of-an-upload-5d0b".repeat(3000);
    for _ in 0..6 {
        let answer = server.post("/v1/scan/async").header("cache-control", "no-cache").form(Form::of("a", &mark)).send();
        answer.expect(202);
    }
    assert!(!any_file_contains(&server.options().data(), b"a-mark-in-the-content-of-an-upload-5d0b"), "uploads are encrypted");
    wait_for("every upload to go", Duration::from_secs(20), || uploads_in(&server.options().data()).is_empty().then_some(()));
}

#[test]
fn a_broken_upload_leaves_nothing() {
    let server = Options::new().start();
    let body = Form::of("a", &vec![b'.'; 3 << 20]).unfinished();
    let request = server.post("/v1/scan/async").header("content-type", &Form::content_type()).header("content-length", "99999999");
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request).expect("sent");
    connection.write(&body).expect("sent");
    drop(connection);
    wait_for("what it left to go", Duration::from_secs(10), || uploads_in(&server.options().data()).is_empty().then_some(()));
    assert_eq!(server.get("/v1/scans").expect(200)["scans"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_large_file_comes_through_whole() {
    let server = Server::shared();
    let mut content = vec![0; 40 << 20];
    for (index, chunk) in content.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    let end = content.len();
    content[end - 68..].copy_from_slice(&eicar());
    let answer = server.post("/v1/scan/async").form(Form::of("large.bin", &content)).send();
    answer.expect(202);
    let scan = server.finished(&answer.scan_id());
    assert_eq!(scan["verdict"], "infected");
    assert_eq!(scan["file_hash"], crate::sync_scan::sha256(&content));
}

#[test]
fn a_backup_works_while_serving_and_is_whole() {
    let server = Options::new().start();
    server.scan(b"backed up").expect_verdict("clean");
    let options = server.options().clone();
    let copy = options.folder().join("copy.db");
    expect_success(&options.run(&["backup", &copy.to_string_lossy()]));
    server.scan(b"still serving").expect_verdict("clean");
    assert!(fs::metadata(&copy).expect("a copy").len() > 0);
    let again = options.run(&["backup", &copy.to_string_lossy()]);
    assert!(!again.status.success(), "it never overwrites");
}

#[test]
fn a_scan_goes_on_when_its_client_has_gone() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    // Small enough to be held in memory, and long to judge.
    let slow = Zeros::mebibytes(400).gzip();
    let body = Form::of("slow.gz", &slow).text("webhook_url", &receiver.url()).finish();
    let request = server.post("/v1/scan").header("content-type", &Form::content_type()).header("content-length", &body.len().to_string());
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request.header("expect", "100-continue")).expect("sent");
    assert_eq!(connection.head().expect("an interim answer").status, 100);
    connection.write(&body).expect("sent");
    assert!(!connection.has_answer(Duration::from_millis(100)), "it was too quick to be left");
    drop(connection);
    let event = receiver.one().event();
    let scan = server.finished(event["scan_id"].as_str().expect("an id"));
    assert_eq!(scan["verdict"], "clean");
    wait_for("what was written out to go", Duration::from_secs(10), || uploads_in(&server.options().data()).is_empty().then_some(()));
}
