//! Against clamd itself, with a database of one line. Skipped where it is not installed, unless `FILESAFETY_REQUIRE_CLAMD` is set.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use super::*;

const STREAM_MAX: usize = 1 << 20;
const START: Duration = Duration::from_secs(60);
const MARKER: &[u8] = b"deadbeef-marker-of-a-test";

/// Stopped when dropped.
struct Daemon {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Daemon {
    /// `None`: not installed.
    fn start() -> Option<Self> {
        let clamd = ["/usr/sbin/clamd", "/usr/bin/clamd", "/usr/local/sbin/clamd"].into_iter().find(|path| fs::exists(path).unwrap());
        let Some(clamd) = clamd else {
            assert!(std::env::var_os("FILESAFETY_REQUIRE_CLAMD").is_none(), "clamd is not installed");
            println!("skipped: clamd is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let database = dir.path().join("db");
        fs::create_dir(&database).unwrap();
        let hex: String = MARKER.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(database.join("local.ndb"), format!("Test.Marker:0:*:{hex}\n")).unwrap();
        let config = dir.path().join("clamd.conf");
        let text = format!(
            "LocalSocket {}\nTCPSocket {port}\nTCPAddr 127.0.0.1\nDatabaseDirectory {}\nForeground yes\nStreamMaxLength {STREAM_MAX}\nUser {}\n",
            dir.path().join("clamd.sock").display(),
            database.display(),
            user()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(clamd);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = Self { child: command.spawn().unwrap(), dir, port };
        daemon.wait_until_ready();
        Some(daemon)
    }

    fn wait_until_ready(&self) {
        let begin = Instant::now();
        while let Err(error) = self.by_socket().ping() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(begin.elapsed() < START, "clamd does not start: {error}\n{log}");
            thread::yield_now();
        }
    }

    fn by_socket(&self) -> Clamd {
        self.at(ClamdAddress::Unix(self.dir.path().join("clamd.sock")))
    }

    fn by_port(&self) -> Clamd {
        self.at(ClamdAddress::Tcp("localhost".into(), self.port))
    }

    fn at(&self, address: ClamdAddress) -> Clamd {
        Clamd::new(ClamdConfig { address, max_bytes: u64::MAX, oversize: Oversize::Note })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// clamd started by root would become another user and lose its folder.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_daemon_is_understood() {
    let Some(daemon) = Daemon::start() else { return };
    for clamd in [daemon.by_socket(), daemon.by_port()] {
        assert_eq!(clamd.ping(), Ok(()));
        assert_eq!(clamd.ask(b""), ClamdAnswer::Clean);
        assert_eq!(clamd.ask(b"nothing of note"), ClamdAnswer::Clean);
        assert_eq!(clamd.ask(MARKER), ClamdAnswer::Found("Test.Marker.UNOFFICIAL".into()));
        for size in [ONE_MESSAGE - 1, ONE_MESSAGE, ONE_MESSAGE + 1, 300_000, STREAM_MAX] {
            let mut object = vec![b' '; size];
            assert_eq!(clamd.ask(&object), ClamdAnswer::Clean, "{size}");
            let start = size - MARKER.len();
            object[start..].copy_from_slice(MARKER);
            assert_eq!(clamd.ask(&object), ClamdAnswer::Found("Test.Marker.UNOFFICIAL".into()), "{size}");
        }
        // Again and again: the answer races with the end of the connection.
        for size in [STREAM_MAX + 1, STREAM_MAX * 4, STREAM_MAX * 32] {
            for _ in 0..10 {
                assert_eq!(clamd.ask(&vec![0; size]), ClamdAnswer::TooLarge, "{size}");
            }
        }
    }
    let clamd = daemon.by_socket();
    let begin = Instant::now();
    for _ in 0..200 {
        assert_eq!(clamd.ask(b"a small object"), ClamdAnswer::Clean);
    }
    println!("{:?} an object", begin.elapsed() / 200);
}

/// Objects up to this are sent in one write.
const ONE_MESSAGE: usize = 1 << 16;
