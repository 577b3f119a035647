//! Zip archives, in every reading that an opener might take: by the directory, by local headers one after another, and by local headers
//! found by search where nothing else was read (APPNOTE 6.3.10).

mod crypt;
mod explode;
mod member;
mod members;
mod records;

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
};

use filesafety_model::Reason;
use memchr::memmem;

use self::records::{CENTRAL, Central, Directory, END, End, LOCAL, Local};
use super::{
    Sink, Stop,
    ranges::{self, Ranges},
};

#[cfg(test)]
pub(crate) use self::crypt::{Keys, counter_mode, derive};

/// Opens content that starts like a zip.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut walk = Walk::new(content, Origin::Start, sink);
    walk.directories()?;
    walk.local_headers()?;
    walk.say_what_is_missing();
    ranges::examine_gaps(content, &walk.read, walk.sink).map(|_| ())
}

/// Opens a zip that stands somewhere in content of another type: behind a program, a picture, a text.
pub(crate) fn open_embedded(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    if memmem::find(content, LOCAL).is_none() {
        return Ok(());
    }
    let mut walk = Walk::new(content, Origin::Found, sink);
    walk.directories()?;
    walk.local_headers()
}

/// Opens a zip that lies across a container of another kind: its directory at the very end, its members wherever they are. A zip that
/// lies whole in one of `parts` was opened with it. Nothing but a directory is believed here: packed data may hold pieces of any zip.
pub(crate) fn open_across(content: &[u8], parts: &[Range<usize>], sink: &mut dyn Sink) -> Result<(), Stop> {
    const LONGEST_TAIL: usize = 22 + (64 << 10);
    let tail = content.get(content.len().saturating_sub(LONGEST_TAIL)..).unwrap_or_default();
    if memmem::find(tail, END).is_none() {
        return Ok(());
    }
    let mut walk = Walk::new(content, Origin::Across, sink);
    walk.parts = parts;
    walk.directories()
}

/// How it is known that this is a zip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// By its first bytes.
    Start,
    /// By nothing yet.
    Found,
    /// By nothing yet, in a container that is no zip.
    Across,
}

/// Whether a header is believed before its data decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Sure,
    Candidate,
}

/// As many end records are looked at, from the last; members of further directories are found by their local headers.
const END_RECORDS: usize = 16;

struct Walk<'a, 's> {
    content: &'a [u8],
    origin: Origin,
    sink: &'s mut dyn Sink,
    /// What was read; the rest is searched.
    read: Ranges,
    /// Data that was decoded: where it starts, by which method, how long, whether as encrypted.
    done: HashSet<(usize, u16, u64, bool)>,
    /// Where a reader of other sizes would look for the next local header.
    starts: Vec<usize>,
    has_directory: bool,
    /// Of the container that the zip lies across: what was examined on its own.
    parts: &'s [Range<usize>],
}

/// Where a member's data ends, and whether it was all there.
struct Outcome {
    end: usize,
    whole: bool,
}

impl<'a, 's> Walk<'a, 's> {
    fn new(content: &'a [u8], origin: Origin, sink: &'s mut dyn Sink) -> Self {
        let (read, done) = (Ranges::default(), HashSet::new());
        Self { content, origin, sink, read, done, starts: Vec::new(), has_directory: false, parts: &[] }
    }

    fn directories(&mut self) -> Result<(), Stop> {
        let content = self.content;
        // Searching forwards is many times faster than backwards.
        let mut ends = VecDeque::new();
        for at in memmem::find_iter(content, END) {
            if ends.len() == END_RECORDS {
                ends.pop_back();
            }
            ends.push_front(at);
        }
        for at in ends {
            self.sink.tick()?;
            // An end record inside a member belongs to the member.
            if self.read.end_of(at).is_some() {
                continue;
            }
            let readings = End::readings(content, at);
            let Some(tail) = readings.iter().map(|end| end.tail).min() else { continue };
            let mut directories: Vec<Directory> = Vec::new();
            for directory in readings.iter().flat_map(|end| end.directories(content)) {
                if !directories.contains(&directory) && self.is_believed(&directory, at) {
                    directories.push(directory);
                }
            }
            if !directories.is_empty() || readings.iter().all(End::is_empty) && self.origin == Origin::Start {
                self.has_directory = true;
                self.read.insert(tail..readings.iter().map(|end| end.end).max().unwrap_or(at));
            }
            for directory in directories {
                self.directory(&directory)?;
            }
        }
        Ok(())
    }

