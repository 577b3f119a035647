//! The client that applications use, against the real service.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use filesafety::client::{RetryPolicy, ScanFilter, ScanType};
use filesafety::event::Verdict;
use filesafety::scan::Status;
use filesafety::{Client, ClientError, FileSource, Scan};
use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::archives::zip_of;
use crate::support::authority::Authority;
use crate::support::eicar::{SIGNATURE, eicar};
use crate::support::server::KEY;
use crate::support::{Options, Receiver, Server};

fn run<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
}

fn client(server: &Server, key: &str) -> Client {
    Client::new(format!("http://{}", server.address()), key).unwrap()
}

/// Asserts that what the client read is all that was sent. A field that is null and one that is absent say the same.
#[track_caller]
fn assert_whole(server: &Server, target: &str, read: &impl serde::Serialize) {
    let read = serde_json::to_value(read).unwrap();
    assert_eq!(without_nulls(read), without_nulls(server.get(target).expect(200)), "{target}");
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn a_wrong_key_is_said_even_where_a_large_file_is_sent() {
    let server = Server::shared();
    let client = client(&server, "fs_live_bm8tc3VjaC1rZXktYXQtYWxsLTAwMQ");
    for file in [FileSource::bytes(vec![0; 64 << 20]), FileSource::reader(tokio::io::repeat(0))] {
        let error = run(client.scan(file).into_future()).unwrap_err();
        assert!(matches!(error, ClientError::Unauthorized(_)), "{error:?}");
    }
}

#[test]
fn what_is_too_large_is_said_however_it_comes() {
    let server = Options::new().env("FILESAFETY_FILE_MAX", "2MiB").start();
    let client = client(&server, KEY);
    let large = vec![0; 64 << 20];
    let endless = FileSource::reader(tokio::io::repeat(0));
    for file in [FileSource::bytes(large.clone()), FileSource::reader(io::Cursor::new(large)), endless] {
        let error = run(client.scan(file).into_future()).unwrap_err();
        assert!(matches!(error, ClientError::TooLarge(_)), "{error:?}");
    }
}

#[test]
fn every_source_brings_the_same_bytes() {
    let server = Server::shared();
    let client = client(&server, KEY);
    let archive = zip_of("eicar.com", &eicar());
    let path = server.options().write("sdk.zip", &archive);
    let length = archive.len() as u64;
    let sources = [
        FileSource::bytes(archive.clone()),
        FileSource::path(&path),
        FileSource::reader(io::Cursor::new(archive.clone())),
        FileSource::reader(io::Cursor::new(archive)).length(length),
    ];
    let scans: Vec<Scan> = sources.map(|source| run(client.scan(source).fresh().into_future()).unwrap()).into();
    for scan in &scans {
        assert_eq!((scan.verdict, scan.status), (Some(Verdict::Infected), Status::Complete));
        assert_eq!(scan.file_hash, scans[0].file_hash);
        assert_eq!(scan.virus.as_ref().unwrap().signature.as_deref(), Some(SIGNATURE));
        assert_whole(&server, &format!("/v1/scan/{}", scan.scan_id), scan);
    }
    assert_eq!(scans[1].file.as_ref().unwrap().name.as_deref(), Some("sdk.zip"));
}

#[test]
fn names_arrive_as_they_are() {
    let server = Server::shared();
    let client = client(&server, KEY);
    for name in
        ["plain.txt", "na\u{ef}ve \u{1f4ce}.txt", "quo\"te.txt", "C:\\fakepath\\a.txt", "end\\", "two\\\\", "line\r\nend", "; filename=x"]
    {
        let scan = run(client.scan(FileSource::bytes("a name").named(name)).into_future()).unwrap();
        assert_eq!(scan.file.unwrap().name.as_deref(), Some(name));
    }
}

#[test]
fn what_comes_along_comes_back() {
    let server = Server::shared();
    let client = client(&server, KEY);
    let metadata: filesafety::event::Metadata = serde_json::from_str(r#"{"z": 18446744073709551616, "a":1.10}"#).unwrap();
    let submit = client.scan(b"with all".to_vec()).metadata(&metadata).scan_types([ScanType::Virus]);
    let scan = run(submit.into_future()).unwrap();
    assert_eq!(scan.metadata.unwrap().as_json(), metadata.as_json());
    assert!(scan.nsfw.is_none() && scan.virus.is_some());
    let error = run(client.scan(b"x".to_vec()).metadata(&["no object"]).into_future()).unwrap_err();
    assert!(matches!(&error, ClientError::Validation(refusal) if refusal.message.contains("metadata")), "{error}");
}

#[test]
fn an_upload_url_gives_the_id_before_the_bytes_and_the_webhook() {
    let (server, receiver) = (Server::shared(), Receiver::start());
    let client = client(&server, KEY);
    run(async {
        let place = client.upload_url().webhook_url(receiver.url()).metadata(&json!({ "n": 1 })).await.unwrap();
        assert_whole(&server, &format!("/v1/scan/{}", place.scan_id), &client.get(&place.scan_id).await.unwrap());
        assert!(receiver.received().is_empty() && !format!("{place:?}").contains("/v1/uploads"));
        let scan = client.upload(&place, FileSource::bytes(eicar()).named("\u{dc}bel.com")).await.unwrap();
        assert_eq!((&scan.scan_id, scan.verdict), (&place.scan_id, Some(Verdict::Infected)));
        assert_eq!(scan.file.unwrap().name.as_deref(), Some("\u{dc}bel.com"));
        assert_eq!(receiver.one().event()["scan_id"], place.scan_id.as_str());
        assert!(matches!(client.upload(&place, eicar()).await, Err(ClientError::Conflict(_))));
        assert!(matches!(client.upload_url().webhook_url("ftp://a").await, Err(ClientError::Validation(_))));
    });
}

#[test]
fn a_webhook_is_looked_after() {
    let (server, receiver) = (Server::shared(), Receiver::start());
    let client = client(&server, KEY);
    run(async {
        let accepted = client.scan_async(b"looked after".to_vec()).webhook_url(receiver.url()).await.unwrap();
        let scan = client.wait(&accepted.scan_id, Duration::from_secs(30)).await.unwrap();
        assert!(scan.is_clean());
        receiver.one();
        server.with_webhook(&scan.scan_id, "delivered", Duration::from_secs(10));
        let attempts = client.deliveries(&scan.scan_id).await.unwrap();
        assert_whole(&server, &format!("/v1/scan/{}/deliveries", scan.scan_id), &json!({ "deliveries": &attempts }));
        assert!(attempts.len() == 1 && attempts[0].delivered);
        client.redeliver(&scan.scan_id).await.unwrap();
        receiver.wait_for(2, Duration::from_secs(10));
        assert!(client.test_webhook(&receiver.url()).await.unwrap().delivered);
        client.delete(&scan.scan_id).await.unwrap();
        for outcome in [client.get(&scan.scan_id).await.map(drop), client.delete(&scan.scan_id).await] {
            assert!(matches!(outcome, Err(ClientError::NotFound(_))));
        }
        let silent = client.scan(b"without".to_vec()).await.unwrap();
        let error = client.redeliver(&silent.scan_id).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().code.as_deref(), Some("no_webhook"));
    });
}

#[test]
fn links_are_scanned_and_what_cannot_be_fetched_is_an_outcome() {
    let server = Server::shared();
    let client = client(&server, KEY);
    run(async {
        // Nobody listens on port 1.
        let scan = client.scan_url("http://127.0.0.1:1/a.pdf").await.unwrap();
        assert_eq!((scan.verdict, scan.failure.unwrap().code.as_str()), (Some(Verdict::Failed), "fetch_failed"));
        let refused = client.scan_url("http://127.0.0.2:1/a").respond_async().await.unwrap();
        assert_eq!(client.wait(&refused.scan_id, Duration::from_secs(90)).await.unwrap().verdict, Some(Verdict::Failed));
    });
}

#[test]
fn lists_are_walked_to_their_end() {
    let server = Server::shared();
    let account = Account::create(server.options());
    let client = client(&server, &account.key);
    run(async {
        for n in 0..7 {
            client.scan(vec![n]).metadata(&json!({ "n": n % 2 })).await.unwrap();
        }
        client.scan(eicar()).await.unwrap();
        let mut all = client.list(ScanFilter::new().limit(3));
        let mut ids = std::collections::HashSet::new();
        while let Some(scan) = all.next().await.unwrap() {
            assert!(ids.insert(scan.scan_id));
        }
        assert_eq!(ids.len(), 8);
        let mut odd = client.list(ScanFilter::new().metadata("n", "1").verdict(Verdict::Clean).status(Status::Complete));
        let page = odd.next_page().await.unwrap().unwrap();
        assert_eq!((page.scans.len(), page.next_cursor.as_deref(), odd.next_page().await.unwrap()), (3, None, None));
        assert_eq!(client.list(ScanFilter::new().since("2100-01-01T00:00:00Z")).next().await.unwrap(), None);
        assert!(matches!(client.list(ScanFilter::new().since("yesterday")).next().await, Err(ClientError::Validation(_))));
        let usage = client.usage().await.unwrap();
        let sent: Value = account.request(&server, "GET", "/v1/usage").send().expect(200);
        assert_eq!((usage.scans_used, serde_json::to_value(&usage).unwrap()), (8, sent));
    });
}

#[test]
fn an_answer_lost_on_the_way_makes_no_second_scan() {
    let server = Server::shared();
    let account = Account::create(server.options());
    for lose in [After::TheRequest, After::TheAnswer] {
        let way = losing_first(server.address(), lose);
        let policy = RetryPolicy::default().backoff(Duration::from_millis(50), Duration::from_millis(200));
        let client = Client::builder(format!("http://{way}"), &account.key).retry(policy).build().unwrap();
        let before = run(client.usage()).err();
        assert!(before.is_none(), "a GET is repeated: {before:?}");
        let way = losing_first(server.address(), lose);
        let client = Client::builder(format!("http://{way}"), &account.key).retry(policy).build().unwrap();
        assert!(run(client.scan(vec![b'x'; 3 << 20]).into_future()).unwrap().is_clean());
    }
    // The bytes of a request that was cut off may have arrived or not; no file ever became two scans.
    let list = account.request(&server, "GET", "/v1/scans").send().expect(200);
    assert_eq!(list["scans"].as_array().unwrap().len(), 2, "{list}");
}

#[derive(Clone, Copy, PartialEq)]
enum After {
    TheRequest,
    TheAnswer,
}

/// A way to the server on which the first connection breaks: once some of the request went through, or when the answer comes back.
fn losing_first(server: SocketAddr, lose: After) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, inward) in listener.incoming().enumerate() {
            let (mut inward, mut outward) = (inward.unwrap(), TcpStream::connect(server).unwrap());
            let (mut asks, mut hears) = (inward.try_clone().unwrap(), outward.try_clone().unwrap());
            let first = number == 0;
            thread::spawn(move || {
                if first && lose == After::TheRequest {
                    let _ = io::copy(&mut (&mut asks).take(64), &mut hears);
                    let _ = (asks.shutdown(Shutdown::Both), hears.shutdown(Shutdown::Both));
                }
                let _ = io::copy(&mut asks, &mut hears);
            });
            thread::spawn(move || {
                if first && lose == After::TheAnswer {
                    let _ = outward.read(&mut [0; 4096]);
                    let _ = (inward.shutdown(Shutdown::Both), outward.shutdown(Shutdown::Both));
                    return;
                }
                let _ = io::copy(&mut outward, &mut inward);
                let _ = inward.flush();
            });
        }
    });
    address
}

