//! Who may do what: keys, and walls between accounts.

use std::time::Duration;

use crate::support::account::{Account, create_key, expect_success};
use crate::support::clock::wait_for;
use crate::support::{Form, Options, Receiver, Server};

#[test]
fn without_a_valid_key_there_is_one_answer() {
    let server = Server::shared();
    let mut sentences = Vec::new();
    sentences.push(server.anonymous("GET", "/v1/usage").send().expect_error(401, "invalid_api_key"));
    for key in [
        "",
        "nonsense",
        "fs_live_",
        "fs_live_short",
        "fs_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "fs_test_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        sentences.push(server.anonymous("GET", "/v1/usage").key(key).send().expect_error(401, "invalid_api_key"));
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
}

#[test]
fn every_call_that_needs_a_key_asks_for_it() {
    let server = Server::shared();
    for (method, target) in [
        ("POST", "/v1/scan"),
        ("POST", "/v1/scan/async"),
        ("GET", "/v1/scan/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("DELETE", "/v1/scan/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("GET", "/v1/scans"),
        ("GET", "/v1/scan/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV/deliveries"),
        ("POST", "/v1/scan/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV/redeliver"),
        ("POST", "/v1/webhooks/test"),
        ("GET", "/v1/usage"),
        ("GET", "/v1/events"),
    ] {
        let answer = server.anonymous(method, target).send();
        assert_eq!(answer.status, 401, "{method} {target}: {}", answer.text());
        answer.expect_error(401, "invalid_api_key");
    }
}

#[test]
fn the_scan_of_another_account_is_not_there() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let id = server.scan(b"behind a wall").scan_id();
    let theirs = |method: &str, target: String| account.request(&server, method, &target).send();
    let nobody = server.get("/v1/scan/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV").expect_error(404, "scan_not_found");
    assert_eq!(theirs("GET", format!("/v1/scan/{id}")).expect_error(404, "scan_not_found"), nobody);
    theirs("DELETE", format!("/v1/scan/{id}")).expect_error(404, "scan_not_found");
    theirs("GET", format!("/v1/scan/{id}/deliveries")).expect_error(404, "scan_not_found");
    theirs("POST", format!("/v1/scan/{id}/redeliver")).expect_error(404, "scan_not_found");
    let list = theirs("GET", "/v1/scans".to_owned()).expect(200);
    assert_eq!(list["scans"].as_array().map(Vec::len), Some(0));
    server.state(&id);
}

#[test]
fn a_malformed_id_is_not_found() {
    let server = Server::shared();
    for id in [
        "scn_",
        "scn_1",
        "nonsense",
        "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "scn_81ARZ3NDEKTSV4RRFFQ69G5FAV",
        "scn_01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "%00",
        "..%2f..%2fetc",
    ] {
        let answer = server.get(&format!("/v1/scan/{id}"));
        assert_eq!(answer.status, 404, "{id}: {}", answer.text());
    }
}

#[test]
fn a_revoked_key_ends_within_two_seconds_and_never_comes_back() {
    let server = Options::new().start();
    let options = server.options().clone();
    let account = Account::create(&options);
    let usage = || account.request(&server, "GET", "/v1/usage").send().status;
    wait_for("the key to work", Duration::from_secs(2), || (usage() == 200).then_some(()));
    let list = expect_success(&options.run(&["keys", "list"]));
    let prefix = account.key[..16].to_owned();
    assert!(list.contains(&prefix[..12]), "{list}");
    assert!(!list.contains(&account.key), "a list never shows a key");
    let shown = list
        .split_whitespace()
        .find(|word| word.trim_end_matches('…').len() > 8 && account.key.starts_with(word.trim_end_matches('…')))
        .expect("its prefix");
    expect_success(&options.run(&["keys", "revoke", shown.trim_end_matches('…')]));
    wait_for("the key to end", Duration::from_secs(2), || (usage() == 401).then_some(()));
    drop(server);
    let output = options.env("FILESAFETY_API_KEY", &account.key).refused();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("revoked") && !said.contains(&account.key), "{said}");
}

#[test]
fn a_new_key_works_while_the_server_runs() {
    let server = Server::shared();
    let key = create_key(server.options(), "default");
    wait_for("the key to work", Duration::from_secs(2), || {
        (server.anonymous("GET", "/v1/usage").key(&key).send().status == 200).then_some(())
    });
}

#[test]
fn an_account_may_have_a_webhook_url_of_its_own() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let receiver = Receiver::start();
    account.set(server.options(), &["--webhook-url", &receiver.url()]);
    let mut number = 0;
    wait_for("a scan with the account's webhook", Duration::from_secs(10), || {
        number += 1;
        account
            .request(&server, "POST", "/v1/scan")
            .form(Form::of("a", format!("own webhook {number}").as_bytes()))
            .send()
            .expect_verdict("clean");
        (!receiver.received().is_empty()).then_some(())
    });
}

#[test]
fn bad_account_commands_say_what_is_wrong() {
    let options = Options::new();
    for arguments in [
        ["accounts", "create", ""].as_slice(),
        &["accounts", "set", "nobody", "--quota", "1"],
        &["accounts", "set", "default", "--quota", "minus"],
        &["accounts", "set", "default", "--overage", "maybe"],
        &["keys", "create", "--account", "nobody", "--name", "n"],
        &["keys", "revoke", "nothing-like-it"],
    ] {
        let output = options.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
