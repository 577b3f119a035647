//! Verdicts that newer data turns: `scan.verdict_updated`, and `filesafety rescan`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::account::expect_success;
use crate::support::archives::zip_of;
use crate::support::clock::{holds_for, wait_for};
use crate::support::eicar::eicar;
use crate::support::server::SECRET;
use crate::support::{Form, Options, Receiver, Reply, Server};
use crate::sync_scan::sha256;

const SOON: Duration = Duration::from_secs(30);
const BOTH: &str = r#"["scan.complete","scan.verdict_updated"]"#;

struct Watched {
    server: Server,
    rules: PathBuf,
}

fn watched(options: Options) -> Watched {
    let rules = options.folder().join("rules");
    fs::create_dir_all(&rules).expect("a folder");
    Watched { server: options.env("FILESAFETY_RULES_DIR", &rules.to_string_lossy()).start(), rules }
}

fn line(content: &[u8], name: &str) -> String {
    format!("{}  {name}\n", sha256(content).trim_start_matches("sha256:"))
}

fn scan_for(server: &Server, receiver: &Receiver, content: &[u8], events: &str) -> String {
    let form = Form::of("a.bin", content).text("webhook_url", &receiver.url()).text("events", events).text("metadata", r#"{"n":1.10}"#);
    server.post("/v1/scan").form(form).send().scan_id()
}

fn turned(server: &Server, id: &str, verdict: &str) -> Value {
    wait_for(&format!("the verdict to be {verdict}"), SOON, || Some(server.state(id)).filter(|scan| scan["verdict"] == verdict))
}

#[test]
fn a_list_that_names_what_was_scanned_before_turns_its_verdict() {
    let Watched { server, rules } = watched(Options::new());
    let receiver = Receiver::start();
    let content = b"harmless until yesterday";
    let id = scan_for(&server, &receiver, content, BOTH);
    let before = server.state(&id);
    assert_eq!((&before["verdict"], before.get("updated_at")), (&json!("clean"), None));
    receiver.one();
    fs::write(rules.join("later.sha256"), line(content, "Trojan.Later")).expect("written");

    let update = receiver.wait_for(2, SOON).swap_remove(1);
    update.assert_signed_with(SECRET);
    let event = update.event();
    assert_eq!((&event["event"], &event["scan_id"]), (&json!("scan.verdict_updated"), &json!(id)));
    assert_eq!((&event["verdict"], &event["previous_verdict"], &event["sequence"]), (&json!("infected"), &json!("clean"), &json!(2)));
    assert_eq!((&event["virus"]["signature"], &event["virus"]["engine"]), (&json!("Trojan.Later"), &json!("hashes")));
    assert!(String::from_utf8_lossy(&update.request.body).contains(r#""metadata":{"n":1.10}"#), "value for value");
    assert_eq!((&event["file_hash"], &event["completed_at"]), (&before["file_hash"], &before["completed_at"]));
    let first = receiver.received().swap_remove(0);
    assert_ne!(first.id(), update.id());

    let after = turned(&server, &id, "infected");
    assert_eq!((&after["completed_at"], &after["virus"]), (&before["completed_at"], &event["virus"]));
    assert!(after["updated_at"].is_string());
    let listed = server.get(&format!("/v1/scans?verdict=infected&file_hash={}", sha256(content))).expect(200);
    assert_eq!(listed["scans"][0]["scan_id"], id);
    // Once, and no more.
    holds_for("the verdict", Duration::from_secs(3), || receiver.received().len() == 2);
}

#[test]
fn a_turned_verdict_stands_for_no_other_scan() {
    let Watched { server, rules } = watched(Options::new());
    let content = b"listed for a while";
    let list = rules.join("while.sha256");
    let id = server.scan(content).scan_id();
    fs::write(&list, line(content, "For.A.While")).expect("written");
    turned(&server, &id, "infected");
    fs::remove_file(&list).expect("removed");
    // The lists are those of the first scan again, and so is the fingerprint: what it says now is not what they say.
    let again = wait_for("the list to be gone", SOON, || {
        let scan = server.scan(content).json();
        (scan["verdict"] == "clean").then_some(scan)
    });
    assert_eq!(again["deduplicated"], false);
    // An entry that is gone clears nothing that it condemned: for that there are allowances.
    assert_eq!(server.state(&id)["verdict"], "infected");
}

#[test]
fn an_allowance_clears_what_was_found_in_exactly_this_content() {
    let Watched { server, rules } = watched(Options::new());
    let receiver = Receiver::start();
    let archive = zip_of("eicar.com", &eicar());
    let id = scan_for(&server, &receiver, &eicar(), BOTH);
    let inside = server.scan(&archive).scan_id();
    assert_eq!((&server.state(&id)["verdict"], &server.state(&inside)["verdict"]), (&json!("infected"), &json!("infected")));
    fs::write(rules.join("ours.allow.sha256"), line(&eicar(), "our test file") + &line(&archive, "our archive")).expect("written");
    let event = receiver.wait_for(2, SOON)[1].event();
    assert_eq!((&event["verdict"], &event["previous_verdict"]), (&json!("clean"), &json!("infected")));
    assert_eq!(event["virus"]["clean"], true);
    let cleared = turned(&server, &id, "clean");
    assert!(cleared["coverage"]["notes"][0]["note"].as_str().is_some_and(|note| note.contains("EICAR-Test-File")), "{cleared}");
    // What was found in a member of the archive was not found in the archive.
    holds_for("the archive's verdict", Duration::from_secs(2), || server.state(&inside)["verdict"] == "infected");
    // From now on both are known: a fresh look finds the member allowed as well.
    let fresh =
        |content: &[u8]| server.post("/v1/scan").header("cache-control", "no-cache").form(Form::of("a", content)).send().expect(200);
    assert_eq!((&fresh(&eicar())["verdict"], &fresh(&archive)["verdict"]), (&json!("clean"), &json!("clean")));
}

#[test]
fn who_did_not_ask_gets_no_webhook_and_the_verdict_all_the_same() {
    let Watched { server, rules } = watched(Options::new());
    let receiver = Receiver::start();
    let content = b"nobody asked";
    let id = scan_for(&server, &receiver, content, r#"["scan.complete"]"#);
    let only_updates = scan_for(&server, &receiver, b"only updates", r#"["scan.verdict_updated"]"#);
    receiver.one();
    assert_eq!(server.state(&only_updates)["webhook"], Value::Null, "nothing is to be sent yet");
    fs::write(rules.join("later.sha256"), line(content, "Trojan.Later") + &line(b"only updates", "Trojan.Other")).expect("written");
    turned(&server, &id, "infected");
    turned(&server, &only_updates, "infected");
    let all = receiver.wait_for(2, SOON);
    assert_eq!((&all[1].event()["scan_id"], &all[1].event()["event"]), (&json!(only_updates), &json!("scan.verdict_updated")));
    holds_for("silence", Duration::from_secs(2), || receiver.received().len() == 2);
    // An account can ask for all its scans.
    expect_success(&server.options().run(&["accounts", "set", "default", "--events", "scan.complete,scan.verdict_updated"]));
    assert!(expect_success(&server.options().run(&["accounts", "list"])).contains("scan.complete,scan.verdict_updated"));
}

#[test]
fn an_update_never_overtakes_the_event_before_it() {
    let Watched { server, rules } = watched(Options::new().env("FILESAFETY_WEBHOOK_RETRY", "1s,2s,2s"));
    let receiver = Receiver::replying(vec![Reply::Status(500); 3]);
    let content = b"refused three times";
    let id = scan_for(&server, &receiver, content, BOTH);
    receiver.one();
    fs::write(rules.join("later.sha256"), line(content, "Trojan.Later")).expect("written");
    turned(&server, &id, "infected");
    let order: Vec<_> = receiver.wait_for(5, SOON).iter().map(|received| received.event()["sequence"].clone()).collect();
    assert_eq!(order, [1, 1, 1, 1, 2]);
    server.with_webhook(&id, "delivered", SOON);
    // Delivered again, it is the newest that comes.
    server.post(&format!("/v1/scan/{id}/redeliver")).send().expect(202);
    assert_eq!(receiver.wait_for(6, SOON)[5].event()["sequence"], 2);
}

#[test]
fn lists_that_changed_while_nothing_ran_count_at_the_start() {
    let Watched { server, rules } = watched(Options::new());
    let receiver = Receiver::start();
    let content = b"listed at night";
    let id = scan_for(&server, &receiver, content, BOTH);
    server.with_webhook(&id, "delivered", SOON);
    let options = server.kill();
    fs::write(rules.join("later.sha256"), line(content, "Trojan.Later")).expect("written");
    let server = options.start();
    turned(&server, &id, "infected");
    assert_eq!(receiver.wait_for(2, SOON)[1].event()["sequence"], 2);
}

#[test]
fn rescan_tells_first_and_turns_then_beside_the_running_server() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    let lists = server.options().folder().join("lists");
    fs::create_dir(&lists).expect("a folder");
    let content = b"by hand";
    fs::write(lists.join("by-hand.sha256"), line(content, "By.Hand\u{202e}")).expect("written");
    let id = scan_for(&server, &receiver, content, BOTH);
    server.scan(b"something else");
    receiver.one();
    let rescan = |arguments: &[&str]| {
        let output = server.options().run(&[&["rescan", "--rules-dir", &lists.to_string_lossy()], arguments].concat());
        (expect_success(&output), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (told, counts) = rescan(&["--dry-run"]);
    assert_eq!(told.lines().collect::<Vec<_>>(), [format!("{id}  clean -> infected  By.Hand\\u{{202e}}")]);
    assert!(counts.contains("2 scans: 1 would be condemned, 0 would be cleared"), "{counts}");
    assert_eq!(server.state(&id)["verdict"], "clean", "a dry run turns nothing");
    let (told, _) = rescan(&["--since", "2999-01-01T00:00:00Z"]);
    assert!(told.is_empty(), "{told}");
    let (_, counts) = rescan(&["--since", "1h"]);
    assert!(counts.contains("1 condemned, 0 cleared; 1 webhooks"), "{counts}");
    assert_eq!(server.state(&id)["verdict"], "infected");
    // The service hears of it by itself.
    assert_eq!(receiver.wait_for(2, Duration::from_secs(10))[1].event()["previous_verdict"], "clean");
    assert!(rescan(&[]).0.is_empty(), "a second look finds nothing more");
}

#[test]
fn rescan_says_what_it_lacks() {
    let server = Server::shared();
    let output = server.options().run(&["rescan"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("FILESAFETY_RULES_DIR"), "{said}");
    let output = server.options().run(&["rescan", "--since", "yesterday", "--rules-dir", "."]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--since"));
}
