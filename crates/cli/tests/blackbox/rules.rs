//! A folder of rules and hash lists of one's own, watched while the service runs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::clock::{holds_for, wait_for};
use crate::support::{Form, Options, Server};
use crate::sync_scan::sha256;

const TEXT: &[u8] = b"this text is forbidden from now on";
const RULE: &str = r#"rule Forbidden_Text { strings: $a = "forbidden from now" condition: $a }"#;

fn start() -> (Server, PathBuf) {
    let options = Options::new();
    let folder = options.folder().join("rules");
    fs::create_dir(&folder).expect("a folder");
    (options.env("FILESAFETY_RULES_DIR", &folder.to_string_lossy()).start(), folder)
}

fn scan(server: &Server, content: &[u8]) -> Value {
    server.post("/v1/scan").form(Form::of("a.txt", content)).send().expect(200)
}

#[test]
fn a_new_rule_is_in_force_without_a_restart() {
    let (server, folder) = start();
    assert_eq!(scan(&server, TEXT)["verdict"], "clean");
    fs::write(folder.join("own.yar"), RULE).expect("written");
    let found = wait_for("the rule to be in force", Duration::from_secs(20), || {
        Some(scan(&server, TEXT)).filter(|scan| scan["verdict"] == "infected")
    });
    assert_eq!(found["virus"]["signature"], "Forbidden_Text");
    fs::remove_file(folder.join("own.yar")).expect("removed");
    wait_for("the rule to be gone", Duration::from_secs(20), || (scan(&server, TEXT)["verdict"] == "clean").then_some(()));
}

#[test]
fn a_hash_list_names_files() {
    let (server, folder) = start();
    let digest = sha256(TEXT);
    fs::write(folder.join("own.sha256"), format!("# ours\n{}  Own.Bad.File\n", digest.trim_start_matches("sha256:"))).expect("written");
    let found = wait_for("the list to be in force", Duration::from_secs(20), || {
        Some(scan(&server, TEXT)).filter(|scan| scan["verdict"] == "infected")
    });
    assert_eq!(found["virus"]["engine"], "hashes");
    assert_eq!(found["virus"]["signature"], "Own.Bad.File");
}

#[test]
fn a_signature_file_of_clamav_is_matched_and_its_gaps_are_told() {
    let (server, folder) = start();
    let hex: String = TEXT.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(folder.join("own.ndb"), format!("Own.Bad.Text:0:*:{hex}\nnonsense\nOwn.Version:1:VI:{hex}\n")).expect("written");
    let found = wait_for("the signature to be in force", Duration::from_secs(20), || {
        Some(scan(&server, TEXT)).filter(|scan| scan["verdict"] == "infected")
    });
    assert_eq!(found["virus"]["engine"], "clamdb");
    assert_eq!(found["virus"]["signature"], "Own.Bad.Text.UNOFFICIAL");
    let clamdb = &server.get("/readyz").expect(200)["engines"]["clamdb"];
    assert_eq!(clamdb["signatures"], 1);
    assert_eq!(clamdb["skipped"]["invalid"], 1);
    assert_eq!(clamdb["skipped"]["unsupported"]["offset VI"], 1);
    fs::remove_file(folder.join("own.ndb")).expect("removed");
    wait_for("the signature to be gone", Duration::from_secs(20), || (scan(&server, TEXT)["verdict"] == "clean").then_some(()));
}

#[test]
fn a_change_that_does_not_compile_leaves_the_former_in_force() {
    let (server, folder) = start();
    fs::write(folder.join("own.yar"), RULE).expect("written");
    wait_for("the rule to be in force", Duration::from_secs(20), || (scan(&server, TEXT)["verdict"] == "infected").then_some(()));
    fs::write(folder.join("broken.yar"), "rule broken { condition: $nothing }").expect("written");
    wait_for("a word about it", Duration::from_secs(20), || server.said().iter().any(|line| line.contains("broken.yar")).then_some(()));
    holds_for("the former rule", Duration::from_secs(1), || scan(&server, TEXT)["verdict"] == "infected");
}

#[test]
fn signatures_that_cannot_be_read_leave_the_former_in_force() {
    let (server, folder) = start();
    let hex: String = TEXT.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(folder.join("own.ndb"), format!("Own.Bad.Text:0:*:{hex}\n")).expect("written");
    let infected = || scan(&server, TEXT)["verdict"] == "infected";
    wait_for("the signature to be in force", Duration::from_secs(20), || infected().then_some(()));
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).expect("renamed");
    let told = |line: &String| line.contains("the former stay in force");
    wait_for("a word about it", Duration::from_secs(20), || server.said().iter().any(told).then_some(()));
    holds_for("the former signature", Duration::from_secs(1), infected);
    fs::rename(&away, &folder).expect("renamed");
    fs::remove_file(folder.join("own.ndb")).expect("removed");
    wait_for("the signature to be gone", Duration::from_secs(20), || (!infected()).then_some(()));
}
