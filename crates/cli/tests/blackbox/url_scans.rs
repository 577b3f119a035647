//! `{"url": …}`: the service fetches the file itself, and nothing that it should not.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::eicar::eicar;
use crate::support::{Answer, Options, Server, Site, site};

fn scan(server: &Server, url: &str) -> Answer {
    server.post("/v1/scan").json(&json!({"url": url})).send()
}

#[test]
fn what_it_gets_is_scanned() {
    let server = Server::shared();
    let site = Site::of(eicar());
    let result = scan(&server, &site.url("/files/eicar.com?x=1")).expect_verdict("infected");
    assert_eq!(result["file"]["name"], "eicar.com");
    assert_eq!(result["file"]["size"], 68);
}

#[test]
fn https_works_with_an_authority_of_ones_own() {
    let site = Site::https(|_, out| site::file(out, b"over TLS"));
    scan(&Server::shared(), &site.url("/a.txt")).expect_verdict("clean");
}

#[test]
fn it_carries_the_other_fields_too() {
    let site = Site::of(b"with fields".to_vec());
    let body = json!({"url": site.url("/a"), "metadata": {"k": "v"}, "scan_types": ["virus"]});
    let result = Server::shared().post("/v1/scan").json(&body).send().expect_verdict("clean");
    assert_eq!(result["metadata"], json!({"k": "v"}));
    assert!(result["nsfw"].is_null());
}

#[test]
fn five_redirects_are_followed_and_no_sixth() {
    let hops = |count: usize| {
        Site::http(move |request, out| {
            let hop: usize = request.target.trim_start_matches('/').parse().unwrap_or(0);
            if hop < count { site::redirect(out, &format!("/{}", hop + 1)) } else { site::file(out, b"at last") }
        })
    };
    let server = Server::shared();
    let five = hops(5);
    scan(&server, &five.url("/0")).expect_verdict("clean");
    let six = hops(6);
    let answer = scan(&server, &six.url("/0"));
    assert_eq!(answer.status, 422, "{}", answer.text());
}

#[test]
fn an_error_status_fails_and_names_the_scan() {
    let server = Server::shared();
    let site = Site::http(|_, out| site::status(out, 404));
    let answer = scan(&server, &site.url("/gone"));
    answer.expect_error(422, "fetch_failed");
    let state = server.state(&answer.scan_id());
    assert_eq!(state["status"], "failed");
    assert_eq!(state["verdict"], "failed");
    assert_eq!(state["failure"]["code"], "fetch_failed");
    assert_eq!(state["failure"]["retryable"], true);
    assert!(state["virus"].is_null() && state["nsfw"].is_null());
}

#[test]
fn nobody_listening_fails() {
    let port = Site::of(Vec::new()).port();
    // The site is gone by now.
    scan(&Server::shared(), &format!("http://127.0.0.1:{port}/")).expect_error(422, "fetch_failed");
}

#[test]
fn a_shorter_body_than_declared_fails() {
    let site = Site::http(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n")?;
        out.write_all(b"much less")
    });
    scan(&Server::shared(), &site.url("/")).expect_error(422, "fetch_failed");
}

#[test]
fn a_huge_declared_length_is_refused_before_it_comes() {
    let site = Site::http(|_, out| write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\nconnection: close\r\n\r\n"));
    let server = Server::shared();
    let start = Instant::now();
    let answer = scan(&server, &site.url("/"));
    answer.expect_error(422, "fetch_too_large");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(server.state(&answer.scan_id())["failure"]["retryable"], false);
}

#[test]
fn an_endless_body_is_cut_at_the_limit() {
    let server = Options::new().env("FILESAFETY_FILE_MAX", "5MiB").start();
    let site = Site::http(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
        loop {
            out.write_all(&[b'x'; 1 << 16])?;
        }
    });
    scan(&server, &site.url("/")).expect_error(422, "fetch_too_large");
}

#[test]
fn https_never_redirects_to_http() {
    let target = Site::of(b"plain".to_vec());
    let to = target.url("/");
    let site = Site::https(move |_, out| site::redirect(out, &to));
    scan(&Server::shared(), &site.url("/")).expect_error(422, "fetch_refused");
}

#[test]
fn a_redirect_to_a_private_address_is_refused() {
    let server = Server::shared();
    for target in
        ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "file:///etc/passwd"]
    {
        let site = Site::http(move |_, out| site::redirect(out, target));
        let answer = scan(&server, &site.url("/"));
        answer.expect_error(422, "fetch_refused");
        assert_eq!(server.state(&answer.scan_id())["failure"]["code"], "fetch_refused", "{target}");
    }
}

#[test]
fn literals_of_private_addresses_are_refused_at_once() {
    let server = Server::strict();
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0177.0.0.1",
        "169.254.169.254",
        "[64:ff9b::7f00:1]",
        "10.1.2.3",
        "0.0.0.0",
    ] {
        let sentence = scan(&server, &format!("http://{host}/a")).expect_error(400, "validation_error");
        assert!(sentence.contains("url"), "{host}: {sentence}");
    }
}

#[test]
fn a_name_of_a_private_address_is_refused() {
    let site = Site::of(b"never served".to_vec());
    let answer = scan(&Server::strict(), &format!("http://localhost:{}/", site.port()));
    answer.expect_error(422, "fetch_refused");
}

#[test]
fn a_private_address_is_refused_later_as_well() {
    let server = Server::strict();
    let answer = server.post("/v1/scan/async").json(&json!({"url": "http://localhost:1/"})).send();
    answer.expect(202);
    let scan = server.finished(&answer.scan_id());
    assert_eq!(scan["verdict"], "failed");
    assert_eq!(scan["failure"]["code"], "fetch_refused");
    assert_eq!(scan["failure"]["retryable"], false);
}

#[test]
fn what_is_no_web_address_is_refused() {
    let server = Server::shared();
    for url in
        ["ftp://example.com/a", "file:///etc/passwd", "/relative", "", "http://", "gopher://127.0.0.1/", "http://user:secret@example.com/"]
    {
        scan(&server, url).expect_error(400, "validation_error");
    }
    server.post("/v1/scan").json(&json!({"url": 7})).send().expect_error(400, "validation_error");
}

#[test]
fn fetching_can_be_switched_off() {
    let server = Options::new().env("FILESAFETY_FETCH", "off").start();
    let site = Site::of(b"never fetched".to_vec());
    let answer = scan(&server, &site.url("/"));
    assert!(matches!(answer.status, 400 | 422), "{} {}", answer.status, answer.text());
}
