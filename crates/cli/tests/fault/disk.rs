//! A full disk: nothing is accepted, nothing is lost, and it recovers by itself.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::clock::wait_for;
use crate::support::data::uploads_in;
use crate::support::{Form, Options};

/// A small file system in memory.
pub(super) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where mounting is not permitted.
    pub(super) fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", "size=200m", "tmpfs"]).arg(path).output().ok()?;
        output.status.success().then(|| Self { path: path.to_owned() })
    }

    /// Takes all the room there is, and gives the file that holds it.
    pub(super) fn fill(&self) -> PathBuf {
        let path = self.path.join("filling.lock");
        let mut file = File::create(&path).expect("a file");
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount: the server may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let options = Options::new();
    let Some(disk) = SmallDisk::mount(&options.data()) else {
        eprintln!("skipped: mounting a small disk is not permitted here");
        return;
    };
    let server = options.start();
    let before = server.scan(b"while there is room").expect_verdict("clean");
    let filling = disk.fill();

    let file = vec![b'.'; 4 << 20];
    for target in ["/v1/scan/async", "/v1/scan"] {
        let answer = server.post(target).form(Form::of("large.bin", &file)).send();
        answer.expect_error(503, "storage_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    // Also what needs no room for its bytes needs room for its verdict.
    let small = server.scan(b"small");
    assert!(small.status == 503 || small.status == 200, "{}", small.text());
    assert_eq!(uploads_in(&options.data()), Vec::<PathBuf>::new());
    assert_eq!(server.state(before["scan_id"].as_str().expect("an id")), before, "reading still works");
    wait_for("the server to be unready", Duration::from_secs(15), || {
        (server.anonymous("GET", "/readyz").send().status == 503).then_some(())
    });

    fs::remove_file(filling).expect("removed");
    wait_for("the server to be ready again", Duration::from_secs(30), || {
        (server.anonymous("GET", "/readyz").send().status == 200).then_some(())
    });
    server.post("/v1/scan").form(Form::of("large.bin", &file)).send().expect_verdict("clean");
    let accepted = server.get("/v1/scans?limit=100").expect(200)["scans"].as_array().map(Vec::len);
    assert_eq!(accepted, Some(2 + usize::from(small.status == 200)), "what was refused was not accepted");
    drop(server);
    drop(disk);
}
