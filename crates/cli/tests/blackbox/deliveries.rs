//! The webhook: signed, tried again, logged, and never lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::authority::Certificate;
use crate::support::clock::{holds_for, wait_for};
use crate::support::eicar::eicar;
use crate::support::server::SECRET;
use crate::support::{Form, Options, Receiver, Reply, Server};

const SOON: Duration = Duration::from_secs(20);

fn scan_for(server: &Server, url: &str, content: &[u8]) -> String {
    let answer = server.post("/v1/scan").form(Form::of("a.bin", content).text("webhook_url", url)).send();
    answer.expect(200);
    answer.scan_id()
}

#[test]
fn it_is_signed_and_says_everything() {
    let server = Server::shared();
    let receiver = Receiver::start();
    let id = scan_for(&server, &receiver.url(), &eicar());
    let received = receiver.one();
    assert_eq!(received.request.method, "POST");
    assert_eq!(received.request.target, "/hooks?token=a-token");
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.id().starts_with("evt_") && received.id().len() == 30);
    received.assert_signed_with(SECRET);
    let event = received.event();
    let fields: Vec<&String> = event.as_object().expect("an object").keys().collect();
    for field in ["event", "scan_id", "verdict", "virus", "nsfw", "file_hash", "metadata", "completed_at", "sequence", "failure"] {
        assert!(fields.iter().any(|present| *present == field), "{field} in {event}");
    }
    assert_eq!(event["event"], "scan.complete");
    assert_eq!(event["scan_id"], id);
    assert_eq!(event["verdict"], "infected");
    assert_eq!(event["metadata"], json!({}));
    assert_eq!(event["sequence"], 1);
    assert_eq!(event["failure"], Value::Null);
    assert!(received.request.body.len() < 64 << 10);
}

#[test]
fn it_leaves_after_the_answer() {
    let server = Server::shared();
    let receiver = Receiver::start();
    scan_for(&server, &receiver.url(), b"the answer first");
    let answered = Instant::now();
    let arrived = receiver.one().at;
    assert!(arrived + Duration::from_millis(20) > answered, "the webhook overtook the answer");
    assert!(arrived < answered + Duration::from_secs(3), "brought forward once the answer is written");
}

#[test]
fn the_state_and_the_log_show_it_without_its_query() {
    let server = Server::shared();
    let receiver = Receiver::start();
    let id = scan_for(&server, &receiver.url(), b"shown");
    let scan = server.with_webhook(&id, "delivered", SOON);
    assert_eq!(scan["webhook"]["attempts"], 1);
    assert!(scan["webhook"]["url_host"].as_str().is_some_and(|host| host.starts_with("127.0.0.1")));
    let attempts = server.deliveries(&id);
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0]["status"], 200, "{attempts:?}");
    assert_eq!((&attempts[0]["tls_version"], &attempts[0]["response"]), (&json!("1.3"), &json!("ok")), "{attempts:?}");
    assert!(attempts[0]["address"].as_str().is_some_and(|address| address == receiver.address().to_string()));
    let everything = [
        server.get(&format!("/v1/scan/{id}/deliveries")).text(),
        scan.to_string(),
        server.said().join("\n"),
        server.get("/v1/scans").text(),
    ];
    assert!(!everything.iter().any(|text| text.contains("a-token")));
}

#[test]
fn it_is_tried_again_with_the_same_id_and_body_and_a_new_signature() {
    let server = Server::shared();
    let receiver = Receiver::replying([Reply::Hangup, Reply::Status(500), Reply::Status(404)]);
    let id = scan_for(&server, &receiver.url(), b"tried again");
    let all = receiver.wait_for(4, SOON);
    for received in &all {
        received.assert_signed_with(SECRET);
        assert_eq!(received.id(), all[0].id());
        assert_eq!(received.request.body, all[0].request.body);
    }
    assert_ne!(all[0].header("webhook-timestamp"), all[3].header("webhook-timestamp"));
    for pair in all.windows(2) {
        let wait = pair[1].at - pair[0].at;
        assert!(wait >= Duration::from_millis(880) && wait < Duration::from_secs(4), "{wait:?}");
    }
    let scan = server.with_webhook(&id, "delivered", SOON);
    assert_eq!(scan["webhook"]["attempts"], 4);
    let attempts = server.deliveries(&id);
    assert_eq!(
        attempts.iter().map(|attempt| attempt["status"].clone()).collect::<Vec<_>>(),
        [Value::Null, json!(500), json!(404), json!(200)]
    );
}

