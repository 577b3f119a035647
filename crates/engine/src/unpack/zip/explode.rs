//! Imploded data (APPNOTE section 5.3): a window of 4 or 8 KiB, and two or three Shannon-Fano trees.

use std::io::{self, Read};

/// The flags of the header say how it was imploded.
const LARGE_WINDOW: u16 = 2;
const LITERAL_TREE: u16 = 4;

const WINDOW: usize = 8 << 10;

pub(super) struct Explode<'a> {
    bits: Bits<'a>,
    literals: Option<Tree>,
    lengths: Tree,
    distances: Tree,
    distance_bits: u32,
    left: u64,
    window: Vec<u8>,
    at: usize,
    /// What is still to be copied, and from how far back.
    copy: (usize, usize),
}

impl<'a> Explode<'a> {
    /// Makes `size` bytes of `input`; `None` where its trees are none.
    pub(super) fn new(input: &'a [u8], flags: u16, size: u64) -> Option<Self> {
        let mut input = input;
        let literals = if flags & LITERAL_TREE != 0 { Some(Tree::read(&mut input, 256)?) } else { None };
        let (lengths, distances) = (Tree::read(&mut input, 64)?, Tree::read(&mut input, 64)?);
        let distance_bits = if flags & LARGE_WINDOW != 0 { 7 } else { 6 };
        let bits = Bits { input, buffer: 0, held: 0 };
        Some(Self { bits, literals, lengths, distances, distance_bits, left: size, window: vec![0; WINDOW], at: 0, copy: (0, 0) })
    }

    fn put(&mut self, byte: u8) -> u8 {
        if let Some(place) = self.window.get_mut(self.at) {
            *place = byte;
        }
        self.at = (self.at + 1) % WINDOW;
        byte
    }

    fn next(&mut self) -> Option<u8> {
        if self.copy.0 == 0 {
            if self.bits.take(1)? == 1 {
                let byte = match &self.literals {
                    Some(tree) => tree.decode(&mut self.bits)?,
                    None => self.bits.take(8)?,
                };
                return Some(self.put(byte.to_le_bytes()[0]));
            }
            let low = self.bits.take(self.distance_bits)?;
            let high = self.distances.decode(&mut self.bits)?;
            let mut length = self.lengths.decode(&mut self.bits)?;
            if length == 63 {
                length += self.bits.take(8)?;
            }
            let shortest = if self.literals.is_some() { 3 } else { 2 };
            self.copy = ((length + shortest) as usize, ((high << self.distance_bits | low) + 1) as usize);
        }
        self.copy.0 -= 1;
        let from = (self.at + WINDOW - self.copy.1 % WINDOW) % WINDOW;
        let byte = self.window.get(from).copied().unwrap_or(0);
        Some(self.put(byte))
    }
}

impl Read for Explode<'_> {
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

/// Bits from the lowest of each byte on.
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
            self.buffer |= u32::from(byte) << self.held;
            self.held += 8;
        }
        let value = self.buffer & ((1 << count) - 1);
        self.buffer >>= count;
        self.held -= count;
        Some(value)
    }
}

/// Pairs of branches: another pair, or a value.
struct Tree(Vec<[Branch; 2]>);

#[derive(Clone, Copy)]
enum Branch {
    Nowhere,
    Pair(usize),
    Value(u32),
}

impl Tree {
    /// How many bits each of the values takes: runs of values with as many bits.
    fn read(input: &mut &[u8], values: usize) -> Option<Self> {
        let (&count, rest) = input.split_first()?;
        let (runs, rest) = rest.split_at_checked(usize::from(count) + 1)?;
        *input = rest;
        let lengths = runs.iter().flat_map(|run| std::iter::repeat_n(u32::from(run & 15) + 1, usize::from(run >> 4) + 1));
        let mut codes: Vec<(u32, u32)> = lengths.zip(0..).collect();
        if codes.len() != values {
            return None;
        }
        codes.sort();
        let mut tree = Self(vec![[Branch::Nowhere; 2]]);
        let (mut code, mut step, mut last) = (0u32, 0u32, 0);
        for &(length, value) in codes.iter().rev() {
            code = code.checked_add(step)?;
            if length != last {
                last = length;
                step = 1 << (16 - length);
            }
            tree.insert(code, length, value)?;
        }
        Some(tree)
    }

    /// Adds the `length` highest of 16 bits.
    fn insert(&mut self, code: u32, length: u32, value: u32) -> Option<()> {
        if code > 0xffff {
            return None;
        }
        let mut at = 0;
        for index in 0..length {
            let side = usize::from(code & 0x8000 >> index != 0);
            let fresh = self.0.len();
            let branch = self.0.get_mut(at)?.get_mut(side)?;
            match *branch {
                Branch::Nowhere if index + 1 == length => *branch = Branch::Value(value),
                Branch::Nowhere => {
                    *branch = Branch::Pair(fresh);
                    self.0.push([Branch::Nowhere; 2]);
                    at = fresh;
                }
                Branch::Pair(next) if index + 1 < length => at = next,
                Branch::Pair(_) | Branch::Value(_) => return None,
            }
        }
        Some(())
    }

    fn decode(&self, bits: &mut Bits<'_>) -> Option<u32> {
        let mut at = 0;
        loop {
            match *self.0.get(at)?.get(bits.take(1)? as usize)? {
                Branch::Nowhere => return None,
                Branch::Pair(next) => at = next,
                Branch::Value(value) => return Some(value),
            }
        }
    }
}
