//! The matcher: all body patterns against one object in one pass.
//!
//! Each pattern is found by one window of its fixed bytes, or at a fixed offset by what stands there, and verified around that place.
//! Patterns of one target, with or without regard to case, share their filters; an object is shown to those of any target and of its
//! own. State is kept only for what an object touches.

use std::collections::{HashMap, HashSet};

use super::{
    executable::Executable,
    names::NameId,
    offset::Offset,
    pattern::Pattern,
    program::{Exhausted, PartId, Places, Program, Work, between},
    window::{self, Filter},
};

/// What a match counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A signature of its own.
    Signature(NameId),
    /// A part of a logical signature, by its number among all such parts, and how many matches of it can matter.
    Sub(u32, u32),
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

/// Patterns as they are read.
#[derive(Default)]
pub(super) struct Builder {
    program: Program,
    patterns: Vec<Record>,
    offsets: HashMap<Offset, u32>,
    groups: HashMap<(u8, bool), Windows>,
}

#[derive(Default)]
struct Windows {
    eight: Vec<(u64, u32)>,
    four: Vec<(u64, u32)>,
    two: Vec<(u64, u32)>,
    /// By offset, distance of the key from it, and the key's length.
    fixed: HashMap<(u32, u32, u8), Vec<Key>>,
}

/// Bytes, the rest zero, and the pattern that has them.
type Key = ([u8; 4], u32);

/// All patterns.
pub(super) struct Body {
    program: Program,
    patterns: Vec<Record>,
    offsets: Vec<Offset>,
    groups: Vec<Group>,
}

#[derive(Clone, Copy)]
struct Record {
    owner: Owner,
    part: PartId,
    parts: u16,
    /// The part that the window is of.
    anchor: u16,
    offset: u32,
    word: Word,
}

struct Group {
    target: u8,
    fold: bool,
    eight: Filter,
    four: Filter,
    two: Filter,
    fixed: Vec<Fixed>,
}

/// Patterns that begin at one offset, by some bytes at one distance from it.
struct Fixed {
    offset: u32,
    distance: u32,
    width: u8,
    /// Sorted.
    keys: Vec<Key>,
}

/// Offsets that reach over more bytes are searched, not compared.
const MAX_SHIFT: u32 = 64;

impl Builder {
    pub(super) fn add(&mut self, pattern: &Pattern, terms: Terms, owner: Owner) {
        let number = self.patterns.len() as u32;
        let part = self.program.add(pattern, terms.fold);
        let next = self.offsets.len() as u32;
        let offset = *self.offsets.entry(terms.offset).or_insert(next);
        let parts = u16::try_from(pattern.parts.len()).unwrap_or(u16::MAX);
        let group = self.groups.entry((terms.target, terms.fold)).or_default();
        let prefix = match terms.offset {
            Offset::At { shift, .. } if shift <= MAX_SHIFT => self.program.prefix(part),
            Offset::At { .. } | Offset::Any | Offset::Within(_) => None,
        };
        let mut anchor = 0;
        if let Some((distance, key, width)) = prefix {
            group.fixed.entry((offset, distance, width)).or_default().push((key, number));
        } else {
            let anchors = (0..u32::from(parts)).filter_map(|index| Some((index, self.program.part_anchor(part + index)?)));
            let cost = |window: &[u8]| window::choose(window).cost;
            let best = anchors.min_by_key(|(_, anchor)| cost(anchor.window.get(..usize::from(anchor.width)).unwrap_or_default()));
            if let Some((index, found)) = best {
                anchor = index as u16;
                let windows = match found.width {
                    8 => &mut group.eight,
                    4 => &mut group.four,
                    _ => &mut group.two,
                };
                windows.push((u64::from_le_bytes(found.window), number));
            }
        }
        self.patterns.push(Record { owner, part, parts, anchor, offset, word: terms.word });
    }

    pub(super) fn finish(mut self) -> Body {
        self.program.shrink();
        self.patterns.shrink_to_fit();
        let mut offsets: Vec<_> = self.offsets.into_iter().collect();
        offsets.sort_by_key(|(_, number)| *number);
        let mut groups: Vec<_> = self.groups.into_iter().map(|((target, fold), windows)| Group::new(target, fold, windows)).collect();
        groups.sort_by_key(|group| (group.target, group.fold));
        Body { program: self.program, patterns: self.patterns, offsets: offsets.into_iter().map(|(offset, _)| offset).collect(), groups }
    }
}

