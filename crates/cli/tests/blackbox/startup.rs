//! Starting: refusals that say what cures them, and a first start that says what to do next.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Duration;

use crate::support::authority::Authority;
use crate::support::client::Request;
use crate::support::clock::wait_for;
use crate::support::server::KEY;
use crate::support::{Form, Options, Server};

#[track_caller]
fn assert_refused(options: &Options, words: &[&str]) -> Output {
    let output = options.refused();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(output.status.code().is_some_and(|code| code < 100), "no crash: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    output
}

#[test]
fn the_first_start_prints_a_key_once_and_a_line_that_works() {
    let options = Options::strict().without_env("FILESAFETY_API_KEY").without_env("FILESAFETY_WEBHOOK_SECRET");
    let server = options.start();
    wait_for("a curl line", Duration::from_secs(5), || server.said().into_iter().find(|line| line.contains("curl ")));
    let said = server.said().join("\n");
    let start = said.find("fs_live_").unwrap_or_else(|| panic!("a key in {said}"));
    let key: String = said[start..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter)).collect();
    let request = Request::new(server.address(), "POST", "/v1/scan").key(&key).form(Form::of("a", b"by the first key"));
    request.send().expect_verdict("clean");
    let options = server.kill();
    let second = options.start();
    assert!(!second.said().join("\n").contains(&key), "printed once");
    Request::new(second.address(), "GET", "/v1/usage").key(&key).send().expect(200);
}

#[test]
fn the_curl_line_works_when_pasted() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let server = Options::strict().without_env("FILESAFETY_API_KEY").start();
    let line = wait_for("a curl line", Duration::from_secs(5), || server.said().into_iter().find(|line| line.contains("curl ")));
    let output = std::process::Command::new("sh").arg("-c").arg(&line).current_dir(server.options().folder()).output().expect("a shell");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.contains("infected"), "{line}: {answer}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nothing_is_written_to_stdout() {
    let options = Options::strict();
    let child = options.command().stderr(std::process::Stdio::null()).spawn().expect("the binary starts");
    let mut child = child;
    std::thread::sleep(std::time::Duration::from_secs(1));
    child.kill().expect("it is our child");
    assert!(child.wait_with_output().expect("its output").stdout.is_empty());
}

#[test]
fn a_public_address_needs_tls_or_a_proxy() {
    assert_refused(&Options::strict().env("FILESAFETY_LISTEN", "0.0.0.0:0"), &["FILESAFETY_TLS_CERT", "--behind-proxy"]);
    assert_refused(&Options::strict().env("FILESAFETY_LISTEN", "[::]:0"), &["FILESAFETY_TLS_CERT", "--behind-proxy"]);
    let server = Options::strict().env("FILESAFETY_LISTEN", "0.0.0.0:0").arg("--behind-proxy");
    let mut child = server.command().spawn().expect("the binary starts");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(child.try_wait().expect("it is our child").is_none(), "behind a proxy it may listen anywhere");
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
}

#[test]
fn tls_is_served_with_a_certificate() {
    let (certificate, key) = Authority::trusted().issue_pem();
    let options = Options::strict();
    let certificate = options.write("certificate.pem", certificate.as_bytes());
    let key = options.write("key.pem", key.as_bytes());
    let server =
        options.env("FILESAFETY_TLS_CERT", &certificate.to_string_lossy()).env("FILESAFETY_TLS_KEY", &key.to_string_lossy()).start();
    assert!(server.said().iter().any(|line| line.contains("listening on https://")), "{:?}", server.said());
}

#[test]
fn half_of_tls_is_refused() {
    assert_refused(&Options::strict().env("FILESAFETY_TLS_CERT", "certificate.pem"), &["FILESAFETY_TLS_KEY"]);
    let nowhere = Options::strict().env("FILESAFETY_TLS_CERT", "nowhere.pem").env("FILESAFETY_TLS_KEY", "nowhere.key");
    assert_refused(&nowhere, &["nowhere.pem"]);
}

#[test]
fn a_bad_value_names_its_setting() {
    for (name, value) in [
        ("FILESAFETY_LISTEN", "nowhere"),
        ("FILESAFETY_PUBLIC_URL", "not a url"),
        ("FILESAFETY_API_KEY", "too-short"),
        ("FILESAFETY_WEBHOOK_SECRET", "whsec_c2hvcnQ="),
        ("FILESAFETY_WEBHOOK_SECRET", "nonsense"),
        ("FILESAFETY_WEBHOOK_RETRY", "often"),
        ("FILESAFETY_WEBHOOK_TIMEOUT", "-1s"),
        ("FILESAFETY_ALLOW_NETS", "localhost"),
        ("FILESAFETY_FETCH_ALLOW_NETS", "127.0.0.0/99"),
        ("FILESAFETY_CA_FILE", "no-such-file.pem"),
        ("FILESAFETY_POLICY", "lenient"),
        ("FILESAFETY_POLICY", "encrypted=maybe"),
        ("FILESAFETY_CLAMD", "somewhere"),
        ("FILESAFETY_RULES_DIR", "no-such-folder"),
        ("FILESAFETY_RATE", "fast"),
        ("FILESAFETY_SCAN_THREADS", "0"),
        ("FILESAFETY_LOG_FORMAT", "xml"),
        ("FILESAFETY_MASTER_KEY", "short"),
        ("FILESAFETY_SCAN_MEMORY", "lots"),
        ("FILESAFETY_FETCH", "perhaps"),
        ("FILESAFETY_ROLES", "cook"),
    ] {
        let output = assert_refused(&Options::strict().env(name, value), &[name]);
        if name == "FILESAFETY_API_KEY" || name == "FILESAFETY_WEBHOOK_SECRET" || name == "FILESAFETY_MASTER_KEY" {
            assert!(!String::from_utf8_lossy(&output.stderr).contains(value), "{name} is never shown");
        }
    }
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    assert_refused(&Options::strict().env("FILESAFETY_LISTNE", "127.0.0.1:0"), &["FILESAFETY_LISTNE"]);
    let options = Options::strict();
    options.write("filesafety.toml", b"listne = \"127.0.0.1:0\"\n");
    assert_refused(&options, &["listne", "filesafety.toml"]);
    let options = Options::strict();
    options.write("filesafety.toml", b"listen = \n");
    assert_refused(&options, &["filesafety.toml"]);
}

