//! Patterns compiled to flat tables, and their verification around a place.
//!
//! Verification keeps the set of places where a match can stand, as ranges, and steps it from operation to operation: exact for every
//! wildcard, and its work is counted, so that no object can make it endless.

mod compile;

use super::{
    flat::{Damaged, Flat, Reader},
    pattern::{Border, Place},
};

pub(super) use compile::{Anchor, Builder};

/// Compiled parts of all patterns.
pub(super) struct Program {
    /// See [`Op`].
    ops: Flat<[u32; 4]>,
    /// See [`PartCode`].
    parts: Flat<[u32; 6]>,
    /// The alternatives of choices: where in `bytes`, and how long.
    strings: Flat<[u32; 2]>,
    /// Literals; for what is masked the values, then the masks.
    bytes: Flat<u8>,
}

/// The number of a part.
pub(super) type PartId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PartCode {
    first: u32,
    end: u32,
    distance: u32,
    anchor: Anchor,
    fold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Literal { at: u32, length: u32 },
    Masked { at: u32, length: u32 },
    Skip(u32),
    Gap { least: u32, most: u32 },
    Choice { first: u32, count: u32, negated: bool },
    Border { border: Border, place: Place, negated: bool },
}

impl PartCode {
    fn pack(self) -> [u32; 6] {
        let Self { first, end, distance, anchor, fold } = self;
        [first, end, distance, anchor.op, anchor.before, u32::from(anchor.width) << 1 | u32::from(fold)]
    }

    fn unpack([first, end, distance, op, before, last]: [u32; 6]) -> Self {
        let anchor = Anchor { op, before, width: (last >> 1) as u8 };
        Self { first, end, distance, anchor, fold: last & 1 == 1 }
    }
}

impl Op {
    fn pack(self) -> [u32; 4] {
        match self {
            Self::Literal { at, length } => [0, at, length, 0],
            Self::Masked { at, length } => [1, at, length, 0],
            Self::Skip(count) => [2, count, 0, 0],
            Self::Gap { least, most } => [3, least, most, 0],
            Self::Choice { first, count, negated } => [4, first, count, u32::from(negated)],
            Self::Border { border, place, negated } => [5, border as u32, place as u32, u32::from(negated)],
        }
    }

    fn unpack([tag, a, b, c]: [u32; 4]) -> Self {
        match tag {
            0 => Self::Literal { at: a, length: b },
            1 => Self::Masked { at: a, length: b },
            2 => Self::Skip(a),
            3 => Self::Gap { least: a, most: b },
            4 => Self::Choice { first: a, count: b, negated: c == 1 },
            _ => Self::Border { border: Border::of(a), place: Place::of(b), negated: c == 1 },
        }
    }
}

/// Places, as ranges with both ends inside, ascending and apart.
pub(super) type Places = Vec<(usize, usize)>;

/// The bound on work was met: whether the pattern matches is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// An object, and the work that may still be done on it.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) content: &'a [u8],
    left: u64,
    /// Work until the time is looked at again.
    until_look: u64,
    /// Whether time is left.
    in_time: &'a dyn Fn() -> bool,
}

/// So much work takes some milliseconds.
const LOOK_EVERY: u64 = 1 << 16;

/// More ranges of one set of places than any sane pattern has.
const MAX_RANGES: usize = 1 << 16;

impl<'a> Work<'a> {
    pub(super) fn new(content: &'a [u8], amount: u64, in_time: &'a dyn Fn() -> bool) -> Self {
        Self { content, left: amount, until_look: LOOK_EVERY, in_time }
    }

    pub(super) fn spend(&mut self, amount: usize) -> Result<(), Exhausted> {
        let amount = amount as u64;
        self.left = self.left.checked_sub(amount).ok_or(Exhausted)?;
        match self.until_look.checked_sub(amount) {
            Some(until_look) => self.until_look = until_look,
            None if (self.in_time)() => self.until_look = LOOK_EVERY,
            None => return Err(Exhausted),
        }
        Ok(())
    }
}

