//! The matcher: all body patterns against one object in one pass.
//!
//! Each pattern is found by one window of its fixed bytes, or at a fixed offset by what stands there, and verified around that place.
//! Windows of all patterns, whatever their target and whether or not letters match in either case, share the same few filters, which
//! are shown the object with small letters. State is kept only for what an object touches.

mod build;
mod touched;

use super::{
    executable::Executable,
    flat::{Damaged, Flat, Reader},
    names::NameId,
    offset::Offset,
    program::{Exhausted, PartId, Places, Program, SEARCHED, Work, between},
    window::{self, Filters, Targets},
};

pub(super) use build::Builder;
pub(super) use touched::Touched;
use touched::{MAX_ENDS, Memo};

/// What a match counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A signature of its own.
    Signature(NameId),
    /// A part of a logical signature, both by their numbers, and how many matches of it can matter.
    Part { signature: u32, part: u8, needed: u32 },
}

/// Whether a match must stand between bytes that are neither letter nor digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Any,
    Whole,
    /// Of two bytes a character.
    WideWhole,
}

/// How a pattern is to be matched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// 0 for any.
    pub(super) target: u8,
    pub(super) offset: Offset,
    /// Letters match in either case.
    pub(super) fold: bool,
    pub(super) word: Word,
}

/// All patterns.
pub(super) struct Body {
    program: Program,
    /// See [`Record`].
    patterns: Flat<[u32; 7]>,
    /// See [`Offset`].
    offsets: Flat<[u32; 5]>,
    /// See [`Fixed`]; by target.
    fixed: Flat<[u32; 5]>,
    /// Bytes, the first the most significant, the rest zero, and the pattern that has them; sorted for each of `fixed`.
    keys: Flat<[u32; 2]>,
    filters: Filters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    owner: Owner,
    part: PartId,
    parts: u16,
    /// The part that the window is of.
    anchor: u16,
    offset: u32,
    word: Word,
}

/// The number of the offset that is any.
const ANYWHERE: u32 = 0;

impl Record {
    fn pack(self) -> [u32; 7] {
        let (kind, owner, needed) = match self.owner {
            Owner::Signature(name) => (0, name, 0),
            Owner::Part { signature, part, needed } => (1 | u32::from(part) << 8, signature, needed),
        };
        let parts = u32::from(self.parts) | u32::from(self.anchor) << 16;
        [kind | (self.word as u32) << 16, owner, needed, self.part, parts, self.offset, 0]
    }

    fn unpack([kind, owner, needed, part, parts, offset, _]: [u32; 7]) -> Self {
        let owner = match kind & 1 {
            0 => Owner::Signature(owner),
            _ => Owner::Part { signature: owner, part: (kind >> 8) as u8 & 63, needed },
        };
        let word = match kind >> 16 {
            0 => Word::Any,
            1 => Word::Whole,
            _ => Word::WideWhole,
        };
        Self { owner, part, parts: parts as u16, anchor: (parts >> 16) as u16, offset, word }
    }
}

/// Patterns of one target that begin at one offset, by some bytes at one distance from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fixed {
    target: u8,
    offset: u32,
    distance: u32,
    width: u8,
    fold: bool,
    /// Of the keys.
    first: u32,
    end: u32,
}

impl Fixed {
    fn pack(self) -> [u32; 5] {
        let Self { target, offset, distance, width, fold, first, end } = self;
        [u32::from(target) | u32::from(width) << 8 | u32::from(fold) << 16, offset, distance, first, end]
    }

    fn unpack([kind, offset, distance, first, end]: [u32; 5]) -> Self {
        Self { target: kind as u8, width: (kind >> 8) as u8, fold: kind >> 16 == 1, offset, distance, first, end }
    }
}

impl Body {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        Ok(Self {
            program: Program::read(reader)?,
            patterns: reader.section()?,
            offsets: reader.section()?,
            fixed: reader.section()?,
            keys: reader.section()?,
            filters: Filters::read(reader)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Matches everything that is for any target or for `target`.
    ///
    /// # Errors
    /// The work ended before the object did; what was touched until then stands.
    pub(super) fn scan(
        &self,
        executable: Option<&Executable>,
        target: Option<u8>,
        work: &mut Work<'_>,
        touched: &mut Touched,
    ) -> Result<(), Exhausted> {
        let content = work.content;
        let mut scan = Scan { body: self, patterns: &self.patterns, executable, work, touched };
        scan.compare(0)?;
        if let Some(target) = target.filter(|&target| target != 0) {
            scan.compare(target)?;
        }
        let (targets, mut small) = (Targets::of(target), Vec::new());
        for start in (0..content.len()).step_by(window::STEP) {
            scan.work.spend(window::STEP / SEARCHED)?;
            self.filters.scan(content, start, &mut small, targets, &mut |at, pattern| scan.verify(pattern, at))?;
        }
        Ok(())
    }
}

struct Scan<'a, 'w, 'c> {
    body: &'a Body,
    patterns: &'a [[u32; 7]],
    executable: Option<&'a Executable>,
    work: &'w mut Work<'c>,
    touched: &'w mut Touched,
}

impl Scan<'_, '_, '_> {
    fn record(&self, pattern: u32) -> Option<Record> {
        self.patterns.get(pattern as usize).copied().map(Record::unpack)
    }

