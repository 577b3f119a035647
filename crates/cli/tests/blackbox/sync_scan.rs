//! A file goes in, the verdict comes back in the same answer.

use std::time::Duration;

use ring::digest;
use serde_json::{Value, json};

use crate::support::client::Connection;
use crate::support::eicar::{self, eicar};
use crate::support::{Form, Options, Server, archives, pictures};

pub(crate) fn sha256(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    format!("sha256:{}", data_encoding::HEXLOWER.encode(hash.as_ref()))
}

#[test]
fn a_clean_file_is_clean_with_everything_said() {
    let server = Server::shared();
    let content = b"Nothing to see here, sync.";
    let answer = server.scan(content);
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let scan = answer.expect_verdict("clean");
    let id = scan["scan_id"].as_str().expect("an id");
    assert!(id.starts_with("scn_") && id.len() == 30, "{id}");
    assert_eq!(scan["status"], "complete");
    assert_eq!(scan["virus"]["clean"], true);
    assert_eq!(scan["virus"]["engine"], Value::Null);
    assert_eq!(scan["virus"]["signature"], Value::Null);
    assert_eq!(scan["nsfw"]["clean"], true);
    assert_eq!(scan["nsfw"]["applied"], false);
    assert_eq!(scan["coverage"]["complete"], true);
    assert_eq!(scan["coverage"]["objects"], 1);
    assert_eq!(scan["coverage"]["bytes"], content.len());
    assert_eq!(scan["coverage"]["unexamined"], json!([]));
    assert_eq!(scan["file_hash"], sha256(content));
    assert_eq!(scan["file"]["name"], "file.bin");
    assert_eq!(scan["file"]["size"], content.len());
    assert!(scan["file"]["type"].is_string());
    assert_eq!(scan["metadata"], Value::Null);
    assert_eq!(scan["deduplicated"], false);
    assert!(scan["created_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert!(scan["completed_at"].as_str().is_some_and(|at| at.ends_with('Z')));
}

#[test]
fn the_answer_and_the_state_are_the_same() {
    let server = Server::shared();
    let scan = server.scan(b"asked for twice").expect_verdict("clean");
    assert_eq!(server.state(scan["scan_id"].as_str().expect("an id")), scan);
}

#[test]
fn eicar_is_infected() {
    let scan = Server::shared().post("/v1/scan").form(Form::of("eicar.com", &eicar())).send().expect_verdict("infected");
    assert_eq!(scan["virus"]["clean"], false);
    assert_eq!(scan["virus"]["kind"], "malware");
    assert_eq!(scan["virus"]["engine"], "yara-x");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE);
    assert_eq!(scan["virus"]["reason"], Value::Null);
    assert_eq!(scan["virus"]["detections"][0]["signature"], eicar::SIGNATURE);
    assert_eq!(scan["status"], "complete");
}

#[test]
fn eicar_is_found_at_any_offset_of_a_file_of_any_size() {
    for offset in [1, 4096, 3_000_001] {
        let mut content = vec![b'.'; offset];
        content.extend_from_slice(&eicar());
        content.resize(content.len() + 700_000, b'.');
        let scan = Server::shared().scan(&content).expect_verdict("infected");
        assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE, "at {offset}");
    }
}

#[test]
fn the_first_half_of_eicar_is_clean() {
    Server::shared().scan(&eicar()[..33]).expect_verdict("clean");
}

