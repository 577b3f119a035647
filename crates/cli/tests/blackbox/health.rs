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
fn it_tells_what_its_sandboxes_gave_up() {
    let server = Server::shared();
    let sandbox = server.anonymous("GET", "/readyz").send().expect(200)["sandbox"].clone();
    let in_force: Vec<_> = sandbox["in_force"].as_array().expect("a list").iter().filter_map(|layer| layer.as_str()).collect();
    for layer in ["parent_death", "undumpable", "limits", "seccomp"] {
        assert!(in_force.contains(&layer), "{sandbox}");
    }
    let output = server.options().run(&["config"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().any(|line| line.starts_with("seccomp") && line.contains("in force")), "{text}");
    let off = server.options().clone().env("FILESAFETY_SANDBOX", "off").run(&["config"]);
    let text = String::from_utf8_lossy(&off.stdout).into_owned();
    assert!(text.lines().any(|line| line.starts_with("seccomp") && line.contains("switched off by FILESAFETY_SANDBOX")), "{text}");
}

#[test]
fn a_sandbox_that_is_required_has_every_layer_or_there_is_no_start() {
    let options = Options::new().env("FILESAFETY_REQUIRE_SANDBOX", "1");
    let text = String::from_utf8_lossy(&options.run(&["config"]).stdout).into_owned();
    if text.lines().any(|line| line.contains("missing: ")) {
        let said = String::from_utf8_lossy(&options.refused().stderr).into_owned();
        assert!(said.contains("is not in force") && said.contains("it takes"), "{said}");
    } else {
        options.start().scan(b"fine").expect_verdict("clean");
    }
    let said = String::from_utf8_lossy(&options.env("FILESAFETY_SANDBOX", "off").refused().stderr).into_owned();
    assert!(said.contains("FILESAFETY_REQUIRE_SANDBOX"), "{said}");
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
