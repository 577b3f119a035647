//! Members with holes (GNU tar manual, "Storing Sparse Files"): the old format of GNU, and what pax headers tell in versions 0.1 and 1.0.

use super::{BLOCK, number};
use crate::unpack::stretches::{Stretch, Stretches};

/// Where the runs that are stored belong, and how long the whole is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    runs: Vec<(u64, u64)>,
    size: u64,
}

/// What pax headers say of the next member.
#[derive(Default)]
pub(super) struct Pax {
    is_version_1: bool,
    size: Option<u64>,
    map: Option<Vec<(u64, u64)>>,
}

/// More runs are not read.
const MAX_RUNS: usize = 1 << 18;

impl Map {
    /// Of a header with four runs, and of the blocks of 21 behind it.
    pub(super) fn old(block: &[u8; BLOCK], further: &[u8]) -> Option<Self> {
        let run = |run: &[u8]| Some((number(run.get(..12)?)?, number(run.get(12..24)?)?));
        let mut runs: Vec<_> = block[386..482].chunks_exact(24).map_while(run).collect();
        for map in further.chunks(BLOCK).take(MAX_RUNS / 21) {
            runs.extend(map.get(..504)?.chunks_exact(24).map_while(run));
        }
        runs.retain(|(_, length)| *length > 0);
        Some(Self { runs, size: number(&block[483..495])? })
    }

    /// The member whole; nothing where map and bytes do not fit each other.
    pub(super) fn fill<'a>(&self, mut stored: &'a [u8]) -> Option<Stretches<'a>> {
        let (mut at, mut stretches) = (0u64, Vec::new());
        for &(start, length) in &self.runs {
            let (piece, rest) = stored.split_at_checked(usize::try_from(length).ok()?)?;
            stored = rest;
            let zeros = start.checked_sub(at)?;
            stretches.push(Stretch { piece: &[], zeros });
            stretches.push(Stretch { piece, zeros: 0 });
            at = start.checked_add(length)?;
        }
        stretches.push(Stretch { piece: &[], zeros: self.size.checked_sub(at)? });
        (!self.runs.is_empty()).then(|| Stretches(stretches.into()))
    }
}

impl Pax {
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"GNU.sparse.major" => self.is_version_1 = value == b"1",
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.size = decimal(value),
            b"GNU.sparse.map" => self.map = pairs(value.split(|&byte| byte == b',')),
            _ => {}
        }
    }

    /// The map, and how many bytes of the content it takes.
    pub(super) fn map(self, content: &[u8]) -> Option<(Map, usize)> {
        let size = self.size?;
        if !self.is_version_1 {
            return Some((Map { runs: self.map?, size }, 0));
        }
        // Lines at the start of the content: how many runs, then place and length of each.
        let mut lines = content.split(|&byte| byte == b'\n');
        let first = lines.next()?;
        let count = usize::try_from(decimal(first)?).ok().filter(|count| *count <= MAX_RUNS)?;
        let lines: Vec<&[u8]> = lines.take(count * 2).collect();
        let taken = first.len() + 1 + lines.iter().map(|line| line.len() + 1).sum::<usize>();
        let runs = pairs(lines.into_iter())?;
        (runs.len() <= count).then_some((Map { runs, size }, taken.next_multiple_of(BLOCK)))
    }
}

fn pairs<'a>(mut numbers: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(u64, u64)>> {
    let mut pairs = Vec::new();
    while let Some(start) = numbers.next() {
        let length = decimal(numbers.next()?)?;
        if length > 0 {
            pairs.push((decimal(start)?, length));
        }
        if pairs.len() > MAX_RUNS {
            return None;
        }
    }
    Some(pairs)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
