//! bzip2 streams.

use std::io::{self, Read};

use bzip2::{Decompress, Status};

use super::{
    codec::{Foreign, Stream},
    streams::{Codec, Start},
};

impl Codec {
    pub(crate) const BZIP2: Self = Self {
        detail: "Bzip2",
        suffixes: &[".bz2", ".tbz2", ".tbz", ".bz"],
        magic: b"BZh",
        starts: |input| if starts(input) { Start::Stream } else { Start::Nothing },
        open: |input| stream(input),
        window: |_| 5 << 20,
        name: |_| None,
    };
}

/// `BZh`, the block size, and the first block or the end of an empty stream.
pub(crate) fn starts(input: &[u8]) -> bool {
    let Some([b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]) = input.first_chunk::<10>() else { return false };
    matches!(rest, [0x31, 0x41, 0x59, 0x26, 0x53, 0x59] | [0x17, 0x72, 0x45, 0x38, 0x50, 0x90])
}

pub(crate) fn stream<'a>(input: &'a [u8]) -> Box<dyn Stream + 'a> {
    Box::new(Foreign::new(
        input,
        |input| Ok(Bunzip { input, state: Decompress::new(false), ended: false }),
        |decoder| decoder.input.len().saturating_sub(decoder.consumed()),
    ))
}

struct Bunzip<'a> {
    input: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl Bunzip<'_> {
    fn consumed(&self) -> usize {
        usize::try_from(self.state.total_in()).unwrap_or(usize::MAX)
    }
}

impl Read for Bunzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let rest = self.input.get(self.consumed()..).unwrap_or_default();
            let status = self.state.decompress(rest, buffer);
            let count = usize::try_from(self.state.total_out() - before_out).unwrap_or(0);
            match status {
                Ok(Status::StreamEnd) => self.ended = true,
                // What came out before the fault goes first; the next call fails again.
                Err(_) if count == 0 => return Err(io::ErrorKind::InvalidData.into()),
                Ok(Status::MemNeeded) if count == 0 => return Err(io::ErrorKind::OutOfMemory.into()),
                Ok(_) if count == 0 && self.state.total_in() == before_in => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(_) => {}
            }
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }
}
