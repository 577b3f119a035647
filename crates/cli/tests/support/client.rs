//! An HTTP/1.1 client that does as it is told, also where that is wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::Form;

/// Longer than the server lets any request take.
const PATIENCE: Duration = Duration::from_secs(90);

/// One request, sent on a connection of its own.
#[derive(Clone)]
pub(crate) struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self { address, method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    pub(crate) fn target(self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self }
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.without_header("x-api-key").header("x-api-key", key)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn form(self, form: Form) -> Self {
        self.header("content-type", &Form::content_type()).body(form.finish())
    }

    pub(crate) fn json(self, value: &Value) -> Self {
        self.json_text(&value.to_string())
    }

    /// A JSON body as the caller wrote it, right or wrong.
    pub(crate) fn json_text(self, text: &str) -> Self {
        self.header("content-type", "application/json").body(text)
    }

    /// Sends all of it and reads the answer.
    pub(crate) fn send(&self) -> Answer {
        self.try_send().expect("the server answers")
    }

    pub(crate) fn try_send(&self) -> io::Result<Answer> {
        let mut connection = Connection::open(self.address)?;
        connection.send(self)
    }

    fn head(&self, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.target, self.address);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let given = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !given("content-length")
            && !given("transfer-encoding")
            && (!self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT"))
        {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        if !keep_alive {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// A connection that outlives a request, or ends in the middle of one.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends a request that ends the connection. A server may answer and close before it has read everything: that answer counts.
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Answer> {
        let sent = self.write(&request.head(false)).and_then(|()| self.write(&request.body));
        self.answer().map_err(|unread| sent.err().unwrap_or(unread))
    }

    /// Sends a request and leaves the connection open.
    pub(crate) fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        self.write(&[request.head(true), request.body.clone()].concat())?;
        self.answer()
    }

    /// Sends the head of a request alone.
    pub(crate) fn send_head(&mut self, request: &Request) -> io::Result<()> {
        self.write(&request.head(false))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Says that nothing more will come, and still listens.
    pub(crate) fn finish_writing(&self) {
        // A server that has closed already has taken this step for us.
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        self.reader.get_ref().set_read_timeout(Some(patience)).expect("a positive duration");
    }

    /// Whether the server says something within this time.
    pub(crate) fn has_answer(&mut self, within: Duration) -> bool {
        self.set_patience(within);
        let said = self.reader.fill_buf().is_ok();
        self.set_patience(PATIENCE);
        said
    }

    /// Reads one answer, interim ones aside.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let mut answer = self.head()?;
            if answer.status < 200 {
                interim.push(answer.status);
                continue;
            }
            answer.body = self.body_of(&answer)?;
            answer.interim = interim;
            return Ok(answer);
        }
    }

    /// Reads a status line and headers.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Answer { status, headers, body: Vec::new(), interim: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// One line without its end, as an event stream has them as well. An end of the connection is an error.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn body_of(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if matches!(answer.status, 204 | 304) {
            return Ok(body);
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
                let start = body.len();
                body.resize(start + size, 0);
                self.reader.read_exact(&mut body[start..])?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length") {
            Some(length) => {
                body.resize(length.parse().map_err(io::Error::other)?, 0);
                self.reader.read_exact(&mut body)?;
            }
            None => {
                self.reader.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The 1xx statuses that came before.
    pub(crate) interim: Vec<u16>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The sentence of a refusal with this status and code.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "every answer has an x-request-id");
        body["error"].as_str().expect("an error has a sentence").to_owned()
    }

    /// The verdict of a finished scan.
    #[track_caller]
    pub(crate) fn expect_verdict(&self, verdict: &str) -> Value {
        let scan = self.expect(200);
        assert_eq!(scan["verdict"], verdict, "{scan}");
        scan
    }

    pub(crate) fn scan_id(&self) -> String {
        self.json()["scan_id"].as_str().expect("the answer names its scan").to_owned()
    }
}
