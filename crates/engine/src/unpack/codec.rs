//! Self-terminating compressed streams, read from memory: what went in, what came out, and what went wrong.

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
};

use flate2::{Decompress, FlushDecompress, Status};

/// Why a stream did not reach its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its bytes end before it does.
    Cut,
    /// Its bytes are wrong, or a checksum is.
    Damaged,
    /// It asks for a window that no scan is given.
    Window,
    /// A feature that this build does not decode.
    Unsupported,
}

/// A stream being decoded. It reads to its own end and not beyond.
pub(crate) trait Stream: Read {
    /// Bytes of the input that belong to the stream, once it was read to its end.
    fn consumed(&self) -> usize;

    /// Why reading failed, once it has.
    fn fault(&self) -> Option<Fault>;
}

/// The largest window that a decoder may ask for, in bytes.
pub(crate) const MAX_WINDOW: u64 = 128 << 20;

/// The error that goes with a fault; who reads asks the stream for the fault itself.
pub(crate) fn failed(fault: Fault) -> io::Error {
    match fault {
        Fault::Cut => io::ErrorKind::UnexpectedEof.into(),
        Fault::Damaged => io::ErrorKind::InvalidData.into(),
        Fault::Window => io::ErrorKind::OutOfMemory.into(),
        Fault::Unsupported => io::ErrorKind::Unsupported.into(),
    }
}

/// Raw deflate (RFC 1951).
pub(crate) struct Inflate<'a> {
    input: &'a [u8],
    state: Decompress,
    done: bool,
    fault: Option<Fault>,
}

impl<'a> Inflate<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, state: Decompress::new(false), done: false, fault: None }
    }
}

impl Read for Inflate<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault {
            return Err(failed(fault));
        }
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let rest = self.input.get(self.consumed()..).unwrap_or_default();
        let status = self.state.decompress(rest, buffer, FlushDecompress::None);
        let moved = self.state.total_in() != before_in || self.state.total_out() != before_out;
        match status {
            Ok(Status::StreamEnd) => self.done = true,
            Ok(Status::Ok | Status::BufError) if moved => {}
            Ok(Status::Ok | Status::BufError) => self.fault = Some(Fault::Cut),
            Err(_) => self.fault = Some(Fault::Damaged),
        }
        let count = usize::try_from(self.state.total_out() - before_out).unwrap_or(0).min(buffer.len());
        match self.fault {
            Some(fault) if count == 0 => Err(failed(fault)),
            // The fault shows at the next call, after what was decoded.
            Some(_) => Ok(count),
            // Input was taken and nothing came out yet: an empty answer would mean the end.
            None if count == 0 && !self.done => self.read(buffer),
            None => Ok(count),
        }
    }
}

impl Stream for Inflate<'_> {
    fn consumed(&self) -> usize {
        usize::try_from(self.state.total_in()).unwrap_or(usize::MAX)
    }

    fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

/// A decoder of another crate that reads from a slice, as a [`Stream`]. A panic in it becomes a fault of the stream: those crates are
/// not ours to prove, and one file must never end a scan without a verdict.
pub(crate) struct Foreign<'a, D> {
    length: usize,
    decoder: Option<D>,
    left: fn(&D) -> usize,
    fault: Option<Fault>,
    source: std::marker::PhantomData<&'a [u8]>,
}

impl<'a, D: Read> Foreign<'a, D> {
    /// `open` begins to decode `input`; `left` tells how many bytes of it a decoder has not taken.
    pub(crate) fn new(input: &'a [u8], open: impl FnOnce(&'a [u8]) -> Result<D, Fault>, left: fn(&D) -> usize) -> Self {
        let opened = catch_unwind(AssertUnwindSafe(|| open(input))).unwrap_or(Err(Fault::Damaged));
        let (decoder, fault) = match opened {
            Ok(decoder) => (Some(decoder), None),
            Err(fault) => (None, Some(fault)),
        };
        Self { length: input.len(), decoder, left, fault, source: std::marker::PhantomData }
    }
}

impl<D: Read> Read for Foreign<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault {
            return Err(failed(fault));
        }
        let Some(decoder) = self.decoder.as_mut() else { return Ok(0) };
        match catch_unwind(AssertUnwindSafe(|| decoder.read(buffer))) {
            Ok(Ok(count)) => Ok(count.min(buffer.len())),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Ok(Err(error)) => {
                let fault = match error.kind() {
                    io::ErrorKind::UnexpectedEof => Fault::Cut,
                    io::ErrorKind::OutOfMemory => Fault::Window,
                    io::ErrorKind::Unsupported => Fault::Unsupported,
                    _ => Fault::Damaged,
                };
                self.fault = Some(fault);
                Err(failed(fault))
            }
            Err(_) => {
                // Its state may be torn: it is never asked again.
                self.decoder = None;
                self.fault = Some(Fault::Damaged);
                Err(failed(Fault::Damaged))
            }
        }
    }
}

impl<D: Read> Stream for Foreign<'_, D> {
    fn consumed(&self) -> usize {
        self.decoder.as_ref().map_or(0, |decoder| self.length.saturating_sub((self.left)(decoder)))
    }

    fn fault(&self) -> Option<Fault> {
        self.fault
    }
}
