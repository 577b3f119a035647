//! Patterns, as they are read and laid out for the matcher.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use super::{Owner, Record, Terms};
use crate::clamdb::{
    flat::Writer,
    offset::Offset,
    pattern::Pattern,
    program,
    window::{self, Lanes},
};

/// Patterns as they are read.
pub(in crate::clamdb) struct Builder {
    program: program::Builder,
    patterns: Vec<Record>,
    offsets: HashMap<Offset, u32>,
    lanes: Lanes,
    fixed: BTreeMap<Fixed, Vec<Key>>,
}

/// Patterns of one target that begin at one offset, by some bytes at one distance from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fixed {
    target: u8,
    offset: u32,
    distance: u32,
    width: u8,
    fold: bool,
}

/// Bytes, the first the most significant, the rest zero, and the pattern that has them.
type Key = [u32; 2];

/// Offsets that reach over more bytes are searched, not compared.
const MAX_SHIFT: u32 = 64;

impl Default for Builder {
    fn default() -> Self {
        Self {
            program: program::Builder::default(),
            patterns: Vec::new(),
            offsets: HashMap::from([(Offset::Any, super::ANYWHERE)]),
            lanes: Lanes::default(),
            fixed: BTreeMap::new(),
        }
    }
}

impl Builder {
    pub(in crate::clamdb) fn add(&mut self, pattern: &Pattern, terms: Terms, owner: Owner) {
        let number = self.patterns.len() as u32;
        let part = self.program.add(pattern, terms.fold);
        let next = self.offsets.len() as u32;
        let offset = *self.offsets.entry(terms.offset).or_insert(next);
        let parts = u16::try_from(pattern.parts.len()).unwrap_or(u16::MAX);
        let prefix = match terms.offset {
            Offset::At { shift, .. } if shift <= MAX_SHIFT => self.program.prefix(part),
            Offset::At { .. } | Offset::Any | Offset::Within(_) => None,
        };
        let mut anchor = 0;
        if let Some((distance, key, width)) = prefix {
            let fixed = Fixed { target: terms.target, offset, distance, width, fold: terms.fold };
            self.fixed.entry(fixed).or_default().push([u32::from_be_bytes(key), number]);
        } else {
            let windows = (0..parts).filter_map(|index| Some((index, self.program.window(part + u32::from(index))?)));
            if let Some((index, (_, window))) = windows.min_by_key(|(_, (cost, _))| *cost) {
                anchor = index;
                self.lanes.add(window, terms.target, number);
            }
        }
        self.patterns.push(Record { owner, part, parts, anchor, offset, word: terms.word });
    }

    pub(in crate::clamdb) fn write(mut self, writer: &mut Writer<'_>) -> io::Result<()> {
        self.program.write(writer)?;
        writer.section(&self.patterns.iter().map(|record| record.pack()).collect::<Vec<_>>())?;
        let mut offsets: Vec<_> = self.offsets.into_iter().collect();
        offsets.sort_by_key(|(_, number)| *number);
        writer.section(&offsets.iter().map(|(offset, _)| offset.pack()).collect::<Vec<_>>())?;
        let (mut groups, mut keys) = (Vec::new(), Vec::new());
        for (fixed, of) in &mut self.fixed {
            of.sort_unstable();
            let first = keys.len() as u32;
            keys.extend_from_slice(of);
            groups.push(
                super::Fixed {
                    target: fixed.target,
                    offset: fixed.offset,
                    distance: fixed.distance,
                    width: fixed.width,
                    fold: fixed.fold,
                    first,
                    end: keys.len() as u32,
                }
                .pack(),
            );
        }
        writer.section(&groups)?;
        writer.section(&keys)?;
        window::write(self.lanes, writer)
    }
}