    /// In content of another type a directory counts if an entry has a local header of the same name.
    fn is_believed(&self, directory: &Directory, end: usize) -> bool {
        let local_of = |entry: &Central<'_>| {
            let same_name = |at: &usize| Local::parse(self.content, *at).is_some_and(|local| local.name == entry.name);
            places(directory.base, entry.local).find(same_name)
        };
        let Some(first) = Central::parse(self.content, directory.start) else { return false };
        match self.origin {
            Origin::Start => true,
            Origin::Found => {
                let next = |entry: &Central<'_>| Central::parse(self.content, entry.end);
                std::iter::successors(Some(first), next).any(|entry| local_of(&entry).is_some())
            }
            // The first: stored blocks of a stream keep the last members of a zip in place, and not those before.
            Origin::Across => {
                local_of(&first).is_some_and(|start| !self.parts.iter().any(|part| part.contains(&start) && part.contains(&end)))
            }
        }
    }

    fn directory(&mut self, directory: &Directory) -> Result<(), Stop> {
        let (mut at, mut entries) = (directory.start, 0u64);
        while let Some(entry) = Central::parse(self.content, at) {
            self.sink.tick()?;
            self.read.insert(at..entry.end);
            self.entry(&entry, directory.base)?;
            entries += 1;
            at = entry.end;
        }
        if entries != directory.entries && entries & 0xffff != directory.entries {
            self.sink.note("the directory does not have as many entries as it says");
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Central<'_>, base: usize) -> Result<(), Stop> {
        let content = self.content;
        let local = places(base, entry.local).find_map(|at| Some((at, Local::parse(content, at)?)));
        let Some((at, local)) = local else {
            if !entry.facts.is_empty() {
                self.sink.member_unexamined(&shown(entry.name), Reason::Broken, "Zip");
            }
            return Ok(());
        };
        let outcome = self.member(entry.name, local.data, &entry.facts, Trust::Sure)?;
        let mut end = outcome.map_or(local.data, |outcome| outcome.end);
        if local.facts.disagrees(&entry.facts) {
            self.sink.note("local and central headers disagree");
            let other = self.second_reading(&local, &entry.facts)?;
            self.starts.push(other);
            // What only one reading covers is searched as well.
            end = end.min(other);
        }
        self.read.insert(at..end);
        Ok(())
    }

    /// Local headers that no directory led to: one after another, and by search.
    fn local_headers(&mut self) -> Result<(), Stop> {
        let content = self.content;
        let finder = memmem::Finder::new(LOCAL);
        let mut from = 0;
        while let Some(found) = content.get(from..).and_then(|rest| finder.find(rest)) {
            let at = from + found;
            self.sink.tick()?;
            from = match self.read.end_of(at) {
                Some(end) => end,
                None => self.local_header(at)?.unwrap_or(at + LOCAL.len()),
            };
        }
        while let Some(at) = self.starts.pop() {
            self.sink.tick()?;
            if content.get(at..).is_some_and(|rest| rest.starts_with(LOCAL)) {
                self.local_header(at)?;
            }
        }
        Ok(())
    }

    /// Without a directory nobody knows how many members there were; what was read ends before a directory or at the very end.
    fn say_what_is_missing(&mut self) {
        if self.has_directory {
            return;
        }
        let gaps = self.read.gaps(self.content.len());
        let last = gaps.last().filter(|gap| gap.end == self.content.len());
        let rest = last.and_then(|gap| self.content.get(gap.clone())).unwrap_or_default();
        let begins_directory = rest.len() >= 3 && CENTRAL.starts_with(rest.get(..4).unwrap_or(rest));
        if rest.is_empty() || begins_directory {
            self.sink.note("repaired index");
        } else {
            self.sink.unexamined(Reason::Broken, "Zip");
        }
    }
}

/// Where an entry's local header may stand: after what precedes the archive, or at its offset as it is.
fn places(base: usize, offset: u64) -> impl Iterator<Item = usize> {
    let offset = usize::try_from(offset).ok();
    let shifted = offset.and_then(|offset| offset.checked_add(base));
    [shifted, offset].into_iter().flatten()
}

/// At most `length` bytes from `at`.
fn bounded(content: &[u8], at: usize, length: u64) -> &[u8] {
    let rest = content.get(at..).unwrap_or_default();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    rest.get(..length).unwrap_or(rest)
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
