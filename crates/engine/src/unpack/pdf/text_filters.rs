//! ASCIIHexDecode, ASCII85Decode and RunLengthDecode (ISO 32000-2, 7.4.2, 7.4.3, 7.4.5). All three end at their end mark or, as
//! readers have it, where the data ends.

use std::io;

use super::blocks::{Bytes, Decode, cut_short, damaged, next_byte};
use super::lexer::is_white;

const BLOCK: usize = 16 * 1024;

pub(super) struct AsciiHex<'a> {
    source: Bytes<'a>,
    half: Option<u8>,
    ended: bool,
    strange: bool,
}

pub(super) struct Ascii85<'a> {
    source: Bytes<'a>,
    group: [u8; 5],
    filled: usize,
    /// Nothing decoded yet.
    fresh: bool,
    ended: bool,
    strange: bool,
}

pub(super) struct RunLength<'a> {
    source: Bytes<'a>,
    ended: bool,
}

impl<'a> AsciiHex<'a> {
    pub(super) fn new(source: Bytes<'a>) -> Self {
        Self { source, half: None, ended: false, strange: false }
    }

    fn end(&mut self, block: &mut Vec<u8>) {
        self.ended = true;
        if let Some(high) = self.half.take() {
            block.push(high << 4);
        }
    }
}

impl Decode for AsciiHex<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        while !self.ended && block.len() < BLOCK {
            let Some(byte) = next_byte(&mut self.source)? else {
                self.end(block);
                break;
            };
            match char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()) {
                Some(digit) => match self.half.take() {
                    None => self.half = Some(digit),
                    Some(high) => block.push(high << 4 | digit),
                },
                None if byte == b'>' => self.end(block),
                None => self.strange |= !is_white(byte),
            }
        }
        told_once(&mut self.strange, self.ended)
    }
}

impl<'a> Ascii85<'a> {
    pub(super) fn new(source: Bytes<'a>) -> Self {
        Self { source, group: [0; 5], filled: 0, fresh: true, ended: false, strange: false }
    }

    fn push(&mut self, digit: u8, block: &mut Vec<u8>) {
        if let Some(place) = self.group.get_mut(self.filled) {
            *place = digit;
            self.filled += 1;
        }
        if self.filled == self.group.len() {
            self.write_group(4, block);
        }
    }

    fn write_group(&mut self, bytes: usize, block: &mut Vec<u8>) {
        let number = self.group.iter().fold(0_u64, |sum, digit| sum * 85 + u64::from(*digit));
        self.strange |= number > u64::from(u32::MAX);
        self.fresh = false;
        let [_, _, _, _, out @ ..] = number.to_be_bytes();
        block.extend(out.iter().take(bytes));
        self.filled = 0;
    }

    /// A last group of n digits stands for n - 1 bytes.
    fn end(&mut self, block: &mut Vec<u8>) {
        self.ended = true;
        let filled = self.filled;
        if filled > 1 {
            self.group.iter_mut().skip(filled).for_each(|digit| *digit = 84);
            self.write_group(filled - 1, block);
        }
    }
}

impl Decode for Ascii85<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        while !self.ended && block.len() < BLOCK {
            match next_byte(&mut self.source)? {
                None => self.end(block),
                // The `<~` that other kinds of this encoding start with.
                Some(b'~') if self.fresh && self.filled == 1 && self.group.first() == Some(&(b'<' - b'!')) => self.filled = 0,
                Some(b'~') => self.end(block),
                Some(byte @ b'!'..=b'u') => self.push(byte - b'!', block),
                Some(b'z') if self.filled == 0 => block.extend([0; 4]),
                Some(byte) => self.strange |= !is_white(byte),
            }
        }
        told_once(&mut self.strange, self.ended)
    }
}

impl<'a> RunLength<'a> {
    pub(super) fn new(source: Bytes<'a>) -> Self {
        Self { source, ended: false }
    }
}

impl Decode for RunLength<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        while !self.ended && block.len() < BLOCK {
            match next_byte(&mut self.source)? {
                None | Some(128) => self.ended = true,
                Some(length @ 0..=127) => {
                    for _ in 0..=length {
                        block.push(next_byte(&mut self.source)?.ok_or_else(cut_short)?);
                    }
                }
                Some(length @ 129..) => {
                    let byte = next_byte(&mut self.source)?.ok_or_else(cut_short)?;
                    block.extend(std::iter::repeat_n(byte, 257 - usize::from(length)));
                }
            }
        }
        Ok(())
    }
}

/// Readers step over bytes that do not belong, or stop at them: decoding goes on, and the end says that the data is damaged.
fn told_once(strange: &mut bool, ended: bool) -> io::Result<()> {
    if ended && std::mem::take(strange) { Err(damaged("characters outside the alphabet")) } else { Ok(()) }
}
