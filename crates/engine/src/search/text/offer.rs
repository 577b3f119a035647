//! Whether what was decoded is anything.

use std::{io::Read, rc::Rc};

use filesafety_model::{Password, Reason};

use crate::{
    budget::Deadline,
    filetype::{self, FileType, identify},
    search,
    unpack::{self, Decoded, Ended, Sink, Stop},
};

/// So much of the start tells whether the rest is worth decoding.
pub(super) const PREFIX: usize = 96;

/// Shorter texts are not worth an object.
const LEAST_TEXT: usize = 24;

/// Whether decoded bytes start like something known: a container, a program, a picture, a text.
pub(super) fn is_known(start: &[u8]) -> bool {
    let start = start.get(..PREFIX).unwrap_or(start);
    if !matches!(identify(start), FileType::Leaf) || filetype::has_magic(start) {
        return true;
    }
    start.len() >= LEAST_TEXT && (is_printable(start) || crate::normalise::Endian::of(start).is_some())
}

/// Makes a child of what is known. Of a container that is not whole, only what a search in any file would open.
pub(super) fn offer(name: &str, decoded: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let is_whole = match identify(decoded) {
        FileType::Leaf => true,
        // A magic number alone proves nothing.
        FileType::Unsupported(_) => false,
        FileType::Container(format) => {
            let mut trial = Trial { sink, broken: false };
            unpack::open(format, decoded, None, &mut trial)?;
            !trial.broken
        }
    };
    if is_whole { sink.part(name, decoded).map(drop) } else { search::embedded(decoded, sink) }
}

/// ASCII or UTF-8 without control characters; the cut may have ended inside a character.
fn is_printable(start: &[u8]) -> bool {
    let valid = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    valid && start.iter().all(|&byte| byte >= 0x20 && byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// Opens to nothing, to learn whether anything is broken.
struct Trial<'s> {
    sink: &'s mut dyn Sink,
    broken: bool,
}

impl Sink for Trial<'_> {
    fn child(&mut self, _: &str, content: &mut dyn Read) -> Result<Decoded, Stop> {
        self.sink.probe(content)
    }

    fn part(&mut self, _: &str, content: &[u8]) -> Result<Decoded, Stop> {
        self.sink.tick()?;
        Ok(Decoded { bytes: content.len() as u64, crc32: crc32fast::hash(content), ended: Ended::AtEnd })
    }

    fn unexamined(&mut self, reason: Reason, _: &str) {
        self.broken |= reason == Reason::Broken;
    }

    fn member_unexamined(&mut self, _: &str, reason: Reason, detail: &str) {
        self.unexamined(reason, detail);
    }

    fn note(&mut self, _: &str) {}

    fn tick(&mut self) -> Result<(), Stop> {
        self.sink.tick()
    }

    fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        self.sink.hold(bytes)
    }

    fn release(&mut self, bytes: u64) {
        self.sink.release(bytes);
    }

    fn clock(&mut self) -> Result<(), Stop> {
        self.sink.clock()
    }

    fn deadline(&self) -> Option<Deadline> {
        self.sink.deadline()
    }

    fn room(&self) -> u64 {
        self.sink.room()
    }

    fn passwords(&self) -> Rc<[Password]> {
        self.sink.passwords()
    }
}
