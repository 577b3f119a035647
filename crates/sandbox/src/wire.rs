//! What a sandbox and its owner say to each other: frames over a socket of their own, each a tag, a length and so many bytes.
//!
//! The owner trusts nothing that comes back: every kind of frame has a bound, and what is not understood ends the sandbox.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix_net::{
    cmsg_space,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg},
};

/// Content up to this size travels in its frame, larger content as a sealed memory file.
pub(crate) const INLINE: usize = 64 << 10;

/// Files that go with one frame.
pub(crate) const FILES: usize = 8;

/// What is said to a sandbox.
pub(crate) mod order {
    /// What to scan with: a byte of [`CONFINED`] and [`IDLE`], then the description of the engine; its files go with it.
    pub(crate) const START: u8 = b'S';
    /// Give up every right that scanning does not take.
    pub(crate) const CONFINED: u8 = 1;
    /// Load nothing: only what can be given up is of interest.
    pub(crate) const IDLE: u8 = 2;
    /// A file to scan.
    pub(crate) const SCAN: u8 = b'J';
    /// The answer to [`super::word::GROW`]: one byte.
    pub(crate) const GRANT: u8 = b'G';
    /// The answer to [`super::word::CLAMD`], in JSON.
    pub(crate) const CLAMD: u8 = b'A';

    /// The longest of each; it bounds only defects, since a sandbox believes its owner.
    pub(crate) fn longest(tag: u8) -> Option<usize> {
        match tag {
            START => Some(1 << 20),
            SCAN => Some(super::INLINE + (64 << 10)),
            GRANT => Some(1),
            CLAMD => Some(64 << 10),
            _ => None,
        }
    }
}

/// What a sandbox says.
pub(crate) mod word {
    /// It is ready, and confined by these layers (JSON).
    pub(crate) const READY: u8 = b'R';
    /// It cannot start: a text.
    pub(crate) const UNFIT: u8 = b'X';
    /// It asks for more memory: a number of bytes, answered.
    pub(crate) const GROW: u8 = b'g';
    /// It gives memory back: a number of bytes.
    pub(crate) const SHRINK: u8 = b's';
    /// It asks clamd: a length; so many bytes follow the frame. Answered.
    pub(crate) const CLAMD: u8 = b'c';
    /// A detection that the report will hold (JSON).
    pub(crate) const DETECTED: u8 = b'd';
    /// A picture that counts so far (JSON).
    pub(crate) const PICTURED: u8 = b'p';
    /// The scan's report (JSON).
    pub(crate) const REPORT: u8 = b'r';
    /// Memory was short.
    pub(crate) const SHORT: u8 = b'm';
    /// Something for the log: a level, then a text.
    pub(crate) const LOG: u8 = b'l';

    pub(crate) fn longest(tag: u8) -> Option<usize> {
        match tag {
            READY | UNFIT => Some(64 << 10),
            GROW | SHRINK | CLAMD => Some(8),
            // Many times the longest path, and as many views as are ever taken.
            DETECTED | PICTURED => Some(256 << 10),
            // Twice what the longest paths of the most detections come to.
            REPORT => Some(16 << 20),
            SHORT => Some(0),
            LOG => Some(2 << 10),
            _ => None,
        }
    }
}

/// One frame.
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) payload: Vec<u8>,
}

/// What is heard of the other side.
pub(crate) struct Incoming {
    socket: UnixStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Files that came; an owner takes none.
    files: Option<VecDeque<OwnedFd>>,
}

/// Called whenever the other side keeps silent for as long as the socket waits; an error ends the waiting.
pub(crate) type Tick<'a> = &'a mut dyn FnMut() -> io::Result<()>;

impl Incoming {
    /// Of a sandbox, from which no files are taken.
    pub(crate) fn of_sandbox(socket: UnixStream) -> Self {
        Self { socket, buffer: vec![0; 16 << 10].into(), start: 0, end: 0, files: None }
    }

    /// Of an owner.
    pub(crate) fn of_owner(socket: UnixStream) -> Self {
        Self { socket, buffer: vec![0; 2 * INLINE].into(), start: 0, end: 0, files: Some(VecDeque::new()) }
    }

    /// The next frame; `None` once the other side is gone.
    pub(crate) fn frame(&mut self, longest: fn(u8) -> Option<usize>, tick: Tick<'_>) -> io::Result<Option<Frame>> {
        let mut head = [0; 5];
        if self.start == self.end && self.fill(tick)? == 0 {
            return Ok(None);
        }
        self.read_exact(&mut head, tick)?;
        let [tag, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if longest(tag).is_none_or(|longest| length > longest) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that nobody understands"));
        }
        let mut payload = vec![0; length];
        self.read_exact(&mut payload, tick)?;
        Ok(Some(Frame { tag, payload }))
    }

