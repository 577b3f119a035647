//! With `FILESAFETY_CLAMD`, a real clamd is asked as well, and its silence is never clean.

use crate::support::clamd::Clamd;
use crate::support::{Form, Options};

#[test]
fn what_it_finds_counts_and_its_silence_fails() {
    let options = Options::new();
    let Some(clamd) = Clamd::start(options.folder()) else { return };
    let server = options.env("FILESAFETY_CLAMD", &format!("unix:{}", clamd.socket().display())).start();
    let marked = [b"this has ".as_slice(), Clamd::MARK, b" in it"].concat();
    assert_eq!(clamd.scan(&marked).expect("an answer"), "stream: Local.Marked.UNOFFICIAL FOUND");
    let scan = server.scan(&marked).expect_verdict("infected");
    assert_eq!(scan["virus"]["engine"], "clamd");
    assert_eq!(scan["virus"]["signature"], "Local.Marked.UNOFFICIAL");
    server.scan(b"this has nothing").expect_verdict("clean");
    drop(clamd);
    let answer = server.post("/v1/scan").header("cache-control", "no-cache").form(Form::of("a", b"clean but for silence")).send();
    answer.expect_error(502, "upstream_error");
    let scan = server.state(&answer.scan_id());
    assert_eq!(scan["verdict"], "failed");
    assert_eq!(scan["failure"]["code"], "engine_unavailable");
    assert_eq!(scan["failure"]["retryable"], true);
    assert_ne!(server.anonymous("GET", "/readyz").send().status, 200);
}
