//! Patterns compiled to flat tables, and their verification around a place.
//!
//! Verification keeps the set of places where a match can stand, as ranges, and steps it from operation to operation: exact for every
//! wildcard, and its work is counted, so that no object can make it endless.

use super::{
    pattern::{Border, Item, Masked, Part, Pattern, Place},
    window::{self, Chosen},
};

/// Compiled parts of all patterns.
#[derive(Default)]
pub(super) struct Program {
    ops: Vec<Op>,
    parts: Vec<PartCode>,
    /// The alternatives of choices: where in `bytes`, and how long.
    strings: Vec<(u32, u32)>,
    /// Literals; for what is masked the values, then the masks.
    bytes: Vec<u8>,
}

/// The number of a part.
pub(super) type PartId = u32;

#[derive(Clone, Copy, Debug)]
struct PartCode {
    first: u32,
    end: u32,
    distance: u32,
    anchor: Anchor,
    fold: bool,
}

/// The window by which a part is found: a run of fixed bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Anchor {
    /// The operation, counted from the first of the part.
    op: u32,
    /// How many bytes of the operation stand before the window.
    before: u32,
    pub(super) width: u8,
    /// The bytes, the rest zero; small letters where case does not count.
    pub(super) window: [u8; 8],
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Literal { at: u32, length: u32 },
    Masked { at: u32, length: u32 },
    Skip(u32),
    Gap { least: u32, most: u32 },
    Choice { first: u32, count: u32, negated: bool },
    Border { border: Border, place: Place, negated: bool },
}

/// Places, as ranges with both ends inside, ascending and apart.
pub(super) type Places = Vec<(usize, usize)>;

/// The bound on work was met: whether the pattern matches is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// An object, and the work that may still be done on it.
pub(super) struct Work<'a> {
    pub(super) content: &'a [u8],
    pub(super) left: u64,
}

/// More ranges of one set of places than any sane pattern has.
const MAX_RANGES: usize = 1 << 16;

impl Work<'_> {
    fn spend(&mut self, amount: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(amount as u64).ok_or(Exhausted)?;
        Ok(())
    }
}

impl Program {
    /// Compiles the parts of one pattern; their numbers follow each other from the one returned.
    pub(super) fn add(&mut self, pattern: &Pattern, fold: bool) -> PartId {
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

    pub(super) fn part_anchor(&self, part: PartId) -> Option<Anchor> {
        Some(self.parts.get(part as usize)?.anchor)
    }

    /// The fixed bytes at a fixed distance from the part's beginning: that distance, and at most four bytes.
    pub(super) fn prefix(&self, part: PartId) -> Option<(u32, [u8; 4], u8)> {
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

    pub(super) fn shrink(&mut self) {
        self.ops.shrink_to_fit();
        self.parts.shrink_to_fit();
        self.strings.shrink_to_fit();
        self.bytes.shrink_to_fit();
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
                        self.strings.push((at, string.len() as u32));
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
                let mut window = [0; 8];
                window.iter_mut().zip(literal.iter().skip(before).take(width)).for_each(|(to, from)| *to = *from);
                best = Some((cost, Anchor { op: index as u32, before: before as u32, width: width as u8, window }));
            }
        }
        best.map(|(_, anchor)| anchor).unwrap_or_default()
    }

    fn slice(&self, at: u32, length: u32) -> &[u8] {
        self.bytes.get(at as usize..at as usize + length as usize).unwrap_or_default()
    }

    /// Whether the literal around the window stands there: most windows are met by others' bytes, and end here.
    pub(super) fn may_stand(&self, part: PartId, at: usize, content: &[u8]) -> bool {
        let Some(part) = self.parts.get(part as usize) else { return false };
        let Some(Op::Literal { at: literal, length }) = self.ops.get((part.first + part.anchor.op) as usize) else { return false };
        let literal = self.slice(*literal, *length);
        let found = at.checked_sub(part.anchor.before as usize).and_then(|from| content.get(from..from + literal.len()));
        found.is_some_and(|found| if part.fold { found.eq_ignore_ascii_case(literal) } else { found == literal })
    }

    /// Where the part can begin and where it can end, if its window stands at `at`.
    pub(super) fn around(&self, part: PartId, at: usize, work: &mut Work<'_>) -> Result<Option<(Places, Places)>, Exhausted> {
        let Some(part) = self.parts.get(part as usize) else { return Ok(None) };
        let Some(from) = at.checked_sub(part.anchor.before as usize) else { return Ok(None) };
        let ops = self.ops.get(part.first as usize..part.end as usize).unwrap_or_default();
        let (before, after) = ops.split_at_checked(part.anchor.op as usize).unwrap_or_default();
        let Some(ends) = self.run(after.iter(), vec![(from, from)], Way::Forward, part.fold, work)? else { return Ok(None) };
        Ok(self.run(before.iter().rev(), vec![(from, from)], Way::Backward, part.fold, work)?.map(|starts| (starts, ends)))
    }

    /// Where the part can end, if it begins in one of `places`.
    pub(super) fn from(&self, part: PartId, places: Places, work: &mut Work<'_>) -> Result<Option<Places>, Exhausted> {
        let Some(part) = self.parts.get(part as usize) else { return Ok(None) };
        let ops = self.ops.get(part.first as usize..part.end as usize).unwrap_or_default();
        self.run(ops.iter(), places, Way::Forward, part.fold, work)
    }

    /// Shows `visit` each match of the part that begins at `least` or later, by its windows in ascending order, until it returns false.
    pub(super) fn search(
        &self,
        part: PartId,
        least: usize,
        work: &mut Work<'_>,
        visit: &mut dyn FnMut(Places, Places) -> bool,
    ) -> Result<(), Exhausted> {
        let Some(code) = self.parts.get(part as usize) else { return Ok(()) };
        let window = code.anchor.window.get(..usize::from(code.anchor.width)).unwrap_or_default();
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
        self.parts.get(part as usize).map_or(0, |part| part.distance as usize)
    }

    fn run<'o>(
        &self,
        ops: impl Iterator<Item = &'o Op>,
        mut places: Places,
        way: Way,
        fold: bool,
        work: &mut Work<'_>,
    ) -> Result<Option<Places>, Exhausted> {
        for op in ops {
            work.spend(1)?;
            places = self.step(*op, &places, way, fold, work)?;
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
                    let length = strings.first().map_or(0, |&(_, length)| length as usize);
                    return filter(places, way, length, work, |found| !strings.iter().any(|&(at, length)| fits(found, at, length)));
                }
                let mut all = Vec::new();
                for &(at, length) in strings {
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
const SEARCHED: usize = 16;
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
