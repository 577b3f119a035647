//! A file of 1 GiB: how fast it is received and stored, and what memory that takes.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::measure::{peak_while, resident};
use crate::support::client::Connection;
use crate::support::{Form, Options, Server, clock};

const SIZE: u64 = 1 << 30;
const MIB: f64 = 1_048_576.0;

pub(crate) fn run() {
    let options = Options::new().env("FILESAFETY_LOG", "warn");
    let path = options.folder().join("large.bin");
    write_file(&path);
    // Twice: the first reading brings the file into memory, for both.
    sha256sum(&path);
    let hashed = sha256sum(&path);
    let server = options.start();
    server.scan(b"warm").expect_verdict("clean");
    let idle = resident(server.pid());

    let begun = Instant::now();
    let (id, receiving) = peak_while(server.pid(), || upload(&server, &path));
    let received = begun.elapsed();
    let (verdict, scanning) = peak_while(server.pid(), || {
        clock::wait_for("the verdict", Duration::from_secs(600), || {
            Some(server.state(&id))
                .filter(|scan| scan["status"] == "complete" || scan["status"] == "failed")
                .map(|scan| scan["verdict"].clone())
        })
    });
    let judged = begun.elapsed();

    let rate = |time: Duration| SIZE as f64 / 1e6 / time.as_secs_f64();
    println!("  sha256sum: {:.0} MB/s", rate(hashed));
    println!("  received, encrypted and stored: {:.0} MB/s (ratio {:.2})", rate(received), hashed.as_secs_f64() / received.as_secs_f64());
    println!("  judged after {:.1} s in all: {verdict}", judged.as_secs_f64());
    println!(
        "  memory: idle {:.0} MiB, receiving {:+.0} MiB (64 allowed), scanning {:+.0} MiB",
        idle as f64 / MIB,
        above(receiving, idle),
        above(scanning, idle)
    );
}

fn above(peak: u64, idle: u64) -> f64 {
    (peak as f64 - idle as f64) / MIB
}

fn write_file(path: &Path) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let mut state = 7_u64;
    for _ in 0..SIZE / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.write_all(&(state ^ (state >> 29)).to_le_bytes()).expect("room on the disk");
    }
    file.flush().expect("room on the disk");
}

fn sha256sum(path: &Path) -> Duration {
    let begun = Instant::now();
    let status = Command::new("sha256sum").arg(path).stdout(std::process::Stdio::null()).status().expect("sha256sum is there");
    assert!(status.success());
    begun.elapsed()
}

/// Sends the file for a scan that nobody waits for, and gives its id.
fn upload(server: &Server, path: &Path) -> String {
    let form = Form::of("large.bin", b"").unfinished();
    // The form of an empty file, with the file in the place of its emptiness.
    let (before, _) = form.split_at(form.len() - 2);
    let after = format!("\r\n--{}--\r\n", Form::BOUNDARY);
    let length = before.len() as u64 + SIZE + after.len() as u64;
    let request = server.post("/v1/scan/async").header("content-type", &Form::content_type()).header("content-length", &length.to_string());
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request).expect("sent");
    connection.write(before).expect("sent");
    let mut file = File::open(path).expect("the file");
    let mut chunk = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut chunk).expect("the file can be read");
        if read == 0 {
            break;
        }
        connection.write(&chunk[..read]).expect("sent");
    }
    connection.write(after.as_bytes()).expect("sent");
    let answer = connection.answer().expect("an answer");
    answer.expect(202);
    answer.scan_id()
}
