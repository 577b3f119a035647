//! The commands besides `serve`.

use std::fs;

use serde_json::Value;

use crate::support::archives::zip_of;
use crate::support::authority::Authority;
use crate::support::clamd::Clamd;
use crate::support::eicar::eicar;
use crate::support::server::{KEY, filesafety};
use crate::support::{Options, Server, pictures};

fn lines(output: &std::process::Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn scan_ends_with_zero_one_or_two() {
    let options = Options::strict();
    fs::create_dir_all(options.folder().join("files/deep")).expect("a folder");
    options.write("files/clean.txt", b"clean");
    let clean = options.run(&["scan", "files"]);
    assert_eq!(clean.status.code(), Some(0), "{}", String::from_utf8_lossy(&clean.stderr));
    options.write("files/deep/eicar.zip", &zip_of("eicar.com", &eicar()));
    let found = options.run(&["scan", "files"]);
    assert_eq!(found.status.code(), Some(1));
    let table = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(table.contains("EICAR-Test-File") && table.contains("eicar.zip"), "{table}");
    let nothing = options.run(&["scan", "no-such-file"]);
    assert_eq!(nothing.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nothing.stdout).into_owned() + &String::from_utf8_lossy(&nothing.stderr);
    assert!(said.contains("no-such-file"), "{said}");
    assert_eq!(options.run(&["scan"]).status.code(), Some(2));
}

#[test]
fn scan_prints_one_object_a_line() {
    let options = Options::strict();
    fs::create_dir(options.folder().join("files")).expect("a folder");
    options.write("files/a.txt", b"clean");
    options.write("files/b.com", &eicar());
    options.write("files/c.png", pictures::PORN);
    let output = options.run(&["scan", "--json", "files"]);
    let mut found: Vec<(String, String)> = lines(&output)
        .iter()
        .map(|line| {
            let name = line["path"].as_str().or(line["file"]["path"].as_str()).or(line["file"]["name"].as_str()).expect("a path");
            (name.rsplit('/').next().unwrap_or_default().to_owned(), line["verdict"].as_str().expect("a verdict").to_owned())
        })
        .collect();
    found.sort();
    let expected =
        [("a.txt", "clean"), ("b.com", "infected"), ("c.png", "nsfw")].map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
    assert_eq!(found, expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn scan_shows_foreign_names_escaped() {
    let options = Options::strict();
    let name = "evil\u{1b}[31m\u{202e}moc.txt";
    options.write(name, &eicar());
    let output = options.run(&["scan", "."]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn submit_and_status_talk_to_the_server() {
    let server = Server::shared();
    let options = server.options();
    let file = options.write("to-submit.com", &eicar());
    let client = |arguments: &[&str]| {
        let mut command = filesafety(options.folder());
        command.env("FILESAFETY_URL", format!("http://{}", server.address())).env("FILESAFETY_API_KEY", KEY).args(arguments);
        command.output().expect("the binary starts")
    };
    let output = client(&["submit", &file.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("infected"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let start = said.find("scn_").unwrap_or_else(|| panic!("an id in {said}"));
    let id = &said[start..start + 30];
    let output = client(&["status", id]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("infected"));
    let output = client(&["status", "scn_01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert!(!output.status.success());
    let output = client(&["submit", "no-such-file"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file"));
}

#[test]
fn submit_speaks_tls_with_roots_of_ones_own() {
    let (certificate, key) = Authority::trusted().issue_pem();
    let options = Options::new();
    let certificate = options.write("certificate.pem", certificate.as_bytes());
    let key = options.write("key.pem", key.as_bytes());
    let server =
        options.env("FILESAFETY_TLS_CERT", &certificate.to_string_lossy()).env("FILESAFETY_TLS_KEY", &key.to_string_lossy()).start();
    let options = server.options();
    let file = options.write("to-submit.com", &eicar());
    let mut command = filesafety(options.folder());
    let url = format!("https://localhost:{}", server.address().port());
    command.env("FILESAFETY_URL", url).env("FILESAFETY_API_KEY", KEY).arg("submit").arg(&file);
    let stranger = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(!stranger.status.success() && said.contains("certificate"), "{said}");
    let known = command.env("FILESAFETY_CA_FILE", options.folder().join("authority.pem")).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(said.contains("infected"), "{said}{}", String::from_utf8_lossy(&known.stderr));
}

#[test]
fn scan_asks_a_clamd_as_well() {
    let options = Options::strict();
    let Some(clamd) = Clamd::start(options.folder()) else { return };
    let marked = options.write("marked.txt", &[b"this has ", Clamd::MARK].concat());
    let address = format!("unix:{}", clamd.socket().display());
    let scan = || options.run(&["scan", "--json", "--clamd", &address, &marked.to_string_lossy()]);
    let found = scan();
    assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stderr));
    assert_eq!(lines(&found)[0]["virus"]["signature"], "Local.Marked.UNOFFICIAL");
    drop(clamd);
    let silent = scan();
    assert_eq!(silent.status.code(), Some(2), "{}", String::from_utf8_lossy(&silent.stdout));
}
