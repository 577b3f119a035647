//! `filesafety rules`: list, check, test, update.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::support::archives::zip_of;
use crate::support::clock::wait_for;
use crate::support::{Form, Options};

const RULES: &str = r#"rule Starts {
  meta:
    fact = "runs_by_itself"
    description = "the word that starts"
  strings:
    $start = "start-word"
  condition:
    $start
}
rule Runs {
  meta:
    fact = "executes"
    description = "the word that runs"
  strings:
    $run = "run-word"
  condition:
    $run
}
"#;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A rules folder with these files, and options that name it.
fn with_rules(files: &[(&str, &str)]) -> Options {
    let options = Options::strict();
    fs::create_dir(options.folder().join("rules")).expect("a folder");
    for (name, text) in files {
        options.write(&format!("rules/{name}"), text.as_bytes());
    }
    options
}

#[test]
fn check_tells_every_error_with_its_place_and_ends_with_one() {
    let options = with_rules(&[
        ("a.yar", "rule a {\n  condition:\n    $missing\n}\n"),
        ("b.sha256", "nonsense\n"),
        ("c.ndb", "Good:0:*:6162636465\nnot a signature\n"),
        ("d.txt", "no rules at all"),
    ]);
    let output = options.run(&["rules", "check", "--rules-dir", "rules"]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("a.yar:3:5: error: ") && told.contains("\n3 |     $missing\n  |     ^\n"), "{told}");
    assert!(told.contains("b.sha256:1: error: ") && told.contains("c.ndb:2: error: "), "{told}");
    assert!(told.ends_with("3 files: 3 errors, 0 warnings\n"), "{told}");
    let good = options.write("good.yar", RULES.as_bytes());
    let output = options.run(&["rules", "check", &good.to_string_lossy()]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "1 file: 0 errors, 0 warnings\n"));
    for arguments in [&["rules", "check", "no-such-file.yar"][..], &["rules", "check", "rules/d.txt"], &["rules", "check"]] {
        let output = options.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn list_shows_each_source_with_its_counts() {
    let digests = format!("{}\n{}\n", "1".repeat(64), "2".repeat(64));
    let options = with_rules(&[("a.yar", RULES), ("b.sha256", &digests), ("c.ndb", "Good:0:*:6162636465\n")]);
    let output = options.run(&["rules", "list", "--rules-dir", "rules"]);
    let table = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        table.contains("(built in)") && table.contains("2 fact") && table.contains("2 malware") && table.contains("1 patterns"),
        "{table}"
    );
    let output = options.run(&["rules", "list", "--json", "--rules-dir", "rules"]);
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["file"], Value::Null);
    assert!(lines[0]["in_force"]["suspicious"].as_u64().is_some_and(|count| count > 5));
    assert_eq!((&lines[1]["file"], &lines[1]["in_force"]["fact"]), (&"a.yar".into(), &2.into()));
    assert_eq!((&lines[3]["engine"], &lines[3]["in_force"]["patterns"]), (&"clamdb".into(), &1.into()));
    assert!(lines[3]["changed"].as_str().is_some_and(|time| time.ends_with('Z')));
}

