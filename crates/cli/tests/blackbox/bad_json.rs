//! JSON bodies and metadata that are wrong, each in its way.

use serde_json::json;

use crate::support::{Answer, Form, Server};

const CODE: &str = "validation_error";

fn with_metadata(metadata: &str) -> Answer {
    Server::shared().post("/v1/scan").form(Form::of("a", b"with metadata").text("metadata", metadata)).send()
}

#[track_caller]
fn refused_naming(answer: &Answer, name: &str) {
    let sentence = answer.expect_error(400, CODE);
    assert!(sentence.contains(name), "{name}: {sentence}");
}

fn nested(depth: usize) -> String {
    format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn json_that_is_no_object() {
    let server = Server::shared();
    for target in ["/v1/scan", "/v1/scan/async", "/v1/webhooks/test"] {
        for body in ["[]", "null", "7", "\"text\"", "", "{", "{}{}", "{\"a\"}", "\u{feff}{}", "{\"metadata\":{}}trailing"] {
            let answer = server.post(target).json_text(body).send();
            assert_eq!(answer.status, 400, "{target} {body:?}: {}", answer.text());
            answer.expect_error(400, CODE);
        }
    }
}

#[test]
fn json_too_long_or_too_deep() {
    let server = Server::shared();
    let long = json!({"metadata": {"a": "x".repeat(3 << 20)}}).to_string();
    let answer = server.post("/v1/scan").json_text(&long).send();
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    server.post("/v1/scan").json_text(&format!("{{\"metadata\":{}}}", nested(10_000))).send().expect_error(400, CODE);
}

#[test]
fn a_key_twice() {
    let answer = Server::shared().post("/v1/scan").json_text(r#"{"metadata":{"a":1},"metadata":{"a":2}}"#).send();
    answer.expect_error(400, CODE);
}

#[test]
fn fields_of_a_wrong_kind() {
    let server = Server::shared();
    for (body, name) in [
        (json!({"metadata": []}), "metadata"),
        (json!({"metadata": "{}"}), "metadata"),
        (json!({"webhook_url": 7}), "webhook_url"),
        (json!({"scan_types": "virus"}), "scan_types"),
        (json!({"scan_types": []}), "scan_types"),
        (json!({"events": {}}), "events"),
        (json!({"url": ["https://a.example"]}), "url"),
        (json!({"files": 1}), "files"),
    ] {
        refused_naming(&server.post("/v1/scan").json(&body).send(), name);
    }
}

#[test]
fn metadata_that_is_no_object() {
    for metadata in ["[]", "null", "7", "\"a\"", "true", "", "{", "{\"a\":}", "{'a':1}", "nonsense"] {
        refused_naming(&with_metadata(metadata), "metadata");
    }
}

#[test]
fn metadata_over_four_kibibytes() {
    let of = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    assert_eq!(of(4096).len(), 4096);
    with_metadata(&of(4096)).expect_verdict("clean");
    refused_naming(&with_metadata(&of(4097)), "metadata");
    let body = format!("{{\"metadata\":{}}}", of(4097));
    refused_naming(&Server::shared().post("/v1/scan").json_text(&body).send(), "metadata");
}

#[test]
fn metadata_nested_ten_thousand_deep() {
    refused_naming(&with_metadata(&nested(10_000)), "metadata");
    // As deep as its size allows.
    let answer = with_metadata(&nested(1500));
    assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
}

#[test]
fn a_64_bit_number_comes_back_as_sent() {
    let answer = with_metadata(
        r#"{"id":18446744073709551615,"negative":-9223372036854775808,"huge":1e400,"long":0.1000000000000000055511151231257827}"#,
    );
    // No float holds one of them, so the answer is read as text.
    assert_eq!(answer.status, 200, "{}", answer.text());
    for verbatim in ["18446744073709551615", "-9223372036854775808", "1e400", "0.1000000000000000055511151231257827"] {
        assert!(answer.text().contains(verbatim), "{verbatim} in {}", answer.text());
    }
}

#[test]
fn a_wrong_method_or_path() {
    let server = Server::shared();
    for (method, target) in
        [("GET", "/v1/scan"), ("PATCH", "/v1/scans"), ("PUT", "/v1/usage"), ("DELETE", "/healthz"), ("POST", "/v1/usage")]
    {
        let answer = server.request(method, target).send();
        answer.expect_error(405, "method_not_allowed");
        assert!(answer.header("allow").is_some(), "{method} {target}");
    }
    for target in ["/", "/v2/scan", "/v1", "/v1/scan/a/b/c", "/v1/nothing", "/.env"] {
        let answer = server.get(target);
        assert!(answer.status == 404, "{target}: {} {}", answer.status, answer.text());
    }
    server.get("/v1/nothing").expect_error(404, "not_found");
}
