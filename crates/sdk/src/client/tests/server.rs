//! A server that does as it is told, also where that is wrong.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    client::{Client, ClientBuilder, RetryPolicy, UploadUrl},
    scan::Status,
};

/// What the server does with one request.
pub(super) enum Reply {
    /// An answer with extra header lines, and a body.
    Say(u16, &'static str, String),
    /// Nothing: the connection is closed.
    Hangup,
    /// A 200 whose body never ends.
    Endless,
    /// A 200 of which a byte comes every 50 ms.
    Drip,
    /// Nothing at all, for long.
    Silence,
}

/// Refuses while the body is still on its way, and closes: on a thread of its own, so that it happens in the middle of a write.
pub(super) fn refuse_early(listener: std::net::TcpListener) {
    use std::io::{Read as _, Write as _};
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 64 * 1024]);
        let body = r#"{"error":"No.","code":"file_too_large"}"#;
        let answer = format!("HTTP/1.1 413 So\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        // In one piece: what is not sent at the close is thrown away.
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    #[allow(dead_code, reason = "only some features' tests add to them")]
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Server {
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(VecDeque::from_iter(replies)));
        let (log, next) = (asked.clone(), replies.clone());
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, log.clone(), next.clone()));
            }
        });
        Self { address, asked, replies }
    }

    pub(super) fn builder(&self) -> ClientBuilder {
        let quick = RetryPolicy::default().backoff(Duration::from_millis(5), Duration::from_millis(20));
        Client::builder(format!("http://{}", self.address), "fs_live_x").retry(quick)
    }

    pub(super) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    #[cfg(feature = "receiver")]
    pub(super) fn reply(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn place(&self) -> UploadUrl {
        let upload_url = format!("http://{}/v1/uploads/scn_1/token", self.address);
        UploadUrl { scan_id: "scn_1".into(), status: Status::AwaitingUpload, upload_url, expires_at: String::new() }
    }
}

pub(super) async fn serve(stream: TcpStream, connection: usize, log: Arc<Mutex<Vec<Asked>>>, replies: Arc<Mutex<VecDeque<Reply>>>) {
    let mut stream = BufReader::new(stream);
    while let Ok((head, body)) = read_request(&mut stream).await {
        log.lock().unwrap().push(Asked { connection, head, body });
        let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Say(500, "", String::new()));
        if answer(stream.get_mut(), reply).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    head = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).await?;
            stream.read_line(&mut String::new()).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some((_, rest)) = head.split_once("content-length: ") {
        body.resize(rest.lines().next().unwrap().parse().unwrap(), 0);
        stream.read_exact(&mut body).await?;
    }
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

async fn answer(stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Say(status, headers, body) => {
            let length = body.len();
            stream.write_all(format!("HTTP/1.1 {status} So\r\n{headers}content-length: {length}\r\n\r\n{body}").as_bytes()).await
        }
        Reply::Hangup => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 So\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 64 * 1024]).await?;
            }
        }
        Reply::Drip => {
            stream.write_all(b"HTTP/1.1 200 So\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Reply::Silence => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }
    }
}

pub(super) fn scan(verdict: &str) -> String {
    let (status, verdict) = match verdict {
        "" => ("scanning", "null".to_owned()),
        "failed" => ("failed", "\"failed\"".to_owned()),
        other => ("complete", format!("\"{other}\"")),
    };
    format!(
        r#"{{"scan_id":"scn_1","status":"{status}","verdict":{verdict},"virus":null,"nsfw":null,"coverage":null,"file_hash":null,"file":null,"metadata":null,"created_at":"","completed_at":null,"deduplicated":false,"webhook":null}}"#
    )
}

pub(super) fn ok(body: impl Into<String>) -> Reply {
    Reply::Say(200, "", body.into())
}

pub(super) fn refuse(status: u16, code: &str) -> Reply {
    Reply::Say(status, "x-request-id: req_1\r\n", format!(r#"{{"error":"No.\u001b[31m","code":"{code}"}}"#))
}

pub(super) fn key_of(asked: &Asked) -> &str {
    asked.head.split_once("idempotency-key: ").unwrap().1.lines().next().unwrap()
}
