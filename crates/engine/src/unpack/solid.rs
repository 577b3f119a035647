//! Files that stand one after another in one packed stream, at places that a header tells.

use std::io::Read;

use super::{
    Decoded, Sink, Stop,
    codec::{Fault, Foreign, Stream},
};

/// Where files overlap, the stream is decoded again from its start, so many times.
const RESTARTS: u32 = 16;

pub(super) type Decoder<'a> = Foreign<'a, Box<dyn Read + 'a>>;

/// A stream that is read from its start to its end.
pub(super) struct Solid<'a> {
    open: Box<dyn Fn() -> Decoder<'a> + 'a>,
    stream: Decoder<'a>,
    /// How much of it was read.
    at: u64,
    restarts: u32,
    /// Of streams that were given up.
    fault: Option<Fault>,
}

impl<'a> Solid<'a> {
    pub(super) fn new(open: impl Fn() -> Decoder<'a> + 'a) -> Self {
        let stream = open();
        Self { open: Box::new(open), stream, at: 0, restarts: 0, fault: None }
    }

    /// Examines the file at `offset`; files are asked for in the order of their places. Nothing where the stream does not reach it.
    pub(super) fn file(&mut self, name: &str, offset: u64, size: u64, sink: &mut dyn Sink) -> Result<Option<Decoded>, Stop> {
        if offset < self.at {
            self.restarts += 1;
            if self.restarts > RESTARTS {
                return Ok(None);
            }
            self.fault = self.fault.or(self.stream.fault());
            self.stream = (self.open)();
            self.at = 0;
        }
        let skipped = sink.probe(&mut (&mut self.stream as &mut dyn Read).take(offset - self.at))?;
        self.at += skipped.bytes;
        if self.at < offset {
            return Ok(None);
        }
        let decoded = sink.child(name, &mut (&mut self.stream as &mut dyn Read).take(size))?;
        self.at += decoded.bytes;
        Ok(Some(decoded))
    }

    /// Examines what stands behind the last file, so that the end of the stream is checked too.
    pub(super) fn rest(&mut self, sink: &mut dyn Sink) -> Result<(), Stop> {
        let mut first = [0];
        while self.stream.fault().is_none() {
            match self.stream.read(&mut first) {
                Ok(0) => break,
                Ok(_) => {
                    sink.child("behind-the-files", &mut first.as_slice().chain(&mut self.stream as &mut dyn Read))?;
                    break;
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.or(self.stream.fault())
    }
}
