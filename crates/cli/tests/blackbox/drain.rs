//! SIGTERM: what runs ends well, what comes is turned away, and it is over within 20 s.

use std::time::{Duration, Instant};

use crate::support::archives::{Member, zip};
use crate::support::client::Connection;
use crate::support::{Form, Options, Receiver};

const END: Duration = Duration::from_secs(20);

#[test]
fn an_idle_server_ends_at_once_and_well() {
    let mut server = Options::new().start();
    let start = Instant::now();
    server.terminate();
    assert!(server.wait_for_end(END).success());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn an_idle_connection_does_not_hold_it_up() {
    let mut server = Options::new().start();
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.exchange(&server.request("GET", "/v1/usage")).expect("an answer").expect(200);
    let mut events = Connection::open(server.address()).expect("a connection");
    events.send_head(&server.request("GET", "/v1/events")).expect("sent");
    events.head().expect("the stream begins");
    let start = Instant::now();
    server.terminate();
    assert!(server.wait_for_end(END).success());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_scan_that_runs_is_answered() {
    let mut server = Options::new().start();
    let member = Member::deflated("text", &b"busy ".repeat(2_000_000));
    let slow = zip(&vec![member; 8]);
    let mut connection = Connection::open(server.address()).expect("a connection");
    let body = Form::of("slow.zip", &slow).finish();
    let request = server.post("/v1/scan").header("content-type", &Form::content_type()).header("content-length", &body.len().to_string());
    connection.send_head(&request).expect("sent");
    connection.write(&body).expect("sent");
    // The whole body is on its way: the scan is accepted before the signal is handled, or refused with a clear answer.
    std::thread::sleep(Duration::from_millis(200));
    server.terminate();
    let answer = connection.answer().expect("an answer");
    assert!(matches!(answer.status, 200 | 202 | 503), "{}", answer.text());
    server.wait_for_end(END);
}

#[test]
fn what_was_accepted_is_finished_by_the_next_start() {
    let mut server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").start();
    let receiver = Receiver::start();
    let member = Member::deflated("text", &b"busy ".repeat(500_000));
    let ids: Vec<String> = (0..12)
        .map(|number| {
            let content = zip(&[member.clone(), Member::stored("number", number.to_string().as_bytes())]);
            let form = Form::of("slow.zip", &content).text("webhook_url", &receiver.url());
            let answer = server.post("/v1/scan/async").form(form).send();
            answer.expect(202);
            answer.scan_id()
        })
        .collect();
    let start = Instant::now();
    server.terminate();
    server.wait_for_end(END);
    assert!(start.elapsed() < END);
    let options = server.options().clone();
    drop(server);
    let server = options.start();
    for id in &ids {
        assert_eq!(server.finished(id)["verdict"], "clean");
    }
    receiver.wait_for(ids.len(), Duration::from_secs(30));
}
