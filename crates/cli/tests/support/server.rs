//! The real binary, started for a test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::client::{Answer, Request};
use crate::support::clock::wait_for;
use crate::support::form::Form;

/// How long a start may take on a busy machine. How long it does take is for the benches to say.
const START: Duration = Duration::from_secs(60);

pub(crate) const KEY: &str = "fs_live_dGhlLXRlc3RzLW93bi1rZXktMDAx";
pub(crate) const SECRET: &str = "whsec_dGhlIHNpZ25pbmcgc2VjcmV0IG9mIHRoZSB0ZXN0cyE=";

/// The binary under test, in a folder of its own and with no environment but what the test gives it.
pub(crate) fn filesafety(folder: &Path) -> Command {
    binary(env!("CARGO_BIN_EXE_filesafety"), folder)
}

fn binary(path: &str, folder: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("PATH", "/usr/bin:/bin").env("HOME", folder).env("FILESAFETY_DATA_DIR", folder.join("data"));
    command
}

/// What a server is started with.
#[derive(Clone)]
pub(crate) struct Options {
    folder: Arc<TempDir>,
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    open_files: Option<u32>,
    /// A command that starts it, before its own words.
    wrapping: Vec<String>,
}

impl Options {
    /// A server that can reach what the tests set up on this machine, limits no rate, and tries a webhook again after a second.
    pub(crate) fn new() -> Self {
        let options = Self::strict();
        let authority = options.write("authority.pem", Authority::trusted().pem().as_bytes());
        options
            .env("FILESAFETY_ALLOW_NETS", "127.0.0.0/8")
            .env("FILESAFETY_FETCH_ALLOW_NETS", "127.0.0.0/8")
            .env("FILESAFETY_CA_FILE", &authority.to_string_lossy())
            .env("FILESAFETY_WEBHOOK_RETRY", "1s,1s,1s")
            .env("FILESAFETY_RATE", "off")
    }

    /// A server as it stands on the internet: nothing of this machine is reachable for it.
    pub(crate) fn strict() -> Self {
        let folder = Arc::new(TempDir::new().expect("a temporary folder"));
        let options = Self { folder, environment: BTreeMap::new(), arguments: Vec::new(), open_files: None, wrapping: Vec::new() };
        options.env("FILESAFETY_LISTEN", "127.0.0.1:0").env("FILESAFETY_API_KEY", KEY).env("FILESAFETY_WEBHOOK_SECRET", SECRET)
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The soft limit of open files that it inherits.
    pub(crate) fn open_files(self, limit: u32) -> Self {
        Self { open_files: Some(limit), ..self }
    }

    /// Is started by a command that ends by becoming it.
    pub(crate) fn wrapped_in(self, words: Vec<String>) -> Self {
        Self { wrapping: words, ..self }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Puts a file beside the data folder.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, content).expect("the folder can be written");
        path
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self) -> Server {
        Server::start(self.clone())
    }

    /// Starts what is not expected to keep running, and gives what it said.
    pub(crate) fn refused(&self) -> Output {
        let mut child = self.command().spawn().expect("the binary starts");
        let ended = wait_until_end(&mut child, START);
        if ended.is_none() {
            child.kill().expect("it is our child");
        }
        let output = child.wait_with_output().expect("its output can be read");
        assert!(ended.is_some(), "it kept running: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Another command of the binary, on the same data folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = filesafety(self.folder());
        command.envs(&self.environment).args(arguments);
        command.output().expect("the binary starts")
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let limit = self.open_files.map(|limit| ["sh".to_owned(), "-c".to_owned(), format!("ulimit -S -n {limit} && exec \"$0\" \"$@\"")]);
        let words: Vec<_> = self.wrapping.iter().cloned().chain(limit.into_iter().flatten()).collect();
        let mut command = match words.split_first() {
            None => filesafety(self.folder()),
            Some((first, others)) => {
                let mut wrapped = binary(first, self.folder());
                wrapped.args(others).arg(env!("CARGO_BIN_EXE_filesafety"));
                wrapped
            }
        };
        command.arg("serve").args(&self.arguments).envs(&self.environment);
        command
    }
}

/// A running server. Ends with the value.
pub(crate) struct Server {
    options: Options,
    child: Child,
    address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static STRICT: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    /// One with the settings of [`Options::new`] that all tests use which run at the same time and do not disturb one another.
    pub(crate) fn shared() -> Arc<Self> {
        Self::of_many(&SHARED, Options::new)
    }

