//! Receivers that do everything wrong, a sender that is killed at every point, and an outage: no webhook is lost, and the healthy wait for
//! none of it.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::authority::{self, Certificate};
use crate::support::clock::{holds_for, wait_for};
use crate::support::pulse::Pulse;
use crate::support::web::{Next, WebServer};
use crate::support::{Form, Options, Receiver, Reply, Server, backlog};

const SOON: Duration = Duration::from_secs(30);

fn submit(server: &Server, url: &str, content: &str) -> String {
    let answer = server.post("/v1/scan").form(Form::of("a.bin", content.as_bytes()).text("webhook_url", url)).send();
    answer.expect(200);
    answer.scan_id()
}

/// Status and kind of error of each attempt that was made.
fn outcomes(server: &Server, scan: &str) -> Vec<(Option<u64>, Option<String>)> {
    let attempts = server.deliveries(scan).into_iter().filter(|attempt| !attempt["attempted_at"].is_null());
    attempts.map(|attempt| (attempt["status"].as_u64(), attempt["error"]["kind"].as_str().map(str::to_owned))).collect()
}

/// What is expected of one receiver.
struct Case {
    name: &'static str,
    url: String,
    /// Of every attempt but a last one that succeeds.
    status: Option<u64>,
    kind: &'static str,
    failures: usize,
    delivered: bool,
    /// How many requests arrive, where that can be counted.
    receiver: Option<(Receiver, usize)>,
}

impl Case {
    fn of(name: &'static str, receiver: Receiver, status: Option<u64>, kind: &'static str, failures: usize, delivered: bool) -> Self {
        let requests = failures + usize::from(delivered);
        Self { name, url: receiver.url(), status, kind, failures, delivered, receiver: Some((receiver, requests)) }
    }

    /// Answers so for ever.
    fn always(name: &'static str, reply: &Reply, status: Option<u64>, kind: &'static str) -> Self {
        Self::of(name, Receiver::replying(vec![reply.clone(); 3]), status, kind, 3, false)
    }

    /// Succeeds at once, whatever happens to the body.
    fn at_once(name: &'static str, reply: Reply) -> Self {
        Self::of(name, Receiver::replying([reply]), None, "", 0, true)
    }

    fn unreachable(name: &'static str, url: String, kind: &'static str) -> Self {
        Self { name, url, status: None, kind, failures: 3, delivered: false, receiver: None }
    }

    fn assert_held(&self, server: &Server, scan: &str) {
        let status = if self.delivered { "delivered" } else { "abandoned" };
        let state = server.with_webhook(scan, status, SOON);
        let attempts = self.failures + usize::from(self.delivered);
        assert_eq!(state["webhook"]["attempts"], attempts, "{}: {state}", self.name);
        let told = outcomes(server, scan);
        let mut expected = vec![(self.status, Some(self.kind.to_owned())); self.failures];
        if self.delivered {
            expected.push((Some(200), None));
        }
        assert_eq!(told, expected, "{}", self.name);
        if let Some((receiver, requests)) = &self.receiver {
            let received = receiver.received();
            assert_eq!(received.len(), *requests, "{}", self.name);
            assert!(received.iter().all(|request| request.id() == received[0].id()), "{}", self.name);
        }
    }
}

/// A port that accepts and never says a word, and how often it was called.
fn silent_port() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    thread::spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            open.push(stream);
        }
    });
    (address, calls)
}

