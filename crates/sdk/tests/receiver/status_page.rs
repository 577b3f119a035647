//! The page for those who run a receiver, and its calls.

use axum::{
    body::Body,
    http::{Request, Response},
};
use filesafety::receiver::{HandlerError, Receiver, memory::MemoryStore};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::support::{body, eventually, now, request, scan_id, send};

async fn ask(receiver: &Receiver, request: Request<Body>) -> (u16, Response<()>, String) {
    let response = receiver.status_router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (parts.status.as_u16(), Response::from_parts(parts, ()), text)
}

fn call(method: &str, target: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(target).header("host", "127.0.0.1:8091")
}

fn receiver() -> Receiver {
    let fails = |_| async { Err(HandlerError::give_up("<script>alert(1)</script>\u{202e}")) };
    Receiver::builder(MemoryStore::new()).clock(now).otherwise(fails).build().unwrap()
}

#[tokio::test]
async fn other_sites_are_kept_out() {
    let receiver = receiver();
    let foreign = [
        Request::get("/").header("host", "evil.example").body(Body::empty()).unwrap(),
        Request::get("/").body(Body::empty()).unwrap(),
        call("GET", "/").header("origin", "https://evil.example").body(Body::empty()).unwrap(),
        call("POST", "/dead/replay?scan_id=a&event=b&sequence=1").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap(),
        call("POST", "/pending").header("origin", "null").body(Body::from("{}")).unwrap(),
    ];
    for request in foreign {
        let shown = format!("{request:?}");
        assert_eq!(ask(&receiver, request).await.0, 403, "{shown}");
    }
}

#[tokio::test]
async fn scans_are_registered_over_http() {
    let receiver = receiver();
    for bad in
        ["", "[]", "{}", r#"{"scan_id":7}"#, r#"{"scan_id":"x"}"#, r#"{"scan_ids":["scn_1","<b>"]}"#, r#"{"scan_id":"scn_1","more":1}"#]
    {
        let request = call("POST", "/pending").header("content-type", "application/json").body(Body::from(bad)).unwrap();
        let (status, _, text) = ask(&receiver, request).await;
        assert!((400..=422).contains(&status) && text.contains("validation_error"), "{bad}: {status} {text}");
    }
    assert_eq!(ask(&receiver, call("POST", "/pending").body(Body::from(r#"{"scan_id":"scn_1"}"#)).unwrap()).await.0, 415);
    for good in [r#"{"scan_id":"scn_1"}"#, r#"{"scan_ids":["scn_1","scn_2"]}"#] {
        let request = call("POST", "/pending").header("content-type", "application/json").body(Body::from(good)).unwrap();
        assert_eq!(ask(&receiver, request).await.0, 200);
    }
    assert_eq!(receiver.counts().await.unwrap().pending, 2);
    assert_eq!(ask(&receiver, call("GET", "/pending").body(Body::empty()).unwrap()).await.0, 405);
}

#[tokio::test]
async fn dead_letters_are_shown_escaped_and_replayed() {
    let receiver = receiver();
    receiver.pending().add(&scan_id(1)).await.unwrap();
    send(&receiver, request(body(&scan_id(1), "infected", 1))).await;
    eventually("the death", || receiver.metrics().dead == 1).await;
    let (status, head, html) = ask(&receiver, call("GET", "/").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200);
    assert!(head.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}") && !html.contains("<script"), "{html}");
    let target = format!("dead/replay?scan_id={}&amp;event=scan.complete&amp;sequence=1", scan_id(1));
    assert!(html.contains(&target), "{html}");
    let (_, _, list) = ask(&receiver, call("GET", "/dead").body(Body::empty()).unwrap()).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&list).unwrap()["dead"][0]["scan_id"], scan_id(1));
    let target = format!("/{}", target.replace("&amp;", "&"));
    let (status, head, _) = ask(&receiver, call("POST", &target).header("accept", "text/html").body(Body::empty()).unwrap()).await;
    assert_eq!((status, head.headers()["location"].to_str().unwrap()), (303, "./.."));
    eventually("the second death", || receiver.metrics().dead == 2).await;
    assert_eq!(ask(&receiver, call("POST", &target).body(Body::empty()).unwrap()).await.0, 202);
    assert_eq!(ask(&receiver, call("POST", &target.replace("scn_", "scn_x")).body(Body::empty()).unwrap()).await.0, 404);
    assert_eq!(ask(&receiver, call("POST", "/dead/replay").body(Body::empty()).unwrap()).await.0, 400);
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let receiver = receiver();
    send(&receiver, request(body(&scan_id(1), "infected", 1))).await;
    receiver.pending().add(&scan_id(2)).await.unwrap();
    let (_, _, text) = ask(&receiver, call("GET", "/metrics").body(Body::empty()).unwrap()).await;
    for line in [
        "filesafety_receiver_refused_total{code=\"unknown_scan\"} 1",
        "filesafety_receiver_pending 1",
        "filesafety_receiver_handled_total 0",
    ] {
        assert!(text.lines().any(|present| present == line), "{line} is not in\n{text}");
    }
}
