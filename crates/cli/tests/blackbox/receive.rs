//! `filesafety receive`: webhooks in, programs run or a local URL called.

mod running;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::clock::{holds_for, wait_for};
use crate::support::eicar::eicar;
use crate::support::web::{Next, WebServer};
use crate::support::{Form, Options};
use running::{Place, event, scan_id};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_start_that_cannot_go_well_says_why() {
    let place = Place::new();
    let program = place.script("program", "exit 0");
    let on = format!("any={}", program.display());
    for (arguments, part) in [
        (vec![], "nothing to do with events"),
        (vec!["--on", "infested=/bin/true"], "--on infested: there is no verdict"),
        (vec!["--on", "/bin/true"], "give it as --on NAME=/path/to/program"),
        (vec!["--on", &on, "--listen", "0.0.0.0:0"], "pass --behind-proxy"),
        (vec!["--on", &on, "--status-listen", "0.0.0.0:0"], "give a loopback address"),
        (vec!["--on", &on, "--tls-cert", "no.pem", "--tls-key", "no.pem"], "tls_cert: no.pem"),
        (vec!["--on", &on, "--config", "no.toml"], "no.toml cannot be read"),
        (vec!["--on", &on, "--store", "no/such/folder.db"], "store is no/such/folder.db"),
        (vec!["dead", "list"], "there is no inbox at filesafety-receive.db"),
        (vec!["add", "scn_<b>"], "is no scan id"),
    ] {
        let output = place.run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
    let first = place.start(&["--on", &on]);
    let second = place.run(&["--on", &on]);
    assert!(stderr(&second).contains("in use by another receiver"), "{}", stderr(&second));
    let taken = first.webhooks.to_string();
    let third = place.run(&["--on", &on, "--listen", &taken, "--store", "other.db"]);
    assert!(stderr(&third).contains("listen chooses another"), "{}", stderr(&third));
}

#[test]
fn what_is_not_genuine_runs_nothing() {
    let token = "a-token-of-the-tests";
    let place = Place::new().env("FILESAFETY_RECEIVE_TOKEN", token).env("FILESAFETY_RECEIVE_PENDING_SET", "on");
    let program = place.script("program", "echo ran >> $OUT");
    let receiver = place.start(&["--on", &format!("any={}", program.display())]);
    let good = |target: &str| receiver.signed(&event(1, "clean").to_string()).target(target);
    let with_token = format!("/webhooks/filesafety?token={token}");
    let cases = [
        (good(&with_token).method("GET"), 405, "method_not_allowed"),
        (good(&with_token).without_header("content-type"), 415, "unsupported_media_type"),
        (good(&with_token).body(vec![b' '; 256 * 1024 + 1]), 413, "too_large"),
        (good("/webhooks/filesafety"), 401, "invalid_token"),
        (good(&with_token).without_header("webhook-signature"), 401, "invalid_signature"),
        (good(&with_token).body(event(1, "infected").to_string()), 401, "invalid_signature"),
        (receiver.signed("{").target(&with_token), 400, "validation_error"),
        (good(&with_token), 503, "unknown_scan"),
    ];
    for (request, status, code) in cases {
        let answer = request.send();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)));
    }
    assert_eq!(good("/elsewhere").send().status, 404);
    wait_for("refusals to be logged", Duration::from_secs(5), || {
        receiver.said().iter().any(|line| line.contains("invalid_signature")).then_some(())
    });
    assert!(!receiver.said().join("\n").contains(token), "without the token");
    holds_for("nothing runs", Duration::from_millis(300), || place.out().is_empty());
    // Added by another process, the webhook that overtook its submit is taken.
    assert!(place.run(&["add", &scan_id(1), &scan_id(2)]).status.success());
    assert_eq!(good(&with_token).send().expect(200)["status"], "accepted");
    place.wait_for_lines(1);
    assert_eq!(good(&with_token).send().expect(200)["status"], "duplicate");
}

#[test]
fn without_a_secret_scans_are_registered_over_loopback() {
    let place = Place::new().without_env("FILESAFETY_RECEIVE_SECRETS");
    let program = place.script("program", "echo $FILESAFETY_SCAN_ID >> $OUT");
    let receiver = place.start(&["--on", &format!("any={}", program.display())]);
    assert!(receiver.said().iter().any(|line| line.contains("no signing secret is set")));
    let webhook = receiver.unsigned(&event(1, "clean").to_string());
    let early = webhook.send();
    assert_eq!((early.status, early.header("retry-after")), (503, Some("5")));
    receiver.status("POST", "/pending").json(&json!({ "scan_id": scan_id(1) })).send().expect(200);
    assert_eq!(webhook.send().expect(200)["status"], "accepted");
    assert_eq!(place.wait_for_lines(1), [scan_id(1)]);
}

