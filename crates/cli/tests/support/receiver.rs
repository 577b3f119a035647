//! A webhook receiver on HTTPS: keeps what it was sent and answers as told.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use ring::hmac;
use serde_json::Value;

use crate::support::authority::{self, Certificate};
use crate::support::web::{Incoming, Next, WebServer};

/// How a receiver answers one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    /// A status with one header more.
    With(u16, String, String),
    /// A status after a while.
    Late(Duration, u16),
    /// Nothing, and the connection closed.
    Hangup,
    /// 200 and a body that never ends.
    Endless,
    /// A status and a body of so many bytes, as fast as they are taken.
    Long(u16, u64),
    /// A status and a body of which a byte comes now and then.
    Drip(u16),
    /// A head of which a byte comes now and then.
    DripHead,
    /// A status with a body that is cut off.
    Cut(u16),
}

/// One request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) request: Incoming,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.request.body).expect("a webhook is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.request.header(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.request.headers))
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Checks the signature by Standard Webhooks, written here once more so that one mistake cannot hide another.
    #[track_caller]
    pub(crate) fn assert_signed_with(&self, secret: &str) {
        let key = BASE64.decode(secret.strip_prefix("whsec_").expect("a signing secret").as_bytes()).expect("base64");
        let timestamp = self.header("webhook-timestamp");
        let signed = [self.id().as_bytes(), b".", timestamp.as_bytes(), b".", &self.request.body].concat();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
        let expected = format!("v1,{}", BASE64.encode(tag.as_ref()));
        assert!(self.header("webhook-signature").split(' ').any(|signature| signature == expected), "not signed with that secret");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let sent: u64 = timestamp.parse().expect("seconds");
        assert!(now.abs_diff(sent) < 120, "a timestamp of now");
    }
}

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    replies: VecDeque<Reply>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    arrival: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Listens on a port of 127.0.0.1 until it is dropped.
pub(crate) struct Receiver {
    server: WebServer,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub(crate) fn start() -> Self {
        Self::with(Certificate::Good, [])
    }

    /// Answers in this order, and 200 after that.
    pub(crate) fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(Certificate::Good, replies)
    }

    pub(crate) fn with(certificate: Certificate, replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), certificate, replies)
    }

    /// On a given port, say one at which nobody listened before.
    pub(crate) fn at(address: SocketAddr, certificate: Certificate, replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared =
            Arc::new(Shared { log: Mutex::new(Log { received: Vec::new(), replies: replies.into_iter().collect() }), ..Shared::default() });
        let log = Arc::clone(&shared);
        let server = WebServer::start_at(address, Some(authority::server_config(certificate)), move |request, out| {
            let reply = {
                let mut log_now = log.lock();
                log_now.received.push(Received { at: Instant::now(), request: request.clone() });
                log_now.replies.pop_front().unwrap_or(Reply::Status(200))
            };
            log.arrival.notify_all();
            answer(&reply, out)
        });
        Self { server, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/hooks?token=a-token", self.server.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// Waits until so many requests are in, and gives them all.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize, within: Duration) -> Vec<Received> {
        let guard = self.shared.lock();
        let (log, timeout) = self
            .shared
            .arrival
            .wait_timeout_while(guard, within, |log| log.received.len() < count)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{} of {count} webhooks within {within:?}", log.received.len());
        log.received.clone()
    }

    /// The only webhook, once it is in.
    #[track_caller]
    pub(crate) fn one(&self) -> Received {
        self.wait_for(1, Duration::from_secs(20)).swap_remove(0)
    }

    /// The webhooks of one scan.
    pub(crate) fn of_scan(&self, scan_id: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.event()["scan_id"] == scan_id).collect()
    }
}

fn answer(reply: &Reply, out: &mut dyn Write) -> io::Result<Next> {
    match reply {
        Reply::Status(status) => write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\nok")?,
        Reply::With(status, name, value) => write!(out, "HTTP/1.1 {status} So\r\n{name}: {value}\r\ncontent-length: 0\r\n\r\n")?,
        Reply::Late(delay, status) => {
            thread::sleep(*delay);
            write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n")?;
        }
        Reply::Hangup => return Ok(Next::Close),
        Reply::Long(status, length) => {
            write!(out, "HTTP/1.1 {status} So\r\ncontent-length: {length}\r\n\r\n")?;
            for _ in 0..length / 0x1_0000 {
                out.write_all(&[b'x'; 0x1_0000])?;
            }
        }
        Reply::Drip(status) => {
            write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 1000000\r\n\r\n")?;
            drip(out, b"x")?;
        }
        Reply::DripHead => {
            write!(out, "HTTP/1.1 200 So\r\n")?;
            drip(out, b"x-more: 1\r\n")?;
        }
        Reply::Cut(status) => {
            write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 100\r\n\r\ncut")?;
            return Ok(Next::Close);
        }
        Reply::Endless => {
            write!(out, "HTTP/1.1 200 So\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
            loop {
                out.write_all(&chunk)?;
            }
        }
    }
    Ok(Next::KeepAlive)
}

/// Writes the piece ten times a second until nobody takes it.
fn drip(out: &mut dyn Write, piece: &[u8]) -> io::Result<()> {
    loop {
        out.write_all(piece)?;
        out.flush()?;
        thread::sleep(Duration::from_millis(100));
    }
}
