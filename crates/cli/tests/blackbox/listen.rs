//! `filesafety listen`: events on a developer's machine, once or more, in order, none lost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::account::Account;
use crate::support::clock::{holds_for, wait_for};
use crate::support::eicar::eicar;
use crate::support::receiver::Received;
use crate::support::server::filesafety;
use crate::support::web::{Next, WebServer};
use crate::support::{Form, Options, Server};

const SOON: Duration = Duration::from_secs(30);

/// The developer's own program: on a port of its own, which it keeps across restarts, and answering as told.
struct Local {
    server: Option<WebServer>,
    address: SocketAddr,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Local {
    fn start() -> Self {
        let (status, received) = (Arc::new(AtomicU16::new(200)), Arc::default());
        let mut local = Self { server: None, address: "127.0.0.1:0".parse().unwrap(), status, received };
        local.restart();
        local
    }

    fn restart(&mut self) {
        let (status, received) = (Arc::clone(&self.status), Arc::clone(&self.received));
        let server = WebServer::start_at(self.address, None, move |request, out| {
            let status = status.load(Ordering::SeqCst);
            if (200..300).contains(&status) {
                let one = Received { at: Instant::now(), request: request.clone() };
                received.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            }
            write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n")?;
            Ok(Next::Close)
        });
        self.address = server.address();
        self.server = Some(server);
    }

    fn stop(&mut self) {
        self.server = None;
        // The accepting thread closes the port a moment after it is woken.
        wait_for("the port to be closed", SOON, || std::net::TcpStream::connect(self.address).is_err().then_some(()));
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn url(&self) -> String {
        format!("http://{}/webhooks/filesafety?from=listen", self.address)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The scans it took, each where it came first.
    fn scans(&self) -> Vec<String> {
        let mut scans = Vec::new();
        for received in self.received() {
            let scan = received.event()["scan_id"].as_str().unwrap_or_default().to_owned();
            if !scans.contains(&scan) {
                scans.push(scan);
            }
        }
        scans
    }

    #[track_caller]
    fn wait_for(&self, scans: &[String]) {
        wait_for("the events", SOON, || (self.scans().len() >= scans.len()).then_some(()));
        assert_eq!(self.scans(), scans);
    }
}

/// A running `filesafety listen`. Ends with the value.
struct Listen {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

/// A developer with a home of their own and a key of the account.
struct Developer {
    account: Account,
    home: tempfile::TempDir,
}

impl Developer {
    fn new(server: &Server) -> Self {
        Self { account: Account::create(server.options()), home: tempfile::tempdir().unwrap() }
    }

    fn listen(&self, address: SocketAddr, arguments: &[&str]) -> Listen {
        let mut command = filesafety(self.home.path());
        command.env_remove("FILESAFETY_DATA_DIR").env("FILESAFETY_URL", format!("http://{address}"));
        command.env("FILESAFETY_API_KEY", &self.account.key).arg("listen").args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let out = lines_of(child.stdout.take().unwrap());
        let said = lines_of(child.stderr.take().unwrap());
        Listen { child, out, said }
    }

    /// Starts one and waits until it would resume after its own death.
    fn listening(&self, server: &Server, arguments: &[&str]) -> Listen {
        let listen = self.listen(server.address(), arguments);
        wait_for("a place to resume at", SOON, || self.place().map(drop));
        listen
    }

    fn config(&self) -> PathBuf {
        self.home.path().join(".config/filesafety")
    }

    fn place(&self) -> Option<String> {
        let entries = fs::read_dir(self.config()).ok()?.map(|entry| entry.unwrap().path());
        let place = entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "place"))?;
        fs::read_to_string(place).ok()
    }

    fn scan(&self, server: &Server, content: &[u8]) -> String {
        self.account.request(server, "POST", "/v1/scan").form(Form::of("a.txt", content)).send().scan_id()
    }
}

impl Listen {
    fn out(&self) -> Vec<String> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn wait_for_word(&self, part: &str) {
        wait_for(&format!("{part:?} in what it says"), SOON, || self.said().contains(part).then_some(()));
    }

    fn wait_for_line(&self, part: &str) -> String {
        wait_for(&format!("{part:?} in what it prints"), SOON, || self.out().into_iter().find(|line| line.contains(part)))
    }

    fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("listen said:\n{}\nand printed:\n{}", self.said(), self.out().join("\n"));
        }
    }
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    lines
}