    /// The first and the last place where a match may begin.
    fn place(&self, offset: u32) -> Option<(usize, usize)> {
        let length = self.work.content.len();
        match offset {
            ANYWHERE => Some((0, length)),
            other => Offset::unpack(*self.body.offsets.get(other as usize)?).resolve(length, self.executable),
        }
    }

    /// Patterns of one target at fixed offsets.
    fn compare(&mut self, target: u8) -> Result<(), Exhausted> {
        let of = |fixed: &[u32; 5]| Fixed::unpack(*fixed).target;
        let all: &[[u32; 5]] = &self.body.fixed;
        let first = all.partition_point(|fixed| of(fixed) < target);
        for fixed in all.get(first..).unwrap_or_default().iter().take_while(|fixed| of(fixed) == target) {
            let fixed = Fixed::unpack(*fixed);
            let Some((first, last)) = self.place(fixed.offset) else { continue };
            for start in first..=last {
                let at = start.saturating_add(fixed.distance as usize);
                let Some(found) = self.work.content.get(at..at.saturating_add(usize::from(fixed.width))) else { break };
                self.compare_at(&fixed, start, found)?;
            }
        }
        Ok(())
    }

    fn compare_at(&mut self, fixed: &Fixed, start: usize, found: &[u8]) -> Result<(), Exhausted> {
        let mut key = [0; 4];
        key.iter_mut().zip(found).for_each(|(to, from)| *to = if fixed.fold { from.to_ascii_lowercase() } else { *from });
        let key = u32::from_be_bytes(key);
        let body = self.body;
        let keys = body.keys.get(fixed.first as usize..fixed.end as usize).unwrap_or_default();
        let from = keys.partition_point(|[other, _]| *other < key);
        for &[_, pattern] in keys.get(from..).unwrap_or_default().iter().take_while(|[other, _]| *other == key) {
            self.begin(pattern, start)?;
        }
        Ok(())
    }

    /// The first part may begin at `start`.
    fn begin(&mut self, pattern: u32, start: usize) -> Result<(), Exhausted> {
        let Some(record) = self.open(pattern)? else { return Ok(()) };
        let Some(ends) = self.body.program.from(record.part, vec![(start, start)], self.work)? else { return Ok(()) };
        match self.admit(&record, 0, vec![(start, start)], ends) {
            Some((_, ends)) => self.follow(pattern, &record, 0, ends),
            None => Ok(()),
        }
    }

    /// The window stands at `at`.
    fn verify(&mut self, pattern: u32, at: usize) -> Result<(), Exhausted> {
        self.work.spend(1)?;
        let Some(record) = self.record(pattern) else { return Ok(()) };
        let part = record.part + u32::from(record.anchor);
        if !self.body.program.may_stand(part, at, self.work.content) {
            return Ok(());
        }
        if !self.touched.is_open(record.owner) {
            return Ok(());
        }
        let Some((starts, ends)) = self.body.program.around(part, at, self.work)? else { return Ok(()) };
        let Some((starts, ends)) = self.admit(&record, record.anchor, starts, ends) else { return Ok(()) };
        if record.anchor > 0 {
            let Some(end) = self.prefix(pattern, &record)? else { return Ok(()) };
            let least = end.saturating_add(self.body.program.distance(part));
            if between(starts, least, usize::MAX).is_empty() {
                return Ok(());
            }
        }
        self.follow(pattern, &record, record.anchor, ends)
    }

    /// The pattern, unless another match of it changes nothing.
    fn open(&mut self, pattern: u32) -> Result<Option<Record>, Exhausted> {
        self.work.spend(1)?;
        Ok(self.record(pattern).filter(|record| self.touched.is_open(record.owner)))
    }