#[test]
fn an_empty_file_is_clean_and_has_the_hash_of_nothing() {
    let scan = Server::shared().scan(b"").expect_verdict("clean");
    assert_eq!(scan["file_hash"], "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(scan["file"]["size"], 0);
}

#[test]
fn what_was_not_asked_for_is_null() {
    let server = Server::shared();
    let virus =
        server.post("/v1/scan").form(Form::of("a.png", pictures::PORN).text("scan_types", r#"["virus"]"#)).send().expect_verdict("clean");
    assert_eq!(virus["nsfw"], Value::Null);
    let nsfw = server.post("/v1/scan").form(Form::of("a.com", &eicar()).text("scan_types", r#"["nsfw"]"#)).send().expect_verdict("clean");
    assert_eq!(nsfw["virus"], Value::Null);
}

#[test]
fn a_virus_and_an_unsafe_picture_are_mixed() {
    let content = archives::zip(&[archives::Member::stored("a.com", &eicar()), archives::Member::stored("b.png", pictures::PORN)]);
    let scan = Server::shared().scan(&content).expect_verdict("mixed");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE);
    assert_eq!(scan["nsfw"]["clean"], false);
}

#[test]
fn metadata_comes_back_as_it_was_sent() {
    let metadata =
        r#"{"zebra":1,"id":9223372036854775807,"big":18446744073709551615,"exact":1.10,"apple":{"b":[1,2],"a":null},"text":"ü\u0000"}"#;
    let server = Server::shared();
    let answer = server.post("/v1/scan").form(Form::of("a.txt", b"with metadata").text("metadata", metadata)).send();
    answer.expect_verdict("clean");
    for text in [answer.text(), server.get(&format!("/v1/scan/{}", answer.scan_id())).text()] {
        for verbatim in [r#""id":9223372036854775807"#, r#""big":18446744073709551615"#, r#""exact":1.10"#] {
            assert!(text.contains(verbatim), "{verbatim} in {text}");
        }
        let order: Vec<_> = ["\"zebra\"", "\"big\"", "\"exact\"", "\"apple\""].iter().map(|key| text.find(key).expect("the key")).collect();
        assert!(order.is_sorted(), "key order kept in {text}");
        assert!(text.find("\"b\":[").expect("b") < text.find("\"a\":null").expect("a"));
    }
}

#[test]
fn parts_come_in_any_order() {
    let form = Form::new().text("metadata", r#"{"n":1}"#).file("last.txt", b"parts in any order").text("scan_types", r#"["virus"]"#);
    let scan = Server::shared().post("/v1/scan").form(form).send().expect_verdict("clean");
    assert_eq!(scan["metadata"]["n"], 1);
    assert_eq!(scan["nsfw"], Value::Null);
}

#[test]
fn a_name_is_cut_and_never_a_path() {
    let server = Server::shared();
    let long = format!("{}.txt", "n".repeat(400));
    let scan = server.post("/v1/scan").form(Form::of(&long, b"a long name")).send().expect_verdict("clean");
    assert_eq!(scan["file"]["name"].as_str().map(|name| name.chars().count()), Some(255));
    let scan = server.post("/v1/scan").form(Form::of("../../../../etc/cron.d/evil", b"a climbing name")).send().expect_verdict("clean");
    assert!(scan["file"]["name"].as_str().is_some_and(|name| name.ends_with("evil")));
    assert!(!server.options().folder().join("../etc/cron.d/evil").exists());
}

#[test]
fn the_type_comes_from_the_content() {
    let scan = Server::shared().post("/v1/scan").form(Form::of("report.txt", pictures::SEXY)).send().expect_verdict("clean");
    assert_eq!(scan["file"]["type"], "image/png");
}

#[test]
fn prefer_respond_async_answers_at_once() {
    let server = Server::shared();
    let answer = server.post("/v1/scan").header("prefer", "respond-async").form(Form::of("a.txt", b"no hurry")).send();
    let body = answer.expect(202);
    assert_eq!(body["status"], "pending");
    assert_eq!(server.finished(&answer.scan_id())["verdict"], "clean");
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let server = Server::shared();
    let form = Form::of("a.txt", b"after a hundred").finish();
    let request = server
        .post("/v1/scan")
        .header("content-type", &Form::content_type())
        .header("content-length", &form.len().to_string())
        .header("expect", "100-continue");
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request).expect("sent");
    assert_eq!(connection.head().expect("an interim answer").status, 100);
    connection.write(&form).expect("sent");
    connection.answer().expect("an answer").expect_verdict("clean");
}

#[test]
fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = Server::shared();
    let head = |request: crate::support::Request| {
        let request = request.header("content-type", &Form::content_type()).header("expect", "100-continue");
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send_head(&request).expect("sent");
        connection.set_patience(Duration::from_secs(5));
        connection.answer().expect("an answer without a body sent")
    };
    let answer = head(server.anonymous("POST", "/v1/scan").key("fs_live_nobody_has_this_key_at_all").header("content-length", "1000000"));
    assert!(answer.interim.is_empty());
    answer.expect_error(401, "invalid_api_key");
    let answer = head(server.post("/v1/scan").header("content-length", "99999999999"));
    assert!(answer.interim.is_empty());
    answer.expect_error(413, "file_too_large");
}

#[test]
fn a_connection_carries_many_scans() {
    let server = Server::shared();
    let mut connection = Connection::open(server.address()).expect("a connection");
    for number in 0..50 {
        let request = server.post("/v1/scan").form(Form::of("a.txt", format!("file {number} of a connection").as_bytes()));
        connection.exchange(&request).expect("an answer").expect_verdict("clean");
    }
}

#[test]
fn past_the_time_to_wait_it_goes_on_without_the_client() {
    let server = Options::new().env("FILESAFETY_SYNC_WAIT", "50ms").start();
    let member = archives::Member::deflated("text", &b"busy ".repeat(2_000_000));
    let slow = archives::zip(&vec![member; 24]);
    let answer = server.scan(&slow);
    assert_eq!(answer.expect(202)["status"], "scanning");
    assert_eq!(server.finished(&answer.scan_id())["verdict"], "clean");
}