fn cases(elsewhere: &Receiver) -> Vec<Case> {
    let gone = Receiver::start();
    let refused = gone.url();
    drop(gone);
    let (silent, _) = silent_port();
    let late = Reply::Late(Duration::from_secs(3), 200);
    let mut cases = vec![
        Case::unreachable("refused", refused, "connect"),
        Case::unreachable("silent before TLS", format!("https://{silent}/"), "timeout"),
        Case::always("silent before the head", &late, None, "timeout"),
        Case::always("a head that drips", &Reply::DripHead, None, "timeout"),
        Case::always("410, a failure like any other", &Reply::Status(410), Some(410), "status"),
        Case::always("500 with a body that drips", &Reply::Drip(500), Some(500), "status"),
        Case::always("500 with 2 GB", &Reply::Long(500, 2 << 30), Some(500), "status"),
        Case::of("reset before the head", Receiver::replying([Reply::Hangup]), None, "reset", 1, true),
        Case::at_once("reset after 200", Reply::Cut(200)),
        Case::at_once("200 with a body that drips", Reply::Drip(200)),
        Case::at_once("200 with a body that never ends", Reply::Endless),
        Case::at_once("200 with 2 GB", Reply::Long(200, 2 << 30)),
    ];
    for status in [301, 302, 307, 308] {
        let reply = Reply::With(status, "location".to_owned(), elsewhere.url());
        cases.push(Case::always("a redirect", &reply, Some(u64::from(status)), "status"));
    }
    for (certificate, kind) in
        [(Certificate::Expired, "tls_expired"), (Certificate::OtherName, "tls_name"), (Certificate::Untrusted, "tls_untrusted")]
    {
        let receiver = Receiver::with(certificate, []);
        let mut case = Case::unreachable(kind, receiver.url(), kind);
        case.receiver = Some((receiver, 0));
        cases.push(case);
    }
    cases
}

#[test]
fn receivers_that_do_everything_wrong() {
    let options = Options::new()
        .env("FILESAFETY_WEBHOOK_RETRY", "500ms,1s")
        .env("FILESAFETY_WEBHOOK_TIMEOUT", "1500ms")
        .env("FILESAFETY_WEBHOOK_GRACE", "0s");
    let server = options.start();
    let (healthy, elsewhere) = (Receiver::start(), Receiver::start());
    let quiet = Pulse::take(&server, &healthy, 30);
    let before = server.resident();
    let cases = cases(&elsewhere);
    let (pulse, ()) = Pulse::during(&server, &healthy, || {
        let scans: Vec<_> = cases.iter().enumerate().map(|(number, case)| submit(&server, &case.url, &format!("case {number}"))).collect();
        for (case, scan) in cases.iter().zip(&scans) {
            case.assert_held(&server, scan);
        }
    });
    let after = server.resident();
    eprintln!("memory: {before} MiB before, {after} MiB after");
    assert!(after < before + 96, "{before} MiB before, {after} MiB after");
    assert!(elsewhere.received().is_empty(), "a Location was contacted");
    pulse.assert_like(&quiet);
}

#[test]
fn what_receivers_ask_for_is_heeded_within_bounds() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "10s").start();
    let date = |seconds| {
        let instant = backlog::now().plus(Duration::from_secs(seconds));
        http_date(instant.as_millis() / 1000)
    };
    // What is asked, and the wait that follows, in seconds.
    let asked: [(&str, String, std::ops::RangeInclusive<f64>); 9] = [
        ("seconds", "100".to_owned(), 99.0..=101.0),
        ("a date", date(300), 290.0..=301.0),
        ("huge", "999999999999999999999".to_owned(), 899.0..=901.0),
        ("a date far away", "Fri, 01 Jan 2100 00:00:00 GMT".to_owned(), 899.0..=901.0),
        ("shorter", "1".to_owned(), 8.9..=11.1),
        ("a date in the past", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 8.9..=11.1),
        ("negative", "-100".to_owned(), 8.9..=11.1),
        ("rubbish", "in a while".to_owned(), 8.9..=11.1),
        ("empty", String::new(), 8.9..=11.1),
    ];
    for status in [429, 503] {
        for (name, value, wait) in &asked {
            let receiver = Receiver::replying([Reply::With(status, "retry-after".to_owned(), value.clone())]);
            let scan = submit(&server, &receiver.url(), name);
            let attempts =
                wait_for("an attempt", SOON, || Some(server.deliveries(&scan)).filter(|all| !all[0]["next_attempt_at"].is_null()));
            assert_eq!((attempts.len(), &attempts[0]["status"]), (2, &json!(status)), "{name}: {attempts:?}");
            let millis =
                |text: &Value| text.as_str().and_then(|text| text.parse::<filesafety_model::Timestamp>().ok()).expect("a time").as_millis();
            let waits = (millis(&attempts[0]["next_attempt_at"]) - millis(&attempts[0]["attempted_at"])) as f64 / 1e3;
            assert!(wait.contains(&waits), "{status} {name}: {waits} s");
            assert_eq!(attempts[1]["planned_at"], attempts[0]["next_attempt_at"], "{name}");
            assert_eq!((attempts[1]["attempted_at"].is_null(), &attempts[1]["attempt"]), (true, &json!(2)), "{name}");
        }
    }
    let other = Receiver::replying([Reply::With(500, "retry-after".to_owned(), "100".to_owned())]);
    let scan = submit(&server, &other.url(), "of another status");
    wait_for("the next try", SOON, || (other.received().len() == 2).then_some(()));
    server.with_webhook(&scan, "delivered", SOON);
}