impl Program {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        Ok(Self { ops: reader.section()?, parts: reader.section()?, strings: reader.section()?, bytes: reader.section()? })
    }

    fn part(&self, part: PartId) -> Option<PartCode> {
        self.parts.get(part as usize).copied().map(PartCode::unpack)
    }

    fn ops(&self, part: &PartCode) -> &[[u32; 4]] {
        self.ops.get(part.first as usize..part.end as usize).unwrap_or_default()
    }

    fn slice(&self, at: u32, length: u32) -> &[u8] {
        self.bytes.get(at as usize..at as usize + length as usize).unwrap_or_default()
    }

    /// The literal of which the part's window is a piece.
    fn literal(&self, part: &PartCode) -> Option<&[u8]> {
        match self.ops(part).get(part.anchor.op as usize).copied().map(Op::unpack)? {
            Op::Literal { at, length } => Some(self.slice(at, length)),
            Op::Masked { .. } | Op::Skip(_) | Op::Gap { .. } | Op::Choice { .. } | Op::Border { .. } => None,
        }
    }

    /// Whether the literal around the window stands there: most windows are met by others' bytes, and end here.
    pub(super) fn may_stand(&self, part: PartId, at: usize, content: &[u8]) -> bool {
        let Some(part) = self.part(part) else { return false };
        let Some(literal) = self.literal(&part) else { return false };
        let found = at.checked_sub(part.anchor.before as usize).and_then(|from| content.get(from..from + literal.len()));
        found.is_some_and(|found| if part.fold { found.eq_ignore_ascii_case(literal) } else { found == literal })
    }

    /// Where the part can begin and where it can end, if its window stands at `at`.
    pub(super) fn around(&self, part: PartId, at: usize, work: &mut Work<'_>) -> Result<Option<(Places, Places)>, Exhausted> {
        let Some(part) = self.part(part) else { return Ok(None) };
        let Some(from) = at.checked_sub(part.anchor.before as usize) else { return Ok(None) };
        let (before, after) = self.ops(&part).split_at_checked(part.anchor.op as usize).unwrap_or_default();
        let Some(ends) = self.run(after.iter(), vec![(from, from)], Way::Forward, part.fold, work)? else { return Ok(None) };
        Ok(self.run(before.iter().rev(), vec![(from, from)], Way::Backward, part.fold, work)?.map(|starts| (starts, ends)))
    }

    /// Where the part can end, if it begins in one of `places`.
    pub(super) fn from(&self, part: PartId, places: Places, work: &mut Work<'_>) -> Result<Option<Places>, Exhausted> {
        let Some(part) = self.part(part) else { return Ok(None) };
        self.run(self.ops(&part).iter(), places, Way::Forward, part.fold, work)
    }

    /// Shows `visit` each match of the part that begins at `least` or later, by its windows in ascending order, until it returns false.
    pub(super) fn search(
        &self,
        part: PartId,
        least: usize,
        work: &mut Work<'_>,
        visit: &mut dyn FnMut(Places, Places) -> bool,
    ) -> Result<(), Exhausted> {
        let Some(code) = self.part(part) else { return Ok(()) };
        let (before, width) = (code.anchor.before as usize, usize::from(code.anchor.width));
        let Some(window) = self.literal(&code).and_then(|literal| literal.get(before..before + width)) else { return Ok(()) };
        let mut from = least;
        while let Some(at) = find(work, window, from, code.fold)? {
            from = at + 1;
            if let Some((starts, ends)) = self.around(part, at, work)? {
                let starts = between(starts, least, usize::MAX);
                if !starts.is_empty() && !visit(starts, ends) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub(super) fn distance(&self, part: PartId) -> usize {
        self.part(part).map_or(0, |part| part.distance as usize)
    }

    fn run<'o>(
        &self,
        ops: impl Iterator<Item = &'o [u32; 4]>,
        mut places: Places,
        way: Way,
        fold: bool,
        work: &mut Work<'_>,
    ) -> Result<Option<Places>, Exhausted> {
        for op in ops {
            work.spend(1)?;
            places = self.step(Op::unpack(*op), &places, way, fold, work)?;
            if places.is_empty() {
                return Ok(None);
            }
            if places.len() > MAX_RANGES {
                return Err(Exhausted);
            }
        }
        Ok(Some(places))
    }

    fn step(&self, op: Op, places: &Places, way: Way, fold: bool, work: &mut Work<'_>) -> Result<Places, Exhausted> {
        let length = work.content.len();
        match op {
            Op::Skip(count) => Ok(way.shift(places, count as usize, count as usize, length)),
            Op::Gap { least, most } => Ok(way.shift(places, least as usize, most as usize, length)),
            Op::Literal { at, length } => {
                let literal = self.slice(at, length);
                let fits = |found: &[u8]| if fold { found.eq_ignore_ascii_case(literal) } else { found == literal };
                filter(places, way, literal.len(), work, fits)
            }
            Op::Masked { at, length } => {
                let (values, masks) = (self.slice(at, length), self.slice(at + length, length));
                filter(places, way, values.len(), work, |found| fits_masked(found, values, masks, fold))
            }
            Op::Choice { first, count, negated } => {
                let strings = self.strings.get(first as usize..first as usize + count as usize).unwrap_or_default();
                let fits =
                    |found: &[u8], at: u32, length: u32| fits_masked(found, self.slice(at, length), self.slice(at + length, length), fold);
                if negated {
                    let length = strings.first().map_or(0, |&[_, length]| length as usize);
                    return filter(places, way, length, work, |found| !strings.iter().any(|&[at, length]| fits(found, at, length)));
                }
                let mut all = Vec::new();
                for &[at, length] in strings {
                    all.extend(filter(places, way, length as usize, work, |found| fits(found, at, length))?);
                }
                Ok(joined(all))
            }
            Op::Border { border, place, negated } => {
                let one = |byte: u8| if negated { border.fails(byte, place) } else { border.holds(byte, place) };
                let mut all = filter(places, way, 1, work, |found| found.iter().all(|&byte| one(byte)))?;
                if !negated {
                    all.extend(filter(places, way, 2, work, |found| found == b"\r\n")?);
                    let edge = match place {
                        Place::First => Some(0),
                        Place::Last => Some(length),
                        Place::Between => None,
                    };
                    all.extend(edge.filter(|&edge| holds(places, edge)).map(|edge| (edge, edge)));
                }
                Ok(joined(all))
            }
        }
    }
}

/// The direction in which operations are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

impl Way {
    fn shift(self, places: &Places, least: usize, most: usize, length: usize) -> Places {
        let moved = places.iter().filter_map(|&(first, last)| match self {
            Self::Forward => Some((first.saturating_add(least), last.saturating_add(most).min(length))),
            Self::Backward => Some((first.saturating_sub(most), last.checked_sub(least)?)),
        });
        joined(moved.filter(|(first, last)| first <= last).collect())
    }
}

/// The places behind (or before) a string of `length` bytes that fits.
fn filter(places: &Places, way: Way, length: usize, work: &mut Work<'_>, fits: impl Fn(&[u8]) -> bool) -> Result<Places, Exhausted> {
    let mut kept: Places = Vec::new();
    for &(first, last) in places {
        let (first, last) = match way {
            Way::Forward => (first, last),
            Way::Backward => match last.checked_sub(length) {
                Some(last) => (first.saturating_sub(length), last),
                None => continue,
            },
        };
        let Some(latest) = work.content.len().checked_sub(length) else { continue };
        let last = last.min(latest);
        if first > last {
            continue;
        }
        work.spend(last - first + 1 + length / 16)?;
        for at in first..=last {
            if work.content.get(at..at + length).is_some_and(&fits) {
                let place = if way == Way::Forward { at + length } else { at };
                match kept.last_mut() {
                    Some((_, end)) if *end + 1 == place => *end = place,
                    Some((start, end)) if *start <= place && place <= *end => {}
                    _ => kept.push((place, place)),
                }
            }
        }
        if kept.len() > MAX_RANGES {
            return Err(Exhausted);
        }
    }
    Ok(joined(kept))
}

fn fits_masked(found: &[u8], values: &[u8], masks: &[u8], fold: bool) -> bool {
    found.len() == values.len()
        && found.iter().zip(values).zip(masks).all(|((&byte, &value), &mask)| {
            let byte = if mask == 0xff { folded(byte, fold) } else { byte };
            (byte ^ value) & mask == 0
        })
}

fn folded(byte: u8, fold: bool) -> u8 {
    if fold { byte.to_ascii_lowercase() } else { byte }
}

fn joined(mut places: Places) -> Places {
    if places.len() > 1 {
        places.sort_unstable();
        let mut joined: Places = Vec::with_capacity(places.len());
        for (first, last) in places {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        return joined;
    }
    places
}

pub(super) fn holds(places: &Places, place: usize) -> bool {
    places.iter().any(|&(first, last)| first <= place && place <= last)
}

/// What of the places lies between these two.
pub(super) fn between(places: Places, least: usize, most: usize) -> Places {
    let cut = |(first, last): (usize, usize)| (first.max(least), last.min(most));
    places.into_iter().map(cut).filter(|(first, last)| first <= last).collect()
}

/// So many bytes are searched for one unit of work.
pub(super) const SEARCHED: usize = 16;
/// And so many between two looks at the work that is left.
const SEARCH_STEP: usize = 1 << 16;

/// The next place of the window at `from` or later.
fn find(work: &mut Work<'_>, window: &[u8], mut from: usize, fold: bool) -> Result<Option<usize>, Exhausted> {
    while from < work.content.len() {
        let end = from.saturating_add(SEARCH_STEP + window.len()).min(work.content.len());
        let view = work.content.get(from..end).unwrap_or_default();
        let found = if fold {
            view.windows(window.len().max(1)).position(|found| found.eq_ignore_ascii_case(window))
        } else {
            memchr::memmem::find(view, window)
        };
        work.spend(found.unwrap_or(view.len()) / if fold { 1 } else { SEARCHED } + 1)?;
        if let Some(found) = found {
            return Ok(Some(from + found));
        }
        from += SEARCH_STEP;
    }
    Ok(None)
}
