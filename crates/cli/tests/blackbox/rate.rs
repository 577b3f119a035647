//! Submissions per second: a burst, then a pace.

use crate::support::client::Connection;
use crate::support::{Form, Options};

#[test]
fn a_burst_is_let_through_and_then_refused() {
    let server = Options::new().env("FILESAFETY_RATE", "1,5").start();
    let mut connection = Connection::open(server.address()).expect("a connection");
    let request = server.post("/v1/scan").form(Form::of("a", b"a burst"));
    let answers: Vec<_> = (0..8).map(|_| connection.exchange(&request).expect("an answer")).collect();
    assert!(answers[..5].iter().all(|answer| answer.status == 200), "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    let refused = answers.iter().find(|answer| answer.status != 200).expect("a refusal");
    refused.expect_error(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert!((1..=5).contains(&seconds));
    // Reading is another measure.
    server.get("/v1/scans").expect(200);
}

#[test]
fn it_is_counted_for_each_key() {
    let server = Options::new().env("FILESAFETY_RATE", "1,2").start();
    let account = crate::support::account::Account::create(server.options());
    for _ in 0..3 {
        server.scan(b"use it up");
    }
    account.request(&server, "POST", "/v1/scan").form(Form::of("a", b"a burst of another")).send().expect_verdict("clean");
}
