//! What UPX packed, of whatever system (UPX's `header.S` and `linux.h` describe its headers): programs for Windows as one block behind
//! a header with checksums, ELF as a row of blocks.
//!
//! Nothing here is believed: a block counts once it decodes to its length, and that of a program for Windows by its checksum too.

mod nrv;
#[cfg(test)]
mod tests;

use std::io::Read;

use filesafety_model::Reason;
use lzma_rust2::LzmaReader;
use memchr::memmem;

use super::image::Header;
use crate::unpack::{Sink, Stop, u16_at, u32_at};
use nrv::Kind;

const MAGIC: &[u8] = b"UPX!";
/// A header of its own stands within so many bytes; what is further in belongs to something else.
const SEARCHED: usize = 8 << 10;
const MAX_UNPACKED: u32 = 128 << 20;

/// Opens what UPX packed; whether it was that.
pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<bool, Stop> {
    let start = content.get(..SEARCHED).unwrap_or(content);
    for at in memmem::find_iter(start, MAGIC) {
        let opened = if content.starts_with(b"MZ") { windows(content, at, sink)? } else { elf(content, at, sink)? };
        if opened {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How a block is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Nrv(Kind, u32),
    Lzma,
}

impl Method {
    fn of(number: u8) -> Option<Self> {
        let kind = match number {
            2..=4 => Kind::B,
            5..=7 => Kind::D,
            8..=10 => Kind::E,
            14 => return Some(Self::Lzma),
            _ => return None,
        };
        // The bits stand in groups of 32, 8 or 16.
        let group = match number % 3 {
            2 => 32,
            0 => 8,
            _ => 16,
        };
        Some(Self::Nrv(kind, group))
    }

    /// All of `length` bytes, or nothing.
    fn unpack(self, packed: &[u8], length: usize) -> Option<Vec<u8>> {
        match self {
            Self::Nrv(kind, group) => nrv::unpack(packed, kind, group, length),
            Self::Lzma => lzma(packed, length),
        }
    }
}

/// Two bytes of properties, then the stream without an end mark.
fn lzma(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let [first, second, stream @ ..] = packed else { return None };
    let (position_bits, literal_position, literal_context) = (first & 7, second >> 4, second & 15);
    if u32::from(first >> 3) != u32::from(literal_position) + u32::from(literal_context) {
        return None;
    }
    let (lc, lp, pb) = (u32::from(literal_context), u32::from(literal_position), u32::from(position_bits));
    let dictionary = u32::try_from(length).ok()?.max(4_096);
    let mut reader = LzmaReader::new(stream, length as u64, lc, lp, pb, dictionary, None).ok()?;
    let mut unpacked = vec![0; length];
    reader.read_exact(&mut unpacked).ok()?;
    Some(unpacked)
}

/// What a header says of the block behind it.
struct PackHeader {
    method: Method,
    unpacked_sum: u32,
    packed_sum: u32,
    unpacked: u32,
    packed: u32,
    filter: u8,
    filter_byte: u8,
}

const PACK_HEADER_BYTES: usize = 32;

impl PackHeader {
    fn parse(content: &[u8]) -> Option<Self> {
        let header = content.get(..PACK_HEADER_BYTES)?;
        let sum: u32 = header.get(4..31)?.iter().map(|byte| u32::from(*byte)).sum();
        if sum % 251 != u32::from(*header.get(31)?) {
            return None;
        }
        Some(Self {
            method: Method::of(*header.get(6)?)?,
            unpacked_sum: u32_at(header, 8)?,
            packed_sum: u32_at(header, 12)?,
            unpacked: u32_at(header, 16).filter(|length| (1..=MAX_UNPACKED).contains(length))?,
            packed: u32_at(header, 20)?,
            filter: *header.get(28)?,
            filter_byte: *header.get(29)?,
        })
    }
}

fn windows(content: &[u8], at: usize, sink: &mut dyn Sink) -> Result<bool, Stop> {
    let Some(header) = content.get(at..).and_then(PackHeader::parse) else { return Ok(false) };
    let from = at + PACK_HEADER_BYTES;
    let Some(packed) = content.get(from..).and_then(|rest| rest.get(..header.packed as usize)) else { return Ok(false) };
    if adler(packed) != header.packed_sum {
        return Ok(false);
    }
    sink.clock()?;
    // The block, and the image made of it.
    let held = u64::from(header.unpacked) * 2 + (1 << 20);
    sink.hold(held)?;
    let unpacked = header.method.unpack(packed, header.unpacked as usize).filter(|block| adler(block) == header.unpacked_sum);
    let opened = unpacked.is_some();
    if let Some(block) = unpacked {
        match rebuild(content, &block, &header) {
            Some(program) => sink.part("unpacked", &program)?,
            None => sink.part("unpacked", &block)?,
        };
    }
    sink.release(held);
    Ok(opened)
}

/// The program as it was, but for its imports and relocations: its own headers stand at the end of the block.
fn rebuild(content: &[u8], block: &[u8], header: &PackHeader) -> Option<Vec<u8>> {
    let end = block.len().checked_sub(4)?;
    let own = block.get(u32_at(block, end)? as usize..end)?;
    let from = u32_at(content, 0x3c)? as usize;
    let sections = usize::from(u16_at(own, 6)?);
    let optional = usize::from(u16_at(own, 20)?);
    let headers = own.get(..24 + optional + sections.min(96) * 40)?;
    let first = u32_at(headers, 24 + optional + 12)? as usize;
    let mut program = content.get(..from)?.to_vec();
    program.extend_from_slice(headers);
    if !(program.len()..=MAX_HEADERS).contains(&first) {
        return None;
    }
    program.resize(first, 0);
    program.extend_from_slice(block);
    let (code, length) = (u32_at(headers, 24 + 20)? as usize, u32_at(headers, 24 + 4)? as usize);
    if let Some(code) = program.get_mut(code..).and_then(|rest| rest.get_mut(..length)) {
        unfilter(code, header.filter, header.filter_byte);
    }
    let parsed = Header::parse(&program)?;
    parsed.settle(&mut program, parsed.entry);
    Some(program)
}

/// Sections of honest programs begin within so many bytes.
const MAX_HEADERS: usize = 64 << 10;

fn elf(content: &[u8], at: usize, sink: &mut dyn Sink) -> Result<bool, Stop> {
    /// The first block holds no more than the headers of the program.
    const HEADERS: usize = 64 << 10;
    let from = at + 20;
    let Some(length) = u32_at(content, at + 12).filter(|length| (64..=MAX_UNPACKED).contains(length)) else { return Ok(false) };
    let Some((headers, _)) = content.get(from..).and_then(|rest| block(rest, HEADERS)) else { return Ok(false) };
    if !content.starts_with(b"\x7fELF") || !headers.starts_with(b"\x7fELF") {
        return Ok(false);
    }
    // The program, and the block that is unpacked.
    let held = u64::from(length) * 2;
    sink.hold(held)?;
    let program = blocks(content, from, length as usize, sink)?;
    sink.part("unpacked", &program)?;
    if program.len() < length as usize {
        sink.unexamined(Reason::Unsupported, "PackedProgram");
    }
    drop(program);
    sink.release(held);
    Ok(true)
}

/// The blocks of an ELF, one behind the other. Those of what no segment loads may follow the loader.
fn blocks(content: &[u8], mut at: usize, length: usize, sink: &mut dyn Sink) -> Result<Vec<u8>, Stop> {
    /// Where so many in a row decode to nothing, there are no more.
    const MAX_FAILURES: u32 = 32;
    let method = content.get(at + 8);
    let (mut program, mut failures) = (Vec::new(), 0);
    while program.len() < length && failures < MAX_FAILURES && at < content.len() {
        let rest = content.get(at..).unwrap_or_default();
        let room = length - program.len();
        if !begins_block(rest, room, method) {
            at += 1;
            continue;
        }
        sink.tick()?;
        sink.clock()?;
        match block(rest, room) {
            Some((bytes, taken)) => {
                program.extend_from_slice(&bytes);
                (at, failures) = (at + taken, 0);
            }
            None => (at, failures) = (at + 1, failures + 1),
        }
    }
    Ok(program)
}

/// Whether a header is as that of a block that fits.
fn begins_block(content: &[u8], most: usize, method: Option<&u8>) -> bool {
    let lengths = u32_at(content, 0).zip(u32_at(content, 4));
    lengths.is_some_and(|(unpacked, packed)| unpacked > 0 && unpacked as usize <= most && packed > 0 && packed <= unpacked)
        && content.get(8) == method
        && content.get(11) == Some(&0)
}

/// One block, and how long it is with its header.
fn block(content: &[u8], most: usize) -> Option<(Vec<u8>, usize)> {
    const HEADER_BYTES: usize = 12;
    let (unpacked, packed) = (u32_at(content, 0)? as usize, u32_at(content, 4)? as usize);
    let (filter, filter_byte) = (*content.get(9)?, *content.get(10)?);
    if !begins_block(content, most, content.get(8)) {
        return None;
    }
    let method = Method::of(*content.get(8)?)?;
    let data = content.get(HEADER_BYTES..)?.get(..packed)?;
    let mut bytes = if packed == unpacked { data.to_vec() } else { method.unpack(data, unpacked)? };
    unfilter(&mut bytes, filter, filter_byte);
    Some((bytes, HEADER_BYTES + packed))
}

/// Gives calls and jumps their distances back, which were made addresses so that they pack better.
fn unfilter(code: &mut [u8], filter: u8, mark: u8) {
    let (calls, jumps, conditions) = match filter {
        0x24 => (true, false, false),
        0x25 => (false, true, false),
        0x26 => (true, true, false),
        0x46 | 0x49 => (true, true, true),
        _ => return,
    };
    let mut at = 0;
    while let Some(&[opcode, a, b, c, d]) = code.get(at..).and_then(|rest| rest.first_chunk()) {
        let is_condition = (0x80..=0x8f).contains(&opcode) && at.checked_sub(1).and_then(|before| code.get(before)) == Some(&0x0f);
        let applies = opcode == 0xe8 && calls || opcode == 0xe9 && jumps || is_condition && conditions;
        at += 1;
        if applies && a == mark {
            let address = u32::from_be_bytes([0, b, c, d]);
            let distance = address.wrapping_sub(at as u32);
            if let Some(place) = code.get_mut(at..at + 4) {
                place.copy_from_slice(&distance.to_le_bytes());
            }
            at += 4;
        }
    }
}

/// Adler-32 (RFC 1950).
fn adler(bytes: &[u8]) -> u32 {
    /// So many sums do not overflow.
    const RUN: usize = 5_552;
    let (mut low, mut high) = (1u32, 0u32);
    for run in bytes.chunks(RUN) {
        for byte in run {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % 65_521, high % 65_521);
    }
    high << 16 | low
}
