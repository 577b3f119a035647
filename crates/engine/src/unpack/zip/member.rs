//! The data of one member: its compression methods (APPNOTE section 4.4.5).

use std::io::Read;

use deflate64::Deflate64Decoder;
use lzma_rust2::LzmaReader;
use ppmd_rust::{Ppmd8Decoder, RestoreMethod};

use super::{explode::Explode, records::Facts};
use crate::unpack::{
    Decoded, Ended, Sink, Stop, bzip2,
    codec::{Fault, Foreign, Inflate, MAX_WINDOW, Stream},
    u16_at, u32_at, xz, zstd,
};

/// What reading a member's data gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) decoded: Decoded,
    pub(super) fault: Option<Fault>,
    /// Bytes of the data that were used.
    pub(super) consumed: usize,
}

/// Whether what is decoded is also examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Examine,
    Probe,
}

const STORED: u16 = 0;
const IMPLODE: u16 = 6;
const DEFLATE: u16 = 8;
const DEFLATE64: u16 = 9;
const BZIP2: u16 = 12;
const LZMA: u16 = 14;
const ZSTD: u16 = 93;
const XZ: u16 = 95;
const PPMD: u16 = 98;

pub(super) fn is_supported(method: u16) -> bool {
    matches!(method, STORED | IMPLODE | DEFLATE | DEFLATE64 | BZIP2 | LZMA | ZSTD | XZ | PPMD)
}

/// Whether the data itself tells where it ends.
pub(super) fn is_self_terminated(method: u16) -> bool {
    matches!(method, DEFLATE | BZIP2 | ZSTD | XZ)
}

impl Reading {
    /// Whether it is what a header promised.
    pub(super) fn fits(&self, facts: &Facts) -> bool {
        self.fault.is_none() && (self.decoded.crc32 == facts.crc32 || facts.is_proven) && self.decoded.bytes == facts.unpacked
    }
}

/// Reads the data in `input`, of a method that is supported.
pub(super) fn read(name: &str, input: &[u8], facts: &Facts, purpose: Purpose, sink: &mut dyn Sink) -> Result<Reading, Stop> {
    let (held, mut stream): (u64, Box<dyn Stream + '_>) = match facts.method {
        DEFLATE => (64 << 10, Box::new(Inflate::new(input))),
        BZIP2 => (5 << 20, bzip2::stream(input)),
        ZSTD => (zstd::window(input), zstd::stream(input)),
        XZ => (xz::window(input), xz::stream(input)),
        LZMA => (lzma_window(input), lzma(input, facts)),
        IMPLODE => (16 << 10, implode(input, facts)),
        DEFLATE64 => (256 << 10, Box::new(Foreign::new(input, |input| Ok(Deflate64Decoder::with_buffer(input)), |_| 0))),
        PPMD => (ppmd_memory(input), ppmd(input, facts)),
        _ => return stored(name, input, purpose, sink),
    };
    sink.hold(held)?;
    let decoded = match purpose {
        Purpose::Examine => sink.child(name, &mut *stream)?,
        Purpose::Probe => sink.probe(&mut *stream)?,
    };
    let reading = Reading { decoded, fault: stream.fault(), consumed: stream.consumed().min(input.len()) };
    drop(stream);
    sink.release(held);
    Ok(reading)
}

fn stored(name: &str, mut input: &[u8], purpose: Purpose, sink: &mut dyn Sink) -> Result<Reading, Stop> {
    let consumed = input.len();
    let decoded = match purpose {
        Purpose::Examine => sink.part(name, input)?,
        Purpose::Probe => sink.probe(&mut input)?,
    };
    let fault = (decoded.ended == Ended::InError).then_some(Fault::Damaged);
    Ok(Reading { decoded, fault, consumed })
}

/// Version, length of the properties, properties, raw LZMA (section 5.8.8).
fn lzma<'a>(input: &'a [u8], facts: &Facts) -> Box<dyn Stream + 'a> {
    let size = if facts.lzma_has_end_mark() { u64::MAX } else { facts.unpacked };
    let open = move |input: &'a [u8]| {
        let (length, dictionary) = u16_at(input, 2).zip(u32_at(input, 5)).ok_or(Fault::Cut)?;
        let properties = *input.get(4).ok_or(Fault::Cut)?;
        let data = input.get(4 + usize::from(length)..).ok_or(Fault::Cut)?;
        if length != 5 {
            return Err(Fault::Damaged);
        }
        if u64::from(dictionary) > MAX_WINDOW {
            return Err(Fault::Window);
        }
        let mut reader = LzmaReader::new_with_props(data, size, properties, dictionary, None).map_err(|_| Fault::Damaged)?;
        reader.set_defer_errors(true);
        Ok(Whole(reader))
    };
    Box::new(Foreign::new(input, open, |_| 0))
}

fn lzma_window(input: &[u8]) -> u64 {
    u32_at(input, 5).map_or(0, u64::from).min(MAX_WINDOW)
}

fn implode<'a>(input: &'a [u8], facts: &Facts) -> Box<dyn Stream + 'a> {
    let (flags, size) = (facts.flags, facts.unpacked);
    Box::new(Foreign::new(input, move |input| Explode::new(input, flags, size).ok_or(Fault::Damaged), |_| 0))
}

/// Order less one, megabytes less one, what is done when they are used up (section 5.11).
fn ppmd<'a>(input: &'a [u8], facts: &Facts) -> Box<dyn Stream + 'a> {
    let size = facts.unpacked;
    let open = move |input: &'a [u8]| {
        let (parameters, data) = u16_at(input, 0).zip(input.get(2..)).ok_or(Fault::Cut)?;
        if ppmd_memory(input) > MAX_WINDOW {
            return Err(Fault::Window);
        }
        let restore = match parameters >> 12 {
            0 => RestoreMethod::Restart,
            1 => RestoreMethod::CutOff,
            _ => return Err(Fault::Unsupported),
        };
        let memory = (u32::from(parameters >> 4 & 0xff) + 1) << 20;
        let decoder = Ppmd8Decoder::new(data, u32::from(parameters & 15) + 1, memory, restore).map_err(|_| Fault::Damaged)?;
        Ok(decoder.take(size))
    };
    Box::new(Foreign::new(input, open, |_| 0))
}

fn ppmd_memory(input: &[u8]) -> u64 {
    u16_at(input, 0).map_or(0, |parameters| (u64::from(parameters >> 4 & 0xff) + 1) << 20)
}

/// A reader that takes its whole input.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
