//! Forms that are wrong, each in its way.

use std::time::{Duration, Instant};

use crate::support::client::Connection;
use crate::support::{Answer, Form, Options, Server};

const CODE: &str = "validation_error";

fn send(server: &Server, body: Vec<u8>) -> Answer {
    server.post("/v1/scan").header("content-type", &Form::content_type()).body(body).send()
}

#[track_caller]
fn refused_naming(answer: &Answer, name: &str) {
    let sentence = answer.expect_error(400, CODE);
    assert!(sentence.contains(name), "{name}: {sentence}");
}

#[test]
fn a_missing_file() {
    refused_naming(&send(&Server::shared(), Form::new().text("metadata", "{}").finish()), "file");
    refused_naming(&send(&Server::shared(), Form::new().finish()), "file");
}

#[test]
fn two_files() {
    refused_naming(&send(&Server::shared(), Form::of("a", b"one").file("b", b"two").finish()), "file");
}

#[test]
fn two_of_another_field() {
    let form = Form::of("a", b"one").text("metadata", "{}").text("metadata", "{}");
    refused_naming(&send(&Server::shared(), form.finish()), "metadata");
}

#[test]
fn an_unknown_part() {
    refused_naming(&send(&Server::shared(), Form::of("a", b"one").text("colour", "red").finish()), "colour");
}

#[test]
fn a_part_without_a_name() {
    let answer = send(&Server::shared(), Form::of("a", b"one").part("Content-Type: text/plain", b"x").finish());
    answer.expect_error(400, CODE);
}

#[test]
fn a_file_without_a_name_is_still_a_file() {
    let form = Form::new().part("Content-Disposition: form-data; name=\"file\"", b"no name");
    send(&Server::shared(), form.finish()).expect_verdict("clean");
}

#[test]
fn no_last_boundary() {
    let server = Server::shared();
    send(&server, Form::of("a", b"a body without its end").unfinished()).expect_error(400, CODE);
    send(&server, Form::of("a", b"a body cut in its content").unfinished()[..90].to_vec()).expect_error(400, CODE);
    send(&server, Vec::new()).expect_error(400, CODE);
}

#[test]
fn a_body_that_ends_early() {
    let server = Server::shared();
    let body = Form::of("a", b"ends early").finish();
    let request =
        server.post("/v1/scan").header("content-type", &Form::content_type()).header("content-length", &(body.len() + 100).to_string());
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request).expect("sent");
    connection.write(&body[..body.len() - 20]).expect("sent");
    connection.finish_writing();
    // To a client that has gone the server may say nothing, but never that all is well.
    if let Ok(answer) = connection.answer() {
        answer.expect_error(400, CODE);
    }
}

#[test]
fn a_wrong_boundary() {
    let server = Server::shared();
    let body = Form::of("a", b"x").finish();
    for content_type in [
        "multipart/form-data; boundary=another",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"",
    ] {
        let answer = server.post("/v1/scan").header("content-type", content_type).body(body.clone()).send();
        answer.expect_error(400, CODE);
    }
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    server.post("/v1/scan").header("content-type", &long).body(body).send().expect_error(400, CODE);
}

#[test]
fn a_content_that_nearly_holds_the_boundary_is_whole() {
    let content = format!("\r\n--{}x\r\n--\r\n-{}", &Form::BOUNDARY[..Form::BOUNDARY.len() - 1], Form::BOUNDARY);
    let scan = send(&Server::shared(), Form::of("a", content.as_bytes()).finish()).expect_verdict("clean");
    assert_eq!(scan["file"]["size"], content.len());
}

#[test]
fn another_content_type() {
    let server = Server::shared();
    for content_type in ["text/plain", "application/octet-stream", "multipart/mixed; boundary=a", "application/x-www-form-urlencoded"] {
        let answer = server.post("/v1/scan").header("content-type", content_type).body("x").send();
        answer.expect_error(415, "unsupported_media_type");
    }
    server.post("/v1/scan").body("x").send().expect_error(415, "unsupported_media_type");
}

