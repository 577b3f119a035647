//! `GET /v1/events`: what happens, as it happens.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::account::{Account, expect_success};
use crate::support::client::Connection;
use crate::support::clock::wait_for;
use crate::support::{Form, Options, Receiver, Request, Server};

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

    /// The next message, chunk sizes, comments and places aside.
    fn next(&mut self) -> Message {
        loop {
            let message = self.item();
            if !message.data.is_empty() {
                return message;
            }
        }
    }

    /// The next place: an id without an event.
    fn place(&mut self) -> String {
        loop {
            let message = self.item();
            if message.data.is_empty() {
                return message.id;
            }
        }
    }

    fn scan(&mut self) -> String {
        let event: Value = serde_json::from_str(&self.next().data).expect("JSON");
        event["scan_id"].as_str().expect("an event of a scan").to_owned()
    }

    /// Whether the stream comes to its end within this time.
    fn ends(&mut self, within: Duration) -> bool {
        let started = Instant::now();
        self.connection.set_patience(within);
        while started.elapsed() < within {
            match self.connection.line() {
                Ok(line) if line == "0" => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::UnexpectedEof,
            }
        }
        false
    }

    fn item(&mut self) -> Message {
        let mut message = Message::default();
        loop {
            let line = self.connection.line().expect("the stream goes on");
            if let Some(id) = line.strip_prefix("id:") {
                message.id = id.trim().to_owned();
            } else if let Some(event) = line.strip_prefix("event:") {
                message.event = event.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                message.data.push_str(data.trim());
            } else if line.is_empty() && !message.id.is_empty() | !message.data.is_empty() {
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

fn scan(server: &Server, account: &Account, content: &str) -> String {
    account.request(server, "POST", "/v1/scan").form(Form::of("a", content.as_bytes())).send().scan_id()
}

fn stream(server: &Server, account: &Account) -> Request {
    account.request(server, "GET", "/v1/events")
}

#[test]
fn a_place_resumes_before_the_first_event_and_after_the_event_is_erased() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let at_the_start = Stream::open(&server, &stream(&server, &account)).place();
    let first = scan(&server, &account, "the first of all");
    let mut resumed = Stream::open(&server, &stream(&server, &account).header("last-event-id", &at_the_start));
    assert_eq!(resumed.scan(), first);
    let after_it = resumed.place();
    account.request(&server, "DELETE", &format!("/v1/scan/{first}")).send().expect(204);
    let second = scan(&server, &account, "the second");
    let mut resumed = Stream::open(&server, &stream(&server, &account).header("last-event-id", &after_it));
    assert_eq!(resumed.scan(), second, "and no gap before it");
}

#[test]
fn a_place_of_another_stream_is_a_gap_and_loses_nothing() {
    let server = Server::shared();
    let (account, other) = (Account::create(server.options()), Account::create(server.options()));
    let kept = scan(&server, &account, "kept");
    let others = Stream::open(&server, &stream(&server, &other)).place();
    for id in [others.as_str(), "at_99999999_1_AAAAAAAAAAAAAAAA", "at_", "rubbish"] {
        let mut resumed = Stream::open(&server, &stream(&server, &account).header("last-event-id", id));
        assert_eq!(resumed.next().event, "gap", "{id}");
        assert_eq!(resumed.scan(), kept, "{id}");
    }
}

#[test]
fn whoever_reads_and_however_many_submit_there_is_one_order() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let beginning = Stream::open(&server, &stream(&server, &account)).place();
    let mut readers: Vec<_> = (0..30).map(|_| Stream::open(&server, &stream(&server, &account))).collect();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (server, account) = (&server, &account);
            scope.spawn(move || {
                for number in 0..10 {
                    scan(server, account, &format!("order {worker} {number}"));
                }
            });
        }
    });
    let order: Vec<_> = readers.iter_mut().map(|reader| (0..40).map(|_| reader.next().id).collect::<Vec<_>>()).collect();
    let mut distinct = order[0].clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 40);
    assert!(order.iter().all(|ids| *ids == order[0]));
    // More than a page, resumed in the middle and at the beginning.
    let mut resumed = Stream::open(&server, &stream(&server, &account).header("last-event-id", &order[0][4]));
    assert_eq!((0..35).map(|_| resumed.next().id).collect::<Vec<_>>(), order[0][5..]);
    let mut resumed = Stream::open(&server, &stream(&server, &account).header("last-event-id", &beginning));
    assert_eq!((0..40).map(|_| resumed.next().id).collect::<Vec<_>>(), order[0]);
}

#[test]
fn a_slow_reader_holds_up_nobody_and_misses_nothing() {
    let server = Options::new().start();
    let account = Account::create(server.options());
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") >> 10
    };
    let mut quick = Stream::open(&server, &stream(&server, &account));
    // The first makes the engines' memory; the others are judged by it.
    let metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(4000));
    let send = || {
        let form = Form::of("a", b"for slow readers").text("metadata", &metadata);
        account.request(&server, "POST", "/v1/scan").form(form).send().scan_id()
    };
    send();
    quick.next();
    let before = resident();
    let mut slow: Vec<_> = (0..20).map(|_| Stream::open(&server, &stream(&server, &account))).collect();
    let scans: Vec<_> = (0..1000).map(|_| send()).collect();
    for scan in &scans {
        assert_eq!(quick.scan(), *scan);
    }
    let grown = resident().saturating_sub(before);
    // Held back in memory it would be 20 times 1000 times 5 KiB, of which the sockets take a part.
    assert!(grown < 30, "{grown} MiB for {} slow readers", slow.len());
    for reader in &mut slow {
        for scan in &scans {
            assert_eq!(reader.scan(), *scan);
        }
    }
}

#[test]
fn an_account_has_so_many_streams_and_no_more() {
    let server = Server::shared();
    let (account, other) = (Account::create(server.options()), Account::create(server.options()));
    let mut open: Vec<_> = (0..100).map(|_| Stream::open(&server, &stream(&server, &account))).collect();
    stream(&server, &account).send().expect_error(429, "rate_limited");
    Stream::open(&server, &stream(&server, &other));
    open.pop();
    wait_for("a stream to be free", Duration::from_secs(5), || {
        let mut connection = Connection::open(server.address()).ok()?;
        connection.send_head(&stream(&server, &account)).ok()?;
        (connection.head().ok()?.status == 200).then_some(())
    });
}

#[test]
fn a_revoked_key_reads_no_further() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let mut stream = Stream::open(&server, &stream(&server, &account));
    stream.place();
    expect_success(&server.options().run(&["keys", "revoke", &account.key[..16]]));
    assert!(stream.ends(Duration::from_secs(4)));
}
