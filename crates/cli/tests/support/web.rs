//! A small web server, with or without TLS, whose answers the tests write byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Incoming {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }
}

/// Whether the connection may carry another request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    KeepAlive,
    Close,
}

type Handler = dyn Fn(&Incoming, &mut dyn Write) -> io::Result<Next> + Send + Sync;

/// Answers on a port of 127.0.0.1 until it is dropped.
pub(crate) struct WebServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl WebServer {
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Incoming, &mut dyn Write) -> io::Result<Next> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), tls, handler)
    }

    /// Takes a given port, say one that was in use a moment ago.
    pub(crate) fn start_at(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Incoming, &mut dyn Write) -> io::Result<Next> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let stopped = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let until = Arc::clone(&stopped);
        thread::spawn(move || accept(&listener, &until, tls.as_ref(), &handler));
        Self { address, stopped }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, stopped: &AtomicBool, tls: Option<&Arc<ServerConfig>>, handler: &Arc<Handler>) {
    for stream in listener.incoming() {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (tls, handler) = (tls.cloned(), Arc::clone(handler));
        // A client that goes away is its own business.
        thread::spawn(move || {
            let _ = converse(stream, tls, &handler);
        });
    }
}

fn converse(stream: TcpStream, tls: Option<Arc<ServerConfig>>, handler: &Arc<Handler>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    match tls {
        None => serve(stream, handler),
        Some(config) => serve(StreamOwned::new(ServerConnection::new(config).map_err(io::Error::other)?, stream), handler),
    }
}

fn serve(stream: impl Read + Write, handler: &Arc<Handler>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let next = handler(&request, reader.get_mut())?;
        reader.get_mut().flush()?;
        if next == Next::Close {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Incoming>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut request = Incoming { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}