    /// Likewise, with the settings of [`Options::strict`].
    pub(crate) fn strict() -> Arc<Self> {
        Self::of_many(&STRICT, || Options::strict().env("FILESAFETY_RATE", "off"))
    }

    fn of_many(place: &Mutex<Weak<Self>>, options: impl FnOnce() -> Options) -> Arc<Self> {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = place.upgrade() {
            return server;
        }
        let server = Arc::new(options().start());
        *place = Arc::downgrade(&server);
        server
    }

    fn start(options: Options) -> Self {
        let mut child = options.command().spawn().expect("the binary starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (found, listening) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let lines = Arc::clone(&said);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let address = address_in(&line);
                // Before the address is known: whoever has it may look the line up.
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                if let Some(address) = address {
                    // Only the first one is waited for.
                    let _ = found.send(address);
                }
            }
        });
        let address = match listening.recv_timeout(START) {
            Ok(address) => address,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                // It may be gone already.
                let _ = child.kill();
                panic!("it never listened: {:#?}", said.lock().unwrap_or_else(PoisonError::into_inner));
            }
        };
        let server = Self { options, child, address, said };
        if !server.said().iter().any(|line| line.contains("https://")) {
            wait_for("the server to be ready", START, || {
                server.anonymous("GET", "/readyz").try_send().ok().filter(|answer| answer.status == 200)
            });
        }
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, in MiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
        line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<u64>().ok()).expect("a number") >> 10
    }

    /// What it has written to stderr so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn anonymous(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    /// A request with the key of the default account.
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        self.anonymous(method, target).key(KEY)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target).send()
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// A sync scan of a file alone.
    pub(crate) fn scan(&self, content: &[u8]) -> Answer {
        self.post("/v1/scan").form(Form::of("file.bin", content)).send()
    }

    /// The state of a scan.
    pub(crate) fn state(&self, scan_id: &str) -> Value {
        self.get(&format!("/v1/scan/{scan_id}")).expect(200)
    }

    /// The result of a scan, once it has one.
    #[track_caller]
    pub(crate) fn finished(&self, scan_id: &str) -> Value {
        wait_for("the scan to finish", Duration::from_secs(60), || {
            Some(self.state(scan_id)).filter(|scan| scan["status"] == "complete" || scan["status"] == "failed")
        })
    }

    /// The attempts of a scan's webhook.
    pub(crate) fn deliveries(&self, scan_id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/scan/{scan_id}/deliveries")).expect(200);
        answer["deliveries"].as_array().expect("a list of deliveries").clone()
    }

    /// The state of a scan whose webhook came to this status.
    #[track_caller]
    pub(crate) fn with_webhook(&self, scan_id: &str, status: &str, within: Duration) -> Value {
        wait_for(&format!("the webhook to be {status}"), within, || {
            Some(self.state(scan_id)).filter(|scan| scan["webhook"]["status"] == status)
        })
    }

    pub(crate) fn terminate(&self) {
        kill_process(self.raw_pid(), Signal::TERM).expect("it is our child");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) -> Options {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.options.clone()
    }

    pub(crate) fn wait_for_end(&mut self, within: Duration) -> ExitStatus {
        wait_until_end(&mut self.child, within).unwrap_or_else(|| panic!("still running after {within:?}: {:#?}", self.said()))
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.said().join("\n"));
        }
    }
}

pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on http")?;
    let rest = rest.strip_prefix('s').unwrap_or(rest).strip_prefix("://")?;
    let end = rest.find(|letter: char| !(letter.is_ascii_digit() || ".:[]".contains(letter))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn wait_until_end(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let start = std::time::Instant::now();
    while start.elapsed() < within {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}