/// An HTTP date, as RFC 9110 prefers it.
fn http_date(seconds: i64) -> String {
    let output = std::process::Command::new("date")
        .env("LC_ALL", "C")
        .args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"])
        .output();
    String::from_utf8_lossy(&output.expect("date runs").stdout).trim().to_owned()
}

/// What the log says of a webhook that a kill interrupted.
fn assert_interrupted_then_delivered(server: &Server, scan: &str) {
    server.with_webhook(scan, "delivered", SOON);
    assert_eq!(outcomes(server, scan), [(None, Some("interrupted".to_owned())), (Some(200), None)]);
}

#[test]
fn killed_after_the_commit() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "20s").start();
    let receiver = Receiver::start();
    let scan = submit(&server, &receiver.url(), "committed");
    let server = server.kill().start();
    server.with_webhook(&scan, "delivered", SOON);
    assert_eq!(outcomes(&server, &scan), [(Some(200), None)], "nothing was tried before the kill");
    assert_eq!(receiver.of_scan(&scan).len(), 1);
}

#[test]
fn killed_between_the_claim_and_the_post() {
    let server = Options::new().start();
    let (address, calls) = silent_port();
    let scan = submit(&server, &format!("https://{address}/"), "claimed");
    wait_for("the connection", SOON, || (calls.load(Ordering::SeqCst) > 0).then_some(()));
    let server = server.kill().start();
    // Still nobody speaks TLS there.
    wait_for("the next attempt", SOON, || (calls.load(Ordering::SeqCst) > 1).then_some(()));
    let told = server.deliveries(&scan);
    assert_eq!((told[0]["error"]["kind"].as_str(), told[1]["attempt"].as_u64()), (Some("interrupted"), Some(2)), "{told:?}");
    assert_eq!(told[1]["milliseconds"], Value::Null, "under way");
}

#[test]
fn killed_after_the_post() {
    let server = Options::new().start();
    let receiver = Receiver::replying([Reply::Late(Duration::from_secs(20), 200)]);
    let scan = submit(&server, &receiver.url(), "posted");
    let first = receiver.one();
    let server = server.kill().start();
    let all = receiver.wait_for(2, SOON);
    assert_eq!((all[1].id(), &all[1].request.body), (first.id(), &first.request.body));
    assert_interrupted_then_delivered(&server, &scan);
}