    /// What remains of a part's places by offset and word borders.
    fn admit(&self, record: &Record, part: u16, mut starts: Places, mut ends: Places) -> Option<(Places, Places)> {
        if part == 0 {
            let (first, last) = self.place(record.offset)?;
            starts = between(starts, first, last);
            starts = self.at_borders(record.word, starts, false);
        }
        if part + 1 == record.parts {
            ends = self.at_borders(record.word, ends, true);
        }
        (!starts.is_empty() && !ends.is_empty()).then_some((starts, ends))
    }

    fn at_borders(&self, word: Word, places: Places, end: bool) -> Places {
        let content = self.work.content;
        let letter = |at: Option<usize>| at.and_then(|at| content.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        let zero = |at: Option<usize>| at.and_then(|at| content.get(at)) == Some(&0);
        let inside = |place: usize| match (word, end) {
            (Word::Any, _) => false,
            (Word::Whole, true) => letter(Some(place)),
            (Word::Whole, false) => letter(place.checked_sub(1)),
            (Word::WideWhole, true) => letter(Some(place)) && zero(Some(place + 1)),
            (Word::WideWhole, false) => letter(place.checked_sub(2)) && zero(place.checked_sub(1)),
        };
        if word == Word::Any {
            return places;
        }
        let each = places.into_iter().flat_map(|(first, last)| first..=last.min(content.len()));
        each.filter(|&place| !inside(place)).map(|place| (place, place)).collect()
    }

    /// Where the parts before the window's can end at the earliest; searched once for an object.
    fn prefix(&mut self, pattern: u32, record: &Record) -> Result<Option<usize>, Exhausted> {
        let memo = self.touched.memo(pattern);
        if let Some(known) = memo.prefix {
            return Ok(known);
        }
        let mut end = Some(0);
        for part in 0..record.anchor {
            let Some(before) = end else { break };
            end = self.earliest(record, part, before)?;
        }
        self.touched.remember(pattern, Memo { prefix: Some(end), ..memo });
        Ok(end)
    }

    /// The earliest end of a match of this part, if the former part ended at `before`.
    fn earliest(&mut self, record: &Record, part: u16, before: usize) -> Result<Option<usize>, Exhausted> {
        let number = record.part + u32::from(part);
        let least = before.saturating_add(self.body.program.distance(number));
        let mut best: Option<usize> = None;
        let mut work = *self.work;
        let searched = self.body.program.search(number, least, &mut work, &mut |starts, ends| {
            let admitted = self.admit(record, part, starts, ends);
            let end = admitted.and_then(|(_, ends)| ends.first().map(|&(first, _)| first));
            best = best.into_iter().chain(end).min();
            // A later window can only end earlier behind a gap before it, which no window before its own end has.
            best.is_none()
        });
        *self.work = work;
        searched.map(|()| best)
    }

    /// A part ends in one of `ends`: whether the others follow.
    fn follow(&mut self, pattern: u32, record: &Record, part: u16, ends: Places) -> Result<(), Exhausted> {
        if part + 1 == record.parts {
            return self.count(record, &ends);
        }
        let Some(&(first, _)) = ends.first() else { return Ok(()) };
        let memo = self.touched.memo(pattern);
        if memo.fails_from.is_some_and(|from| first >= from) {
            return Ok(());
        }
        let mut end = first;
        for next in part + 1..record.parts {
            if next + 1 == record.parts && matches!(record.owner, Owner::Part { needed: 2.., .. }) {
                return self.count_all(record, end);
            }
            match self.earliest(record, next, end)? {
                Some(earliest) => end = earliest,
                None => {
                    let fails_from = memo.fails_from.map_or(first, |from| from.min(first));
                    self.touched.remember(pattern, Memo { fails_from: Some(fails_from), ..memo });
                    return Ok(());
                }
            }
        }
        self.count(record, &vec![(end, end)])
    }

    /// Counts every match of the last part behind `before`.
    fn count_all(&mut self, record: &Record, before: usize) -> Result<(), Exhausted> {
        let number = record.part + u32::from(record.parts - 1);
        let least = before.saturating_add(self.body.program.distance(number));
        let mut all = Vec::new();
        let mut work = *self.work;
        let searched = self.body.program.search(number, least, &mut work, &mut |starts, ends| {
            all.extend(self.admit(record, record.parts - 1, starts, ends).into_iter().flat_map(|(_, ends)| ends));
            all.len() < MAX_ENDS
        });
        *self.work = work;
        searched?;
        self.count(record, &all)
    }

    fn count(&mut self, record: &Record, ends: &Places) -> Result<(), Exhausted> {
        self.touched.add(record.owner, ends.iter().flat_map(|&(first, last)| first..=last))
    }
}
