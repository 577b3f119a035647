//! Liveness, readiness and measures.

use crate::support::eicar::eicar;
use crate::support::{Form, Options, Receiver, Server};

#[test]
fn it_is_alive_and_ready() {
    let server = Server::shared();
    assert_eq!(server.anonymous("GET", "/healthz").send().status, 200);
    assert_eq!(server.anonymous("GET", "/readyz").send().status, 200);
}

#[test]
fn the_measures_count_what_happened() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    server.scan(b"measured").expect_verdict("clean");
    server.post("/v1/scan").form(Form::of("a", &eicar()).text("webhook_url", &receiver.url())).send().expect_verdict("infected");
    receiver.one();
    let answer = server.anonymous("GET", "/metrics").send();
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"))
    );
    let text = answer.text();
    assert!(!text.contains("a-token"));
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert!(samples.iter().all(|line| line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok())), "{text}");
    assert!(samples.iter().any(|line| line.contains("infected") && line.ends_with(" 1")), "{text}");
    assert!(samples.iter().any(|line| line.contains("clean") && line.ends_with(" 1")), "{text}");
}

#[test]
fn every_answer_carries_a_request_id_of_its_own() {
    let server = Server::shared();
    let mut ids: Vec<String> = ["/healthz", "/readyz", "/nothing", "/v1/usage", "/openapi.json"]
        .iter()
        .map(|target| {
            server.anonymous("GET", target).send().header("x-request-id").unwrap_or_else(|| panic!("{target} has a request id")).to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}
