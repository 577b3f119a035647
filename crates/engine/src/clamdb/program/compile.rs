//! Patterns, as they are compiled.

use std::io;

use super::{Op, PartCode, PartId, folded};
use crate::clamdb::{
    flat::Writer,
    pattern::{Item, Masked, Part, Pattern, Place},
    window::{self, Chosen},
};

/// Compiled parts of all patterns, as they are read.
#[derive(Default)]
pub(in crate::clamdb) struct Builder {
    ops: Vec<Op>,
    parts: Vec<PartCode>,
    strings: Vec<[u32; 2]>,
    bytes: Vec<u8>,
}

/// The window by which a part is found: a run of fixed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::clamdb) struct Anchor {
    /// The operation, counted from the first of the part.
    pub(super) op: u32,
    /// How many bytes of the operation stand before the window.
    pub(super) before: u32,
    /// None where it is 0.
    pub(super) width: u8,
}

impl Builder {
    /// Compiles the parts of one pattern; their numbers follow each other from the one returned.
    pub(in crate::clamdb) fn add(&mut self, pattern: &Pattern, fold: bool) -> PartId {
        let number = u32::try_from(self.parts.len()).expect("parts are fewer than bytes of their text");
        let last_part = pattern.parts.len().saturating_sub(1);
        for (index, part) in pattern.parts.iter().enumerate() {
            let first = self.ops.len();
            self.compile(part, fold, index == 0, index == last_part);
            let anchor = self.anchor(first);
            let (first, end) = (first as u32, self.ops.len() as u32);
            self.parts.push(PartCode { first, end, distance: part.distance, anchor, fold });
        }
        number
    }

    /// The window of a part that can be searched by one, its cost and its bytes, small letters where case does not count.
    pub(in crate::clamdb) fn window(&self, part: PartId) -> Option<(u64, &[u8])> {
        let code = self.parts.get(part as usize)?;
        let Op::Literal { at, length } = *self.ops.get((code.first + code.anchor.op) as usize)? else { return None };
        let window = self.slice(at, length).get(code.anchor.before as usize..)?.get(..usize::from(code.anchor.width))?;
        (!window.is_empty()).then(|| (window::cost(window), window))
    }

    /// The fixed bytes at a fixed distance from the part's beginning: that distance, and at most four bytes.
    pub(in crate::clamdb) fn prefix(&self, part: PartId) -> Option<(u32, [u8; 4], u8)> {
        let part = self.parts.get(part as usize)?;
        let mut distance = 0u32;
        for op in self.ops.get(part.first as usize..part.end as usize)? {
            match *op {
                Op::Literal { at, length } => {
                    let literal = self.slice(at, length.min(4));
                    if literal.len() >= 2 {
                        let mut key = [0; 4];
                        key.iter_mut().zip(literal).for_each(|(key, byte)| *key = *byte);
                        return Some((distance, key, literal.len() as u8));
                    }
                    distance = distance.checked_add(length)?;
                }
                Op::Masked { length, .. } | Op::Skip(length) => distance = distance.checked_add(length)?,
                Op::Gap { .. } | Op::Choice { .. } | Op::Border { .. } => return None,
            }
        }
        None
    }

    pub(in crate::clamdb) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(&self.ops.iter().map(|op| op.pack()).collect::<Vec<_>>())?;
        writer.section(&self.parts.iter().map(|part| part.pack()).collect::<Vec<_>>())?;
        writer.section(&self.strings)?;
        writer.section(&self.bytes)
    }

    fn compile(&mut self, part: &Part, fold: bool, first_part: bool, last_part: bool) {
        let mut run: Vec<Masked> = Vec::new();
        let last = part.items.len().saturating_sub(1);
        for (index, item) in part.items.iter().enumerate() {
            if let Item::Byte(byte) = item {
                // A run changes where masks begin and end, so that what is literal is compared as a whole.
                let plain = byte.mask == 0xff;
                if run.last().is_some_and(|last| (last.mask == 0xff) != plain) {
                    self.flush(&mut run, fold);
                }
                run.push(*byte);
                continue;
            }
            self.flush(&mut run, fold);
            let place = match (first_part && index == 0, last_part && index == last) {
                (true, _) => Place::First,
                (false, true) => Place::Last,
                (false, false) => Place::Between,
            };
            let op = match item {
                Item::Byte(_) => continue,
                Item::Skip(count) => Op::Skip(*count),
                Item::Gap { least, most } => Op::Gap { least: *least, most: *most },
                Item::Border { negated, border } => Op::Border { border: *border, place, negated: *negated },
                Item::Choice { negated, strings } => {
                    let first = self.strings.len() as u32;
                    for string in strings {
                        let at = self.masked(string, fold);
                        self.strings.push([at, string.len() as u32]);
                    }
                    Op::Choice { first, count: strings.len() as u32, negated: *negated }
                }
            };
            self.ops.push(op);
        }
        self.flush(&mut run, fold);
    }

    fn flush(&mut self, run: &mut Vec<Masked>, fold: bool) {
        let length = run.len() as u32;
        match run.first() {
            None => return,
            Some(byte) if byte.mask == 0xff => {
                let at = self.bytes.len() as u32;
                self.bytes.extend(run.iter().map(|byte| folded(byte.value, fold)));
                self.ops.push(Op::Literal { at, length });
            }
            Some(_) => {
                let at = self.masked(run, fold);
                self.ops.push(Op::Masked { at, length });
            }
        }
        run.clear();
    }

    fn masked(&mut self, string: &[Masked], fold: bool) -> u32 {
        let at = self.bytes.len() as u32;
        self.bytes.extend(string.iter().map(|byte| if byte.mask == 0xff { folded(byte.value, fold) } else { byte.value }));
        self.bytes.extend(string.iter().map(|byte| byte.mask));
        at
    }

    fn anchor(&self, first: usize) -> Anchor {
        let mut best: Option<(u64, Anchor)> = None;
        for (index, op) in self.ops.iter().skip(first).enumerate() {
            let Op::Literal { at, length } = *op else { continue };
            let literal = self.slice(at, length);
            if literal.len() < 2 {
                continue;
            }
            let Chosen { before, width, cost } = window::choose(literal);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, Anchor { op: index as u32, before: before as u32, width: width as u8 }));
            }
        }
        best.map(|(_, anchor)| anchor).unwrap_or_default()
    }

    fn slice(&self, at: u32, length: u32) -> &[u8] {
        self.bytes.get(at as usize..at as usize + length as usize).unwrap_or_default()
    }
}