#[test]
fn it_forwards_what_a_webhook_would_bring_signed_with_the_secret_it_prints() {
    let server = Server::shared();
    let (developer, local) = (Developer::new(&server), Local::start());
    let listen = developer.listening(&server, &["--forward-to", &local.url()]);
    let scan = developer.scan(&server, &eicar());
    local.wait_for(std::slice::from_ref(&scan));
    let received = local.received().swap_remove(0);
    assert_eq!((received.request.method.as_str(), received.request.target.as_str()), ("POST", "/webhooks/filesafety?from=listen"));
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("user-agent").starts_with("FileSafety/") && received.id().starts_with("evt_"));
    assert_eq!((&received.event()["event"], &received.event()["verdict"]), (&"scan.complete".into(), &"infected".into()));
    assert_eq!(received.request.header("x-api-key"), None, "the key is the service's and the developer's");
    let said = listen.said();
    let secret = said.split_whitespace().find(|word| word.starts_with("whsec_")).expect("the secret is printed").to_owned();
    received.assert_signed_with(&secret);
    let file = developer.config().join("listen.secret");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), secret);
    let line = listen.wait_for_line(&scan);
    assert!(line.contains("scan.complete") && line.contains("infected") && line.contains("EICAR-Test-File"), "{line}");
    assert!(!line.contains('\u{1b}'), "no colours where there is no terminal: {line:?}");
    listen.wait_for_line("forwarded: 200");
}

#[test]
fn none_is_lost_while_the_local_server_is_down() {
    let server = Server::shared();
    let (developer, mut local) = (Developer::new(&server), Local::start());
    let listen = developer.listening(&server, &["--forward-to", &local.url()]);
    let mut scans = vec![developer.scan(&server, b"up")];
    local.wait_for(&scans);
    local.stop();
    scans.extend((0..5).map(|number| developer.scan(&server, format!("down {number}").as_bytes())));
    listen.wait_for_word("not taken");
    local.answer(500);
    local.restart();
    listen.wait_for_word("answered 500");
    local.answer(204);
    local.wait_for(&scans);
}

#[test]
fn none_is_lost_when_it_is_killed_itself() {
    let server = Server::shared();
    let (developer, local) = (Developer::new(&server), Local::start());
    let url = local.url();
    let listen = developer.listening(&server, &["--forward-to", &url]);
    let mut scans = vec![developer.scan(&server, b"before the first death")];
    local.wait_for(&scans);
    local.answer(500);
    scans.push(developer.scan(&server, b"under way"));
    listen.wait_for_word("answered 500");
    // Killed with an event in hand that nobody took.
    listen.kill();
    scans.push(developer.scan(&server, b"while it is dead"));
    local.answer(200);
    let listen = developer.listening(&server, &["--forward-to", &url]);
    local.wait_for(&scans);
    listen.kill();
    for number in 0..3 {
        let listen = developer.listening(&server, &["--forward-to", &url]);
        scans.push(developer.scan(&server, format!("life {number}").as_bytes()));
        listen.kill();
    }
    let _listen = developer.listening(&server, &["--forward-to", &url]);
    local.wait_for(&scans);
}

#[test]
fn killed_before_the_first_event_it_misses_none() {
    let server = Server::shared();
    let (developer, local) = (Developer::new(&server), Local::start());
    developer.listening(&server, &["--forward-to", &local.url()]).kill();
    let scan = developer.scan(&server, b"the first event of all");
    let _listen = developer.listening(&server, &["--forward-to", &local.url()]);
    local.wait_for(&[scan]);
}

#[test]
fn it_goes_on_after_a_restart_of_the_service() {
    // A port that is free again after the service is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Options::new().env("FILESAFETY_LISTEN", &port.to_string()).start();
    let (developer, local) = (Developer::new(&server), Local::start());
    let listen = developer.listening(&server, &["--forward-to", &local.url()]);
    let mut scans = vec![developer.scan(&server, b"before")];
    local.wait_for(&scans);
    scans.push(developer.scan(&server, b"just before"));
    let options = server.kill();
    listen.wait_for_word("Not connected");
    let server = options.start();
    scans.push(developer.scan(&server, b"after"));
    local.wait_for(&scans);
    listen.wait_for_word("Listening again");
}

