//! `kill -9` at random moments under load.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::clock::wait_for;
use crate::support::data::uploads_in;
use crate::support::eicar::eicar;
use crate::support::{Answer, Form, Options, Receiver, Request};

const CLIENTS: u64 = 4;

/// The scans that were answered 2xx, and the verdict that each must come to.
type Accepted = Mutex<BTreeMap<String, &'static str>>;

fn rounds() -> u64 {
    if std::env::var_os("FILESAFETY_FULL").is_some() { 20 } else { 3 }
}

/// A number under `bound` that differs from run to run.
fn random(bound: u64, salt: u64) -> u64 {
    RandomState::new().hash_one(salt) % bound
}

#[test]
fn no_accepted_scan_is_lost() {
    // Longer than all rounds together take, so that a delivery is never abandoned for our own kills.
    let mut options = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "1s,1s,1s,2s,2s,2s,5s,5s,5s");
    let receiver = Receiver::start();
    let accepted = Accepted::default();
    let number = AtomicU64::new(0);
    for round in 0..rounds() {
        let server = options.start();
        let stop = AtomicBool::new(false);
        let request = server.post("/v1/scan");
        let life = Duration::from_millis(150 + random(1500, round));
        options = thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| submit_until_the_end(&request, &receiver.url(), &number, &accepted, &stop));
            }
            thread::sleep(life);
            stop.store(true, Ordering::SeqCst);
            server.kill()
        });
    }
    let server = options.start();
    let accepted = accepted.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("{} scans were accepted in {} rounds", accepted.len(), rounds());
    assert!(accepted.len() as u64 > rounds(), "there was load");
    for (id, verdict) in &accepted {
        let scan = server.finished(id);
        assert_eq!(scan["verdict"], *verdict, "{scan}");
    }
    assert_announced_once(&receiver, &accepted);
    wait_for("every upload to go", Duration::from_secs(20), || uploads_in(&options.data()).is_empty().then_some(()));
}

/// Every accepted scan was announced, under one id, however often that was sent.
fn assert_announced_once(receiver: &Receiver, accepted: &BTreeMap<String, &'static str>) {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    wait_for("every webhook", Duration::from_secs(60), || {
        ids.clear();
        for received in receiver.received() {
            let scan = received.event()["scan_id"].as_str().expect("an id").to_owned();
            ids.entry(scan).or_default().insert(received.id().to_owned());
        }
        accepted.keys().all(|id| ids.contains_key(id)).then_some(())
    });
    for (scan, ids) in &ids {
        assert_eq!(ids.len(), 1, "{scan} was announced as {ids:?}");
    }
}

fn submit_until_the_end(request: &Request, webhook_url: &str, number: &AtomicU64, accepted: &Accepted, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let number = number.fetch_add(1, Ordering::SeqCst);
        let (content, verdict) = content(number);
        let answer = match number % 3 {
            0 => submit(request, &content, webhook_url),
            1 => submit(&request.clone().target("/v1/scan/async"), &content, webhook_url),
            _ => upload(request, &content, webhook_url),
        };
        // No answer, no promise.
        let Some(answer) = answer else { return };
        if matches!(answer.status, 200 | 202) {
            accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(answer.scan_id(), verdict);
        }
    }
}

/// Small and large files, some with a virus, no two alike.
fn content(number: u64) -> (Vec<u8>, &'static str) {
    let length = [50, 5_000, 300_000][random(3, number) as usize];
    let mut content = format!("file {number} ").into_bytes();
    content.resize(length, b'.');
    if number.is_multiple_of(5) {
        content.extend_from_slice(&eicar());
        return (content, "infected");
    }
    (content, "clean")
}

fn submit(request: &Request, content: &[u8], webhook_url: &str) -> Option<Answer> {
    request.clone().form(Form::of("a", content).text("webhook_url", webhook_url)).try_send().ok()
}

fn upload(request: &Request, content: &[u8], webhook_url: &str) -> Option<Answer> {
    let opened = request.clone().json(&json!({"webhook_url": webhook_url})).try_send().ok()?;
    if opened.status != 201 {
        return Some(opened);
    }
    let url = opened.json()["upload_url"].as_str()?.to_owned();
    let path = url.splitn(4, '/').nth(3)?;
    request.clone().method("PUT").target(&format!("/{path}")).without_header("x-api-key").body(content).try_send().ok()
}
