//! Compressed RTF ([MS-OXRTFCP]): LZ77 over a ring of 4,096 bytes that begins with the words of every RTF.

use std::io::{self, Read};

use super::super::u32_at;

const RING: usize = 4_096;

/// What the ring holds before the first byte.
const INITIAL: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/// The text, unpacked as it is read.
pub(super) struct Unpacked<'a> {
    packed: std::slice::Iter<'a, u8>,
    is_packed: bool,
    /// Bytes that are still to come.
    left: u32,
    ring: Vec<u8>,
    write: usize,
    /// Of a run: where it goes on, and how far.
    from: usize,
    run: usize,
    flags: u8,
    flags_left: u8,
}

impl<'a> Unpacked<'a> {
    /// `None` without a header that proves itself.
    pub(super) fn new(content: &'a [u8]) -> Option<Self> {
        let (size, kind) = (u32_at(content, 4)?, content.get(8..12)?);
        let is_packed = match kind {
            b"LZFu" => true,
            b"MELA" => false,
            _ => return None,
        };
        let mut ring = vec![b' '; RING];
        ring.iter_mut().zip(INITIAL).for_each(|(place, &byte)| *place = byte);
        Some(Self {
            packed: content.get(16..)?.iter(),
            is_packed,
            left: size,
            ring,
            write: INITIAL.len(),
            from: 0,
            run: 0,
            flags: 0,
            flags_left: 0,
        })
    }

    /// Less came out than the header says.
    pub(super) fn is_short(&self) -> bool {
        self.left > 0
    }

    fn byte(&mut self) -> Option<u8> {
        if !self.is_packed {
            return self.packed.next().copied();
        }
        while self.run == 0 {
            if self.flags_left == 0 {
                self.flags = *self.packed.next()?;
                self.flags_left = 8;
            }
            let is_run = self.flags & 1 != 0;
            self.flags >>= 1;
            self.flags_left -= 1;
            if !is_run {
                let byte = *self.packed.next()?;
                self.put(byte);
                return Some(byte);
            }
            let pair = u16::from_be_bytes([*self.packed.next()?, *self.packed.next()?]);
            self.from = usize::from(pair >> 4);
            if self.from == self.write {
                return None;
            }
            self.run = usize::from(pair & 0xf) + 2;
        }
        let byte = self.ring.get(self.from % RING).copied()?;
        self.from += 1;
        self.run -= 1;
        self.put(byte);
        Some(byte)
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.ring.get_mut(self.write) {
            *place = byte;
        }
        self.write = (self.write + 1) % RING;
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        for place in buffer.iter_mut() {
            let Some(byte) = (self.left > 0).then(|| self.byte()).flatten() else { break };
            self.left -= 1;
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}
