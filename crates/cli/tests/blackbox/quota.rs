//! The monthly quota: counted once for each accepted file, given back for a failed scan.

use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::clock::wait_for;
use crate::support::{Answer, Form, Options, Server};

fn scan(server: &Server, account: &Account, content: &[u8]) -> Answer {
    account.request(server, "POST", "/v1/scan").form(Form::of("a", content)).send()
}

fn usage(server: &Server, account: &Account) -> Value {
    account.request(server, "GET", "/v1/usage").send().expect(200)
}

/// An account with a quota that the running server knows of.
fn account_with(server: &Server, arguments: &[&str], quota: &Value) -> Account {
    let account = Account::create(server.options());
    account.set(server.options(), arguments);
    wait_for("the change to be in effect", std::time::Duration::from_secs(4), || {
        (usage(server, &account)["scans_quota"] == *quota).then_some(())
    });
    account
}

#[test]
fn an_account_without_quota_counts_all_the_same() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let before = usage(&server, &account);
    assert_eq!(before["scans_used"], 0);
    assert_eq!(before["scans_quota"], Value::Null);
    assert_eq!(before["overage_scans"], 0);
    assert!(before["plan"].is_string());
    assert!(before["period_ends"].as_str().is_some_and(|end| end.contains("-01T00:00:00")), "{before}");
    scan(&server, &account, b"counted").expect_verdict("clean");
    assert_eq!(scan(&server, &account, b"counted").expect_verdict("clean")["deduplicated"], true);
    assert_eq!(usage(&server, &account)["scans_used"], 2);
}

#[test]
fn past_it_nothing_is_accepted() {
    let server = Server::shared();
    let account = account_with(&server, &["--quota", "2", "--overage", "refuse"], &json!(2));
    scan(&server, &account, b"one").expect_verdict("clean");
    scan(&server, &account, b"two").expect_verdict("clean");
    let refused = scan(&server, &account, b"three");
    refused.expect_error(429, "quota_exceeded");
    assert!(refused.header("retry-after").is_some());
    account.request(&server, "POST", "/v1/scan/async").form(Form::of("a", b"four")).send().expect_error(429, "quota_exceeded");
    assert_eq!(usage(&server, &account)["scans_used"], 2);
    assert_eq!(account.request(&server, "GET", "/v1/scans").send().expect(200)["scans"].as_array().map(Vec::len), Some(2));
}

#[test]
fn overage_is_allowed_where_the_account_says_so() {
    let server = Server::shared();
    let account = account_with(&server, &["--quota", "1", "--overage", "allow"], &json!(1));
    scan(&server, &account, b"within").expect_verdict("clean");
    scan(&server, &account, b"beyond").expect_verdict("clean");
    assert_eq!(usage(&server, &account)["overage_scans"], 1);
}

#[test]
fn refusals_count_nothing() {
    let server = Server::shared();
    let account = Account::create(server.options());
    account
        .request(&server, "POST", "/v1/scan")
        .form(Form::of("a", b"x").text("metadata", "[]"))
        .send()
        .expect_error(400, "validation_error");
    assert_eq!(usage(&server, &account)["scans_used"], 0);
}

#[test]
fn a_failed_scan_is_given_back() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let body = json!({"url": "http://127.0.0.1:9/nobody"});
    account.request(&server, "POST", "/v1/scan").json(&body).send().expect_error(422, "fetch_failed");
    assert_eq!(usage(&server, &account)["scans_used"], 0);
}

#[test]
fn racers_never_pass_it() {
    let server = Server::shared();
    let account = account_with(&server, &["--quota", "5", "--overage", "refuse"], &json!(5));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..20)
            .map(|number| {
                let (server, account) = (&server, &account);
                scope.spawn(move || scan(server, account, format!("racer {number}").as_bytes()).status)
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 429).count(), 15, "{statuses:?}");
}

#[test]
fn an_open_upload_url_counts_when_its_bytes_come() {
    let server = Options::new().start();
    server.post("/v1/scan").json(&json!({})).send().expect(201);
    assert_eq!(server.get("/v1/usage").expect(200)["scans_used"], 0);
}