#[test]
fn killed_between_the_answer_and_its_record() {
    let server = Options::new().start();
    let (pid, stopped, posts) =
        (Arc::new(AtomicU32::new(server.pid())), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let receiver = {
        let (pid, stopped, posts) = (Arc::clone(&pid), Arc::clone(&stopped), Arc::clone(&posts));
        WebServer::start(Some(authority::server_config(Certificate::Good)), move |request, out| {
            posts.lock().expect("no panic").push(request.header("webhook-id").unwrap_or_default().to_owned());
            // The sender stands still while it is answered, so that it dies with the answer unread.
            match pid.swap(0, Ordering::SeqCst) {
                0 => {}
                pid => stop_process(pid),
            }
            write!(out, "HTTP/1.1 200 So\r\ncontent-length: 0\r\n\r\n")?;
            out.flush()?;
            stopped.store(true, Ordering::SeqCst);
            Ok(Next::KeepAlive)
        })
    };
    let url = format!("https://{}/", receiver.address());
    // The sender may stop before it has answered the submission: that comes from another thread, and may fail.
    let request = server.post("/v1/scan").form(Form::of("a.bin", b"answered").text("webhook_url", &url));
    let scan = request.send().scan_id();
    wait_for("the answer to the webhook", SOON, || stopped.load(Ordering::SeqCst).then_some(()));
    let server = server.kill().start();
    assert_interrupted_then_delivered(&server, &scan);
    let posts = posts.lock().expect("no panic").clone();
    assert!(posts.len() == 2 && posts[0] == posts[1], "{posts:?}");
}

/// Returns once every thread of it stands still.
fn stop_process(pid: u32) {
    let process = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("not zero");
    kill_process(process, Signal::STOP).expect("it is our child");
    let stands = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'));
    wait_for("the threads to stand still", SOON, || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let all = threads.flatten().all(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(stands));
        all.then_some(())
    });
}

#[test]
fn killed_after_the_record() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    let scan = submit(&server, &receiver.url(), "recorded");
    server.with_webhook(&scan, "delivered", SOON);
    let server = server.kill().start();
    holds_for("no second POST", Duration::from_secs(2), || receiver.received().len() == 1);
    assert_eq!(outcomes(&server, &scan), [(Some(200), None)]);
}

#[test]
fn ten_thousand_due_at_once_after_an_outage() {
    let count = if std::env::var_os("FILESAFETY_FULL").is_some() { 10_000 } else { 2_000 };
    let options = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "0s").env("FILESAFETY_WEBHOOK_RETRY", "1s,2s,5s");
    let server = options.start();
    let healthy = Receiver::start();
    let quiet = Pulse::take(&server, &healthy, 30);
    drop(server);
    // Most go to one receiver that is back, some to one that is still down.
    let (back, gone) = (Receiver::start(), Receiver::start());
    let down = gone.url();
    drop(gone);
    backlog::fill(&options, count, backlog::due_now(), |number| if number % 10 == 0 { down.clone() } else { back.url() });
    let server = options.start();
    let before = server.resident();
    let begun = Instant::now();
    let expected = count - count.div_ceil(10);
    let (pulse, took) = Pulse::during(&server, &healthy, || {
        wait_for("all of them", Duration::from_secs(300), || (back.received().len() >= expected).then_some(begun.elapsed()))
    });
    let after = server.resident();
    eprintln!("{expected} in {took:?}; memory {before} MiB before, {after} MiB after");
    let ids: HashSet<String> = back.received().iter().map(|received| received.id().to_owned()).collect();
    assert_eq!((ids.len(), back.received().len()), (expected, expected), "each once");
    assert!(after < before + 96, "{before} MiB before, {after} MiB after");
    pulse.assert_like(&quiet);
    wait_for("what cannot be delivered to be abandoned", Duration::from_secs(120), || {
        (list(&server, "abandoned", 100).len() == 100).then_some(())
    });
    let failed = list(&server, "abandoned", 1).remove(0);
    assert_eq!((&failed["attempts"], &failed["last_attempt"]["error"]["kind"]), (&json!(4), &json!("connect")), "{failed}");
}

fn list(server: &Server, status: &str, limit: usize) -> Vec<Value> {
    let answer = server.get(&format!("/v1/deliveries?status={status}&limit={limit}")).expect(200);
    answer["deliveries"].as_array().expect("a list").clone()
}

