use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use rustls::RootCertStore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    testing::{Answer, Authority, Validity, answer, loopback, serve, serve_raw},
    *,
};

async fn post_for(egress: &Egress, url: &str, timeout: Duration) -> Outcome {
    let request = WebhookRequest { url, headers: HeaderMap::new(), body: Bytes::from_static(b"{}"), timeout };
    egress.send(request).await
}

async fn post(egress: &Egress, url: &str) -> Outcome {
    post_for(egress, url, Duration::from_secs(5)).await
}

fn kind(outcome: &Outcome) -> Option<SendErrorKind> {
    outcome.error.as_ref().map(|error| error.kind)
}

fn plain() -> Egress {
    loopback(RootCertStore::empty())
}

/// Reads the request's head, then writes `text`.
async fn say(mut stream: TcpStream, text: &'static [u8]) -> TcpStream {
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.write_all(text).await;
    stream
}

async fn fetch(egress: &Egress, url: &str, limit: u64) -> Result<(Fetched, Vec<u8>), FetchError> {
    let mut bytes = Vec::new();
    let mut take = |chunk: &[u8]| {
        bytes.extend_from_slice(chunk);
        true
    };
    let fetched = egress.fetch(url, limit, Duration::from_secs(5), &mut take).await?;
    Ok((fetched, bytes))
}

#[tokio::test]
async fn names_that_do_not_resolve_and_ports_where_nobody_listens() {
    assert_eq!(kind(&post(&plain(), "https://no-such-host.invalid/").await), Some(SendErrorKind::Dns));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = post(&plain(), &format!("https://{address}/")).await;
    assert_eq!((kind(&outcome), outcome.address), (Some(SendErrorKind::Connect), Some(address)));
}

