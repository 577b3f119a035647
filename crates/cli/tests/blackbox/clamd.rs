//! With `FILESAFETY_CLAMD`, a real clamd is asked as well, and its silence is never clean.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::clock::wait_for;
use crate::support::{Form, Options};

/// A clamd with a database of one signature.
struct Clamd {
    child: Child,
    socket: PathBuf,
}

impl Clamd {
    /// `None` where it is not installed.
    fn start(options: &Options) -> Option<Self> {
        let program = ["/usr/sbin/clamd", "/usr/bin/clamd"].into_iter().find(|path| fs::exists(path).unwrap_or(false));
        let Some(program) = program else {
            assert!(std::env::var_os("FILESAFETY_REQUIRE_CLAMD").is_none(), "clamd is required and not installed");
            eprintln!("skipped: clamd is not installed");
            return None;
        };
        let folder = options.folder().join("clamd");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("local.ndb"), "Local.Marked:0:*:7468652d636c616d642d6d61726b\n").expect("written");
        let socket = folder.join("socket");
        let config = options.write(
            "clamd.conf",
            format!("LocalSocket {}\nDatabaseDirectory {}\nForeground yes\nStreamMaxLength 30M\n", socket.display(), folder.display())
                .as_bytes(),
        );
        let child = Command::new(program).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("clamd starts");
        let clamd = Self { child, socket };
        wait_for("clamd to listen", Duration::from_secs(60), || std::os::unix::net::UnixStream::connect(&clamd.socket).ok());
        Some(clamd)
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_it_finds_counts_and_its_silence_fails() {
    let options = Options::new();
    let Some(clamd) = Clamd::start(&options) else { return };
    let server = options.env("FILESAFETY_CLAMD", &format!("unix:{}", clamd.socket.display())).start();
    let scan = server.scan(b"this has the-clamd-mark in it").expect_verdict("infected");
    assert_eq!(scan["virus"]["engine"], "clamd");
    assert_eq!(scan["virus"]["signature"], "Local.Marked.UNOFFICIAL");
    server.scan(b"this has nothing").expect_verdict("clean");
    drop(clamd);
    let answer = server.post("/v1/scan").header("cache-control", "no-cache").form(Form::of("a", b"clean but for silence")).send();
    answer.expect_error(502, "upstream_error");
    let scan = server.state(&answer.scan_id());
    assert_eq!(scan["verdict"], "failed");
    assert_eq!(scan["failure"]["code"], "engine_unavailable");
    assert_eq!(scan["failure"]["retryable"], true);
    assert_ne!(server.anonymous("GET", "/readyz").send().status, 200);
}