#[test]
fn ten_thousand_parts() {
    let mut form = Form::of("a", b"one");
    for number in 0..10_000 {
        form = form.text(&format!("part{number}"), "x");
    }
    let start = Instant::now();
    send(&Server::shared(), form.finish()).expect_error(400, CODE);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_part_name_of_a_mebibyte() {
    let form = Form::of("a", b"one").text(&"n".repeat(1 << 20), "x");
    let answer = send(&Server::shared(), form.finish());
    answer.expect_error(400, CODE);
    assert!(answer.body.len() < 4096, "an error does not repeat what it refuses");
}

#[test]
fn a_field_of_many_mebibytes() {
    let form = Form::of("a", b"one").text("webhook_url", &"u".repeat(8 << 20));
    send(&Server::shared(), form.finish()).expect_error(400, CODE);
}

#[test]
fn headers_of_a_part_without_end() {
    let mut form = Form::new()
        .part(&format!("Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nX-Pad: {}", "p".repeat(1 << 20)), b"x")
        .finish();
    form.truncate(form.len() - 100);
    send(&Server::shared(), form).expect_error(400, CODE);
}

#[test]
fn a_file_over_the_limit() {
    let server = Options::new().env("FILESAFETY_FILE_MAX", "1MiB").start();
    let file = vec![7; (1 << 20) + 1];
    let answer = send(&server, Form::of("a", &file).finish());
    answer.expect_error(413, "file_too_large");
    // Without a length it is seen as soon as the limit is passed.
    let request = server.post("/v1/scan").header("content-type", &Form::content_type()).header("transfer-encoding", "chunked");
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request).expect("sent");
    // Far enough past the limit that what may be the beginning of a boundary does not matter.
    let start = Form::of("a", &[file.as_slice(), &[7; 4096]].concat()).unfinished();
    let mut sent = connection.write(format!("{:x}\r\n", start.len()).as_bytes());
    sent = sent.and_then(|()| connection.write(&start)).and_then(|()| connection.write(b"\r\n"));
    assert!(sent.is_ok());
    connection.answer().expect("an answer before the end of the body").expect_error(413, "file_too_large");
    send(&server, Form::of("a", &file[1..]).finish()).expect_verdict("clean");
}

#[test]
fn scan_types_that_are_none() {
    let server = Server::shared();
    for types in ["[]", "[\"virus\",\"weather\"]", "\"virus\"", "{}", "[1]", "virus", "[\"virus\"", ""] {
        refused_naming(&send(&server, Form::of("a", b"x").text("scan_types", types).finish()), "scan_types");
    }
}

#[test]
fn events_that_are_none() {
    let server = Server::shared();
    for events in ["{}", "[\"scan.exploded\"]", "7"] {
        refused_naming(&send(&server, Form::of("a", b"x").text("events", events).finish()), "events");
    }
}

#[test]
fn text_that_is_no_utf8() {
    let form = Form::of("a", b"x").part("Content-Disposition: form-data; name=\"metadata\"", b"{\"a\":\"\xff\xfe\"}");
    refused_naming(&send(&Server::shared(), form.finish()), "metadata");
}

#[test]
fn a_body_that_drips() {
    // The pace is the usual one, measured over a shorter time so that nobody waits.
    let server = Options::new().env("FILESAFETY_UPLOAD_PACE_WINDOW", "4s").env("FILESAFETY_UPLOAD_PACE_BYTES", "4KiB").start();
    let request = server.post("/v1/scan").header("content-type", &Form::content_type()).header("content-length", "100000");
    let mut connection = Connection::open(server.address()).expect("a connection");
    connection.send_head(&request).expect("sent");
    let start = Instant::now();
    let body = Form::of("a", &[b'.'; 1000]).unfinished();
    for drop in &body {
        assert!(start.elapsed() < Duration::from_secs(30), "still accepted after half a minute");
        // Once it has answered, the server may also have closed.
        let _ = connection.write(std::slice::from_ref(drop));
        if connection.has_answer(Duration::from_secs(1)) {
            break;
        }
    }
    let answer = connection.answer().expect("an answer");
    answer.expect_error(408, "upload_too_slow");
    assert!(start.elapsed() > Duration::from_secs(3), "it gave the client its time");
}

#[test]
fn smuggled_lengths() {
    let server = Server::shared();
    let body = Form::of("a", b"x").finish();
    let request = server.post("/v1/scan").header("content-type", &Form::content_type());
    for (name, value) in
        [("content-length", "-1"), ("content-length", "1, 2"), ("content-length", "0x10"), ("content-length", "99999999999999999999999")]
    {
        let mut connection = Connection::open(server.address()).expect("a connection");
        connection.send_head(&request.clone().header(name, value)).expect("sent");
        // It may be refused before it is written.
        let _ = connection.write(&body);
        let answer = connection.answer().expect("an answer");
        assert!(matches!(answer.status, 400 | 413), "{name}: {value}: {}", answer.status);
    }
}
