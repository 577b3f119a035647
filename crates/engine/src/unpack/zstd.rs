//! Zstandard frames (RFC 8878).

use std::io::{self, Read};

use ruzstd::decoding::{
    StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::{
    codec::{Fault, Foreign, MAX_WINDOW, Stream},
    streams::{Codec, Start},
    u32_at,
};

impl Codec {
    pub(crate) const ZSTD: Self = Self {
        detail: "Zstd",
        suffixes: &[".zst", ".tzst", ".zstd"],
        magic: &MAGIC,
        starts,
        open: |input| stream(input),
        window,
        name: |_| None,
    };
}

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The magic numbers of skippable frames (section 3.1.2), and how much stands before their content.
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
pub(super) const SKIPPABLE_HEADER: usize = 8;

/// Length of the skippable frame that `input` starts with.
pub(crate) fn skippable(input: &[u8]) -> Option<usize> {
    let length = u32_at(input, 4).filter(|_| u32_at(input, 0).is_some_and(|magic| SKIPPABLE.contains(&magic)))?;
    usize::try_from(length).ok()?.checked_add(SKIPPABLE_HEADER)
}

/// Whether a frame follows skippable frames; alone they could be of LZ4 as well.
pub(crate) fn starts_after_skippable(input: &[u8]) -> bool {
    let rest = behind_skippable(input);
    rest.len() < input.len() && starts(rest) == Start::Stream
}

/// What follows the skippable frames that `input` starts with.
pub(crate) fn behind_skippable(input: &[u8]) -> &[u8] {
    let mut rest = input;
    while let Some(behind) = skippable(rest).and_then(|length| rest.get(length..)) {
        rest = behind;
    }
    rest
}

fn starts(input: &[u8]) -> Start {
    match skippable(input) {
        Some(length) => Start::Skip(length),
        // The reserved bit of the descriptor must be zero (section 3.1.1.1.1.4).
        None if input.starts_with(&MAGIC) && input.get(4).is_none_or(|flags| flags & 8 == 0) => Start::Stream,
        None => Start::Nothing,
    }
}

pub(crate) fn stream<'a>(input: &'a [u8]) -> Box<dyn Stream + 'a> {
    Box::new(Foreign::new(input, Unzstd::open, |decoder| decoder.left()))
}

/// The window that the frame header asks for (section 3.1.1.1.2).
pub(crate) fn window(input: &[u8]) -> u64 {
    let Some(&flags) = input.get(4) else { return 0 };
    let single_segment = flags & 0x20 != 0;
    if single_segment {
        let at = 5 + [0, 1, 2, 4][usize::from(flags & 3)];
        let size = match flags >> 6 {
            0 => input.get(at).map(|&size| u64::from(size)),
            1 => super::u16_at(input, at).map(|size| u64::from(size) + 256),
            2 => u32_at(input, at).map(u64::from),
            _ => super::u64_at(input, at),
        };
        return size.unwrap_or(0).min(MAX_WINDOW);
    }
    let descriptor = u64::from(input.get(5).copied().unwrap_or(0));
    let base = 1u64 << (10 + (descriptor >> 3));
    (base + base / 8 * (descriptor & 7)).min(MAX_WINDOW)
}

/// The source of the decoder: the input, then once the input is used up or wrong, what ends the frame.
struct Source<'a> {
    input: &'a [u8],
    ending: &'static [u8],
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ending.is_empty() { self.input.read(buffer) } else { self.ending.read(buffer) }
    }
}

struct Unzstd<'a> {
    decoder: StreamingDecoder<Source<'a>, ruzstd::decoding::FrameDecoder>,
    cut: Option<io::ErrorKind>,
}

/// An empty last block, and a checksum that nobody compares.
const FRAME_END: &[u8] = &[1, 0, 0, 0, 0, 0, 0];

impl<'a> Unzstd<'a> {
    fn open(input: &'a [u8]) -> Result<Self, Fault> {
        let source = Source { input, ending: &[] };
        match StreamingDecoder::new_with_max_window_size(source, MAX_WINDOW) {
            Ok(decoder) => Ok(Self { decoder, cut: None }),
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => Err(Fault::Window),
            Err(FrameDecoderError::DictNotProvided { .. }) => Err(Fault::Unsupported),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_))) => Err(Fault::Damaged),
            Err(_) => Err(Fault::Cut),
        }
    }

    fn left(&self) -> usize {
        self.decoder.get_ref().input.len()
    }

    fn checksum_fails(&self) -> bool {
        let frame = &self.decoder.decoder;
        frame.get_checksum_from_data().is_some_and(|sum| frame.get_calculated_checksum() != Some(sum))
    }
}

impl Read for Unzstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.decoder.read(buffer) {
            Ok(0) => match self.cut {
                Some(kind) => Err(kind.into()),
                None if self.checksum_fails() => Err(io::ErrorKind::InvalidData.into()),
                None => Ok(0),
            },
            Ok(count) => Ok(count),
            Err(_) if self.cut.is_none() => {
                // The decoder keeps a whole window back until the frame ends, so the frame is ended for it.
                let source = self.decoder.get_mut();
                self.cut = Some(if source.input.is_empty() { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData });
                source.ending = FRAME_END;
                self.read(buffer)
            }
            Err(error) => Err(self.cut.map_or(error, io::Error::from)),
        }
    }
}
