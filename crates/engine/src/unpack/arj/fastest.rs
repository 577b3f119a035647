//! ARJ's method 4: lengths and distances in codes of growing width, from the highest bit of each byte on.

use std::io::{self, Read};

const WINDOW: usize = 32 << 10;

pub(super) struct Fastest<'a> {
    input: &'a [u8],
    buffer: u32,
    held: u32,
    window: Vec<u8>,
    at: usize,
    /// What is still to be copied, and from how far back.
    copy: (usize, usize),
}

impl<'a> Fastest<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, buffer: 0, held: 0, window: vec![0; WINDOW], at: 0, copy: (0, 0) }
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        while self.held < count {
            let (&byte, rest) = self.input.split_first()?;
            self.input = rest;
            self.buffer = self.buffer << 8 | u32::from(byte);
            self.held += 8;
        }
        self.held -= count;
        Some(self.buffer >> self.held & ((1 << count) - 1))
    }

    /// Ones until a zero, at most to the widest, then as many bits as the width has come to.
    fn number(&mut self, narrowest: u32, widest: u32) -> Option<usize> {
        let (mut width, mut base) = (narrowest, 0);
        while width < widest && self.bits(1)? == 1 {
            base += 1 << width;
            width += 1;
        }
        let low = if width > 0 { self.bits(width)? } else { 0 };
        Some((base + low) as usize)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = if self.copy.0 > 0 {
            self.copied()
        } else {
            match self.number(0, 7)? {
                0 => self.bits(8)?.to_le_bytes()[0],
                length => {
                    self.copy = (length + 2, self.number(9, 13)? + 1);
                    self.copied()
                }
            }
        };
        if let Some(place) = self.window.get_mut(self.at) {
            *place = byte;
        }
        self.at = (self.at + 1) % WINDOW;
        Some(byte)
    }

    fn copied(&mut self) -> u8 {
        self.copy.0 -= 1;
        let from = (self.at + WINDOW - self.copy.1) % WINDOW;
        self.window.get(from).copied().unwrap_or(0)
    }
}

impl Read for Fastest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for place in buffer.iter_mut() {
            let Some(byte) = self.next() else { break };
            *place = byte;
            count += 1;
        }
        if count == 0 && !buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }
}
