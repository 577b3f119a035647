//! Name servers that fail, lie or say nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::clock::wait_for;
use crate::support::name_server::NameServer;
use crate::support::web::{Next, WebServer};
use crate::support::{Form, Options, Server, backlog};

const SOON: Duration = Duration::from_secs(30);

/// A receiver over plain HTTP that counts, so that names need no certificates.
fn counting() -> (WebServer, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = WebServer::start(None, move |_, out| {
        counted.fetch_add(1, Ordering::SeqCst);
        // So that the name is looked up each time.
        write!(out, "HTTP/1.1 200 So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        Ok(Next::Close)
    });
    (server, count)
}

fn submit(server: &Server, url: &str, content: &str) -> String {
    let answer = server.post("/v1/scan").form(Form::of("a.bin", content.as_bytes()).text("webhook_url", url)).send();
    answer.expect(200);
    answer.scan_id()
}

fn kinds(server: &Server, scan: &str) -> Vec<Value> {
    let attempts = server.deliveries(scan).into_iter().filter(|attempt| !attempt["attempted_at"].is_null());
    attempts.map(|mut attempt| attempt["error"]["kind"].take()).collect()
}

fn asking(name_server: &NameServer) -> Options {
    let options = Options::new().env("FILESAFETY_WEBHOOK_HTTP", "1").env("FILESAFETY_WEBHOOK_GRACE", "0s");
    let words = name_server.wrapping(options.folder());
    options.wrapped_in(words)
}

#[test]
fn names_that_do_not_resolve_or_lead_elsewhere() {
    let Some(name_server) = NameServer::start(Ipv4Addr::new(127, 53, 0, 1)) else {
        eprintln!("skipped: a name server of its own is not permitted here");
        return;
    };
    let server = asking(&name_server).env("FILESAFETY_WEBHOOK_RETRY", "200ms").env("FILESAFETY_WEBHOOK_TIMEOUT", "25s").start();
    let (receiver, count) = counting();
    let port = receiver.address().port();
    let cases = [("servfail", "dns"), ("nothing", "dns"), ("mixed", "address_refused")];
    let scans = cases.map(|(name, _)| submit(&server, &format!("http://{name}.example:{port}/"), name));
    for ((name, kind), scan) in cases.iter().zip(&scans) {
        server.with_webhook(scan, "abandoned", Duration::from_secs(120));
        assert_eq!(kinds(&server, scan), [*kind; 2], "{name}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "no packet left");
    let good = submit(&server, &format!("http://good.example:{port}/"), "good");
    server.with_webhook(&good, "delivered", SOON);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn silent_name_servers_hold_back_no_other() {
    let Some(name_server) = NameServer::start(Ipv4Addr::new(127, 53, 0, 2)) else {
        eprintln!("skipped: a name server of its own is not permitted here");
        return;
    };
    let options = asking(&name_server).env("FILESAFETY_WEBHOOK_RETRY", "1s,1s,1s").env("FILESAFETY_LOG", "warn");
    drop(options.start());
    let due_at = backlog::now().plus(Duration::from_secs(20));
    backlog::fill(&options, 900, due_at, |number| format!("https://silent{number}.example/"));
    let server = options.start();
    let (receiver, count) = counting();
    let url = format!("http://good.example:{}/", receiver.address().port());
    let send = |number: usize| {
        let sent = Instant::now();
        submit(&server, &url, &format!("beside silence {number}"));
        wait_for("the webhook of a name that resolves", SOON, || (count.load(Ordering::SeqCst) > number).then_some(sent.elapsed()))
    };
    send(0);
    std::thread::sleep(due_at.since(backlog::now()) + Duration::from_secs(2));
    for number in 1..20 {
        let took = send(number);
        assert!(took < Duration::from_secs(5), "{number}: {took:?}");
        // An upload that goes to the disk needs the threads that lookups must not take.
        let large = vec![b'.'; 3 << 20];
        let begun = Instant::now();
        server.post("/v1/scan/async").form(Form::of("large.bin", &large)).send().expect(202);
        eprintln!("beside 900 silent names: a webhook {took:?}, an upload {:?}", begun.elapsed());
    }
}
