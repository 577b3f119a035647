//! The coding of LHA's methods 4 to 7 and of ARJ's 1 to 3: a sliding window, and Huffman codes that stand before each block.

use std::io::{self, Read};

/// A kind of this coding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// How many bits tell the number of distance codes.
    distance_bits: u32,
}

impl Kind {
    /// `-lh4-` and `-lh5-`.
    pub(super) const SMALL: Self = Self { distance_bits: 4 };
    /// `-lh6-`, `-lh7-`, ARJ.
    pub(super) const LARGE: Self = Self { distance_bits: 5 };

    /// Bytes that decoding holds.
    pub(super) const MEMORY: u64 = 128 << 10;
}

/// The largest window, of `-lh7-`.
const WINDOW: usize = 64 << 10;
const LONGEST_CODE: u32 = 16;

pub(super) struct Lzh<'a> {
    bits: Bits<'a>,
    kind: Kind,
    /// What is still to be made.
    left: u64,
    /// Codes left in the block.
    block: u32,
    codes: Code,
    distances: Code,
    window: Vec<u8>,
    at: usize,
    /// What is still to be copied, and from how far back.
    copy: (usize, usize),
}

impl<'a> Lzh<'a> {
    pub(super) fn new(input: &'a [u8], kind: Kind, size: u64) -> Self {
        let bits = Bits { input, buffer: 0, held: 0 };
        let (codes, distances) = (Code::One(0), Code::One(0));
        Self { bits, kind, left: size, block: 0, codes, distances, window: vec![b' '; WINDOW], at: 0, copy: (0, 0) }
    }

    fn next(&mut self) -> Option<u8> {
        if self.copy.0 == 0 {
            if self.block == 0 {
                self.block = self.bits.take(16)?;
                self.read_codes()?;
            }
            self.block = self.block.checked_sub(1)?;
            let code = self.codes.next(&mut self.bits)?;
            if let Ok(byte) = u8::try_from(code) {
                return Some(self.put(byte));
            }
            const SHORTEST: usize = 3;
            let distance = match self.distances.next(&mut self.bits)? {
                0 => 0,
                bits => (1 << (bits - 1)) + self.bits.take(u32::from(bits) - 1)? as usize,
            };
            self.copy = (usize::from(code) - 256 + SHORTEST, distance + 1);
        }
        self.copy.0 -= 1;
        let from = (self.at + WINDOW - self.copy.1 % WINDOW) % WINDOW;
        let byte = self.window.get(from).copied().unwrap_or(0);
        Some(self.put(byte))
    }

    fn put(&mut self, byte: u8) -> u8 {
        if let Some(place) = self.window.get_mut(self.at) {
            *place = byte;
        }
        self.at = (self.at + 1) % WINDOW;
        byte
    }

    /// The codes of a block: those of lengths first, by which those of bytes and lengths are written, then those of distances.
    fn read_codes(&mut self) -> Option<()> {
        const BYTES_AND_LENGTHS: usize = 510;
        let lengths = self.read_lengths(5, 19, Some(3))?;
        let count = self.bits.take(9)? as usize;
        self.codes = if count == 0 {
            Code::One(u16::try_from(self.bits.take(9)?).ok()?)
        } else {
            let mut of_each = Vec::new();
            while of_each.len() < count {
                match lengths.next(&mut self.bits)? {
                    0 => of_each.push(0),
                    1 => of_each.resize(of_each.len() + 3 + self.bits.take(4)? as usize, 0),
                    2 => of_each.resize(of_each.len() + 20 + self.bits.take(9)? as usize, 0),
                    length => of_each.push(u8::try_from(length - 2).ok()?),
                }
            }
            if of_each.len() > BYTES_AND_LENGTHS + 2 {
                return None;
            }
            Code::new(&of_each)?
        };
        self.distances = self.read_lengths(self.kind.distance_bits, 1 << self.kind.distance_bits, None)?;
        Some(())
    }

