//! What signs webhooks: made, rotated, revoked while the server runs; and the headers that go with them.

use std::time::Duration;

use data_encoding::BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::support::account::expect_success;
use crate::support::clock::wait_for;
use crate::support::receiver::Received;
use crate::support::server::SECRET;
use crate::support::{Form, Options, Receiver, Server};

/// Within this time a change is in effect.
const IN_EFFECT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(20);

fn run(server: &Server, arguments: &[&str]) -> String {
    expect_success(&server.options().run(arguments))
}

/// The webhook of a scan that is made now.
fn webhook_now(server: &Server, content: &str) -> Received {
    let receiver = Receiver::start();
    let form = Form::of("a.txt", content.as_bytes()).text("webhook_url", &receiver.url());
    server.post("/v1/scan").form(form).send().expect(200);
    receiver.one()
}

fn signatures(received: &Received) -> Vec<&str> {
    received.header("webhook-signature").split(' ').collect()
}

/// The id in the only row of `secrets list` that holds this text.
fn id_of(server: &Server, text: &str) -> String {
    let list = run(server, &["secrets", "list", "--account", "default"]);
    let rows: Vec<_> = list.lines().filter(|line| line.starts_with("sec_") && line.contains(text)).collect();
    assert_eq!(rows.len(), 1, "{text} in {list}");
    rows[0].split_whitespace().next().unwrap().to_owned()
}

#[test]
fn after_a_rotation_both_sign_and_after_a_revocation_only_the_new_one() {
    let server = Options::new().start();
    webhook_now(&server, "before").assert_signed_with(SECRET);
    let made = run(&server, &["secrets", "rotate", "--account", "default"]);
    let secret = made.trim();
    assert_eq!(BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap().len(), 32);
    std::thread::sleep(IN_EFFECT);
    let both = webhook_now(&server, "between");
    assert_eq!(signatures(&both).len(), 2);
    both.assert_signed_with(SECRET);
    both.assert_signed_with(secret);
    let list = run(&server, &["secrets", "list"]);
    assert!(!list.contains("whsec_") && !list.contains(&secret[6..]) && !list.contains(&SECRET[6..]), "{list}");
    let old = id_of(&server, "signs until");
    run(&server, &["secrets", "revoke", &old]);
    std::thread::sleep(IN_EFFECT);
    let one = webhook_now(&server, "after");
    assert_eq!(signatures(&one).len(), 1);
    one.assert_signed_with(secret);
    assert!(run(&server, &["secrets", "list"]).contains("revoked 20"));
    // The settings still name the old one, which never comes back.
    let output = server.kill().refused();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("FILESAFETY_WEBHOOK_SECRET") && said.contains("revoked"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn a_key_pair_signs_beside_and_is_verified_by_its_public_key() {
    let server = Options::new().start();
    let made = run(&server, &["secrets", "create", "--kind", "v1a"]);
    let public_key = made.trim();
    assert!(run(&server, &["secrets", "list"]).contains(public_key), "the public key is no secret");
    std::thread::sleep(IN_EFFECT);
    let received = webhook_now(&server, "by a key pair");
    received.assert_signed_with(SECRET);
    let signature = signatures(&received).into_iter().find_map(|signature| signature.strip_prefix("v1a,")).expect("a signature of v1a");
    let key = BASE64.decode(public_key.strip_prefix("whpk_").unwrap().as_bytes()).unwrap();
    let signed = [received.id().as_bytes(), b".", received.header("webhook-timestamp").as_bytes(), b".", &received.request.body].concat();
    UnparsedPublicKey::new(&ED25519, key).verify(&signed, &BASE64.decode(signature.as_bytes()).unwrap()).expect("it verifies");
}

#[test]
fn without_a_secret_nothing_is_sent_until_there_is_one() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "1s,1s,1s,1s,1s,1s,1s,1s").start();
    let revoked = server.options().run(&["secrets", "revoke", &id_of(&server, "active")]);
    assert!(String::from_utf8_lossy(&revoked.stderr).contains("no_secret"), "it says what follows: {revoked:?}");
    std::thread::sleep(IN_EFFECT);
    let receiver = Receiver::start();
    let form = Form::of("a.txt", b"unsigned").text("webhook_url", &receiver.url());
    let id = server.post("/v1/scan").form(form).send().scan_id();
    wait_for("an attempt that failed", SOON, || {
        server.deliveries(&id).iter().any(|attempt| attempt["error"]["kind"] == "no_secret").then_some(())
    });
    assert!(receiver.received().is_empty(), "nothing leaves unsigned");
    let secret = run(&server, &["secrets", "create"]);
    receiver.one().assert_signed_with(secret.trim());
    server.with_webhook(&id, "delivered", SOON);
}

#[test]
fn headers_of_an_account_go_with_its_webhooks_and_are_shown_by_name_alone() {
    let server = Options::new().start();
    let set = |arguments: &[&str]| server.options().run(&[&["accounts", "set", "default"], arguments].concat());
    for header in ["Host: evil.example", "Webhook-Id: evt_1", "Content-Type: text/plain", "Connection: close", "X: a\r\nY: b", "X: \u{1b}"]
    {
        let output = set(&["--header", header]);
        assert!(!output.status.success(), "{header:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--header"), "{output:?}");
    }
    let shown = expect_success(&set(&["--header", "Authorization: Bearer SESAME", "--header", "X-Tenant: shop"]));
    assert!(shown.contains("Authorization,X-Tenant") && !shown.contains("SESAME"), "{shown}");
    std::thread::sleep(IN_EFFECT);
    let received = webhook_now(&server, "with headers");
    assert_eq!((received.header("authorization"), received.header("x-tenant")), ("Bearer SESAME", "shop"));
    assert_eq!(received.header("content-type"), "application/json");
    received.assert_signed_with(SECRET);
    expect_success(&set(&["--remove-header", "authorization"]));
    std::thread::sleep(IN_EFFECT);
    let received = webhook_now(&server, "with one header less");
    assert_eq!((received.request.header("authorization"), received.header("x-tenant")), (None, "shop"));
    assert!(!expect_success(&server.options().run(&["accounts", "list"])).contains("shop"));
    assert!(!server.said().join("\n").contains("SESAME"));
}

#[test]
fn bad_commands_say_what_is_wrong() {
    let server = Server::shared();
    for (arguments, part) in [
        (["secrets", "create", "--account", "nobody"].as_slice(), "nobody"),
        (&["secrets", "rotate", "--kind", "v2"], "v2"),
        (&["secrets", "revoke", "sec_01ARZ3NDEKTSV4RRFFQ69G5FAV"], "no secret"),
        (&["secrets", "revoke", SECRET], "the id of a secret"),
    ] {
        let output = server.options().run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(part), "{arguments:?}: {said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}