#[test]
fn a_program_gets_the_event_and_a_small_environment() {
    let place = Place::new().env("FILESAFETY_RECEIVE_LOG", "info").env("UNRELATED", "must not be there");
    let program = place.script("program", "{ echo \"$1|$2\"; env | sort; cat; echo; } > $OUT.new; mv $OUT.new $OUT");
    let settings = format!("on.infected = ['{}', 'one word', '$HOME;`id`']\n", program.display());
    place.write("filesafety-receive.toml", &settings);
    let receiver = place.start(&[]);
    assert!(receiver.said().iter().any(|line| line.contains("no program is set for clean, nsfw, mixed, failed")));
    let mut body = event(1, "infected");
    body["virus"] = json!({ "clean": false, "signature": "Eicar\n\u{1b}[2J\u{202e}Test", "engine": "yara-x" });
    body["metadata"] = json!({ "secret": "metadata-goes-to-stdin-alone" });
    let text = body.to_string();
    assert_eq!(receiver.signed(&text).send().expect(200)["status"], "accepted");
    let lines = place.wait_for_lines(8);
    assert_eq!(lines[0], "one word|$HOME;`id`");
    let (environment, stdin) = lines[1..].split_at(lines.len() - 2);
    assert_eq!(stdin, [text]);
    let (ours, others): (Vec<&String>, Vec<&String>) = environment.iter().partition(|line| line.starts_with("FILESAFETY_"));
    assert_eq!(ours, [&format!("FILESAFETY_SCAN_ID={}", scan_id(1)), "FILESAFETY_SIGNATURE=Eicar[2JTest", "FILESAFETY_VERDICT=infected"]);
    let names: Vec<&str> = others.iter().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
    assert!(names.iter().all(|name| ["PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{names:?}");
    // A verdict without a program is acknowledged, and handled with that.
    receiver.accept(&event(2, "clean"));
    wait_for("both to be handled", Duration::from_secs(10), || {
        receiver.status("GET", "/metrics").send().text().contains("filesafety_receiver_handled_total 2\n").then_some(())
    });
}

#[test]
fn a_program_that_keeps_failing_leaves_a_dead_letter_that_can_be_replayed() {
    let place = Place::new();
    let program = place.script("program", "echo try >> $OUT; [ -e $OUT.good ] && exit 0; printf 'no <b>disk</b>\\033[2J\\n' >&2; exit 3");
    let receiver = place.start(&["--on", &format!("any={}", program.display())]);
    receiver.accept(&event(1, "infected"));
    receiver.accept(&event(2, "clean"));
    let dead = receiver.wait_for_dead(2);
    assert_eq!((&dead[0]["scan_id"], &dead[0]["attempts"]), (&Value::from(scan_id(1)), &Value::from(2)));
    let error = dead[0]["error"].as_str().unwrap();
    assert!(error.ends_with("ended with status 3: no <b>disk</b>\u{1b}[2J"), "{error}");
    let page = receiver.status("GET", "/").send();
    assert!(page.text().contains("no &lt;b&gt;disk&lt;/b&gt;\\u{1b}[2J"), "{}", page.text());
    let list = place.run(&["dead", "list"]);
    let table = String::from_utf8(list.stdout).unwrap();
    assert!(table.contains(&scan_id(2)) && table.contains("\\u{1b}[2J") && !table.contains('\u{1b}'), "{table}");
    let objects = place.run(&["dead", "list", "--json"]).stdout;
    assert_eq!(String::from_utf8(objects).unwrap().lines().count(), 2);

    let unknown = place.run(&["dead", "replay", &scan_id(9)]);
    assert!(unknown.status.code() == Some(1) && stderr(&unknown).contains("No dead letter of"), "{}", stderr(&unknown));
    place.write("out.good", "");
    let replayed = place.run(&["dead", "replay", &scan_id(1)]);
    assert!(replayed.status.success() && stderr(&replayed).contains("1 to be handled again"));
    receiver.wait_for_dead(1);
    let target = format!("/dead/replay?scan_id={}&event=scan.complete&sequence=1", scan_id(2));
    receiver.status("POST", &target).send().expect(202);
    receiver.wait_for_dead(0);
    place.wait_for_lines(6);
    assert!(place.run(&["dead", "replay", "--all"]).status.success());
}

#[test]
fn a_program_past_its_time_is_killed_with_what_it_started() {
    let place = Place::new().env("FILESAFETY_RECEIVE_TIME_LIMIT", "300ms").env("FILESAFETY_RECEIVE_RETRIES", "none");
    let program = place.script("program", "sleep 1000 & echo $! >> $OUT; echo some words; wait");
    let receiver = place.start(&["--on", &format!("any={}", program.display())]);
    receiver.accept(&event(1, "clean"));
    let dead = receiver.wait_for_dead(1);
    let error = dead[0]["error"].as_str().unwrap();
    assert!(error.contains("was killed: it ran longer than 0.3 s: some words"), "{error}");
    let child: i32 = place.wait_for_lines(1)[0].parse().unwrap();
    wait_for("what it started to be gone", Duration::from_secs(5), || {
        // Killed, and perhaps not yet collected by whoever collects orphans.
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
}

#[test]
fn endless_output_and_unread_input_harm_nothing() {
    let place = Place::new();
    let program = place.script("program", "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; echo done >> $OUT");
    let receiver = place.start(&["--on", &format!("any={}", program.display())]);
    let mut body = event(1, "clean");
    body["metadata"] = json!({ "long": "x".repeat(200_000) });
    receiver.accept(&body);
    assert_eq!(place.wait_for_lines(1), ["done"]);
}

#[test]
fn no_more_programs_run_than_may() {
    let place = Place::new().env("FILESAFETY_RECEIVE_AT_ONCE", "2");
    let program = place.script("program", "mkdir $OUT.$$; ls -d $OUT.* | wc -l >> $OUT; sleep 0.1; rmdir $OUT.$$");
    let receiver = place.start(&["--on", &format!("any={}", program.display())]);
    for number in 1..=8 {
        receiver.accept(&event(number, "clean"));
    }
    let at_once = place.wait_for_lines(8);
    assert!(at_once.iter().all(|count| ["1", "2"].contains(&count.trim())), "{at_once:?}");
    assert!(at_once.iter().any(|count| count.trim() == "2"), "{at_once:?}");
}

#[test]
fn an_event_outlives_a_kill_and_a_program_may_finish_at_the_end() {
    let place = Place::new();
    let hanging = place.script("hanging", "echo hanging >> $OUT; exec sleep 3");
    let mut first = place.start(&["--on", &format!("any={}", hanging.display())]);
    first.accept(&event(1, "clean"));
    place.wait_for_lines(1);
    first.kill();
    let slow = place.script("slow", "echo begun >> $OUT; sleep 0.5; echo ended >> $OUT");
    let mut second = place.start(&["--on", &format!("any={}", slow.display())]);
    assert_eq!(place.wait_for_lines(2), ["hanging", "begun"]);
    second.terminate();
    assert_eq!(second.wait_for_end().code(), Some(0));
    assert_eq!(place.wait_for_lines(3)[2], "ended");
    assert_eq!(second.stdout(), "");
    let third = place.start(&["--on", &format!("any={}", slow.display())]);
    holds_for("it is not handled again", Duration::from_millis(500), || place.out().lines().count() == 3);
    assert!(third.status("GET", "/metrics").send().text().contains("filesafety_receiver_waiting 0\n"));
}

#[test]
fn forwarded_events_keep_headers_and_signature_and_are_tried_again() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&requests);
    let application = WebServer::start(None, move |request, out| {
        let mut requests = record.lock().unwrap();
        requests.push(request.clone());
        let status = if requests.len() == 1 { 500 } else { 204 };
        write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n").map(|()| Next::KeepAlive)
    });
    let place = Place::new();
    let receiver = place.start(&["--forward-to", &format!("http://{}/hook?a=b", application.address())]);
    let body = event(1, "infected").to_string();
    let webhook = receiver.signed(&body);
    webhook.send().expect(200);
    let requests = wait_for("two tries", Duration::from_secs(10), || Some(requests.lock().unwrap().clone()).filter(|all| all.len() == 2));
    let secret = crate::support::server::SECRET.parse().unwrap();
    for request in &requests {
        assert_eq!((request.method.as_str(), request.target.as_str(), &request.body), ("POST", "/hook?a=b", &body.clone().into_bytes()));
        let header = |name| request.header(name);
        let headers = filesafety::sign::Headers {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
        };
        let now = header("webhook-timestamp").unwrap().parse().unwrap();
        filesafety::sign::verify(std::slice::from_ref(&secret), &headers, &request.body, now, Duration::from_secs(1)).unwrap();
        assert_eq!((header("content-type"), header("host")), (Some("application/json"), Some(application.address().to_string().as_str())));
    }
    receiver.wait_for_dead(0);
}

#[test]
fn the_service_and_the_receiver_fit_together() {
    let place = Place::new().env("FILESAFETY_RECEIVE_TOKEN", "a-token-of-the-tests").env("FILESAFETY_RECEIVE_PENDING_SET", "on");
    let (certificate, key) = Authority::trusted().issue_pem();
    place.write("chain.pem", &certificate);
    place.write("key.pem", &key);
    let program = place.script("program", "echo $FILESAFETY_SCAN_ID $FILESAFETY_VERDICT $FILESAFETY_SIGNATURE >> $OUT");
    let on = format!("infected={}", program.display());
    // Where the files are named relative to, it was started.
    assert!(place.folder().join("chain.pem").exists());
    let receiver = place.start(&["--on", &on, "--tls-cert", "chain.pem", "--tls-key", "key.pem"]);
    let server = Options::new().start();
    let url = format!("https://{}/webhooks/filesafety?token=a-token-of-the-tests", receiver.webhooks);
    let test = server.post("/v1/webhooks/test").json(&json!({ "webhook_url": url })).send();
    assert_eq!(test.expect(200)["status"], 200, "{}", test.text());
    let scan = server.post("/v1/scan").form(Form::of("a.com", &eicar()).text("webhook_url", &url)).send().expect_verdict("infected");
    let id = scan["scan_id"].as_str().unwrap();
    // Perhaps the webhook is there before this: then it comes again.
    assert!(place.run(&["add", id]).status.success());
    assert_eq!(place.wait_for_lines(1), [format!("{id} infected EICAR-Test-File")]);
    server.with_webhook(id, "delivered", Duration::from_secs(20));
}
