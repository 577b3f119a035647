//! The blocks of a cabinet's folder, unpacked to one stream: stored, MSZIP (MS-MCI), LZX (MS-PATCH, LZX DELTA without its deltas).

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress};
use lzxd::{Lzxd, WindowSize};

use crate::unpack::{
    codec::{Fault, Foreign},
    u16_at, u32_at,
};

/// A block makes no more than this.
const BLOCK: usize = 32 << 10;

/// How a folder is packed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packing {
    Stored,
    MsZip,
    Lzx(WindowSize),
}

/// Where a folder's blocks stand.
pub(super) struct Blocks<'a> {
    content: &'a [u8],
    start: usize,
    count: u16,
    reserve: usize,
}

impl Packing {
    /// `None` for Quantum, and what does not exist.
    pub(super) fn of(number: u16) -> Option<Self> {
        match (number & 0x0f, number >> 8 & 0x1f) {
            (0, _) => Some(Self::Stored),
            (1, _) => Some(Self::MsZip),
            (3, bits) => window(bits).map(Self::Lzx),
            _ => None,
        }
    }

    pub(super) fn memory(self) -> u64 {
        let window = match self {
            Self::Stored => 0,
            Self::MsZip => BLOCK as u64,
            Self::Lzx(size) => size as u64,
        };
        window + (256 << 10)
    }
}

fn window(bits: u16) -> Option<WindowSize> {
    Some(match bits {
        15 => WindowSize::KB32,
        16 => WindowSize::KB64,
        17 => WindowSize::KB128,
        18 => WindowSize::KB256,
        19 => WindowSize::KB512,
        20 => WindowSize::MB1,
        21 => WindowSize::MB2,
        _ => return None,
    })
}

impl<'a> Blocks<'a> {
    pub(super) fn new(content: &'a [u8], start: usize, count: u16, reserve: usize) -> Self {
        Self { content, start, count, reserve }
    }

    /// The block at `at`: its data, what it makes, and where the next stands. The data may be cut.
    fn block(&self, at: usize) -> Option<Block<'a>> {
        const HEADER: usize = 8;
        let (packed, unpacked) = (usize::from(u16_at(self.content, at + 4)?), usize::from(u16_at(self.content, at + 6)?));
        let start = at + HEADER + self.reserve;
        let rest = self.content.get(start..)?;
        let data = rest.get(..packed).unwrap_or(rest);
        let (told, sizes) = (u32_at(self.content, at)?, self.content.get(at + 4..start)?);
        let is_sound = data.len() == packed && (told == 0 || told == checksum(sizes, checksum(data, 0)));
        Some(Block { data, unpacked, is_sound, end: start + data.len() })
    }

    /// Where the last block ends.
    pub(super) fn end(&self) -> usize {
        let mut at = self.start.min(self.content.len());
        for _ in 0..self.count {
            let Some(block) = self.block(at) else { break };
            at = block.end;
        }
        at
    }

    pub(super) fn stream(&self, packing: Packing) -> Foreign<'a, Box<dyn Read + 'a>> {
        let decoder = match packing {
            Packing::Stored => Decoder::Stored,
            Packing::MsZip => Decoder::MsZip { history: Vec::new() },
            Packing::Lzx(size) => Decoder::Lzx(Box::new(Lzxd::new(size))),
        };
        let blocks = Self { ..*self };
        let unpacker = Unpacker { at: blocks.start, left: blocks.count, blocks, decoder, out: Vec::new(), given: 0, fault: None };
        Foreign::new(&[], move |_| Ok(Box::new(unpacker) as Box<dyn Read>), |_| 0)
    }
}

struct Block<'a> {
    data: &'a [u8],
    unpacked: usize,
    is_sound: bool,
    end: usize,
}

/// Four bytes at a time, exclusive or; what is left counts from the other side.
fn checksum(data: &[u8], seed: u32) -> u32 {
    let mut words = data.chunks_exact(4);
    let sum = words.by_ref().fold(seed, |sum, word| sum ^ u32_at(word, 0).unwrap_or(0));
    sum ^ words.remainder().iter().fold(0, |last, &byte| last << 8 | u32::from(byte))
}

enum Decoder {
    Stored,
    MsZip {
        /// What the blocks before made, as far back as a block may reach.
        history: Vec<u8>,
    },
    Lzx(Box<Lzxd>),
}

struct Unpacker<'a> {
    blocks: Blocks<'a>,
    at: usize,
    left: u16,
    decoder: Decoder,
    out: Vec<u8>,
    given: usize,
    fault: Option<Fault>,
}

impl Unpacker<'_> {
    /// Unpacks the next block; false where there is none.
    fn next(&mut self) -> Result<bool, Fault> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
        let block = self.blocks.block(self.at).ok_or(Fault::Cut)?;
        (self.left, self.at, self.given) = (left, block.end, 0);
        self.out.clear();
        // A block that makes nothing goes on in the next cabinet.
        if block.unpacked > BLOCK || block.unpacked == 0 {
            return Err(Fault::Damaged);
        }
        match &mut self.decoder {
            Decoder::Stored => self.out.extend_from_slice(block.data.get(..block.unpacked).unwrap_or(block.data)),
            Decoder::MsZip { history } => {
                inflate(block.data, history, block.unpacked, &mut self.out)?;
                history.extend_from_slice(&self.out);
                history.drain(..history.len().saturating_sub(BLOCK));
            }
            Decoder::Lzx(decoder) => {
                self.out.extend_from_slice(decoder.decompress_next(block.data, block.unpacked).map_err(|_| Fault::Damaged)?);
            }
        }
        if block.is_sound && self.out.len() == block.unpacked {
            return Ok(true);
        }
        // What came out is given before the fault is told.
        self.fault = Some(Fault::Damaged);
        Ok(true)
    }
}

fn inflate(data: &[u8], history: &[u8], unpacked: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let data = data.strip_prefix(b"CK").ok_or(Fault::Damaged)?;
    let mut state = Decompress::new(false);
    if !history.is_empty() {
        state.set_dictionary(history).map_err(|_| Fault::Damaged)?;
    }
    out.reserve_exact(unpacked);
    // What came out before an error is of use too.
    let _ = state.decompress_vec(data, out, FlushDecompress::Finish);
    out.truncate(unpacked);
    Ok(())
}

impl Read for Unpacker<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.out.get(self.given..).unwrap_or_default();
            if !rest.is_empty() || buffer.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer.iter_mut().zip(rest).for_each(|(byte, out)| *byte = *out);
                self.given += count;
                return Ok(count);
            }
            if let Some(fault) = self.fault {
                return Err(crate::unpack::codec::failed(fault));
            }
            match self.next() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(fault) => self.fault = Some(fault),
            }
        }
    }
}
