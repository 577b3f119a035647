//! The compression of rich text in messages (MS-OXRTFCP): copies from a ring of 4,096 bytes that starts with what most texts hold.

use std::io::{self, Read};

use super::u32_at;

const RING: usize = 4_096;
const HEADER: usize = 16;
const PACKED: u32 = 0x7546_5a4c;
const PLAIN: u32 = 0x414c_454d;

const BEGINNING: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor \
MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/// Unpacks as it is read; data that is cut ends in an error.
pub(crate) struct Unpacked<'a> {
    told: u32,
    rest: &'a [u8],
    is_packed: bool,
    ring: Box<[u8; RING]>,
    at: usize,
    ready: Vec<u8>,
    given: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Ended,
    Cut,
}

impl<'a> Unpacked<'a> {
    /// Nothing if it does not start with the header.
    pub(crate) fn new(content: &'a [u8]) -> Option<Self> {
        let kind = u32_at(content, 8).filter(|kind| matches!(*kind, PACKED | PLAIN))?;
        let mut ring = Box::new([0; RING]);
        ring.iter_mut().zip(BEGINNING).for_each(|(place, byte)| *place = *byte);
        let (rest, told) = (content.get(HEADER..)?, u32_at(content, 4)?);
        Some(Self { told, rest, is_packed: kind == PACKED, ring, at: BEGINNING.len(), ready: Vec::new(), given: 0, state: State::Going })
    }

    /// How long the text is, by the header.
    pub(crate) fn told(&self) -> u64 {
        u64::from(self.told)
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.ring.get_mut(self.at) {
            *place = byte;
        }
        self.at = (self.at + 1) % RING;
        self.ready.push(byte);
    }

    fn take(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Eight tokens behind a byte that tells which are copies.
    fn group(&mut self) -> State {
        let Some(flags) = self.take() else { return State::Cut };
        for bit in 0..8 {
            let Some(byte) = self.take() else { return State::Cut };
            if flags >> bit & 1 == 0 {
                self.put(byte);
                continue;
            }
            let Some(low) = self.take() else { return State::Cut };
            let token = usize::from(u16::from_be_bytes([byte, low]));
            let (from, length) = (token >> 4, (token & 0xf) + 2);
            if from == self.at {
                return State::Ended;
            }
            for offset in 0..length {
                let copied = self.ring.get((from + offset) % RING).copied().unwrap_or_default();
                self.put(copied);
            }
        }
        State::Going
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_packed {
            return self.rest.read(buffer);
        }
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
            while self.state == State::Going && self.ready.len() < RING {
                self.state = self.group();
            }
            if self.ready.is_empty() && self.state == State::Cut {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let ready = self.ready.get(self.given..).unwrap_or_default();
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(content: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Unpacked::new(content).ok_or(io::ErrorKind::InvalidData)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn the_examples_of_the_specification_unpack() {
        let simple =
            b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\x00\x0a\x00rcpg125\x42\x32\x0a\xf3 hel\x09\x00\x20bw\x05\xb0ld}\x0a\x80\x0f\xa0";
        assert_eq!(unpacked(simple).unwrap(), b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
        let crossing = b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4\x4b\x51\x41\x00\x04\x20WXYZ\x0d\x6e\x7d\x01\x0e\xb0";
        assert_eq!(unpacked(crossing).unwrap(), b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
        for length in 16..simple.len() - 1 {
            assert!(unpacked(&simple[..length]).is_err(), "{length}");
        }
        assert_eq!(unpacked(b"\x14\0\0\0\x04\0\0\0MELA\0\0\0\0text").unwrap(), b"text");
    }
}
