//! More than can be done: refused with a time to come back, never half accepted.

use std::time::Duration;

use crate::support::archives::{Zeros, gzip};
use crate::support::clock::wait_for;
use crate::support::{Form, Options};

#[test]
fn a_full_queue_refuses_and_drains() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").env("FILESAFETY_QUEUE_MAX", "3").start();
    let slow = Zeros::mebibytes(700).gzip();
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..12 {
        // Bytes after the end make each another file.
        let content = [slow.as_slice(), format!("{number}").as_bytes()].concat();
        let answer = server.post("/v1/scan/async").form(Form::of("a.gz", &content)).send();
        if answer.status == 202 {
            accepted.push(answer.scan_id());
        } else {
            answer.expect_error(503, "overloaded");
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        }
    }
    assert!(refused > 0 && accepted.len() >= 3, "{} accepted, {refused} refused", accepted.len());
    for id in &accepted {
        assert_eq!(server.finished(id)["verdict"], "clean");
    }
    assert_eq!(server.get("/v1/usage").expect(200)["scans_used"], accepted.len());
    wait_for("room", Duration::from_secs(5), || {
        (server.post("/v1/scan/async").form(Form::of("a", b"room again")).send().status == 202).then_some(())
    });
}

#[test]
fn those_who_wait_go_before_those_who_do_not() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").start();
    let slow = Zeros::mebibytes(900).gzip();
    let ids: Vec<String> = (0..8)
        .map(|number| {
            let content = [slow.as_slice(), format!("{number}").as_bytes()].concat();
            server.post("/v1/scan/async").form(Form::of("a.gz", &content)).send().scan_id()
        })
        .collect();
    server.scan(b"someone waits for this").expect_verdict("clean");
    let waiting = ids.iter().filter(|id| server.state(id)["status"] == "pending").count();
    assert!(waiting >= 2, "{waiting} of 8 still waited when the sync scan was answered");
}

#[test]
fn a_file_beyond_all_memory_ends_at_a_limit() {
    let server = Options::new().env("FILESAFETY_SCAN_MEMORY", "64MiB").start();
    let inner = vec![b'x'; 90 << 20];
    let scan = server.scan(&gzip(&inner)).expect_verdict("infected");
    assert_eq!(scan["virus"]["signature"], "Heuristics.Limits.Memory", "{scan}");
    server.scan(b"and the next is fine").expect_verdict("clean");
}
