//! Decoders as readers: a filter gives blocks, [`Blocks`] makes a buffered reader of them.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// A filter's input or output.
pub(super) type Bytes<'a> = Box<dyn BufRead + 'a>;

/// Bytes that decoders may give between two filters of a chain, and of object streams that are looked into. Those never reach the budget
/// of the scan, so all streams of a document share this bound of their own.
#[derive(Clone, Debug)]
pub(super) struct Meter(Rc<Cell<u64>>);

/// One filter.
pub(super) trait Decode {
    /// Appends at least one byte to `block`, or none at the end. What was appended before an error counts.
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()>;
}

pub(super) struct Blocks<D> {
    decoder: D,
    block: Vec<u8>,
    read: usize,
    failed: Option<io::Error>,
    ended: bool,
}

/// Charges what passes to the meter.
pub(super) struct Metered<'a> {
    inner: Bytes<'a>,
    meter: Meter,
}

impl Meter {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_sub(bytes as u64));
    }
}

impl<'a> Metered<'a> {
    pub(super) fn new(inner: Bytes<'a>, meter: &Meter) -> Self {
        Self { inner, meter: meter.clone() }
    }
}

impl<D: Decode> Blocks<D> {
    pub(super) fn new(decoder: D) -> Self {
        Self { decoder, block: Vec::new(), read: 0, failed: None, ended: false }
    }
}

impl<D: Decode> BufRead for Blocks<D> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.block.len() && !self.ended {
            if let Some(error) = self.failed.take() {
                self.ended = true;
                return Err(error);
            }
            self.block.clear();
            self.read = 0;
            let outcome = self.decoder.decode(&mut self.block);
            match outcome {
                Ok(()) => self.ended = self.block.is_empty(),
                Err(error) if self.block.is_empty() => {
                    self.ended = true;
                    return Err(error);
                }
                // What came before the error goes first.
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(self.block.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.read = self.read.saturating_add(amount).min(self.block.len());
    }
}

impl<D: Decode> Read for Blocks<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

impl BufRead for Metered<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.meter.is_used_up() {
            return Err(io::Error::other("the filters of this document unpack too much"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.meter.charge(amount);
        self.inner.consume(amount);
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

fn read_buffered(source: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = source.fill_buf()?;
    let length = available.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..length), available.get(..length)) {
        to.copy_from_slice(from);
    }
    source.consume(length);
    Ok(length)
}

/// The next byte of `source`.
pub(super) fn next_byte(source: &mut impl BufRead) -> io::Result<Option<u8>> {
    let byte = source.fill_buf()?.first().copied();
    if byte.is_some() {
        source.consume(1);
    }
    Ok(byte)
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ends before its end mark")
}