    /// Lengths of three bits, longer ones with a one for each further bit. After `pause` of them, two bits tell how many are skipped.
    fn read_lengths(&mut self, count_bits: u32, most: usize, pause: Option<usize>) -> Option<Code> {
        let count = self.bits.take(count_bits)? as usize;
        if count == 0 {
            return Some(Code::One(u16::try_from(self.bits.take(count_bits)?).ok()?));
        }
        let mut lengths = Vec::new();
        while lengths.len() < count {
            let mut length = self.bits.take(3)?;
            if length == 7 {
                while self.bits.take(1)? == 1 {
                    length += 1;
                    if length > LONGEST_CODE {
                        return None;
                    }
                }
            }
            lengths.push(u8::try_from(length).ok()?);
            if Some(lengths.len()) == pause {
                lengths.resize(lengths.len() + self.bits.take(2)? as usize, 0);
            }
        }
        if lengths.len() <= most.max(count) + 3 { Code::new(&lengths) } else { None }
    }
}

impl Read for Lzh<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut count = 0;
        for place in buffer.iter_mut().take(most) {
            let Some(byte) = self.next() else { break };
            *place = byte;
            count += 1;
        }
        self.left -= count as u64;
        if count == 0 && most > 0 && !buffer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }
}

/// Bits from the highest of each byte on.
struct Bits<'a> {
    input: &'a [u8],
    buffer: u32,
    held: u32,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        while self.held < count {
            let (&byte, rest) = self.input.split_first()?;
            self.input = rest;
            self.buffer = self.buffer << 8 | u32::from(byte);
            self.held += 8;
        }
        self.held -= count;
        Some(self.buffer >> self.held & ((1 << count) - 1))
    }
}

/// A canonical Huffman code.
enum Code {
    /// Only one value is ever told, and takes no bits.
    One(u16),
    Many {
        /// Of each length from one on: the first code, and how many there are.
        lengths: Vec<(u32, u32)>,
        /// The values in the order of their codes.
        values: Vec<u16>,
    },
}

impl Code {
    fn new(of_each: &[u8]) -> Option<Self> {
        let (mut lengths, mut values, mut code) = (Vec::new(), Vec::new(), 0u32);
        for length in 1..=LONGEST_CODE {
            let first = code;
            let with = (0u16..).zip(of_each).filter(|(_, of)| u32::from(**of) == length).map(|(value, _)| value);
            values.extend(with);
            let count = values.len() as u32 - lengths.iter().map(|(_, count)| count).sum::<u32>();
            code = first + count;
            if code > 1 << length {
                return None;
            }
            lengths.push((first, count));
            code <<= 1;
        }
        Some(Self::Many { lengths, values })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<u16> {
        match self {
            Self::One(value) => Some(*value),
            Self::Many { lengths, values } => {
                let (mut code, mut before) = (0, 0);
                for (first, count) in lengths {
                    code = code << 1 | bits.take(1)?;
                    if let Some(index) = code.checked_sub(*first).filter(|index| index < count) {
                        return values.get((before + index) as usize).copied();
                    }
                    before += count;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_one_code_takes_no_bits() {
        // Four codes; no lengths, one value for bytes (65), none for distances.
        let bits = format!("{:016b}{:05b}{:05b}{:09b}{:09b}{:04b}{:04b}0000000", 4, 0, 0, 0, 65, 0, 0);
        let input: Vec<u8> =
            bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap_or(0)).collect();
        let mut out = Vec::new();
        Lzh::new(&input, Kind::SMALL, 4).read_to_end(&mut out).unwrap();
        assert_eq!(out, b"AAAA");
    }

    #[test]
    fn any_bytes_end() {
        for seed in 0..500u32 {
            let noise: Vec<u8> =
                (0..400u32).map(|index| (seed.wrapping_mul(2_654_435_761).wrapping_add(index * 40_503) >> 9) as u8).collect();
            let _ = Lzh::new(&noise, Kind::LARGE, 10_000).read_to_end(&mut Vec::new());
        }
    }
}
