//! LZMA streams with a header of their own: `.lzma` (LZMA SDK, "lzma-specification.txt") and lzip members (RFC draft-diaz-lzip, section 2).

use std::io::{self, Read};

use lzma_rust2::LzmaReader;

use super::{
    codec::{Fault, Foreign, MAX_WINDOW},
    streams::{Codec, Start},
    u32_at, u64_at,
};

impl Codec {
    pub(crate) const LZMA: Self = Self {
        detail: "Lzma",
        suffixes: &[".lzma", ".tlz"],
        // Too short to be searched for.
        magic: &[0x5d],
        starts: |input| if is_alone(input) { Start::Stream } else { Start::Nothing },
        open: |input| Box::new(Foreign::new(input, open_alone, |member: &Member<'_>| member.left)),
        window: |input| window(u32_at(input, 1).unwrap_or(0)),
        name: |_| None,
    };

    pub(crate) const LZIP: Self = Self {
        detail: "Lzip",
        suffixes: &[".lz", ".tlz"],
        magic: b"LZIP\x01",
        starts: |input| if lzip_dictionary(input).is_some() { Start::Stream } else { Start::Nothing },
        open: |input| Box::new(Foreign::new(input, open_lzip, |member: &Member<'_>| member.left)),
        window: |input| window(lzip_dictionary(input).unwrap_or(0)),
        name: |_| None,
    };
}

/// The header: properties as every encoder writes them, a dictionary of 2^n or 2^n + 2^(n-1), a size that is unknown or sane.
pub(crate) fn is_alone(input: &[u8]) -> bool {
    let Some((dictionary, size)) = u32_at(input, 1).zip(u64_at(input, 5)) else { return false };
    let usual = dictionary >= 1 << 12 && (dictionary.is_power_of_two() || (dictionary / 3).is_power_of_two() && dictionary % 3 == 0);
    // The first byte that the range coder reads is always zero.
    input.first() == Some(&0x5d) && usual && (size == u64::MAX || size < 1 << 38) && input.get(ALONE_HEADER) == Some(&0)
}

const ALONE_HEADER: usize = 13;
const LZIP_HEADER: usize = 6;
/// Checksum and size of the content, size of the member.
const LZIP_TRAILER: usize = 20;

/// The dictionary of a lzip member whose header is one: 2^n less some sixteenths of it, 4 KiB to 512 MiB.
fn lzip_dictionary(input: &[u8]) -> Option<u32> {
    let header: &[u8; LZIP_HEADER] = input.first_chunk()?;
    let (bits, sixteenths) = (u32::from(header[5] & 0x1f), u32::from(header[5] >> 5));
    let full = 1u32.checked_shl(bits).filter(|_| (12..=29).contains(&bits))?;
    header.starts_with(b"LZIP\x01").then(|| full - full / 16 * sixteenths).filter(|size| *size >= 1 << 12)
}

/// The dictionary, and the largest table of probabilities.
fn window(dictionary: u32) -> u64 {
    const TABLES: u64 = 8 << 20;
    (u64::from(dictionary) + TABLES).min(MAX_WINDOW)
}

fn open_alone(input: &[u8]) -> Result<Member<'_>, Fault> {
    let (dictionary, size) = u32_at(input, 1).zip(u64_at(input, 5)).ok_or(Fault::Cut)?;
    let data = input.get(ALONE_HEADER..).ok_or(Fault::Cut)?;
    Member::new(data, size, 0x5d, dictionary, Trailer::None)
}

fn open_lzip(input: &[u8]) -> Result<Member<'_>, Fault> {
    const PROPERTIES: u8 = 0x5d;
    let dictionary = lzip_dictionary(input).ok_or(Fault::Damaged)?;
    let data = input.get(LZIP_HEADER..).ok_or(Fault::Cut)?;
    Member::new(data, u64::MAX, PROPERTIES, dictionary, Trailer::Lzip)
}

/// What follows the coded data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trailer {
    None,
    Lzip,
}

/// One stream; at its end it knows how much of the input is left.
struct Member<'a> {
    reader: Option<LzmaReader<&'a [u8]>>,
    data: &'a [u8],
    left: usize,
    trailer: Trailer,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<'a> Member<'a> {
    fn new(data: &'a [u8], size: u64, properties: u8, dictionary: u32, trailer: Trailer) -> Result<Self, Fault> {
        if u64::from(dictionary) > MAX_WINDOW {
            return Err(Fault::Window);
        }
        let mut reader = LzmaReader::new_with_props(data, size, properties, dictionary, None).map_err(|_| Fault::Damaged)?;
        reader.set_defer_errors(true);
        Ok(Self { reader: Some(reader), data, left: 0, trailer, crc: crc32fast::Hasher::new(), bytes: 0 })
    }

    fn end(&mut self) -> io::Result<()> {
        let Some((rest, unused)) = self.reader.take().map(LzmaReader::into_parts) else { return Ok(()) };
        self.left = rest.len() + unused.len();
        if self.trailer == Trailer::None {
            return Ok(());
        }
        let at = self.data.len().saturating_sub(self.left);
        let trailer = self.data.get(at..).and_then(|rest| rest.get(..LZIP_TRAILER)).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.left -= LZIP_TRAILER;
        let member = (LZIP_HEADER + at + LZIP_TRAILER) as u64;
        let told = (u32_at(trailer, 0), u64_at(trailer, 4), u64_at(trailer, 12));
        let found = (Some(self.crc.clone().finalize()), Some(self.bytes), Some(member));
        if told == found { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = self.reader.as_mut() else { return Ok(0) };
        let count = reader.read(buffer)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        if count == 0 && !buffer.is_empty() {
            self.end()?;
        }
        Ok(count)
    }
}