impl Group {
    fn new(target: u8, fold: bool, windows: Windows) -> Self {
        let fixed = windows.fixed.into_iter().map(|((offset, distance, width), mut keys)| {
            keys.sort_unstable();
            Fixed { offset, distance, width, keys }
        });
        let mut fixed: Vec<_> = fixed.collect();
        fixed.sort_by_key(|fixed| (fixed.offset, fixed.distance, fixed.width));
        Self { target, fold, eight: Filter::new(&windows.eight), four: Filter::new(&windows.four), two: Filter::new(&windows.two), fixed }
    }
}

/// What the patterns found in one object.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) signatures: HashSet<NameId>,
    /// Matches of each touched part of a logical signature, up to what can matter.
    pub(super) subs: HashMap<u32, u32>,
    /// Where counted matches ended.
    ends: HashSet<(u32, usize)>,
    /// Of patterns in several parts: what was searched once.
    memo: HashMap<u32, Memo>,
}

#[derive(Clone, Copy, Default)]
struct Memo {
    /// Where the parts before the window's part can end at the earliest, once known.
    prefix: Option<Option<usize>>,
    /// From here on, the parts after it do not follow.
    fails_from: Option<usize>,
}

/// More ends of counted matches are not kept.
const MAX_ENDS: usize = 1 << 18;

/// So much of an object is shown to one filter after the other.
const STEP: usize = 1 << 14;

impl Body {
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
        let places: Vec<_> = self.offsets.iter().map(|offset| offset.resolve(work.content.len(), executable)).collect();
        let mut scan = Scan { body: self, places, work, touched };
        let groups: Vec<_> = self.groups.iter().filter(|group| group.target == 0 || Some(group.target) == target).collect();
        for group in &groups {
            scan.compare(group)?;
        }
        let mut folded = Vec::new();
        let content = scan.work.content;
        for start in (0..content.len()).step_by(STEP) {
            let view = content.get(start..(start + STEP + 7).min(content.len())).unwrap_or_default();
            for group in &groups {
                if group.fold {
                    folded.clear();
                    folded.extend(view.iter().map(u8::to_ascii_lowercase));
                }
                scan.search(group, start, if group.fold { &folded } else { view })?;
            }
        }
        Ok(())
    }
}

struct Scan<'a, 'w, 'c> {
    body: &'a Body,
    /// Of each offset, the first and last place of this object.
    places: Vec<Option<(usize, usize)>>,
    work: &'w mut Work<'c>,
    touched: &'w mut Touched,
}

