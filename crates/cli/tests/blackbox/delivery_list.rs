//! Deliveries across scans: over HTTP, and by the commands.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::clock::wait_for;
use crate::support::server::{KEY, filesafety};
use crate::support::{Form, Options, Receiver, Reply, Server};

const SOON: Duration = Duration::from_secs(20);

fn scan_for(server: &Server, url: &str, content: &[u8]) -> String {
    let answer = server.post("/v1/scan").form(Form::of("a.bin", content).text("webhook_url", url)).send();
    answer.expect(200);
    answer.scan_id()
}

fn list(server: &Server, query: &str) -> Value {
    server.get(&format!("/v1/deliveries{query}")).expect(200)
}

fn scans(page: &Value) -> Vec<String> {
    let deliveries = page["deliveries"].as_array().expect("a list");
    deliveries.iter().map(|delivery| delivery["scan_id"].as_str().expect("an id").to_owned()).collect()
}

/// A command that talks to the server.
fn client(server: &Server, arguments: &[&str]) -> Output {
    let mut command = filesafety(server.options().folder());
    command.env("FILESAFETY_URL", format!("http://{}", server.address())).env("FILESAFETY_API_KEY", KEY).args(arguments);
    command.output().expect("the binary starts")
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn deliveries_are_listed_by_status_with_their_last_attempt() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "100ms").start();
    let (good, bad) = (Receiver::start(), Receiver::replying(vec![Reply::Status(410); 2]));
    let delivered = scan_for(&server, &good.url(), b"delivered");
    let abandoned = scan_for(&server, &bad.url(), b"abandoned");
    server.with_webhook(&delivered, "delivered", SOON);
    server.with_webhook(&abandoned, "abandoned", SOON);
    server.scan(b"has no webhook").expect(200);
    let all = list(&server, "");
    assert_eq!((scans(&all), &all["next_cursor"]), (vec![abandoned.clone(), delivered.clone()], &Value::Null));
    let shown = &all["deliveries"][0];
    assert!(shown["delivery_id"].as_str().is_some_and(|id| id.starts_with("dlv_")), "{shown}");
    for (field, value) in [
        ("status", json!("abandoned")),
        ("event", json!("scan.complete")),
        ("sequence", json!(1)),
        ("attempts", json!(2)),
        ("next_attempt_at", Value::Null),
        ("postponed", Value::Null),
        ("superseded", json!(false)),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown}");
    }
    let last = &shown["last_attempt"];
    assert_eq!((&last["attempt"], &last["status"], &last["error"]["kind"]), (&json!(2), &json!(410), &json!("status")), "{shown}");
    assert!(!all.to_string().contains("a-token"), "no query is shown");
    assert_eq!(scans(&list(&server, "?status=abandoned")), [abandoned]);
    assert_eq!(scans(&list(&server, "?status=delivered&since=2020-01-01T00:00:00Z")), [delivered]);
    assert!(scans(&list(&server, "?until=2020-01-01T00:00:00Z")).is_empty());
    for query in ["?status=done", "?limit=0", "?cursor=x", "?host=a.example"] {
        server.get(&format!("/v1/deliveries{query}")).expect_error(400, "validation_error");
    }
    server.anonymous("GET", "/v1/deliveries").send().expect_error(401, "invalid_api_key");
}

#[test]
fn pages_lead_through_all_and_show_nobody_elses() {
    let server = Options::new().start();
    let receiver = Receiver::start();
    let mut expected: Vec<String> = (0..5).map(|number| scan_for(&server, &receiver.url(), format!("page {number}").as_bytes())).collect();
    expected.reverse();
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = list(&server, &query);
        seen.extend(scans(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, expected);
    let other = Account::create(server.options());
    let page = wait_for("the key to be known", SOON, || {
        Some(other.request(&server, "GET", "/v1/deliveries").send()).filter(|answer| answer.status == 200)
    });
    assert_eq!(page.json(), json!({"deliveries": [], "next_cursor": null}));
}

#[test]
fn what_was_not_tried_yet_is_shown_with_its_time() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_GRACE", "20s").start();
    let receiver = Receiver::start();
    let id = scan_for(&server, &receiver.url(), b"not yet");
    let planned = server.deliveries(&id);
    assert_eq!(planned.len(), 1, "{planned:?}");
    assert_eq!((&planned[0]["attempt"], &planned[0]["attempted_at"], &planned[0]["delivered"]), (&json!(1), &Value::Null, &json!(false)));
    assert!(planned[0]["planned_at"].is_string() && planned[0]["postponed"].is_null(), "{planned:?}");
    let listed = &list(&server, "?status=pending")["deliveries"][0];
    assert_eq!((&listed["next_attempt_at"], &listed["last_attempt"]), (&planned[0]["planned_at"], &Value::Null));
}

#[test]
fn the_commands_list_show_and_deliver_again() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "").start();
    let receiver = Receiver::replying([Reply::Status(500)]);
    let id = scan_for(&server, &receiver.url(), b"by command");
    server.with_webhook(&id, "abandoned", SOON);
    let listed = said(&client(&server, &["deliveries", "list", "--status", "abandoned", "--since", "1h"]));
    assert!(listed.contains(&id) && listed.contains("abandoned") && listed.contains("status: "), "{listed}");
    let json = said(&client(&server, &["deliveries", "list", "--json"]));
    let line: Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["scan_id"], id);
    let shown = said(&client(&server, &["deliveries", "show", &id]));
    assert!(shown.contains("500") && shown.contains("1.3") && shown.contains(&receiver.address().to_string()), "{shown}");
    said(&client(&server, &["deliveries", "redeliver", &id]));
    receiver.wait_for(2, SOON);
    server.with_webhook(&id, "delivered", SOON);
    for wrong in [["deliveries", "show", "scn_1"], ["deliveries", "list", "--since=tomorrow"], ["deliveries", "replay", "--limit=5"]] {
        assert!(!client(&server, &wrong).status.success(), "{wrong:?}");
    }
}

#[test]
fn replay_delivers_again_what_was_abandoned() {
    let server = Options::new().env("FILESAFETY_WEBHOOK_RETRY", "").start();
    let receiver = Receiver::replying(vec![Reply::Status(503); 7]);
    let ids: Vec<String> = (0..7).map(|number| scan_for(&server, &receiver.url(), format!("down {number}").as_bytes())).collect();
    for id in &ids {
        server.with_webhook(id, "abandoned", SOON);
    }
    let delivered = scan_for(&server, &receiver.url(), b"up again");
    server.with_webhook(&delivered, "delivered", SOON);
    let would = said(&client(&server, &["deliveries", "replay", "--since", "1h", "--dry-run"]));
    assert!(would.contains("7 webhooks would be delivered again."), "{would}");
    assert_eq!(receiver.received().len(), 8, "nothing was sent");
    let some = said(&client(&server, &["deliveries", "replay", "--since", "1h", "--status", "abandoned", "--limit", "3"]));
    assert!(some.contains("3 webhooks are delivered again.") && some.contains("more than --limit 3"), "{some}");
    receiver.wait_for(11, SOON);
    let rest = said(&client(&server, &["deliveries", "replay", "--since", "1h"]));
    assert!(rest.contains("4 webhooks are delivered again."), "{rest}");
    receiver.wait_for(15, SOON);
    for id in &ids {
        server.with_webhook(id, "delivered", SOON);
        let of_scan = receiver.of_scan(id);
        assert!(of_scan.len() == 2 && of_scan[0].id() == of_scan[1].id(), "one more, with the same id");
    }
    assert_eq!(receiver.of_scan(&delivered).len(), 1, "what was delivered is left alone");
}
