//! A running `filesafety receive`, and webhooks to send it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use filesafety::sign;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::clock::wait_for;
use crate::support::server::{SECRET, address_in, filesafety};
use crate::support::{Answer, Request};

/// A folder with the settings, the programs and the inbox of a receiver.
pub(super) struct Place {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
}

pub(super) struct Running {
    child: Child,
    pub(super) webhooks: SocketAddr,
    pub(super) status: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

impl Place {
    /// With the signing secret of the tests, and programs that are tried again after 100 ms.
    pub(super) fn new() -> Self {
        let environment = vec![
            ("FILESAFETY_RECEIVE_SECRETS", SECRET.to_owned()),
            ("FILESAFETY_RECEIVE_LISTEN", "127.0.0.1:0".into()),
            ("FILESAFETY_RECEIVE_STATUS_LISTEN", "127.0.0.1:0".into()),
            ("FILESAFETY_RECEIVE_RETRIES", "100ms".into()),
        ];
        Self { folder: TempDir::new().unwrap(), environment }
    }

    pub(super) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.retain(|(present, _)| *present != name);
        self.environment.push((name, value.to_owned()));
        self
    }

    pub(super) fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(present, _)| *present != name);
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A shell script; `$OUT` is a file beside it.
    pub(super) fn script(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.write(name, &format!("#!/bin/sh\nOUT={}\n{lines}\n", self.path("out").display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What scripts wrote to `$OUT`.
    pub(super) fn out(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn wait_for_lines(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines of programs"), Duration::from_secs(20), || {
            let lines: Vec<String> = self.out().lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        filesafety(self.folder.path()).arg("receive").args(arguments).envs(self.environment.iter().cloned()).output().unwrap()
    }

    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = filesafety(self.folder.path());
        let mut child = command.arg("receive").args(arguments).envs(self.environment.iter().cloned()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&said);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line)));
        let find = |part: &str| {
            let within = Duration::from_secs(30);
            wait_for(part, within, || said.lock().unwrap().iter().find(|line| line.contains(part)).cloned())
        };
        let webhooks = address_in(&find("listening on ")).unwrap();
        let status = address_in(&find("status page on ").replace("status page on", "listening on")).unwrap();
        Running { child, webhooks, status, said }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Running {
    /// A webhook with a good signature.
    pub(super) fn signed(&self, body: &str) -> Request {
        let secret = SECRET.parse().unwrap();
        let secs = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        self.unsigned(body)
            .header("webhook-id", "evt_1")
            .header("webhook-timestamp", &secs.to_string())
            .header("webhook-signature", &sign::sign(&[secret], "evt_1", secs, body.as_bytes()))
    }

    pub(super) fn unsigned(&self, body: &str) -> Request {
        Request::new(self.webhooks, "POST", "/webhooks/filesafety").json_text(body)
    }

    #[track_caller]
    pub(super) fn accept(&self, body: &Value) {
        assert_eq!(self.signed(&body.to_string()).send().expect(200)["status"], "accepted");
    }

    pub(super) fn status(&self, method: &str, target: &str) -> Request {
        Request::new(self.status, method, target)
    }

    /// The answer of the status port once it is as wanted.
    #[track_caller]
    pub(super) fn wait_for_dead(&self, count: usize) -> Vec<Value> {
        wait_for("dead letters", Duration::from_secs(20), || {
            let answer: Answer = self.status("GET", "/dead").send();
            answer.expect(200)["dead"].as_array().filter(|dead| dead.len() == count).cloned()
        })
    }

    pub(super) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn wait_for_end(&mut self) -> ExitStatus {
        wait_for("the end", Duration::from_secs(20), || self.child.try_wait().unwrap())
    }

    /// What it wrote to its standard output, which is nothing.
    pub(super) fn stdout(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    pub(super) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the receiver said:\n{}", self.said().join("\n"));
        }
    }
}

pub(super) fn scan_id(number: u32) -> String {
    format!("scn_{number:026}")
}

pub(super) fn event(number: u32, verdict: &str) -> Value {
    json!({ "event": "scan.complete", "scan_id": scan_id(number), "verdict": verdict, "virus": null, "nsfw": null, "file_hash": null,
        "metadata": {}, "completed_at": "2026-09-21T14:13:20.120Z", "sequence": 1, "failure": null })
}