    /// The next file that came, in order.
    pub(crate) fn file(&mut self) -> Option<OwnedFd> {
        self.files.as_mut()?.pop_front()
    }

    /// Bytes that follow a frame.
    pub(crate) fn read_exact(&mut self, mut into: &mut [u8], tick: Tick<'_>) -> io::Result<()> {
        while !into.is_empty() {
            if self.start == self.end && self.fill(tick)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut had = self.buffer.get(self.start..self.end).unwrap_or_default();
            let count = had.read(into)?;
            self.start += count;
            into = into.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn fill(&mut self, tick: Tick<'_>) -> io::Result<usize> {
        loop {
            let read = match &mut self.files {
                None => (&self.socket).read(&mut self.buffer),
                Some(files) => receive(&self.socket, &mut self.buffer, files),
            };
            match read {
                Ok(count) => {
                    (self.start, self.end) = (0, count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tick()?,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }
}

fn receive(socket: &UnixStream, buffer: &mut [u8], files: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [0; cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            files.extend(came);
        }
    }
    Ok(received.bytes)
}

/// The bytes of a frame.
pub(crate) fn frame(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(5 + length);
    bytes.push(tag);
    // Every frame is bounded far below.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Says a frame, with the files that go with it.
pub(crate) fn say(socket: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>], tick: Tick<'_>) -> io::Result<()> {
    let mut left = bytes;
    let mut files = files;
    while !left.is_empty() {
        let sent = if files.is_empty() { (&mut &*socket).write(left) } else { send(socket, left, files) };
        match sent {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                left = left.get(count..).unwrap_or_default();
                files = &[];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tick()?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send(socket: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [0; cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more files than go with a frame"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// A number as a payload.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn never() -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn frames_come_as_they_were_said_with_their_files() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = filesafety_mapped::seal("test", b"content").unwrap();
        say(&one, &frame(order::GRANT, &[b"x"]), &[], &mut never).unwrap();
        say(&one, &frame(order::START, &[b"a", b"bc"]), &[file.as_fd(), file.as_fd()], &mut never).unwrap();
        drop(one);
        let mut incoming = Incoming::of_owner(other);
        let first = incoming.frame(order::longest, &mut never).unwrap().unwrap();
        assert_eq!((first.tag, first.payload.as_slice()), (order::GRANT, &b"x"[..]));
        let second = incoming.frame(order::longest, &mut never).unwrap().unwrap();
        assert_eq!((second.tag, second.payload.as_slice()), (order::START, &b"abc"[..]));
        assert_eq!(&*filesafety_mapped::Mapped::sealed(incoming.file().unwrap()).unwrap(), b"content");
        assert!(incoming.file().is_some() && incoming.file().is_none());
        assert!(incoming.frame(order::longest, &mut never).unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_unknown_or_cut_is_refused() {
        let refused = |bytes: &[u8]| {
            let (one, other) = UnixStream::pair().unwrap();
            say(&one, bytes, &[], &mut never).unwrap();
            drop(one);
            Incoming::of_sandbox(other).frame(word::longest, &mut never).map(|_| ()).unwrap_err().kind()
        };
        assert_eq!(refused(&frame(word::GROW, &[&[0; 9]])), io::ErrorKind::InvalidData);
        assert_eq!(refused(&frame(word::SHORT, &[b"x"])), io::ErrorKind::InvalidData);
        assert_eq!(refused(&frame(b'?', &[])), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[word::REPORT, 0xff, 0xff, 0xff, 0xff]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[word::REPORT, 9, 0, 0, 0, b'{']), io::ErrorKind::UnexpectedEof);
        assert_eq!(refused(&[word::REPORT, 9]), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_owner_takes_no_files() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = filesafety_mapped::seal("test", b"content").unwrap();
        say(&one, &frame(word::SHORT, &[]), &[file.as_fd()], &mut never).unwrap();
        let mut incoming = Incoming::of_sandbox(other);
        assert!(incoming.frame(word::longest, &mut never).unwrap().is_some());
        assert!(incoming.file().is_none());
    }

    #[test]
    fn silence_ends_when_the_listener_says_so() {
        let (_one, other) = UnixStream::pair().unwrap();
        other.set_read_timeout(Some(std::time::Duration::from_millis(5))).unwrap();
        let mut ticks = 0;
        let mut tick = || {
            ticks += 1;
            if ticks == 3 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
        };
        let ended = Incoming::of_sandbox(other).frame(word::longest, &mut tick).map(|_| ());
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
