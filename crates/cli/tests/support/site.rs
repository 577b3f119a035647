//! A web site to fetch files from.

use std::io::{self, Write};

use crate::support::authority::{self, Certificate};
use crate::support::web::{Incoming, Next, WebServer};

/// Serves by path what a closure writes, head and all.
pub(crate) struct Site {
    server: WebServer,
    scheme: &'static str,
}

impl Site {
    pub(crate) fn http(answer: impl Fn(&Incoming, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let server = WebServer::start(None, move |request, out| answer(request, out).map(|()| Next::Close));
        Self { server, scheme: "http" }
    }

    pub(crate) fn https(answer: impl Fn(&Incoming, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let tls = authority::server_config(Certificate::Good);
        let server = WebServer::start(Some(tls), move |request, out| answer(request, out).map(|()| Next::Close));
        Self { server, scheme: "https" }
    }

    /// One file under every path.
    pub(crate) fn of(content: Vec<u8>) -> Self {
        Self::http(move |_, out| file(out, &content))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.server.address())
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.address().port()
    }
}

pub(crate) fn file(out: &mut dyn Write, content: &[u8]) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        content.len()
    )?;
    out.write_all(content)
}

pub(crate) fn redirect(out: &mut dyn Write, to: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

pub(crate) fn status(out: &mut dyn Write, status: u16) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