#[test]
fn then_it_is_abandoned_and_the_result_stays() {
    let server = Server::shared();
    let receiver = Receiver::replying(vec![Reply::Status(503); 4]);
    let id = scan_for(&server, &receiver.url(), b"abandoned");
    let scan = server.with_webhook(&id, "abandoned", SOON);
    assert_eq!(scan["verdict"], "clean");
    assert_eq!(scan["webhook"]["attempts"], 4);
    assert_eq!(receiver.received().len(), 4);
    let answer = server.post(&format!("/v1/scan/{id}/redeliver")).send();
    answer.expect(202);
    let all = receiver.wait_for(5, SOON);
    assert_eq!(all[4].id(), all[0].id());
    server.with_webhook(&id, "delivered", SOON);
}

#[test]
fn a_redelivery_has_a_fresh_schedule() {
    let server = Server::shared();
    let receiver = Receiver::replying(vec![Reply::Status(500); 6]);
    let id = scan_for(&server, &receiver.url(), b"abandoned and fresh");
    server.with_webhook(&id, "abandoned", SOON);
    server.post(&format!("/v1/scan/{id}/redeliver")).send().expect(202);
    receiver.wait_for(7, SOON);
    server.with_webhook(&id, "delivered", SOON);
}

#[test]
fn what_cannot_be_redelivered_is_a_conflict() {
    let server = Server::shared();
    let without = server.scan(b"no webhook").scan_id();
    server.post(&format!("/v1/scan/{without}/redeliver")).send().expect_error(409, "no_webhook");
    let receiver = Receiver::replying([Reply::Late(Duration::from_secs(4), 200)]);
    let id = scan_for(&server, &receiver.url(), b"in progress");
    receiver.one();
    server.post(&format!("/v1/scan/{id}/redeliver")).send().expect_error(409, "delivery_in_progress");
}

#[test]
fn a_redirect_is_a_failed_attempt_and_never_followed() {
    let server = Server::shared();
    let elsewhere = Receiver::start();
    let receiver = Receiver::replying([Reply::With(302, "location".to_owned(), elsewhere.url())]);
    let id = scan_for(&server, &receiver.url(), b"redirected");
    receiver.wait_for(2, SOON);
    assert!(elsewhere.received().is_empty());
    assert_eq!(server.deliveries(&id)[0]["status"], 302);
}

#[test]
fn a_silent_receiver_times_out() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_TIMEOUT", "1s").start();
    let receiver = Receiver::replying([Reply::Late(Duration::from_secs(3), 200)]);
    let id = scan_for(&server, &receiver.url(), b"silent");
    receiver.wait_for(2, SOON);
    let first = &server.deliveries(&id)[0];
    assert_eq!(first["status"], Value::Null);
    assert!(first["error"].to_string().contains("timeout"), "{first}");
}

#[test]
fn an_endless_body_is_not_read() {
    let server = Server::shared();
    let receiver = Receiver::replying([Reply::Endless]);
    let id = scan_for(&server, &receiver.url(), b"endless");
    server.with_webhook(&id, "delivered", SOON);
    assert_eq!(receiver.received().len(), 1);
    assert!(server.get(&format!("/v1/scan/{id}/deliveries")).body.len() < 16 << 10);
}

#[test]
fn a_bad_certificate_is_a_failed_attempt() {
    let server = Server::shared();
    for (certificate, kind) in
        [(Certificate::Expired, "tls_expired"), (Certificate::OtherName, "tls_name"), (Certificate::Untrusted, "tls_untrusted")]
    {
        let receiver = Receiver::with(certificate, []);
        let id = scan_for(&server, &receiver.url(), kind.as_bytes());
        let attempts = wait_for("an attempt", SOON, || {
            Some(server.deliveries(&id)).filter(|attempts| attempts.iter().any(|attempt| !attempt["error"].is_null()))
        });
        assert!(attempts[0].to_string().contains(kind), "{kind}: {attempts:?}");
        assert!(receiver.received().is_empty(), "{kind}");
    }
}

#[test]
fn nobody_listening_is_tried_until_somebody_does() {
    let server = Server::shared();
    let gone = Receiver::start();
    let (address, url) = (gone.address(), gone.url());
    drop(gone);
    let id = scan_for(&server, &url, b"nobody there yet");
    wait_for("a failed attempt", SOON, || server.deliveries(&id).iter().any(|attempt| !attempt["error"].is_null()).then_some(()));
    let receiver = Receiver::at(address, Certificate::Good, []);
    receiver.one();
    server.with_webhook(&id, "delivered", SOON);
}

#[test]
fn retry_after_lengthens_a_wait() {
    let server = Server::shared();
    let receiver = Receiver::replying([Reply::With(429, "retry-after".to_owned(), "4".to_owned())]);
    scan_for(&server, &receiver.url(), b"not so fast");
    let all = receiver.wait_for(2, SOON);
    assert!(all[1].at - all[0].at >= Duration::from_millis(3900));
}

#[test]
fn retry_after_never_shortens_a_wait() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "3s").start();
    let receiver = Receiver::replying([Reply::With(503, "retry-after".to_owned(), "0".to_owned())]);
    scan_for(&server, &receiver.url(), b"not so fast either");
    let all = receiver.wait_for(2, SOON);
    assert!(all[1].at - all[0].at >= Duration::from_millis(2600));
}

