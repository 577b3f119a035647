//! The compression of macro source (MS-OVBA 2.4.1): chunks of at most 4,096 bytes, each packed on its own.

use std::io::{self, Read};

use crate::unpack::u16_at;

/// What a chunk holds unpacked, at most.
const CHUNK: usize = 4_096;
/// Starts a container.
const SIGNATURE: u8 = 1;

/// Unpacks a container as it is read. Damaged data ends in an error, after what could be unpacked.
pub(super) struct Unpacked<'a> {
    rest: &'a [u8],
    chunk: Vec<u8>,
    given: usize,
    is_damaged: bool,
}

impl<'a> Unpacked<'a> {
    /// What starts at `container`; nothing if that is none.
    pub(super) fn new(container: &'a [u8]) -> Option<Self> {
        let rest = container.strip_prefix(&[SIGNATURE])?;
        Some(Self { rest, chunk: Vec::new(), given: 0, is_damaged: false })
    }

    /// Unpacks the next chunk; whether there was one.
    fn next(&mut self) -> bool {
        const PACKED: u16 = 0x8000;
        let Some(header) = u16_at(self.rest, 0) else {
            // A byte is left of a header: cut.
            self.is_damaged |= !self.rest.is_empty();
            return false;
        };
        if header & 0x7000 != 0x3000 {
            // Zeros fill a stream up; anything else was a chunk.
            self.is_damaged |= self.rest.iter().any(|byte| *byte != 0);
            return false;
        }
        let length = usize::from(header & 0x0fff) + 1;
        let data = self.rest.get(2..).unwrap_or_default();
        self.is_damaged |= data.len() < length;
        let (data, rest) = data.split_at_checked(length).unwrap_or((data, &[]));
        self.rest = rest;
        self.chunk.clear();
        self.given = 0;
        if header & PACKED == 0 {
            self.chunk.extend_from_slice(data);
        } else {
            self.is_damaged |= !unpack_chunk(data, &mut self.chunk);
        }
        true
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            if self.is_damaged {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if !self.next() {
                return if self.is_damaged { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(0) };
            }
        }
        let ready = self.chunk.get(self.given..).unwrap_or_default();
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}

/// Groups of eight tokens behind a byte of flags: a literal, or a copy of what stands before. Whether all of it made sense.
fn unpack_chunk(mut data: &[u8], chunk: &mut Vec<u8>) -> bool {
    while let Some((flags, rest)) = data.split_first() {
        data = rest;
        for bit in 0..8 {
            if data.is_empty() || chunk.len() >= CHUNK {
                break;
            }
            if flags >> bit & 1 == 0 {
                let Some((literal, rest)) = data.split_first() else { break };
                chunk.push(*literal);
                data = rest;
                continue;
            }
            let Some(token) = u16_at(data, 0) else { return false };
            data = data.get(2..).unwrap_or_default();
            if !copy(token, chunk) {
                return false;
            }
        }
        if chunk.len() >= CHUNK {
            break;
        }
    }
    true
}

/// The further the chunk has come, the more bits of a token are the distance (2.4.1.3.19.1).
fn copy(token: u16, chunk: &mut Vec<u8>) -> bool {
    let bits = (usize::BITS - chunk.len().saturating_sub(1).leading_zeros()).clamp(4, 12);
    let mask = 0xffff_u16 >> bits;
    let (length, distance) = (usize::from(token & mask) + 3, usize::from(token >> (16 - bits)) + 1);
    let Some(start) = chunk.len().checked_sub(distance) else { return false };
    for at in start..start + length.min(CHUNK - chunk.len()) {
        let Some(byte) = chunk.get(at).copied() else { return false };
        chunk.push(byte);
    }
    true
}
