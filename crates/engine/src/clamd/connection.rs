//! One connection to clamd, on which every wait is bounded.

use std::{
    io::{self, Read, Write},
    net::ToSocketAddrs,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::ClamdAddress;

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Whole,
    /// clamd spoke before the end: what it says is about to be read.
    Interrupted,
    /// The object ended before its end: clamd waits for the rest and says nothing.
    Cut,
}

/// Bounds for what a daemon may say in one answer, in bytes; real ones stay below 300.
const MAX_REPLY: usize = 4096;
/// One write of an object's bytes; a smaller object goes out with its frame at once. Between two clamd is listened to.
const CHUNK: usize = 1 << 18;
/// Between two attempts at a socket whose queue is full.
const RETRY_QUEUE: Duration = Duration::from_millis(5);

pub(super) struct Connection {
    socket: Socket,
    deadline: Instant,
}

impl Connection {
    /// Connects within `patience` for each address that the name has; `deadline` turns the instant of connection into the end of all waits.
    pub(super) fn open(address: &ClamdAddress, patience: Duration, deadline: impl FnOnce(Instant) -> Instant) -> io::Result<Self> {
        let socket = match address {
            ClamdAddress::Unix(path) => connect_unix(&SockAddr::unix(path)?, patience)?,
            ClamdAddress::Tcp(host, port) => connect_tcp(host, *port, patience)?,
        };
        Ok(Self { socket, deadline: deadline(Instant::now()) })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        self.write_all(bytes)?;
        Ok(Sent::Whole)
    }

    /// `INSTREAM`: chunks, each behind its length, and an empty one at the end.
    pub(super) fn send_stream(&mut self, object: &mut dyn Read, length: u64) -> io::Result<Sent> {
        const COMMAND: &[u8] = b"zINSTREAM\0";
        const END: [u8; 4] = [0; 4];
        let mut left = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut message = COMMAND.to_vec();
        while left > 0 {
            let size = left.min(CHUNK);
            let from = message.len() + 4;
            message.extend_from_slice(&chunk_length(size));
            message.resize(from + size, 0);
            if object.read_exact(message.get_mut(from..).unwrap_or_default()).is_err() {
                return Ok(Sent::Cut);
            }
            left -= size;
            if left == 0 && length <= CHUNK as u64 {
                break;
            }
            if self.has_answer()? {
                return Ok(Sent::Interrupted);
            }
            self.write_all(&message)?;
            message.clear();
        }
        message.extend_from_slice(&END);
        self.send(&message)
    }

    /// The answer without its final NUL.
    pub(super) fn read_reply(&mut self) -> io::Result<String> {
        let mut reply = Vec::new();
        let mut buffer = [0; 512];
        loop {
            self.socket.set_read_timeout(Some(self.time_left()?))?;
            let read = match (&self.socket).read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(timed_out_for_would_block(error)),
            };
            let news = buffer.get(..read).unwrap_or_default();
            if let Some(end) = memchr::memchr(0, news) {
                reply.extend_from_slice(news.get(..end).unwrap_or_default());
                return Ok(String::from_utf8_lossy(&reply).into_owned());
            }
            if news.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
            }
            reply.extend_from_slice(news);
            if reply.len() > MAX_REPLY {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has no end"));
            }
        }
    }

    /// Whether something can be read, the end of the connection included.
    fn has_answer(&self) -> io::Result<bool> {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        self.socket.set_nonblocking(true)?;
        let peeked = self.socket.peek(&mut byte);
        self.socket.set_nonblocking(false)?;
        match peeked {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(self.time_left()?))?;
            match (&self.socket).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out_for_would_block(error)),
            }
        }
        Ok(())
    }

    fn time_left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

fn chunk_length(size: usize) -> [u8; 4] {
    u32::try_from(size).expect("a chunk is at most 256 KiB").to_be_bytes()
}

/// A blocking socket reports its timeout as `WouldBlock`.
fn timed_out_for_would_block(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// A Unix socket with a full queue blocks its callers without end; asked not to, it refuses at once.
fn connect_unix(address: &SockAddr, patience: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let begin = Instant::now();
    loop {
        match socket.connect(address) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && begin.elapsed() < patience => thread::sleep(RETRY_QUEUE),
            Err(error) => return Err(timed_out_for_would_block(error)),
        }
    }
    socket.set_nonblocking(false)?;
    Ok(socket)
}

fn connect_tcp(host: &str, port: u16, patience: Duration) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        match socket.connect_timeout(&address.into(), patience) {
            Ok(()) => {
                socket.set_tcp_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
