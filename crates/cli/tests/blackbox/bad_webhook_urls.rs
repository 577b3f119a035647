//! Webhook URLs that no event will be sent to.

use serde_json::json;

use crate::support::{Answer, Form, Server};

fn scan(server: &Server, url: &str) -> Answer {
    server.post("/v1/scan").form(Form::of("a", b"with a webhook").text("webhook_url", url)).send()
}

#[track_caller]
fn assert_refused(server: &Server, url: &str) {
    for answer in [
        scan(server, url),
        server.post("/v1/scan").json(&json!({"webhook_url": url})).send(),
        server.post("/v1/scan/async").json(&json!({"webhook_url": url})).send(),
        server.post("/v1/webhooks/test").json(&json!({"webhook_url": url})).send(),
    ] {
        assert_eq!(answer.status, 400, "{url:.80}: {}", answer.text());
        let sentence = answer.expect_error(400, "validation_error");
        assert!(sentence.contains("webhook_url"), "{url:.80}: {sentence}");
        assert!(!sentence.contains("hunter2"), "a sentence shows no secret: {sentence}");
    }
}

#[test]
fn http() {
    assert_refused(&Server::strict(), "http://app.example.com/hook");
    assert_refused(&Server::shared(), "http://127.0.0.1/hook");
}

#[test]
fn relative_or_of_another_kind() {
    for url in ["/hook", "hook", "//app.example.com/hook", "", " ", "https://", "ftp://app.example.com/", "javascript:alert(1)", "data:,x"]
    {
        assert_refused(&Server::strict(), url);
    }
}

#[test]
fn with_credentials() {
    assert_refused(&Server::strict(), "https://user:hunter2@app.example.com/hook");
    assert_refused(&Server::strict(), "https://user@app.example.com/hook");
}

#[test]
fn too_long() {
    let of = |length: usize| format!("https://app.example.com/{}", "p".repeat(length - 24));
    assert_eq!(of(2048).len(), 2048);
    assert_refused(&Server::strict(), &of(2049));
    Server::strict().post("/v1/scan").json(&json!({"webhook_url": of(2048)})).send().expect(201);
}

#[test]
fn literals_of_this_machine_in_every_notation() {
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "[::]",
    ] {
        assert_refused(&Server::strict(), &format!("https://{host}/hook"));
    }
}

#[test]
fn literals_of_private_and_special_nets() {
    for host in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "240.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
    ] {
        assert_refused(&Server::strict(), &format!("https://{host}:8443/hook"));
    }
}

#[test]
fn an_allowed_net_opens_no_other() {
    assert_refused(&Server::shared(), "https://10.0.0.1/hook");
    assert_refused(&Server::shared(), "https://169.254.169.254/hook");
    assert_refused(&Server::shared(), "https://[::1]/hook");
}
