//! Sandboxes that die, stand still or take too much: the service stays, and every scan comes to its verdict.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::support::archives::{self, Zeros};
use crate::support::clock::wait_for;
use crate::support::eicar::eicar;
use crate::support::{Form, Options, Receiver, Request, Server, sandboxes};

const KILLS: usize = 50;
const CLIENTS: u64 = 3;

/// The sandboxes, once there are as many as there should be.
fn ready(server: &Server, count: usize) -> Vec<Pid> {
    wait_for("the sandboxes to be there", Duration::from_secs(20), || {
        Some(sandboxes::of(server.pid())).filter(|sandboxes| sandboxes.len() == count)
    })
}

#[test]
fn killed_ones_lose_no_scan() {
    let receiver = Receiver::start();
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "2").start();
    let accepted: Mutex<BTreeMap<String, &'static str>> = Mutex::default();
    let (number, answered, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (request, url) = (server.post("/v1/scan"), receiver.url());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let judged = submit(&request, number.fetch_add(1, Ordering::SeqCst), &url, &accepted);
                    answered.fetch_add(u64::from(judged), Ordering::SeqCst);
                }
            });
        }
        for kill in 0..KILLS {
            // A scan that is run again alone holds up the others: once one of them is answered, it has come to its end.
            let before = answered.load(Ordering::SeqCst);
            wait_for("an answer", Duration::from_secs(60), || (answered.load(Ordering::SeqCst) > before).then_some(()));
            let confined = || sandboxes::of(server.pid()).into_iter().filter(|pid| sandboxes::is_confined(*pid)).collect::<Vec<_>>();
            let victims = wait_for("a sandbox", Duration::from_secs(60), || Some(confined()).filter(|all| !all.is_empty()));
            sandboxes::signal(victims[kill % victims.len()], Signal::KILL);
        }
        stop.store(true, Ordering::SeqCst);
    });
    let accepted = accepted.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("{} scans were accepted while {KILLS} sandboxes were killed", accepted.len());
    assert!(accepted.len() > KILLS, "there was load");
    // One that was met three times while it ran alone ends as such a scan does.
    let mut met = 0;
    for (id, verdict) in &accepted {
        let scan = server.finished(id);
        if scan["virus"]["signature"] == "Heuristics.Broken.Crash" {
            met += 1;
        } else {
            assert_eq!(scan["verdict"], *verdict, "{scan}");
        }
    }
    eprintln!("{met} of them were killed three times alone");
    assert!(met <= KILLS / 10, "{met} of {}", accepted.len());
    wait_for("every webhook", Duration::from_secs(60), || {
        let told: Vec<_> = receiver.received().iter().map(|one| one.event()["scan_id"].as_str().expect("an id").to_owned()).collect();
        accepted.keys().all(|id| told.contains(id)).then_some(())
    });
    ready(&server, 2);
}

/// Whether the answer already has the verdict.
fn submit(request: &Request, number: u64, url: &str, accepted: &Mutex<BTreeMap<String, &'static str>>) -> bool {
    let mut content = format!("file {number} ").into_bytes();
    content.resize([50, 5_000, 1_500_000][number as usize % 3], b'.');
    let verdict = if number.is_multiple_of(4) { "infected" } else { "clean" };
    if verdict == "infected" {
        content.extend_from_slice(&eicar());
    }
    let target = if number.is_multiple_of(3) { "/v1/scan/async" } else { "/v1/scan" };
    let answer = request.clone().target(target).form(Form::of("a", &content).text("webhook_url", url)).send();
    assert!(matches!(answer.status, 200 | 202), "{}: {}", answer.status, answer.text());
    accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(answer.scan_id(), verdict);
    answer.status == 200
}

#[test]
fn one_that_stands_still_is_ended_and_its_scan_run_again() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").env("FILESAFETY_UNPACK_TIME", "500ms").start();
    sandboxes::signal(ready(&server, 1)[0], Signal::STOP);
    let begun = Instant::now();
    server.scan(&eicar()).expect_verdict("infected");
    let took = begun.elapsed();
    // Five times the processor time may pass on the clock, and a second more.
    assert!(took > Duration::from_millis(3_400) && took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn a_file_that_kills_every_sandbox_is_broken() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "2").start();
    let done = AtomicBool::new(false);
    let content: Vec<u8> = (0..30 << 20).map(|index: u32| b'a' + (index % 23) as u8).collect();
    let scan = thread::scope(|scope| {
        scope.spawn(|| {
            // Whichever is ready has the file in hand a moment later, and dies with it.
            while !done.load(Ordering::SeqCst) {
                for pid in sandboxes::of(server.pid()).into_iter().filter(|pid| sandboxes::is_confined(*pid)) {
                    thread::sleep(Duration::from_millis(30));
                    sandboxes::signal(pid, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let answer = server.post("/v1/scan/async").form(Form::of("a", &content)).send();
        let scan = server.finished(&answer.scan_id());
        done.store(true, Ordering::SeqCst);
        scan
    });
    assert_eq!(scan["virus"]["signature"], "Heuristics.Broken.Crash", "{scan}");
    assert_eq!(scan["verdict"], "infected");
    server.scan(b"another file").expect_verdict("clean");
}

#[test]
fn what_was_found_before_the_crashes_counts() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "1").env("FILESAFETY_POLICY", "broken=allow").start();
    let done = AtomicBool::new(false);
    let file = archives::tar(&[("a.com", &eicar()), ("b.gz", &Zeros::mebibytes(600).gzip())]);
    let scan = thread::scope(|scope| {
        scope.spawn(|| {
            // Those that unpack the second member have long seen the first.
            while !done.load(Ordering::SeqCst) {
                for pid in sandboxes::of(server.pid()).into_iter().filter(|pid| sandboxes::peak(*pid).is_some_and(|peak| peak > 400 << 20))
                {
                    sandboxes::signal(pid, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        let answer = server.post("/v1/scan/async").form(Form::of("a.tar", &file)).send();
        let scan = server.finished(&answer.scan_id());
        done.store(true, Ordering::SeqCst);
        scan
    });
    assert_eq!(scan["coverage"]["unexamined"][0]["signature"], "Heuristics.Broken.Crash", "{scan}");
    assert_eq!((&scan["verdict"], &scan["virus"]["kind"]), (&"infected".into(), &"malware".into()), "{scan}");
}

#[test]
fn drain_waits_for_what_a_sandbox_scans() {
    let server = Options::new().env("FILESAFETY_SCAN_THREADS", "2").start();
    // As a supervisor stops a service: every process of the group is told.
    for pid in ready(&server, 2) {
        sandboxes::signal(pid, Signal::TERM);
        sandboxes::signal(pid, Signal::INT);
    }
    thread::sleep(Duration::from_millis(200));
    server.scan(&eicar()).expect_verdict("infected");
    let pids = sandboxes::of(server.pid());
    assert_eq!(pids.len(), 2);
    server.kill();
    wait_for("sandboxes to end with their owner", Duration::from_secs(10), || {
        pids.iter().all(|pid| sandboxes::peak(*pid).is_none()).then_some(())
    });
}
