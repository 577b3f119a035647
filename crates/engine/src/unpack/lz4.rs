//! LZ4 frames (the LZ4 frame format, version 1.6), and snappy's framing.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

use super::{
    codec::Foreign,
    streams::{Codec, Start},
    u32_at,
    zstd::skippable,
};

impl Codec {
    pub(crate) const LZ4: Self = Self {
        detail: "Lz4",
        suffixes: &[".lz4"],
        magic: &MAGIC,
        starts,
        open: |input| Box::new(Foreign::new(input, |input| Ok(Frame::new(input)), |frame| frame.decoder.get_ref().len())),
        // Two blocks of the largest size, and the window before them.
        window: |_| 9 << 20,
        name: |_| None,
    };

    pub(crate) const SNAPPY: Self = Self {
        detail: "Snappy",
        suffixes: &[".sz", ".snappy"],
        magic: SNAPPY_MAGIC,
        starts: |input| if input.starts_with(SNAPPY_MAGIC) { Start::Stream } else { Start::Nothing },
        // It has no end of its own: all of the input is its.
        open: |input| Box::new(Foreign::new(input, |input| Ok(snap::read::FrameDecoder::new(input)), |_| 0)),
        window: |_| 256 << 10,
        name: |_| None,
    };
}

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LEGACY: u32 = 0x184c_2102;
const SNAPPY_MAGIC: &[u8] = b"\xff\x06\0\0sNaPpY";

fn starts(input: &[u8]) -> Start {
    match skippable(input) {
        Some(length) => Start::Skip(length),
        None if is_frame(input) => Start::Stream,
        None => Start::Nothing,
    }
}

/// One frame. The decoder takes an input that ends between two blocks for whole.
struct Frame<'a> {
    decoder: FrameDecoder<&'a [u8]>,
    is_cut: bool,
}

impl<'a> Frame<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { decoder: FrameDecoder::new(input), is_cut: input.starts_with(&MAGIC) && !has_end(input) }
    }
}

impl Read for Frame<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer)? {
            0 if self.is_cut && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// Whether the blocks of a frame go on to its end mark.
fn has_end(input: &[u8]) -> bool {
    const BLOCK_SUMS: u8 = 0x10;
    const SIZE: u8 = 8;
    const DICTIONARY: u8 = 1;
    let Some(flags) = input.get(4) else { return false };
    let with = |flag: u8, bytes: usize| if flags & flag != 0 { bytes } else { 0 };
    let mut at = 7 + with(SIZE, 8) + with(DICTIONARY, 4);
    while let Some(block) = u32_at(input, at) {
        if block == 0 {
            return true;
        }
        at += 4 + (block & 0x7fff_ffff) as usize + with(BLOCK_SUMS, 4);
    }
    false
}

/// A frame of version 1, or one of the old kind.
pub(crate) fn is_frame(input: &[u8]) -> bool {
    input.starts_with(&MAGIC) && input.get(4).is_none_or(|flags| flags >> 6 == 1) || u32_at(input, 0) == Some(LEGACY)
}

/// Whether a frame stands behind skippable ones.
pub(crate) fn starts_after_skippable(input: &[u8]) -> bool {
    is_frame(super::zstd::behind_skippable(input))
}
