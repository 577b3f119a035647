//! Bad paths, in the order of the checks: each request fails its check and all that follow, and the earliest answers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::Request,
};
use bytes::Bytes;
use filesafety::{receiver::Receiver, sign};
use http_body::Frame;

use crate::support::{NOW_SECS, Seen, TOKEN, body, builder, request, scan_id, secret, send, signed, signed_at};

const MAX: usize = 256 * 1024;

/// With every check on.
fn strict(seen: &Seen) -> Receiver {
    builder(seen).secret(secret(1)).secret(secret(2)).token(TOKEN).pending_set().build().unwrap()
}

fn with_token(mut request: Request<Body>) -> Request<Body> {
    *request.uri_mut() = format!("/hook?a=b&token={TOKEN}").parse().unwrap();
    request
}

#[tokio::test]
async fn the_earliest_check_that_fails_answers() {
    let seen = Seen::default();
    let receiver = strict(&seen);
    let plain = |body: Body| Request::post("/hook").header("content-type", "text/plain").body(body).unwrap();
    let large = "x".repeat(MAX + 1);
    let event = body(&scan_id(1), "clean", 1);
    let cases: Vec<(&str, Request<Body>, (u16, &str))> = vec![
        ("GET", Request::get("/hook").body(large.clone().into()).unwrap(), (405, "method_not_allowed")),
        (
            "declared length",
            {
                let mut request = plain(large.clone().into());
                request.headers_mut().insert("content-length", (MAX + 1).into());
                request
            },
            (413, "too_large"),
        ),
        ("content type", plain("{".into()), (415, "unsupported_media_type")),
        ("no content type", Request::post("/hook").body("{".into()).unwrap(), (415, "unsupported_media_type")),
        ("length as it comes", request(large), (413, "too_large")),
        ("no token", signed(&[secret(3)], "{"), (401, "invalid_token")),
        ("token, and a body without signature", with_token(request("{")), (401, "invalid_signature")),
        ("another's signature", with_token(signed(&[secret(3)], "{")), (401, "invalid_signature")),
        ("bad JSON", with_token(signed(&[secret(1)], "{")), (400, "validation_error")),
        ("bad id", with_token(signed(&[secret(1)], &body("scn_../../etc", "clean", 1))), (400, "validation_error")),
        ("bad sequence", with_token(signed(&[secret(1)], &event.replace("\"sequence\":1", "\"sequence\":0"))), (400, "validation_error")),
        ("bad verdict", with_token(signed(&[secret(1)], &body(&scan_id(1), "fine", 1))), (400, "validation_error")),
        ("unknown scan", with_token(signed(&[secret(1)], &event)), (503, "unknown_scan")),
    ];
    for (name, request, expected) in cases {
        let answer = send(&receiver, request).await;
        assert_eq!(answer.short(), expected, "{name}: {}", answer.json);
        assert_eq!(answer.retry_after.is_some(), expected.0 == 503, "{name}");
    }
    receiver.pending().add(&scan_id(1)).await.unwrap();
    assert_eq!(send(&receiver, with_token(signed(&[secret(2)], &event))).await.short(), (200, "accepted"));
    assert_eq!(receiver.metrics().refused.values().sum::<u64>(), 13);
}

#[tokio::test]
async fn a_duplicate_is_known_before_the_pending_set_is_asked() {
    let store = filesafety::receiver::memory::MemoryStore::new();
    let open =
        Receiver::builder(store.clone()).secret(secret(1)).clock(crate::support::now).otherwise(|_| async { Ok(()) }).build().unwrap();
    let event = body(&scan_id(1), "clean", 1);
    assert_eq!(send(&open, signed(&[secret(1)], &event)).await.short(), (200, "accepted"));
    let closed = Receiver::builder(store).secret(secret(1)).pending_set().clock(crate::support::now).otherwise(|_| async { Ok(()) });
    let closed = closed.build().unwrap();
    assert_eq!(send(&closed, signed(&[secret(1)], &event)).await.short(), (200, "duplicate"));
    assert_eq!(send(&closed, signed(&[secret(1)], &body(&scan_id(2), "clean", 1))).await.short(), (503, "unknown_scan"));
}

#[tokio::test]
async fn tokens_are_compared_whole() {
    let seen = Seen::default();
    let receiver = builder(&seen).secret(secret(1)).token(TOKEN).build().unwrap();
    let event = body(&scan_id(1), "clean", 1);
    for query in [
        "",
        "?token=",
        "?token",
        &format!("?token={TOKEN}x"),
        &format!("?token={}", &TOKEN[1..]),
        &format!("?Token={TOKEN}"),
        &format!("?token=wrong-wrong-wrong&token={TOKEN}"),
    ] {
        let mut request = signed(&[secret(1)], &event);
        *request.uri_mut() = format!("/hook{query}").parse().unwrap();
        assert_eq!(send(&receiver, request).await.short(), (401, "invalid_token"), "{query}");
    }
    assert_eq!(send(&receiver, with_token(signed(&[secret(1)], &event))).await.short(), (200, "accepted"));
}

#[tokio::test]
async fn replayed_and_forged_signatures_are_refused() {
    let seen = Seen::default();
    let receiver = builder(&seen).secret(secret(1)).build().unwrap();
    let event = body(&scan_id(1), "clean", 1);
    for secs in [0, NOW_SECS - 301, NOW_SECS + 301] {
        assert_eq!(send(&receiver, signed_at(&[secret(1)], secs, &event)).await.short(), (401, "invalid_signature"), "{secs}");
    }
    let mut forged = signed(&[secret(1)], &event);
    *forged.body_mut() = body(&scan_id(1), "infected", 1).into();
    assert_eq!(send(&receiver, forged).await.short(), (401, "invalid_signature"));
    for header in [sign::ID_HEADER, sign::TIMESTAMP_HEADER, sign::SIGNATURE_HEADER] {
        let mut request = signed(&[secret(1)], &event);
        request.headers_mut().remove(header);
        assert_eq!(send(&receiver, request).await.short(), (401, "invalid_signature"), "{header}");
    }
    for secs in [NOW_SECS - 300, NOW_SECS + 300] {
        assert_eq!(send(&receiver, signed_at(&[secret(1)], secs, &event)).await.status, 200, "{secs}");
    }
    // Replayed within the tolerance it is a duplicate, for good.
    assert_eq!(send(&receiver, signed(&[secret(1)], &event)).await.short(), (200, "duplicate"));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read_and_a_broken_one_is_not_believed() {
    let seen = Seen::default();
    let receiver = builder(&seen).secret(secret(1)).build().unwrap();
    let event = body(&scan_id(1), "clean", 1);
    let padded = format!("{event}{}", " ".repeat(MAX - event.len()));
    assert_eq!(send(&receiver, signed(&[secret(1)], &padded)).await.short(), (200, "accepted"));
    assert_eq!(send(&receiver, request(Body::new(Faulty::BreaksOff))).await.short(), (400, "validation_error"));
    assert_eq!(receiver.metrics().received.values().sum::<u64>(), 1);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let seen = Seen::default();
    let receiver = builder(&seen).secret(secret(1)).body_time(std::time::Duration::from_millis(50)).build().unwrap();
    assert_eq!(send(&receiver, request(Body::new(Faulty::SaysNothing))).await.short(), (408, "upload_too_slow"));
}

/// A body that does not come to its end.
enum Faulty {
    SaysNothing,
    BreaksOff,
}

impl HttpBody for Faulty {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        match *self {
            Self::SaysNothing => Poll::Pending,
            Self::BreaksOff => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