#[test]
fn a_service_that_restarts_is_waited_for() {
    let server = Options::new().start();
    let address = server.address();
    let client = client(&server, KEY);
    let accepted = run(client.scan_async(b"before the restart".to_vec()).into_future()).unwrap();
    let options = server.kill().env("FILESAFETY_LISTEN", &address.to_string());
    let again = thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        options.start()
    });
    let before = Instant::now();
    let scan = run(client.wait(&accepted.scan_id, Duration::from_secs(60))).unwrap();
    assert!(scan.is_clean() && before.elapsed() > Duration::from_millis(900));
    drop(again.join().unwrap());
}

#[test]
fn tls_is_trusted_by_its_authority_alone() {
    let (certificate, key) = Authority::trusted().issue_pem();
    let options = Options::strict();
    let certificate = options.write("certificate.pem", certificate.as_bytes());
    let key = options.write("key.pem", key.as_bytes());
    let server =
        options.env("FILESAFETY_TLS_CERT", &certificate.to_string_lossy()).env("FILESAFETY_TLS_KEY", &key.to_string_lossy()).start();
    let builder = || Client::builder(format!("https://{}", server.address()), KEY).retry(RetryPolicy::none());
    assert!(matches!(run(builder().build().unwrap().usage()), Err(ClientError::Unreachable(_))));
    let client = builder().trust(Authority::trusted().pem()).build().unwrap();
    run(async {
        assert!(client.scan(b"over TLS".to_vec()).await.unwrap().is_clean());
        let place = client.upload_url().await.unwrap();
        assert!(client.upload(&place, b"over TLS as well".to_vec()).await.unwrap().is_clean());
    });
}