#[test]
fn a_slow_receiver_takes_nothing_from_the_others() {
    let server = Server::shared();
    let slow = Receiver::replying(vec![Reply::Late(Duration::from_secs(8), 200); 40]);
    for number in 0..40 {
        scan_for(&server, &slow.url(), format!("slow {number}").as_bytes());
    }
    let quick = Receiver::start();
    let id = scan_for(&server, &quick.url(), b"quick");
    let answered = Instant::now();
    assert!(quick.one().at < answered + Duration::from_secs(3));
    assert_eq!(quick.of_scan(&id).len(), 1);
}

#[test]
fn what_was_due_is_delivered_after_a_restart() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "1s,1s,1s,1s,1s,1s").start();
    let gone = Receiver::start();
    let (address, url) = (gone.address(), gone.url());
    drop(gone);
    let id = scan_for(&server, &url, b"due at the restart");
    let options = server.kill();
    let receiver = Receiver::at(address, Certificate::Good, []);
    let server = options.start();
    let received = receiver.one();
    assert_eq!(received.event()["scan_id"], id);
    server.with_webhook(&id, "delivered", SOON);
    let ids: std::collections::HashSet<_> = receiver.received().iter().map(|received| received.id().to_owned()).collect();
    assert_eq!(ids.len(), 1);
}

#[test]
fn without_allowed_nets_this_machine_is_refused() {
    let server = Server::strict();
    let receiver = Receiver::start();
    let id = scan_for(&server, &format!("https://localhost:{}/", receiver.address().port()), b"refused");
    let attempts = wait_for("an attempt", SOON, || {
        Some(server.deliveries(&id)).filter(|attempts| attempts.iter().any(|attempt| !attempt["error"].is_null()))
    });
    assert!(attempts[0].to_string().contains("address_refused"), "{attempts:?}");
    assert!(receiver.received().is_empty());
}

#[test]
fn a_proxy_of_the_environment_is_ignored() {
    let proxy = Receiver::start();
    let at = format!("http://{}", proxy.address());
    let server = Options::new().env("HTTPS_PROXY", &at).env("https_proxy", &at).env("ALL_PROXY", &at).start();
    let receiver = Receiver::start();
    scan_for(&server, &receiver.url(), b"no proxy");
    receiver.one();
    assert!(proxy.received().is_empty());
}

#[test]
fn plain_http_needs_a_setting_and_an_allowed_net() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_HTTP", "1").start();
    let site = crate::support::Site::http(|_, out| crate::support::site::status(out, 200));
    let id = scan_for(&server, &site.url("/hook"), b"over http");
    server.with_webhook(&id, "delivered", SOON);
    let refused = server.post("/v1/scan").form(Form::of("a", b"x").text("webhook_url", "http://93.184.216.34/hook")).send();
    refused.expect_error(400, "validation_error");
}

#[test]
fn a_test_event_is_signed_and_answered_with_the_attempt() {
    let server = Server::shared();
    let receiver = Receiver::start();
    let answer = server.post("/v1/webhooks/test").json(&json!({"webhook_url": receiver.url()})).send();
    let attempt = answer.expect(200);
    assert_eq!(attempt["status"], 200, "{attempt}");
    let received = receiver.one();
    received.assert_signed_with(SECRET);
    let event = received.event();
    assert_eq!(event["event"], "webhook.test");
    assert!(event["account"].is_string() && event["created_at"].is_string(), "{event}");
    assert!(event.get("scan_id").is_none());
}

#[test]
fn a_test_event_that_fails_says_how() {
    let server = Server::shared();
    let receiver = Receiver::replying([Reply::Status(418)]);
    assert_eq!(server.post("/v1/webhooks/test").json(&json!({"webhook_url": receiver.url()})).send().expect(200)["status"], 418);
    holds_for("a test event is not tried again", Duration::from_secs(2), || receiver.received().len() == 1);
    server.post("/v1/webhooks/test").json(&json!({"webhook_url": "http://a.example/"})).send().expect_error(400, "validation_error");
    server.post("/v1/webhooks/test").json(&json!({})).send().expect_error(400, "validation_error");
}

#[test]
fn a_failed_scan_announces_itself_too() {
    let server = Server::shared();
    let receiver = Receiver::start();
    let body = json!({"url": "http://127.0.0.1:9/nobody", "webhook_url": receiver.url()});
    let answer = server.post("/v1/scan/async").json(&body).send();
    answer.expect(202);
    let event = receiver.wait_for(1, Duration::from_secs(70)).swap_remove(0).event();
    assert_eq!(event["verdict"], "failed");
    assert_eq!(event["failure"]["code"], "fetch_failed");
    assert_eq!(event["failure"]["retryable"], true);
    assert_eq!(event["virus"], Value::Null);
}
