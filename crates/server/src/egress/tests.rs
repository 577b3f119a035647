use std::{
    net::IpAddr,
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
    // Spellings that the system's resolver knows and URLs do not.
    for host in ["2130706433", "0177.0.0.1", "0x7f000001", "127.1", "017700000001"] {
        let outcome = post(&strict, &format!("https://{host}:{port}/")).await;
        assert!(matches!(kind(&outcome), Some(SendErrorKind::AddressRefused | SendErrorKind::Dns)), "{host}: {outcome:?}");
    }
    assert_eq!(hits.load(Ordering::Relaxed), 0);
}

/// A way out where `names` says what each name resolves to.
fn told(policy: WebhookUrlPolicy, names: impl Fn(&str) -> std::io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> WebhookSender {
    WebhookSender::new(policy, RootCertStore::empty(), Names::by(names))
}

async fn post_by(sender: &WebhookSender, url: &str) -> Outcome {
    let request = WebhookRequest { url, headers: HeaderMap::new(), body: Bytes::from_static(b"{}"), timeout: Duration::from_secs(5) };
    sender.send(request).await
}

#[tokio::test]
async fn every_answer_of_a_name_must_be_public() {
    let hits = Arc::new(AtomicUsize::new(0));
    let seen = hits.clone();
    let here = serve_raw(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        async {}
    })
    .await;
    for answers in [
        ["127.0.0.1", "93.184.216.34"],
        ["93.184.216.34", "127.0.0.1"],
        ["::ffff:127.0.0.1", "::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1", "64:ff9b::7f00:1"],
        ["2002:7f00:1::", "127.0.0.1"],
        ["::127.0.0.1", "fe80::1"],
        ["fd00::1", "169.254.169.254"],
        ["100.64.0.1", "0.0.0.0"],
    ] {
        let sender = told(WebhookUrlPolicy::default(), move |_| Ok(answers.iter().map(|answer| answer.parse().unwrap()).collect()));
        let outcome = post_by(&sender, &format!("https://app.example:{}/", here.port())).await;
        assert_eq!((kind(&outcome), outcome.address), (Some(SendErrorKind::AddressRefused), None), "{answers:?}");
    }
    assert_eq!(hits.load(Ordering::Relaxed), 0, "no packet left");
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let here = serve(None, |_| async { answer(200, &[("connection", "close")], "") }).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let policy = WebhookUrlPolicy { allow_http: true, allow_nets: vec!["127.0.0.1".parse().unwrap()] };
    // Good when it is asked first, bad ever after.
    let sender = told(policy, move |_| {
        let address = if count.fetch_add(1, Ordering::Relaxed) == 0 { "127.0.0.1" } else { "127.0.0.2" };
        Ok(vec![address.parse().unwrap()])
    });
    let url = format!("http://app.example:{}/", here.port());
    let first = post_by(&sender, &url).await;
    assert_eq!(
        (first.is_delivered(), first.address, asked.load(Ordering::Relaxed)),
        (true, Some(here), 1),
        "one look, and its answer dialled"
    );
    let second = post_by(&sender, &url).await;
    assert_eq!((kind(&second), asked.load(Ordering::Relaxed)), (Some(SendErrorKind::AddressRefused), 2));
}

#[tokio::test]
async fn name_servers_that_fail() {
    for text in ["Temporary failure in name resolution", "Name or service not known"] {
        let sender = told(WebhookUrlPolicy::default(), move |_| Err(std::io::Error::other(text)));
        let outcome = post_by(&sender, "https://app.example/").await;
        assert_eq!((kind(&outcome), outcome.address), (Some(SendErrorKind::Dns), None));
        assert!(outcome.error.unwrap().text.contains(text));
    }
    let sender = told(WebhookUrlPolicy::default(), |_| Ok(Vec::new()));
    assert_eq!(kind(&post_by(&sender, "https://app.example/").await), Some(SendErrorKind::Dns));
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let authority = Authority::new();
    let versions = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = versions.clone();
    let address = serve(Some(authority.server("localhost", Validity::Now)), move |request| {
        seen.lock().unwrap().push((request.version(), request.headers().contains_key("connection")));
        async { answer(204, &[], "") }
    })
    .await;
    let egress = loopback(authority.roots());
    let url = format!("https://localhost:{}/", address.port());
    assert!(post(&egress, &url).await.is_delivered());
    let many = (0..50).map(|_| {
        let (egress, url) = (egress.clone(), url.clone());
        tokio::spawn(async move { post(&egress, &url).await })
    });
    for one in many.collect::<Vec<_>>() {
        assert!(one.await.unwrap().is_delivered());
    }
    let versions = versions.lock().unwrap();
    assert!(versions.len() == 51 && versions.iter().all(|version| *version == (http::Version::HTTP_2, false)), "{versions:?}");
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
