//! Zip archives, in every reading that an opener might take: by the directory, by local headers one after another, and by local headers
//! found by search where nothing else was read (APPNOTE 6.3.10).

mod member;
mod ranges;
mod records;

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
};

use filesafety_model::Reason;
use memchr::memmem;

use self::{
    member::{Purpose, Reading},
    ranges::Ranges,
    records::{CENTRAL, Central, Directory, END, End, Facts, LOCAL, Local, descriptor_bytes, is_record, stored_ends},
};
use super::{Member, Sink, Stop, codec::Fault, streams};

/// Opens content that starts like a zip.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut walk = Walk::new(content, Origin::Start, sink);
    walk.directories()?;
    walk.local_headers()?;
    walk.say_what_is_missing();
    walk.examine_gaps()
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

/// Shorter gaps hold no container.
const SMALLEST_GAP: usize = 20;

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

    /// Reads a member as its local header has it, with what stands behind the data taken from the directory. That it fails is no news:
    /// the first reading was judged.
    fn second_reading(&mut self, local: &Local<'_>, listed: &Facts) -> Result<usize, Stop> {
        let facts = local.facts.completed_by(listed);
        let is_closed = facts.is_encrypted() || !member::is_supported(facts.method);
        // A reader of local headers takes such data as far as it goes, whatever the directory says of its size.
        let is_endless = local.facts.is_deferred() && !is_closed && member::is_self_terminated(facts.method);
        let packed = if is_endless { u64::MAX } else { facts.packed };
        let input = bounded(self.content, local.data, packed);
        let end = local.data.saturating_add(input.len());
        if facts.is_empty() || !self.done.insert((local.data, facts.method, packed, facts.is_encrypted())) {
            return Ok(if is_endless { local.data } else { end });
        }
        if is_closed {
            self.closed(local.name, input, &facts)?;
            return Ok(end);
        }
        let reading = member::read(&shown(local.name), input, &facts, Purpose::Examine, self.sink)?;
        Ok(match reading.fault {
            None if is_endless => local.data + reading.consumed,
            Some(_) if is_endless => local.data,
            Some(_) | None => end,
        })
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

    /// Reads the member at a local header; gives where it ends, unless nothing is there.
    fn local_header(&mut self, at: usize) -> Result<Option<usize>, Stop> {
        const SPANNED: usize = 4;
        let first = self.origin == Origin::Start && (at == 0 || at == SPANNED);
        let trust = if first || self.read.ends_at(at) { Trust::Sure } else { Trust::Candidate };
        let local = Local::parse(self.content, at).filter(|local| trust == Trust::Sure || local.is_plausible(self.content));
        let Some(local) = local else {
            if trust == Trust::Sure {
                self.sink.unexamined(Reason::Broken, "Zip");
            }
            return Ok(None);
        };
        let outcome = if local.facts.is_deferred() {
            self.deferred(&local, trust)?
        } else {
            self.member(local.name, local.data, &local.facts, trust)?
        };
        let Some(outcome) = outcome else { return Ok(None) };
        self.read.insert(at..outcome.end);
        // Behind damaged data the next header is a guess again, and so is searched for.
        Ok(Some(if outcome.whole { outcome.end } else { local.data.max(at + LOCAL.len()) }))
    }

    /// A member whose sizes stand behind its data, and that no directory tells.
    fn deferred(&mut self, local: &Local<'_>, trust: Trust) -> Result<Option<Outcome>, Stop> {
        let rest = self.content.get(local.data..).unwrap_or_default();
        let method = local.facts.method;
        if local.facts.is_encrypted() || !member::is_self_terminated(method) {
            let ends = self.described_end(local)?;
            let Some((length, crc32)) = ends else { return self.endless(local, trust) };
            let unpacked = if method == 0 { length as u64 } else { u64::from(descriptor_unpacked(rest, length)) };
            let facts = Facts { crc32, packed: length as u64, unpacked, ..local.facts };
            return self.member(local.name, local.data, &facts, Trust::Sure);
        }
        if trust == Trust::Candidate {
            let probed = member::read("", rest, &local.facts, Purpose::Probe, self.sink)?;
            if self.descriptor_after(local.data, &probed).is_none() {
                return self.doubtful(local.name, rest, &local.facts, &probed).map(|()| None);
            }
        }
        let reading = member::read(&shown(local.name), rest, &local.facts, Purpose::Examine, self.sink)?;
        let end = local.data + reading.consumed;
        let descriptor = self.descriptor_after(local.data, &reading);
        if descriptor.is_none() {
            self.say_damaged(local.name, reading.fault);
        }
        Ok(Some(Outcome { end: end + descriptor.unwrap_or(0), whole: descriptor.is_some() }))
    }

    /// The first descriptor that ends stored or encrypted data: how long the data then is, and its checksum.
    fn described_end(&mut self, local: &Local<'_>) -> Result<Option<(usize, u32)>, Stop> {
        const BETWEEN_TICKS: usize = 1_024;
        let rest = self.content.get(local.data..).unwrap_or_default();
        let is_plain = local.facts.method == 0 && !local.facts.is_encrypted();
        // Lengths only grow, so each byte is summed once however many descriptors there seem to be.
        let (mut crc, mut summed) = (crc32fast::Hasher::new(), 0);
        for (index, (length, crc32)) in stored_ends(self.content, local.data).enumerate() {
            if index % BETWEEN_TICKS == BETWEEN_TICKS - 1 {
                self.sink.tick()?;
            }
            crc.update(rest.get(summed..length).filter(|_| is_plain).unwrap_or_default());
            summed = length;
            if !is_plain || crc.clone().finalize() == crc32 {
                return Ok(Some((length, crc32)));
            }
        }
        Ok(None)
    }

    /// Stored or encrypted data whose end nothing tells: it goes as far as the next record.
    fn endless(&mut self, local: &Local<'_>, trust: Trust) -> Result<Option<Outcome>, Stop> {
        if trust == Trust::Candidate {
            return Ok(None);
        }
        let rest = self.content.get(local.data..).unwrap_or_default();
        let next = [LOCAL, CENTRAL, END].iter().filter_map(|mark| memmem::find(rest, mark)).min().unwrap_or(rest.len());
        self.sink.part(&shown(local.name), rest.get(..next).unwrap_or_default())?;
        let reason = if local.facts.is_encrypted() { Reason::Encrypted } else { Reason::Broken };
        self.sink.member_unexamined(&shown(local.name), reason, "Zip");
        Ok(Some(Outcome { end: local.data + next, whole: true }))
    }

    fn descriptor_after(&self, data: usize, reading: &Reading) -> Option<usize> {
        let at = data.checked_add(reading.consumed)?;
        if reading.fault.is_some() {
            return None;
        }
        descriptor_bytes(self.content, at, reading.decoded.crc32, reading.consumed as u64)
    }

    /// Reads one member as one header has it; nothing if a candidate turns out to be none.
    fn member(&mut self, name: &[u8], data: usize, facts: &Facts, trust: Trust) -> Result<Option<Outcome>, Stop> {
        let input = bounded(self.content, data, facts.packed);
        let end = data.saturating_add(input.len());
        let whole = Outcome { end: self.after_descriptor(end, facts), whole: true };
        let key = (data, facts.method, facts.packed, facts.is_encrypted());
        if facts.is_empty() {
            if trust == Trust::Sure && self.done.insert(key) {
                self.tell(name, facts);
            }
            return Ok((trust == Trust::Sure).then_some(whole));
        }
        if !self.done.insert(key) {
            return Ok(Some(whole));
        }
        if facts.is_encrypted() || !member::is_supported(facts.method) {
            let believed = trust == Trust::Sure || is_record(self.content, whole.end);
            if believed {
                self.tell(name, facts);
                return self.closed(name, input, facts).map(|()| Some(whole));
            }
            // A directory may still lead here, and then it counts.
            self.done.remove(&key);
            return Ok(None);
        }
        if trust == Trust::Candidate {
            let probed = member::read("", input, facts, Purpose::Probe, self.sink)?;
            if !probed.fits(facts) {
                self.done.remove(&key);
                return self.doubtful(name, input, facts, &probed).map(|()| None);
            }
        }
        self.tell(name, facts);
        let reading = member::read(&shown(name), input, facts, Purpose::Examine, self.sink)?;
        if reading.fits(facts) {
            // Bytes of the data that the stream did not need are searched.
            let used = data + reading.consumed;
            return Ok(Some(Outcome { end: if used == end { whole.end } else { used }, whole: true }));
        }
        if self.is_repaired(name, data, facts, &reading)? {
            self.sink.note("a header has a wrong size");
            return Ok(Some(whole));
        }
        self.say_damaged(name, reading.fault);
        Ok(Some(Outcome { end, whole: false }))
    }

    fn tell(&mut self, name: &[u8], facts: &Facts) {
        let name = shown(name);
        let (packed, unpacked) = (Some(facts.packed), Some(facts.unpacked));
        self.sink.member(&Member { name: &name, packed, unpacked, encrypted: facts.is_encrypted(), crc32: Some(facts.crc32) });
    }

    /// A candidate whose stream is whole while checksum or size are not as told: openers show what came out, so it is examined. It is
    /// too little to call a container broken.
    fn doubtful(&mut self, name: &[u8], input: &[u8], facts: &Facts, probed: &Reading) -> Result<(), Stop> {
        if member::is_self_terminated(facts.method) && probed.fault.is_none() && probed.decoded.bytes > 0 {
            member::read(&shown(name), input, facts, Purpose::Examine, self.sink)?;
        }
        Ok(())
    }

    /// Data that is encrypted or packed by a method of which only the name is known. The encryption flag may lie.
    fn closed(&mut self, name: &[u8], input: &[u8], facts: &Facts) -> Result<(), Stop> {
        let shown = shown(name);
        if member::is_supported(facts.method) && member::read("", input, facts, Purpose::Probe, self.sink)?.fits(facts) {
            self.sink.note("a member that is not encrypted says that it is");
            member::read(&shown, input, facts, Purpose::Examine, self.sink)?;
        } else if facts.is_encrypted() {
            self.sink.member_unexamined(&shown, Reason::Encrypted, "Zip");
        } else {
            self.sink.member_unexamined(&shown, Reason::Unsupported, "ZipMethod");
        }
        Ok(())
    }

    /// Whether the data is whole once its size is taken from elsewhere: from the stream itself, or from the other size.
    fn is_repaired(&mut self, name: &[u8], data: usize, facts: &Facts, reading: &Reading) -> Result<bool, Stop> {
        let rest = self.content.get(data..).unwrap_or_default();
        let input = match (reading.fault, facts.method) {
            (Some(Fault::Cut), method) if member::is_self_terminated(method) => rest,
            (None, 0) if facts.unpacked != facts.packed => bounded(self.content, data, facts.unpacked),
            _ => return Ok(false),
        };
        if !member::read("", input, facts, Purpose::Probe, self.sink)?.fits(facts) {
            return Ok(false);
        }
        member::read(&shown(name), input, facts, Purpose::Examine, self.sink)?;
        Ok(true)
    }

    fn say_damaged(&mut self, name: &[u8], fault: Option<Fault>) {
        match fault {
            Some(Fault::Cut | Fault::Damaged) | None => self.sink.member_unexamined(&shown(name), Reason::Broken, "Zip"),
            Some(other @ (Fault::Window | Fault::Unsupported)) => streams::report(other, "ZipMethod", self.sink),
        }
    }

    fn after_descriptor(&self, end: usize, facts: &Facts) -> usize {
        let bytes = facts.has_descriptor().then(|| descriptor_bytes(self.content, end, facts.crc32, facts.packed)).flatten();
        end + bytes.unwrap_or(0)
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

    /// What belongs to no member may still be something: it is examined like a member.
    fn examine_gaps(&mut self) -> Result<(), Stop> {
        for gap in self.read.gaps(self.content.len()) {
            let bytes = self.content.get(gap.clone()).unwrap_or_default();
            self.sink.tick()?;
            // The same bytes again would be the same zip again.
            if bytes.len() == self.content.len() || bytes.len() < SMALLEST_GAP || bytes.iter().all(|&byte| byte == 0) {
                continue;
            }
            let trailing = gap.end == self.content.len();
            self.sink.note(if trailing { "bytes after the end" } else { "bytes between the members" });
            self.sink.part(&if trailing { "trailing".to_owned() } else { format!("gap-at-{}", gap.start) }, bytes)?;
        }
        Ok(())
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

fn descriptor_unpacked(rest: &[u8], at: usize) -> u32 {
    super::u32_at(rest, at.saturating_add(12)).unwrap_or(0)
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
