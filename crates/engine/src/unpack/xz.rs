//! xz streams (the .xz file format, version 1.2.1).

use lzma_rust2::XzReader;

use super::{
    codec::{Foreign, MAX_WINDOW, Stream},
    streams::{Codec, Start},
};

impl Codec {
    pub(crate) const XZ: Self = Self {
        detail: "Xz",
        suffixes: &[".xz", ".txz"],
        magic: &MAGIC,
        starts: |input| if starts(input) { Start::Stream } else { Start::Nothing },
        open: |input| stream(input),
        window,
        name: |_| None,
    };
}

const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// A stream header takes 12 bytes: magic, flags, checksum of the flags.
const HEADER: usize = 12;

pub(crate) fn starts(input: &[u8]) -> bool {
    let Some(header) = input.first_chunk::<HEADER>() else { return false };
    header.starts_with(&MAGIC) && super::u32_at(header, 8) == Some(crc32fast::hash(&header[6..8]))
}

pub(crate) fn stream<'a>(input: &'a [u8]) -> Box<dyn Stream + 'a> {
    let limit = u32::try_from(MAX_WINDOW / 1_024 + 1_024).unwrap_or(u32::MAX);
    Box::new(Foreign::new(input, |input| Ok(XzReader::new_mem_limit(input, false, limit)), |decoder| decoder.inner().len()))
}

/// The dictionary of the first block, from its LZMA2 filter (section 5.3.1): the last filter, `21 01 <size>`.
pub(crate) fn window(input: &[u8]) -> u64 {
    let header = input.get(HEADER..).unwrap_or_default();
    let length = header.first().map_or(0, |&size| (usize::from(size) + 1) * 4);
    let header = header.get(..length).unwrap_or_default();
    let sizes = header.windows(3).filter(|bytes| bytes[..2] == [0x21, 1] && bytes[2] <= 40).map(|bytes| {
        let bits = u64::from(bytes[2]);
        (2 | (bits & 1)) << (bits / 2 + 11)
    });
    sizes.max().unwrap_or(0).min(MAX_WINDOW)
}