#[test]
fn hosts_that_hang_hold_back_no_other() {
    let options = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "0s").env("FILESAFETY_WEBHOOK_TIMEOUT", "5s");
    let server = options.start();
    let healthy = Receiver::start();
    let quiet = Pulse::take(&server, &healthy, 30);
    drop(server);
    let hanging: Vec<SocketAddr> = (0..60).map(|_| silent_port().0).collect();
    backlog::fill(&options, 1200, backlog::due_now(), |number| format!("https://{}/", hanging[number % hanging.len()]));
    let server = options.start();
    let (pulse, ()) = Pulse::during(&server, &healthy, || thread::sleep(Duration::from_secs(8)));
    pulse.assert_like(&quiet);
    let by_status: HashMap<String, usize> = list(&server, "pending", 100).iter().fold(HashMap::new(), |mut counts, delivery| {
        *counts.entry(delivery["last_attempt"]["error"]["kind"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
        counts
    });
    assert!(by_status.keys().all(|kind| kind == "none" || kind == "timeout"), "{by_status:?}");
}

#[test]
fn a_circuit_opens_shows_as_the_reason_and_closes() {
    if std::env::var_os("FILESAFETY_FULL").is_none() {
        eprintln!("skipped: a circuit opens after a minute of failures; FILESAFETY_FULL=1 waits for it");
        return;
    }
    let options = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "0s").env("FILESAFETY_WEBHOOK_RETRY", &["4s"; 20].join(","));
    let server = options.start();
    let gone = Receiver::start();
    let (address, url) = (gone.address(), gone.url());
    drop(gone);
    let scans: Vec<String> = (0..10).map(|number| submit(&server, &url, &format!("circuit {number}"))).collect();
    let open = |count: u32| server.get("/metrics").text().contains(&format!("filesafety_webhook_circuits_open {count}\n"));
    wait_for("the circuit to open", Duration::from_secs(90), || open(1).then_some(()));
    wait_for("the circuit to be the reason", Duration::from_secs(30), || {
        let planned: Vec<Value> = scans.iter().filter_map(|scan| server.deliveries(scan).pop()).collect();
        planned.iter().any(|planned| planned["postponed"]["reason"] == "circuit_open" && planned["planned_at"].is_string()).then_some(())
    });
    let made = |scans: &[String]| scans.iter().map(|scan| outcomes(&server, scan).len()).sum::<usize>();
    let (before, begun) = (made(&scans), Instant::now());
    thread::sleep(Duration::from_secs(25));
    let probes = made(&scans) - before;
    eprintln!("{probes} attempts in {:?} behind an open circuit", begun.elapsed());
    assert!((1..=4).contains(&probes), "{probes} probes");
    let fresh = submit(&server, &url, "while it is open");
    let planned = wait_for("a plan", SOON, || server.deliveries(&fresh).pop().filter(|planned| !planned["postponed"].is_null()));
    assert_eq!((&planned["attempt"], &planned["postponed"]["reason"]), (&json!(1), &json!("circuit_open")), "{planned}");
    let receiver = Receiver::at(address, Certificate::Good, []);
    for scan in scans.iter().chain([&fresh]) {
        server.with_webhook(scan, "delivered", SOON);
    }
    assert!(receiver.received().len() >= 11 && open(0));
}

#[test]
fn a_full_disk_loses_no_webhook() {
    let options = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "1s,1s,1s,2s,2s,2s,5s,5s,5s,5s").env("FILESAFETY_WEBHOOK_TIMEOUT", "3s");
    let Some(disk) = super::disk::SmallDisk::mount(&options.data()) else {
        eprintln!("skipped: mounting a small disk is not permitted here");
        return;
    };
    let server = options.start();
    let receiver = Receiver::replying([Reply::Late(Duration::from_secs(2), 200)]);
    let scan = submit(&server, &receiver.url(), "while there is room");
    receiver.one();
    // The answer comes while its outcome cannot be written.
    let filling = disk.fill();
    thread::sleep(Duration::from_secs(4));
    let before = server.resident();
    std::fs::remove_file(filling).expect("removed");
    server.with_webhook(&scan, "delivered", Duration::from_secs(90));
    let told = outcomes(&server, &scan);
    assert_eq!(told.last(), Some(&(Some(200), None)), "{told:?}");
    let received = receiver.received();
    assert!(received.iter().all(|request| request.id() == received[0].id()));
    assert!(server.resident() < before + 64);
    drop(server);
    drop(disk);
}