#[test]
fn an_erased_scan_makes_no_gap() {
    let server = Server::shared();
    let (developer, local) = (Developer::new(&server), Local::start());
    let listen = developer.listening(&server, &["--forward-to", &local.url()]);
    let erased = developer.scan(&server, b"to be erased");
    local.wait_for(std::slice::from_ref(&erased));
    // What follows the event is a place that outlives it.
    wait_for("a place after the event", SOON, || developer.place().filter(|place| place.starts_with("at_")));
    listen.kill();
    developer.account.request(&server, "DELETE", &format!("/v1/scan/{erased}")).send().expect(204);
    let meanwhile = developer.scan(&server, b"meanwhile");
    let listen = developer.listening(&server, &["--forward-to", &local.url()]);
    local.wait_for(&[erased, meanwhile]);
    assert!(!listen.said().contains("missing"), "{}", listen.said());
}

#[test]
fn only_what_is_wanted_is_shown_and_the_rest_is_seen() {
    let server = Server::shared();
    let developer = Developer::new(&server);
    let listen = developer.listening(&server, &["--json", "--filter", "verdict=infected,mixed", "--filter", "metadata.tenant=a"]);
    let scan = |content: &[u8], metadata: &str| {
        let form = Form::of("a.txt", content).text("metadata", metadata);
        developer.account.request(&server, "POST", "/v1/scan").form(form).send().scan_id()
    };
    scan(b"clean", r#"{"tenant":"a"}"#);
    scan(&eicar(), r#"{"tenant":"b"}"#);
    let wanted = scan(&[eicar(), b"\n".to_vec()].concat(), "{\"tenant\":\"a\",\"n\":18446744073709551616,\"t\":\"\u{202e}\"}");
    let line = listen.wait_for_line(&wanted);
    assert_eq!(listen.out().len(), 1, "{:?}", listen.out());
    assert!(line.contains("\"n\":18446744073709551616") && line.contains("\\u202e") && !line.contains('\u{202e}'), "{line}");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert!(line["id"].as_str().is_some_and(|id| id.starts_with("evt_")));
    assert_eq!((&line["body"]["scan_id"], &line["body"]["verdict"]), (&wanted.into(), &"infected".into()));
}

#[test]
fn a_gap_is_said_aloud_and_from_now_forgets() {
    let server = Server::shared();
    let developer = Developer::new(&server);
    let listen = developer.listening(&server, &["--json"]);
    let kept = developer.scan(&server, b"kept by the service");
    listen.wait_for_line(&kept);
    listen.kill();
    let entries = fs::read_dir(developer.config()).unwrap().map(|entry| entry.unwrap().path());
    let place = entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "place")).expect("a place");
    fs::write(&place, "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV\n").unwrap();
    let listen = developer.listen(server.address(), &["--json"]);
    listen.wait_for_word("Events may be missing");
    // What the service still has comes all the same.
    listen.wait_for_line(&kept);
    assert!(listen.out()[0].contains("\"gap\""), "{:?}", listen.out());
    listen.kill();
    developer.scan(&server, b"not wanted any more");
    fs::remove_file(&place).unwrap();
    let listen = developer.listening(&server, &["--json", "--from-now"]);
    let new = developer.scan(&server, b"from now on");
    listen.wait_for_line(&new);
    assert_eq!(listen.out().len(), 1, "{:?}", listen.out());
}

#[test]
fn what_cannot_work_ends_with_the_reason() {
    let server = Server::shared();
    let developer = Developer::new(&server);
    let ends = |mut listen: Listen| {
        let status = wait_for("it to end", SOON, || listen.child.try_wait().expect("it is our child"));
        assert!(!status.success());
        wait_for("a reason", SOON, || Some(listen.said()).filter(|said| !said.is_empty()))
    };
    for (arguments, part) in [
        (["--forward-to", "localhost:3000"].as_slice(), "--forward-to"),
        (&["--forward-to", "ftp://localhost/"], "--forward-to"),
        (&["--filter", "verdict=bad"], "--filter"),
    ] {
        let said = ends(developer.listen(server.address(), arguments));
        assert!(said.contains(part), "{said}");
    }
    let first = developer.listening(&server, &[]);
    let said = ends(developer.listen(server.address(), &[]));
    assert!(said.contains("another `filesafety listen`"), "{said}");
    holds_for("the first one", Duration::from_millis(500), || !first.said().contains("another"));
    first.kill();
    let stranger = Developer { account: Account { name: String::new(), key: format!("{}x", developer.account.key) }, ..developer };
    let said = ends(stranger.listen(server.address(), &[]));
    assert!(said.contains("FILESAFETY_API_KEY"), "{said}");
}