#[tokio::test]
async fn addresses_are_judged_when_connecting() {
    let hits = Arc::new(AtomicUsize::new(0));
    let seen = hits.clone();
    let address = serve_raw(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    let port = address.port();
    let strict = Egress::with(WebhookUrlPolicy::default(), AddressPolicy::default(), RootCertStore::empty());
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "169.254.169.254", "[64:ff9b::7f00:1]"] {
        for scheme in ["https", "http"] {
            let outcome = post(&strict, &format!("{scheme}://{host}:{port}/")).await;
            assert_eq!(kind(&outcome), Some(SendErrorKind::AddressRefused), "{scheme} {host}");
            let fetched = fetch(&strict, &format!("{scheme}://{host}:{port}/"), 9).await;
            assert!(matches!(fetched, Err(FetchError::Refused(_))), "{scheme} {host}: {fetched:?}");
        }
    }
    assert_eq!(hits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn certificates_that_do_not_hold() {
    let (ours, other) = (Authority::new(), Authority::new());
    let egress = loopback(ours.roots());
    for (config, expected) in [
        (ours.server("localhost", Validity::Past), SendErrorKind::TlsExpired),
        (other.server("localhost", Validity::Now), SendErrorKind::TlsUntrusted),
        (ours.server("other.example", Validity::Now), SendErrorKind::TlsName),
    ] {
        let address = serve(Some(config), |_| async { answer(200, &[], "") }).await;
        let outcome = post(&egress, &format!("https://localhost:{}/", address.port())).await;
        assert_eq!((kind(&outcome), outcome.address), (Some(expected), Some(address)), "{outcome:?}");
    }
    let address = serve_raw(|stream| async { drop(say(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await) }).await;
    assert_eq!(kind(&post(&egress, &format!("https://{address}/")).await), Some(SendErrorKind::Tls));
}

#[tokio::test]
async fn receivers_that_are_silent_reset_or_speak_no_http() {
    let address = serve_raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    for scheme in ["http", "https"] {
        let started = Instant::now();
        let outcome = post_for(&plain(), &format!("{scheme}://{address}/"), Duration::from_millis(300)).await;
        assert_eq!(kind(&outcome), Some(SendErrorKind::Timeout), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(3) && outcome.elapsed >= Duration::from_millis(300));
    }
    let address = serve_raw(|stream| async { drop(say(stream, b"").await) }).await;
    assert_eq!(kind(&post(&plain(), &format!("http://{address}/")).await), Some(SendErrorKind::Reset));
    let address = serve_raw(|stream| async { drop(say(stream, b"220 mail.example.com ESMTP\r\n\r\n").await) }).await;
    assert_eq!(kind(&post(&plain(), &format!("http://{address}/")).await), Some(SendErrorKind::Protocol));
}

#[tokio::test]
async fn the_status_decides_however_the_body_comes() {
    // A body that drips, and one that never ends, of four declared gigabytes.
    let drip = serve_raw(|stream| async {
        let mut stream = say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab").await;
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    let outcome = post(&plain(), &format!("http://{drip}/")).await;
    assert!(outcome.is_delivered() && outcome.body_head == "ab" && outcome.elapsed < Duration::from_secs(3), "{outcome:?}");
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let endless = serve_raw(move |stream| {
        let counter = counter.clone();
        async move {
            let mut stream = say(stream, b"HTTP/1.1 500 No\r\ncontent-length: 4294967296\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {
                counter.fetch_add(65_536, Ordering::Relaxed);
            }
        }
    })
    .await;
    let outcome = post(&plain(), &format!("http://{endless}/")).await;
    assert_eq!((kind(&outcome), outcome.body_head.len()), (Some(SendErrorKind::Status), 1024));
    assert!(sent.load(Ordering::Relaxed) < 64 << 20, "the answer was not cut off");
}

#[tokio::test]
async fn redirects_are_answers_and_retry_after_is_read() {
    let hits = Arc::new(AtomicUsize::new(0));
    let seen = hits.clone();
    let address = serve(None, move |request: Request<Incoming>| {
        seen.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path().to_owned();
        async move {
            match path.as_str() {
                "/moved" => answer(307, &[("location", "/elsewhere"), ("retry-after", "9")], ""),
                "/busy" => answer(503, &[("retry-after", "120")], "later"),
                "/dated" => answer(429, &[("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT")], ""),
                _ => answer(204, &[], ""),
            }
        }
    })
    .await;
    let of = async |path: &str| post(&plain(), &format!("http://{address}{path}")).await;
    let moved = of("/moved").await;
    assert_eq!(
        (kind(&moved), moved.status.map(|status| status.as_u16()), moved.retry_after),
        (Some(SendErrorKind::Status), Some(307), None)
    );
    let busy = of("/busy").await;
    assert_eq!((busy.retry_after, &busy.body_head[..]), (Some(Duration::from_secs(120)), &b"later"[..]));
    assert!(of("/dated").await.retry_after.is_some_and(|wait| wait > Duration::from_secs(86_400)));
    assert!(of("/").await.is_delivered());
    assert_eq!(hits.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn https_works_reuses_connections_and_outlives_their_end() {
    let authority = Authority::new();
    let egress = loopback(authority.roots());
    let address = serve(Some(authority.server("localhost", Validity::Now)), |_| async { answer(200, &[], "ok") }).await;
    for _ in 0..3 {
        let outcome = post(&egress, &format!("https://localhost:{}/hook?token=1", address.port())).await;
        assert!(outcome.is_delivered(), "{outcome:?}");
        assert_eq!((outcome.address, outcome.tls.as_deref(), &outcome.body_head[..]), (Some(address), Some("1.3"), &b"ok"[..]));
    }
    // One answer per connection, although it promised more.
    let address = serve_raw(|stream| async { drop(say(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await) }).await;
    let egress = plain();
    for _ in 0..5 {
        let outcome = post(&egress, &format!("http://{address}/")).await;
        assert!(outcome.is_delivered(), "{outcome:?}");
    }
}

async fn files(request: Request<Incoming>) -> Answer {
    assert_eq!(request.headers()["accept-encoding"], "identity");
    match request.uri().path() {
        "/a%20b.zip" => answer(200, &[], "content"),
        "/deep/1" => answer(302, &[("location", "2")], ""),
        "/deep/2" => answer(301, &[("location", "/a%20b.zip")], ""),
        "/loop" => answer(302, &[("location", "/loop")], ""),
        "/inside" => answer(302, &[("location", "http://10.0.0.1/")], ""),
        "/file" => answer(302, &[("location", "file:///etc/passwd")], ""),
        "/named" => answer(302, &[("location", "http://me:pw@localhost/")], ""),
        "/packed" => answer(200, &[("content-encoding", "br")], "content"),
        "/part" => answer(206, &[], "content"),
        _ => answer(404, &[], ""),
    }
}

#[tokio::test]
async fn fetches_files_and_follows_few_redirects() {
    let address = serve(None, files).await;
    let of = async |path: &str| fetch(&plain(), &format!("http://{address}{path}"), 100).await;
    for path in ["/a%20b.zip?x=1#top", "/deep/1"] {
        let (fetched, bytes) = of(path).await.unwrap();
        assert_eq!((fetched, &bytes[..]), (Fetched { name: Some("a b.zip".into()), size: 7 }, &b"content"[..]));
    }
    for path in ["/loop", "/packed", "/part", "/missing"] {
        assert!(matches!(of(path).await, Err(FetchError::Failed(_))), "{path}");
    }
    for path in ["/inside", "/file", "/named"] {
        assert!(matches!(of(path).await, Err(FetchError::Refused(_))), "{path}");
    }
    assert_eq!(fetch(&plain(), &format!("http://{address}/a%20b.zip"), 6).await, Err(FetchError::TooLarge));
    assert_eq!(fetch(&plain(), &format!("http://{address}/a%20b.zip"), 7).await.unwrap().0.size, 7);
}

#[tokio::test]
async fn https_never_redirects_to_http() {
    let authority = Authority::new();
    let target = serve(None, files).await;
    let location = format!("http://{target}/a%20b.zip");
    let address = serve(Some(authority.server("localhost", Validity::Now)), move |_| {
        let location = location.clone();
        async move { answer(302, &[("location", &location)], "") }
    })
    .await;
    let fetched = fetch(&loopback(authority.roots()), &format!("https://localhost:{}/", address.port()), 100).await;
    assert!(matches!(fetched, Err(FetchError::Refused(_))), "{fetched:?}");
}

#[tokio::test]
async fn fetches_bound_what_lies_or_never_ends() {
    let of = async |text: &'static [u8], limit| {
        let address = serve_raw(move |stream| async move { drop(say(stream, text).await) }).await;
        fetch(&plain(), &format!("http://{address}/"), limit).await.map(|(_, bytes)| bytes)
    };
    assert_eq!(of(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", 100).await, Err(FetchError::TooLarge));
    assert!(matches!(of(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", 100).await, Err(FetchError::Failed(_))));
    assert_eq!(of(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nlonger", 100).await, Ok(b"lon".to_vec()));
    assert_eq!(of(b"HTTP/1.1 200 OK\r\n\r\nuntil closed", 100).await, Ok(b"until closed".to_vec()));
    assert_eq!(of(b"HTTP/1.1 200 OK\r\n\r\nuntil closed", 4).await, Err(FetchError::TooLarge));

    let endless = serve_raw(|stream| async {
        let mut stream = say(stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[0; 65_536]).await.is_ok() {}
    })
    .await;
    assert_eq!(fetch(&plain(), &format!("http://{endless}/"), 1 << 20).await, Err(FetchError::TooLarge));
    let silent = serve_raw(|stream| async {
        let mut stream = say(stream, b"HTTP/1.1 200 OK\r\n\r\nx").await;
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    let started = Instant::now();
    let ended = plain().fetch(&format!("http://{silent}/"), 100, Duration::from_millis(300), &mut |_| true).await;
    assert!(matches!(ended, Err(FetchError::Failed(_))) && started.elapsed() < Duration::from_secs(3));
    let stopped = plain().fetch(&format!("http://{endless}/"), u64::MAX, Duration::from_secs(5), &mut |_| false).await;
    assert_eq!(stopped, Err(FetchError::TooLarge));
}

#[test]
fn urls_to_fetch_are_refused_early() {
    for url in
        ["", "file.zip", "ftp://example.com/a", "file:///etc/passwd", "https://me@example.com/", "http://127.0.0.1/", "http://2130706433/"]
    {
        assert!(check_fetch_url(url, &[]).is_err(), "{url}");
    }
    assert_eq!(check_fetch_url("http://example.com/a#b", &[]), Ok(()));
    assert_eq!(check_fetch_url("http://127.0.0.1/", &["127.0.0.0/8".parse().unwrap()]), Ok(()));
}
