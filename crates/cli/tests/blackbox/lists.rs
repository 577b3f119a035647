//! `GET /v1/scans`: everything an account has scanned, by every filter.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::eicar::eicar;
use crate::support::{Form, Options, Server};
use crate::sync_scan::sha256;

fn list(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/v1/scans?{query}")).expect(200)["scans"].as_array().expect("a list").clone()
}

#[test]
fn the_newest_comes_first_and_pages_miss_nothing() {
    let server = Options::new().start();
    let ids: Vec<String> = (0..25).map(|number| server.scan(format!("page {number}").as_bytes()).scan_id()).collect();
    let mut seen = Vec::new();
    let mut query = "limit=7".to_owned();
    loop {
        let page = server.get(&format!("/v1/scans?{query}")).expect(200);
        seen.extend(page["scans"].as_array().expect("a list").iter().map(|scan| scan["scan_id"].as_str().expect("an id").to_owned()));
        // What arrives meanwhile shifts no page.
        server.scan(format!("meanwhile {}", seen.len()).as_bytes()).expect_verdict("clean");
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=7&cursor={cursor}");
    }
    let expected: Vec<String> = ids.into_iter().rev().collect();
    assert_eq!(seen, expected);
}

#[test]
fn twenty_a_page_unless_asked_otherwise() {
    let server = Options::new().start();
    for number in 0..22 {
        server.scan(format!("of twenty {number}").as_bytes()).expect_verdict("clean");
    }
    let page = server.get("/v1/scans").expect(200);
    assert_eq!(page["scans"].as_array().map(Vec::len), Some(20));
    assert!(page["next_cursor"].is_string());
    assert_eq!(server.get("/v1/scans?limit=100").expect(200)["next_cursor"], Value::Null);
}

#[test]
fn filters_select_and_combine() {
    let server = Options::new().start();
    let with = |content: &[u8], metadata: &Value| {
        server.post("/v1/scan").form(Form::of("a", content).text("metadata", &metadata.to_string())).send().scan_id()
    };
    let bad = with(&eicar(), &json!({"team": "red", "count": 7, "flag": true}));
    let good = with(b"good", &json!({"team": "blue", "count": 8}));
    let waiting = server.post("/v1/scan").json(&json!({})).send().scan_id();
    let ids =
        |query: &str| list(&server, query).iter().map(|scan| scan["scan_id"].as_str().expect("an id").to_owned()).collect::<HashSet<_>>();
    let of = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<HashSet<_>>();
    assert_eq!(ids("verdict=infected"), of(&[&bad]));
    assert_eq!(ids("verdict=clean"), of(&[&good]));
    assert_eq!(ids("status=awaiting_upload"), of(&[&waiting]));
    assert_eq!(ids("status=complete"), of(&[&bad, &good]));
    let hash = sha256(b"good");
    assert_eq!(ids(&format!("file_hash={hash}")), of(&[&good]));
    assert_eq!(ids(&format!("file_hash={}", hash.trim_start_matches("sha256:"))), of(&[&good]));
    assert_eq!(ids("metadata.team=red"), of(&[&bad]));
    assert_eq!(ids("metadata.count=8"), of(&[&good]));
    assert_eq!(ids("metadata.flag=true"), of(&[&bad]));
    assert_eq!(ids("metadata.team=red&verdict=clean"), of(&[]));
    assert_eq!(ids("metadata.team=red&metadata.count=7"), of(&[&bad]));
    assert_eq!(ids("metadata.team=r%65d"), of(&[&bad]));
}

#[test]
fn since_is_inclusive_and_until_exclusive() {
    let server = Options::new().start();
    let scan = server.scan(b"in time").expect_verdict("clean");
    let at = scan["created_at"].as_str().expect("a time");
    assert_eq!(list(&server, &format!("since={at}")).len(), 1);
    assert_eq!(list(&server, &format!("until={at}")).len(), 0);
    assert_eq!(list(&server, "since=2000-01-01T00:00:00Z&until=2999-01-01T00:00:00%2B02:00").len(), 1);
}

#[test]
fn a_wrong_query_is_refused_by_name() {
    let server = Server::shared();
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("verdict=good", "verdict"),
        ("status=done", "status"),
        ("file_hash=abc", "file_hash"),
        ("since=yesterday", "since"),
        ("until=2020-13-01T00:00:00Z", "until"),
        ("cursor=%00", "cursor"),
        ("cursor=bm90LWEtY3Vyc29y", "cursor"),
        ("colour=red", "colour"),
    ] {
        let sentence = server.get(&format!("/v1/scans?{query}")).expect_error(400, "validation_error");
        assert!(sentence.contains(name), "{query}: {sentence}");
    }
}