#[test]
fn a_file_may_hold_a_value() {
    let options = Options::strict().without_env("FILESAFETY_API_KEY");
    let file = options.write("key.txt", format!("{KEY}\n").as_bytes());
    let server = options.env("FILESAFETY_API_KEY_FILE", &file.to_string_lossy()).start();
    server.get("/v1/usage").expect(200);
    drop(server);
    assert_refused(
        &Options::strict().without_env("FILESAFETY_API_KEY").env("FILESAFETY_API_KEY_FILE", "no-such-file"),
        &["FILESAFETY_API_KEY_FILE"],
    );
}

#[test]
fn flags_go_over_environment_over_file_over_defaults() {
    let options = Options::strict();
    options.write("filesafety.toml", b"policy = \"balanced\"\nlog = \"warn\"\nscan_threads = 1\n");
    let options = options.env("FILESAFETY_POLICY", "strict");
    let output = options.run(&["config"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    let line = |name: &str| {
        shown.lines().find(|line| line.to_lowercase().contains(name)).unwrap_or_else(|| panic!("{name} in {shown}")).to_owned()
    };
    assert!(line("policy").contains("strict"), "{shown}");
    assert!(line("scan_threads").contains('1') && line("scan_threads").contains("filesafety.toml"), "{shown}");
    assert!(!shown.contains(KEY), "secrets are not shown");
}

#[test]
fn what_this_build_lacks_stops_the_start() {
    assert_refused(&Options::strict().env("FILESAFETY_DATABASE_URL", "postgres://localhost/files"), &["FILESAFETY_DATABASE_URL"]);
    assert_refused(&Options::strict().env("FILESAFETY_BLOB_URL", "s3://bucket/prefix"), &["FILESAFETY_BLOB_URL"]);
    assert_refused(&Options::strict().env("FILESAFETY_ROLES", "api"), &["FILESAFETY_ROLES"]);
}

#[test]
fn a_wrong_master_key_stops_the_start() {
    let server = Options::new().start();
    server.scan(b"under the first key").expect_verdict("clean");
    let options = server.kill();
    let path = options.data().join("master.key");
    assert_eq!(std::fs::metadata(&path).expect("the key").permissions().mode() & 0o777, 0o600);
    let right = std::fs::read(&path).expect("the key");
    let mut wrong = right.clone();
    for byte in wrong.iter_mut().take(8) {
        *byte = if *byte == b'a' { b'b' } else { b'a' };
    }
    std::fs::write(&path, &wrong).expect("written");
    assert_refused(&options, &["master"]);
    std::fs::write(&path, &right).expect("written");
    options.start();
}

#[test]
fn two_servers_on_one_folder_are_refused() {
    let server = Options::new().start();
    assert_refused(server.options(), &[]);
    server.scan(b"the first goes on").expect_verdict("clean");
}

#[test]
fn a_port_in_use_is_named() {
    let server = Server::shared();
    let address = server.address().to_string();
    assert_refused(&Options::strict().env("FILESAFETY_LISTEN", &address), &[&address]);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let options = Options::strict();
    let file = options.write("a-file", b"in the way");
    assert_refused(&options.env("FILESAFETY_DATA_DIR", &file.to_string_lossy()), &["a-file"]);
}

#[test]
fn a_rule_that_does_not_compile_stops_the_start_with_file_and_line() {
    let options = Options::strict();
    let rules = options.folder().join("rules");
    std::fs::create_dir(&rules).expect("a folder");
    std::fs::write(rules.join("broken.yar"), "rule fine { condition: false }\nrule broken { condition: $nothing }\n").expect("written");
    assert_refused(&options.env("FILESAFETY_RULES_DIR", &rules.to_string_lossy()), &["broken.yar", "2"]);
}

#[test]
fn a_clamd_that_is_absent_leaves_the_service_unready() {
    let server = Options::new().env("FILESAFETY_CLAMD", "unix:/nonexistent/clamd.sock");
    let output = server.command().spawn().expect("the binary starts");
    let mut child = output;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let running = child.try_wait().expect("it is our child").is_none();
    child.kill().expect("it is our child");
    let output = child.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Either is honest; starting and answering clean is not, and that is shown elsewhere.
    assert!(running || said.contains("clamd"), "{said}");
}

#[test]
fn an_unknown_command_or_flag_is_refused() {
    let options = Options::strict();
    for arguments in [["explode"].as_slice(), &["serve", "--explode"], &[]] {
        let output = options.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    let help = options.run(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("serve"));
}

#[test]
fn it_may_open_as_many_files_as_the_system_lets_it() {
    let server = Options::strict().open_files(256).start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit of open files");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let (soft, hard) = (numbers.next().expect("a soft limit"), numbers.next().expect("a hard limit"));
    assert_eq!(soft, hard.min(65_536), "{line}");
}
