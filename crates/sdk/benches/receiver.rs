//! The receiver over loopback HTTP, signed webhooks, durable answers: how long one caller waits for its 200, and how many events a second
//! come in on many connections, while handlers run. Printed against the targets: 2 ms, and 5,000 a second.

#![allow(clippy::print_stdout, reason = "a bench tells its numbers")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on says so by panicking")]

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use filesafety::{
    SigningSecret,
    receiver::{Receiver, sqlite::SqliteStore},
    sign,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinSet,
};

const TARGET_MILLIS: f64 = 2.0;
const TARGET_RATE: f64 = 5000.0;

const ALONE: u64 = 2000;
const CONNECTIONS: u64 = 64;
const EACH: u64 = 500;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("one fsync of 4 KiB after the other: {:.2} ms each", fsync(folder.path()).as_secs_f64() * 1000.0);
    let secret = SigningSecret::generate([7; 32]);
    let store = SqliteStore::open(folder.path().join("webhooks.db")).unwrap();
    let receiver = Receiver::builder(store).secret(secret.clone()).otherwise(|_| async { Ok(()) }).build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = receiver.router("/hook");
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut stream = connect(address).await;
    let mut waits = Vec::new();
    for number in 0..ALONE {
        let request = request(&secret, number);
        let begun = Instant::now();
        exchange(&mut stream, &request).await;
        waits.push(begun.elapsed());
    }
    waits.sort();
    let millis = |part: f64| waits[(waits.len() as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!(
        "one caller, each 200 durable: p50 {:.2} ms ({:.2} × the target of {TARGET_MILLIS} ms), p99 {:.2} ms",
        millis(0.5),
        millis(0.5) / TARGET_MILLIS,
        millis(0.99)
    );

    let requests = |connection: u64| -> Vec<Vec<u8>> { (0..EACH).map(|n| request(&secret, ALONE + connection * EACH + n)).collect() };
    let prepared: Vec<_> = (0..CONNECTIONS).map(requests).collect();
    let (begun, cpu) = (Instant::now(), cpu_time());
    let mut senders = JoinSet::new();
    for requests in prepared {
        senders.spawn(async move {
            let mut stream = connect(address).await;
            for request in requests {
                exchange(&mut stream, &request).await;
            }
        });
    }
    senders.join_all().await;
    let rate = (CONNECTIONS * EACH) as f64 / begun.elapsed().as_secs_f64();
    println!("{CONNECTIONS} connections: {rate:.0} events/s ({:.2} × the target of {TARGET_RATE}/s)", rate / TARGET_RATE);
    while receiver.metrics().handled < ALONE + CONNECTIONS * EACH {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let handled = (CONNECTIONS * EACH) as f64 / begun.elapsed().as_secs_f64();
    let busy = (cpu_time() - cpu).as_secs_f64() * 1e6 / (CONNECTIONS * EACH) as f64;
    println!("until the last was handled and marked: {handled:.0} events/s; {busy:.0} µs of CPU each, the sender's share in it");
    receiver.shutdown(Duration::from_secs(10)).await;
}

/// Of this process, by the kernel's ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn fsync(folder: &Path) -> Duration {
    let mut file = std::fs::File::create(folder.join("probe")).unwrap();
    let begun = Instant::now();
    for _ in 0..500 {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    begun.elapsed() / 500
}

async fn connect(address: std::net::SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

/// A webhook as the service sends it for an infected archive.
fn request(secret: &SigningSecret, number: u64) -> Vec<u8> {
    let body = format!(
        r#"{{"event":"scan.complete","scan_id":"scn_{number:026}","verdict":"infected","virus":{{"clean":false,"kind":"malware","engine":"yara-x","signature":"EICAR-Test-File","path":"inner.zip/eicar.com","reason":null,"detections":[{{"signature":"EICAR-Test-File","engine":"yara-x","path":"inner.zip/eicar.com"}}]}},"nsfw":{{"clean":true,"applied":true,"categories":[],"confidence":0.01,"scores":{{"drawing":0.1,"hentai":0.0,"neutral":0.9,"porn":0.0,"sexy":0.0}},"views":[]}},"file_hash":"sha256:{number:064}","metadata":{{"upload_id":"upl_456"}},"completed_at":"2026-09-21T14:13:20.120Z","sequence":1,"failure":null}}"#
    );
    let secs = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let id = format!("evt_{number:026}");
    let signature = sign::sign(std::slice::from_ref(secret), &id, secs, body.as_bytes());
    format!(
        "POST /hook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nwebhook-id: {id}\r\nwebhook-timestamp: {secs}\r\n\
         webhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) {
    stream.get_mut().write_all(request).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((_, value)) = header.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
}
