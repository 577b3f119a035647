//! Passwords of archives: given with a scan or by setting, tried on what is encrypted, and told nowhere.

use crate::support::archives::{Member, zip};
use crate::support::clock::wait_for;
use crate::support::data::any_file_contains;
use crate::support::eicar::{self, eicar};
use crate::support::{Form, Options, Server};

const PASSWORD: &str = "a-password-that-is-nowhere-else-7c1e";

fn locked(content: &[u8]) -> Vec<u8> {
    zip(&[Member::stored("eicar.com", content).encrypted(PASSWORD.as_bytes())])
}

#[test]
fn a_password_with_the_scan_opens_the_archive() {
    let server = Server::shared();
    let archive = locked(&eicar());
    let unopened = server.post("/v1/scan").form(Form::of("a.zip", &archive)).send().expect_verdict("infected");
    assert_eq!(unopened["virus"]["reason"], "encrypted");
    let form = Form::of("a.zip", &archive).text("archive_password", PASSWORD);
    let opened = server.post("/v1/scan").form(form.clone()).send().expect_verdict("infected");
    assert_eq!((&opened["virus"]["signature"], &opened["deduplicated"]), (&eicar::SIGNATURE.into(), &false.into()));
    assert_eq!(opened["coverage"]["complete"], true);
    assert!(!opened.to_string().contains(PASSWORD));
    // The same password is the same question, another is not.
    assert_eq!(server.post("/v1/scan").form(form).send().expect_verdict("infected")["deduplicated"], true);
    let other = Form::of("a.zip", &archive).text("archive_password", "another");
    let other = server.post("/v1/scan").form(other).send().expect_verdict("infected");
    assert_eq!((&other["virus"]["reason"], &other["deduplicated"]), (&"encrypted".into(), &false.into()));
}

#[test]
fn a_password_comes_with_an_upload_url_too() {
    let server = Server::shared();
    let answer = server.post("/v1/scan").json(&serde_json::json!({ "archive_password": PASSWORD })).send().expect(201);
    let url = answer["upload_url"].as_str().expect("a URL");
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned())).expect("a path");
    let scan = server.anonymous("PUT", &path).body(locked(&[eicar(), b"\n".to_vec()].concat())).send().expect_verdict("infected");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE);
}

#[test]
fn a_password_waits_unreadable_outlives_a_crash_and_goes_with_the_verdict() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").env("FILESAFETY_LOG", "debug").start();
    let ids: Vec<String> = (0..10)
        .map(|number| {
            let form = Form::of("a.zip", &locked(&[eicar(), format!("{number}").into_bytes()].concat()));
            let answer = server.post("/v1/scan/async").form(form.text("archive_password", PASSWORD)).send();
            answer.expect(202);
            answer.scan_id()
        })
        .collect();
    let data = server.options().data();
    assert!(!any_file_contains(&data, PASSWORD.as_bytes()), "it is stored encrypted");
    let server = server.kill().start();
    for id in &ids {
        let scan = server.finished(id);
        assert_eq!((&scan["verdict"], &scan["virus"]["signature"]), (&"infected".into(), &eicar::SIGNATURE.into()), "{scan}");
    }
    wait_for("nothing to hold it", std::time::Duration::from_secs(5), || (!any_file_contains(&data, PASSWORD.as_bytes())).then_some(()));
}

#[test]
fn a_password_that_cannot_be_one_is_refused_and_not_repeated() {
    let server = Server::shared();
    for password in [String::new(), PASSWORD.repeat(40)] {
        let answer = server.post("/v1/scan").form(Form::of("a", b"a").text("archive_password", &password)).send();
        let message = answer.expect_error(400, "validation_error");
        assert!(message.contains("archive_password") && !message.contains(PASSWORD), "{message}");
    }
    server.post("/v1/scan").json_text(r#"{"archive_password": 7}"#).send().expect_error(400, "validation_error");
}

#[test]
fn passwords_by_setting_are_tried_on_everything() {
    let options = Options::new().env("FILESAFETY_ARCHIVE_PASSWORDS", &format!("infected\n{PASSWORD}\n"));
    let scan = options.start().scan(&locked(&eicar())).expect_verdict("infected");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE);
}
