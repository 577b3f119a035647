//! The same bytes twice are judged once, within an account and only where nothing differs.

use crate::support::account::Account;
use crate::support::eicar::eicar;
use crate::support::{Form, Options, Server};

#[test]
fn the_same_bytes_are_judged_once() {
    let server = Server::shared();
    let content = [eicar(), b" the same bytes".to_vec()].concat();
    let first = server.post("/v1/scan").form(Form::of("a.com", &content).text("metadata", r#"{"n":1}"#)).send().expect_verdict("infected");
    let second = server.post("/v1/scan").form(Form::of("b.com", &content).text("metadata", r#"{"n":2}"#)).send().expect_verdict("infected");
    assert_eq!(first["deduplicated"], false);
    assert_eq!(second["deduplicated"], true);
    assert_ne!(first["scan_id"], second["scan_id"]);
    assert_eq!(second["file"]["name"], "b.com");
    assert_eq!(second["metadata"]["n"], 2);
    assert_eq!(first["virus"], second["virus"]);
    assert_eq!(first["coverage"], second["coverage"]);
}

#[test]
fn no_cache_forces_a_scan() {
    let server = Server::shared();
    let form = Form::of("a.txt", b"no cache");
    server.post("/v1/scan").form(form.clone()).send().expect_verdict("clean");
    let again = server.post("/v1/scan").header("cache-control", "no-cache").form(form).send().expect_verdict("clean");
    assert_eq!(again["deduplicated"], false);
}

#[test]
fn other_scan_types_are_another_question() {
    let server = Server::shared();
    let form = Form::of("a.txt", b"other types");
    server.post("/v1/scan").form(form.clone().text("scan_types", r#"["nsfw"]"#)).send().expect_verdict("clean");
    let all = server.post("/v1/scan").form(form).send().expect_verdict("clean");
    assert_eq!(all["deduplicated"], false);
    assert!(all["virus"].is_object());
}

#[test]
fn another_account_shares_nothing() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let form = Form::of("a.txt", b"between accounts");
    server.post("/v1/scan").form(form.clone()).send().expect_verdict("clean");
    let other = account.request(&server, "POST", "/v1/scan").form(form).send().expect_verdict("clean");
    assert_eq!(other["deduplicated"], false);
}

#[test]
fn another_policy_is_another_question() {
    let options = Options::new();
    let archive = crate::support::archives::zip(&[crate::support::archives::Member::stored("a", b"secret").encrypted(b"x")]);
    let server = options.start();
    server.scan(&archive).expect_verdict("infected");
    let options = server.kill().env("FILESAFETY_POLICY", "balanced");
    let scan = options.start().scan(&archive).expect_verdict("clean");
    assert_eq!(scan["deduplicated"], false);
}

#[test]
fn new_rules_are_another_question() {
    let options = Options::new();
    let rules = options.folder().join("rules");
    std::fs::create_dir(&rules).expect("a folder");
    let options = options.env("FILESAFETY_RULES_DIR", &rules.to_string_lossy());
    let server = options.start();
    let content = b"this text is forbidden from tomorrow on";
    server.scan(content).expect_verdict("clean");
    let options = server.kill();
    std::fs::write(rules.join("own.yar"), r#"rule Forbidden_Text { strings: $a = "forbidden from tomorrow" condition: $a }"#)
        .expect("written");
    let scan = options.start().scan(content).expect_verdict("infected");
    assert_eq!(scan["virus"]["signature"], "Forbidden_Text");
}
