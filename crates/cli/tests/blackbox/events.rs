//! `GET /v1/events`: what happens, as it happens.

use std::time::Duration;

use serde_json::Value;

use crate::support::account::Account;
use crate::support::client::Connection;
use crate::support::{Form, Receiver, Request, Server};

struct Stream {
    connection: Connection,
}

#[derive(Debug, Default)]
struct Message {
    id: String,
    event: String,
    data: String,
}

impl Stream {
    fn open(server: &Server, request: &Request) -> Self {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.set_patience(Duration::from_secs(20));
        connection.send_head(request).expect("sent");
        let head = connection.head().expect("an answer");
        assert_eq!(head.status, 200);
        assert!(head.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
        Self { connection }
    }

    /// The next message, chunk sizes and comments aside.
    fn next(&mut self) -> Message {
        let mut message = Message::default();
        loop {
            let line = self.connection.line().expect("the stream goes on");
            if let Some(id) = line.strip_prefix("id:") {
                message.id = id.trim().to_owned();
            } else if let Some(event) = line.strip_prefix("event:") {
                message.event = event.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                message.data.push_str(data.trim());
            } else if line.is_empty() && !message.data.is_empty() {
                return message;
            }
        }
    }
}

#[test]
fn a_finished_scan_appears_with_the_id_of_its_webhook() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let mut stream = Stream::open(&server, &account.request(&server, "GET", "/v1/events"));
    let receiver = Receiver::start();
    let form = Form::of("a", b"streamed").text("webhook_url", &receiver.url());
    let scan = account.request(&server, "POST", "/v1/scan").form(form).send();
    let message = stream.next();
    let event: Value = serde_json::from_str(&message.data).expect("JSON");
    assert_eq!(message.event, "scan.complete");
    assert_eq!(event["scan_id"], scan.scan_id());
    let webhook = receiver.one();
    assert_eq!(message.id, webhook.id());
    assert_eq!(event, webhook.event());
}

#[test]
fn it_resumes_after_the_last_event() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let scan = |text: &str| account.request(&server, "POST", "/v1/scan").form(Form::of("a", text.as_bytes())).send().scan_id();
    let mut stream = Stream::open(&server, &account.request(&server, "GET", "/v1/events"));
    scan("resumed one");
    let first = stream.next();
    drop(stream);
    let (second, third) = (scan("resumed two"), scan("resumed three"));
    let mut stream = Stream::open(&server, &account.request(&server, "GET", "/v1/events").header("last-event-id", &first.id));
    for expected in [second, third] {
        let event: Value = serde_json::from_str(&stream.next().data).expect("JSON");
        assert_eq!(event["scan_id"], expected);
    }
}

#[test]
fn an_event_too_old_to_know_is_a_gap() {
    let server = Server::shared();
    let account = Account::create(server.options());
    account.request(&server, "POST", "/v1/scan").form(Form::of("a", b"after the gap")).send().expect_verdict("clean");
    let request = account.request(&server, "GET", "/v1/events").header("last-event-id", "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV");
    let mut stream = Stream::open(&server, &request);
    assert_eq!(stream.next().event, "gap");
}

#[test]
fn another_account_sees_nothing_of_it() {
    let server = Server::shared();
    let (one, other) = (Account::create(server.options()), Account::create(server.options()));
    let mut stream = Stream::open(&server, &other.request(&server, "GET", "/v1/events"));
    one.request(&server, "POST", "/v1/scan").form(Form::of("a", b"not for you")).send().expect_verdict("clean");
    let own = other.request(&server, "POST", "/v1/scan").form(Form::of("a", b"for you")).send().scan_id();
    let event: Value = serde_json::from_str(&stream.next().data).expect("JSON");
    assert_eq!(event["scan_id"], own);
}