impl Scan<'_, '_, '_> {
    /// Patterns at fixed offsets.
    fn compare(&mut self, group: &Group) -> Result<(), Exhausted> {
        for fixed in &group.fixed {
            let Some((first, last)) = self.places.get(fixed.offset as usize).copied().flatten() else { continue };
            for start in first..=last {
                let at = start.saturating_add(fixed.distance as usize);
                let Some(found) = self.work.content.get(at..at.saturating_add(usize::from(fixed.width))) else { break };
                let mut key = [0; 4];
                key.iter_mut().zip(found).for_each(|(to, from)| *to = if group.fold { from.to_ascii_lowercase() } else { *from });
                let from = fixed.keys.partition_point(|(other, _)| *other < key);
                for &(_, pattern) in fixed.keys.get(from..).unwrap_or_default().iter().take_while(|(other, _)| *other == key) {
                    self.begin(pattern, start)?;
                }
            }
        }
        Ok(())
    }

    fn search(&mut self, group: &Group, start: usize, view: &[u8]) -> Result<(), Exhausted> {
        let mut visit = |at: usize, pattern: u32| self.verify(pattern, start + at);
        if !group.eight.is_empty() {
            group.eight.scan::<8, _>(view, STEP, &mut visit)?;
        }
        if !group.four.is_empty() {
            group.four.scan::<4, _>(view, STEP, &mut visit)?;
        }
        if !group.two.is_empty() {
            group.two.scan::<2, _>(view, STEP, &mut visit)?;
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
        self.work.left = self.work.left.checked_sub(1).ok_or(Exhausted)?;
        let Some(record) = self.body.patterns.get(pattern as usize) else { return Ok(()) };
        let part = record.part + u32::from(record.anchor);
        if !self.body.program.may_stand(part, at, self.work.content) {
            return Ok(());
        }
        let Some(record) = self.open(pattern)? else { return Ok(()) };
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
        self.work.left = self.work.left.checked_sub(1).ok_or(Exhausted)?;
        let record = self.body.patterns.get(pattern as usize).copied();
        Ok(record.filter(|record| match record.owner {
            Owner::Signature(name) => !self.touched.signatures.contains(&name),
            Owner::Sub(sub, needed) => self.touched.subs.get(&sub).is_none_or(|&count| count < needed),
        }))
    }

    /// What remains of a part's places by offset and word borders.
    fn admit(&self, record: &Record, part: u16, mut starts: Places, mut ends: Places) -> Option<(Places, Places)> {
        if part == 0 {
            let (first, last) = self.places.get(record.offset as usize).copied().flatten()?;
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
        if let Some(known) = self.touched.memo.get(&pattern).and_then(|memo| memo.prefix) {
            return Ok(known);
        }
        let mut end = Some(0);
        for part in 0..record.anchor {
            let Some(before) = end else { break };
            end = self.earliest(record, part, before)?;
        }
        self.touched.memo.entry(pattern).or_default().prefix = Some(end);
        Ok(end)
    }

    /// The earliest end of a match of this part, if the former part ended at `before`.
    fn earliest(&mut self, record: &Record, part: u16, before: usize) -> Result<Option<usize>, Exhausted> {
        let number = record.part + u32::from(part);
        let least = before.saturating_add(self.body.program.distance(number));
        let mut best: Option<usize> = None;
        let mut work = Work { content: self.work.content, left: self.work.left };
        let searched = self.body.program.search(number, least, &mut work, &mut |starts, ends| {
            let admitted = self.admit(record, part, starts, ends);
            let end = admitted.and_then(|(_, ends)| ends.first().map(|&(first, _)| first));
            best = best.into_iter().chain(end).min();
            // A later window can only end earlier behind a gap before it, which no window before its own end has.
            best.is_none()
        });
        self.work.left = work.left;
        searched.map(|()| best)
    }

    /// A part ends in one of `ends`: whether the others follow.
    fn follow(&mut self, pattern: u32, record: &Record, part: u16, ends: Places) -> Result<(), Exhausted> {
        if part + 1 == record.parts {
            return self.count(record, &ends);
        }
        let Some(&(first, _)) = ends.first() else { return Ok(()) };
        if self.touched.memo.get(&pattern).and_then(|memo| memo.fails_from).is_some_and(|from| first >= from) {
            return Ok(());
        }
        let mut end = first;
        for next in part + 1..record.parts {
            if next + 1 == record.parts && matches!(record.owner, Owner::Sub(_, 2..)) {
                return self.count_all(record, end);
            }
            match self.earliest(record, next, end)? {
                Some(earliest) => end = earliest,
                None => {
                    let memo = self.touched.memo.entry(pattern).or_default();
                    memo.fails_from = Some(memo.fails_from.map_or(first, |from| from.min(first)));
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
        let mut work = Work { content: self.work.content, left: self.work.left };
        let searched = self.body.program.search(number, least, &mut work, &mut |starts, ends| {
            all.extend(self.admit(record, record.parts - 1, starts, ends).into_iter().flat_map(|(_, ends)| ends));
            all.len() < MAX_ENDS
        });
        self.work.left = work.left;
        searched?;
        self.count(record, &all)
    }

    fn count(&mut self, record: &Record, ends: &Places) -> Result<(), Exhausted> {
        let (sub, needed) = match record.owner {
            Owner::Signature(name) => {
                self.touched.signatures.insert(name);
                return Ok(());
            }
            Owner::Sub(sub, needed) => (sub, needed),
        };
        let count = self.touched.subs.entry(sub).or_default();
        if needed == 1 {
            *count = 1;
            return Ok(());
        }
        for end in ends.iter().flat_map(|&(first, last)| first..=last) {
            if *count >= needed {
                break;
            }
            if self.touched.ends.len() >= MAX_ENDS {
                return Err(Exhausted);
            }
            // A match is told from others by where it ends.
            if self.touched.ends.insert((sub, end)) {
                *count += 1;
            }
        }
        Ok(())
    }
}