#[test]
fn test_tells_which_rules_match_where_and_what_they_state() {
    let options = with_rules(&[("a.yar", RULES)]);
    options.write("both.zip", &zip_of("in.txt", b"the start-word and the run-word"));
    options.write("one.txt", b"the start-word");
    let output = options.run(&["rules", "test", "both.zip", "--rules-dir", "rules"]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{told}{}", stderr(&output));
    for expected in [
        "in.txt, 31 bytes",
        "Starts (operator/a.yar, note, states runs_by_itself)",
        "$start at 4, 10 bytes: start-word",
        "suspicious: FileSafety.Suspicious.RunsProgram by filesafety in in.txt",
        "note: executes: the word that runs in in.txt",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    let output = options.run(&["rules", "test", "--json", "one.txt", "--rules-dir", "rules"]);
    assert_eq!(output.status.code(), Some(0));
    let told: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((&told["verdict"], &told["virus"]["clean"]), (&"clean".into(), &true.into()));
    assert_eq!(told["virus"]["notes"][0]["note"], "runs by itself: the word that starts");
    assert_eq!(told["objects"][0]["rules"][0]["strings"][0]["offset"], 4);
    assert_eq!(options.run(&["rules", "test", "no-such-file"]).status.code(), Some(2));
}

#[test]
fn two_facts_are_told_over_the_api_and_one_is_a_note() {
    let options = Options::new();
    let folder = options.folder().join("rules");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("a.yar"), RULES).expect("written");
    let server = options.env("FILESAFETY_RULES_DIR", &folder.to_string_lossy()).start();
    let scan = |name: &str, content: &[u8]| server.post("/v1/scan").form(Form::of(name, content)).send().expect(200);
    let one = scan("a.txt", b"the start-word");
    assert_eq!((&one["verdict"], &one["virus"]["clean"]), (&"clean".into(), &true.into()));
    assert_eq!(one["virus"]["notes"][0]["note"], "runs by itself: the word that starts");
    let both = scan("a.txt", b"the start-word and the run-word");
    assert_eq!((&both["verdict"], &both["virus"]["kind"]), (&"infected".into(), &"suspicious".into()));
    assert_eq!(
        (&both["virus"]["engine"], &both["virus"]["signature"]),
        (&"filesafety".into(), &"FileSafety.Suspicious.RunsProgram".into())
    );
    // The same bytes under a name that deceives are judged anew.
    let program = program();
    assert_eq!(scan("setup.exe", &program)["verdict"], "clean");
    let disguised = scan("invoice.pdf.exe", &program);
    assert_eq!(
        (&disguised["deduplicated"], &disguised["virus"]["signature"]),
        (&false.into(), &"FileSafety.Suspicious.DisguisedProgram".into())
    );
}

/// As much of a program for Windows as makes it one.
fn program() -> Vec<u8> {
    let mut program = b"MZ".to_vec();
    program.resize(0x3c, 0);
    program.extend([0x40, 0, 0, 0]);
    program.extend(b"PE\0\0\x4c\x01 and nothing that runs");
    program
}

fn has_freshclam() -> bool {
    let found = ["/usr/bin/freshclam", "/usr/local/bin/freshclam", "/usr/sbin/freshclam"].iter().any(|path| Path::new(path).is_file());
    if !found {
        eprintln!("freshclam is not installed: `rules update` is not tried");
    }
    found
}

/// freshclam's settings for a mirror that is a folder of this machine.
fn freshclam_settings(options: &Options, database: &Path) -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned());
    let settings = format!(
        "DatabaseOwner {user}\nDatabaseCustomURL file://{}\nExcludeDatabase main\nExcludeDatabase daily\nExcludeDatabase bytecode\n\
         DatabaseMirror 127.0.0.1\nDNSDatabaseInfo no\nForeground yes\nTestDatabases yes\n",
        database.display()
    );
    options.write("freshclam.conf", settings.as_bytes()).to_string_lossy().into_owned()
}

#[test]
fn update_fetches_databases_and_a_running_service_takes_them_over() {
    if !has_freshclam() {
        return;
    }
    let options = Options::new();
    let folder = options.folder().join("rules");
    fs::create_dir(&folder).expect("a folder");
    let mirror = options.folder().join("mirror");
    fs::create_dir(&mirror).expect("a folder");
    let database = mirror.join("local.ndb");
    let text = b"this text is in tomorrow's database";
    let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&database, format!("Local.Tomorrow:0:*:{hex}\n")).expect("written");
    // What changed within this second is fetched twice.
    let an_hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&database).expect("it is there").set_modified(an_hour_ago).expect("it is ours");
    let settings = freshclam_settings(&options, &database);
    let rules_dir = folder.to_string_lossy().into_owned();
    let commands = Options::strict();
    let server = options.env("FILESAFETY_RULES_DIR", &rules_dir).start();
    let scan = || server.post("/v1/scan").form(Form::of("a.txt", text)).send().expect(200);
    assert_eq!(scan()["verdict"], "clean");
    let update = ["rules", "update", "--rules-dir", &rules_dir, "--freshclam-config", &settings];
    let output = commands.run(&update);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("Updated: local.ndb."), "{}", stdout(&output));
    let found =
        wait_for("the database to be in force", Duration::from_secs(20), || Some(scan()).filter(|scan| scan["verdict"] == "infected"));
    assert_eq!((&found["virus"]["engine"], &found["virus"]["signature"]), (&"clamdb".into(), &"Local.Tomorrow.UNOFFICIAL".into()));
    let output = commands.run(&update);
    assert!(output.status.success() && stdout(&output).contains("Nothing new."), "{}", stdout(&output));
    fs::remove_file(&database).expect("removed");
    let output = commands.run(&update);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("freshclam ended with"), "{}", stderr(&output));
}

#[test]
fn update_needs_a_folder() {
    let output = Options::strict().run(&["rules", "update"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("FILESAFETY_RULES_DIR"), "{}", stderr(&output));
}
