//! `.Z` files of compress(1): LZW with codes of 9 to 16 bits, from the lowest bit of each byte on.

use std::io::{self, Read};

use super::{
    codec::Foreign,
    streams::{Codec, Start},
};

impl Codec {
    pub(crate) const COMPRESS: Self = Self {
        detail: "Compress",
        suffixes: &[".z", ".taz"],
        magic: &MAGIC,
        starts: |input| if starts(input) { Start::Stream } else { Start::Nothing },
        // It has no end of its own: all of the input is its.
        open: |input| Box::new(Foreign::new(input, |input| Unlzw::new(input).ok_or(super::codec::Fault::Damaged), |_| 0)),
        window: |_| 1 << 20,
        name: |_| None,
    };
}

const MAGIC: [u8; 2] = [0x1f, 0x9d];

/// The mark, flags without the reserved bits, a width that there is, and a first code that is a byte.
pub(crate) fn starts(input: &[u8]) -> bool {
    let Some([0x1f, 0x9d, flags, _, high]) = input.first_chunk() else {
        return input.len() == 3 && input.starts_with(&MAGIC) && input.get(2).is_some_and(|flags| is_flags(*flags));
    };
    is_flags(*flags) && high & 1 == 0
}

fn is_flags(flags: u8) -> bool {
    flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f))
}

struct Unlzw<'a> {
    input: &'a [u8],
    /// Bits of the input that were read.
    at: usize,
    /// Where the codes of this width began: they come in groups of eight.
    group: usize,
    widest: u32,
    width: u32,
    has_clear: bool,
    /// Of each code from 256 on, what stands before its last byte.
    table: Vec<(u16, u8)>,
    previous: Option<(u16, u8)>,
    /// What the last code made, backwards.
    made: Vec<u8>,
}

const CLEAR: u16 = 256;

impl<'a> Unlzw<'a> {
    fn new(input: &'a [u8]) -> Option<Self> {
        let flags = *input.get(2)?;
        let input = input.get(3..)?;
        let (widest, has_clear) = (u32::from(flags & 0x1f), flags & 0x80 != 0);
        let table = Self::fresh(has_clear);
        Some(Self { input, at: 0, group: 0, widest, width: 9, has_clear, table, previous: None, made: Vec::new() })
    }

    fn fresh(has_clear: bool) -> Vec<(u16, u8)> {
        // The code that clears takes a place.
        if has_clear { vec![(0, 0)] } else { Vec::new() }
    }

    /// Codes of another width start behind a whole group.
    fn set_width(&mut self, width: u32) {
        let bits = self.width as usize * 8;
        self.at = self.group + (self.at - self.group).next_multiple_of(bits);
        self.group = self.at;
        self.width = width;
    }

    fn code(&mut self) -> Option<u16> {
        let bytes = self.input.get(self.at / 8..)?;
        let word = bytes.iter().take(3).rev().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let code = word >> (self.at % 8) & ((1 << self.width) - 1);
        if self.at + self.width as usize > self.input.len() * 8 {
            return None;
        }
        self.at += self.width as usize;
        u16::try_from(code).ok()
    }

    /// Takes the next code; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let full = 1usize << self.width;
        if 256 + self.table.len() >= full && self.width < self.widest {
            self.set_width(self.width + 1);
        }
        let Some(code) = self.code() else { return Ok(false) };
        if code == CLEAR && self.has_clear {
            self.set_width(9);
            self.table = Self::fresh(true);
            self.previous = None;
            return Ok(true);
        }
        let next = 256 + self.table.len();
        let (mut at, mut first) = (code, None);
        match self.previous {
            None if code > 255 => return Err(io::ErrorKind::InvalidData.into()),
            // The code that this one makes.
            Some((previous, byte)) if usize::from(code) == next => {
                self.made.push(byte);
                at = previous;
            }
            Some(_) if usize::from(code) > next => return Err(io::ErrorKind::InvalidData.into()),
            Some(_) | None => {}
        }
        while first.is_none() {
            match at.checked_sub(256) {
                None => first = Some(at.to_le_bytes()[0]),
                Some(index) => {
                    let (before, byte) = *self.table.get(usize::from(index)).ok_or(io::ErrorKind::InvalidData)?;
                    self.made.push(byte);
                    at = before;
                }
            }
        }
        let first = first.unwrap_or(0);
        self.made.push(first);
        if let Some((previous, _)) = self.previous
            && next < 1 << self.widest
        {
            self.table.push((previous, first));
        }
        self.previous = Some((code, first));
        Ok(true)
    }
}

impl Read for Unlzw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for place in buffer.iter_mut() {
            while self.made.is_empty() {
                match self.next() {
                    Ok(true) => {}
                    Ok(false) => return Ok(count),
                    Err(_) if count > 0 => return Ok(count),
                    Err(error) => return Err(error),
                }
            }
            *place = self.made.pop().unwrap_or(0);
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Unlzw::new(input).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn what_compress_makes() {
        // Of `compress`, from "hello hello hello hello\n".
        let packed =
            [0x1f, 0x9d, 0x90, 0x68, 0xca, 0xb0, 0x61, 0xf3, 0x06, 0x44, 0xc0, 0x81, 0x05, 0x0f, 0x12, 0x34, 0x28, 0x90, 0xa0, 0x02];
        assert!(starts(&packed));
        assert_eq!(unpacked(&packed), b"hello hello hello hello\n");
        assert!(!starts(b"\x1f\x9d\xffabc") && !starts(b"\x1f\x9d\x88abc"));
    }

    #[test]
    fn any_bytes_end() {
        for seed in 0..200u32 {
            let noise: Vec<u8> =
                (0..300u32).map(|index| (seed.wrapping_mul(2_654_435_761).wrapping_add(index * 40_503) >> 7) as u8).collect();
            let _ = Unlzw::new(&[&[0x1f, 0x9d, 0x90][..], &noise].concat()).unwrap().read_to_end(&mut Vec::new());
        }
    }
}
