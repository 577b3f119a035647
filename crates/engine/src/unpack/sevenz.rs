//! 7z archives (7-Zip, "7zFormat.txt"): streams packed together in folders, each decoded once from its start to its end.

mod coders;
mod crypt;
mod header;
#[cfg(test)]
mod tests;

use std::{io::Read, rc::Rc};

use filesafety_model::{Password, Reason};

use self::{
    crypt::{CoderKeys, Keys},
    header::{Archive, File, Folder, Streams},
};
use super::{
    Ended, Member, Sink, Stop,
    codec::{Fault, Stream},
    gather,
    ranges::{Ranges, examine_gaps},
    streams::report,
    u32_at, u64_at, zip,
};

const DETAIL: &str = "SevenZip";
const MAGIC: &[u8] = b"7z\xbc\xaf\x27\x1c";
const START_HEADER: usize = 32;

/// Headers are packed in headers; nobody packs them more often.
const NESTED_HEADERS: usize = 4;

/// As large as the header of a million files.
const LARGEST_HEADER: u64 = 256 << 20;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut walk = Walk { content, keys: Keys::default(), passwords: sink.passwords(), read: Ranges::default(), is_encrypted: false, sink };
    walk.archive()?;
    if walk.is_encrypted {
        walk.sink.unexamined(Reason::Encrypted, DETAIL);
    }
    let gaps = examine_gaps(content, &walk.read, walk.sink)?;
    zip::open_across(content, &gaps, walk.sink)
}

/// Whether a start header with a right checksum stands here, and the next header within the content.
pub(crate) fn starts(content: &[u8]) -> bool {
    next_header(content).is_ok_and(|next| next.end <= content.len() && !next.is_empty())
}

/// Where the next header stands; it may lie beyond the content.
fn next_header(content: &[u8]) -> Result<std::ops::Range<usize>, Fault> {
    let told = content.get(12..START_HEADER).ok_or(Fault::Cut)?;
    let (offset, size) = u64_at(content, 12).zip(u64_at(content, 20)).ok_or(Fault::Cut)?;
    let place = |value: u64| usize::try_from(value).map_err(|_| Fault::Damaged);
    let start = place(offset)?.checked_add(START_HEADER).ok_or(Fault::Damaged)?;
    let end = start.checked_add(place(size)?).ok_or(Fault::Damaged)?;
    let is_sound = content.starts_with(MAGIC) && u32_at(content, 8) == Some(crc32fast::hash(told));
    if is_sound { Ok(start..end) } else { Err(Fault::Damaged) }
}

/// Files are packed together: what one of them takes, nothing tells, and ClamAV's signatures have it as nothing.
fn member<'a>(name: &'a str, file: &File, encrypted: bool) -> Member<'a> {
    Member { name, packed: Some(0), unpacked: Some(file.size), encrypted, crc32: file.crc32 }
}

struct Walk<'a, 's> {
    content: &'a [u8],
    sink: &'s mut dyn Sink,
    passwords: Rc<[Password]>,
    keys: Keys,
    read: Ranges,
    is_encrypted: bool,
}

impl<'a> Walk<'a, '_> {
    fn archive(&mut self) -> Result<(), Stop> {
        let next = match next_header(self.content) {
            Ok(next) => next,
            Err(fault) => {
                report(fault, DETAIL, self.sink);
                return Ok(());
            }
        };
        let Some(header) = self.content.get(next.clone()).filter(|header| u32_at(self.content, 28) == Some(crc32fast::hash(header))) else {
            // Cut off, damaged, or in another volume.
            self.sink.unexamined(Reason::Broken, DETAIL);
            return Ok(());
        };
        self.read.insert(0..START_HEADER);
        self.read.insert(next);
        if header.is_empty() {
            return Ok(());
        }
        self.header(header, NESTED_HEADERS)
    }

    /// Walks the files of a header, which may itself be packed.
    fn header(&mut self, header: &[u8], nested: usize) -> Result<(), Stop> {
        match header::parse(header) {
            Some(header::Header::Plain(archive)) => self.files(&archive),
            Some(header::Header::Packed(streams)) if nested > 0 => self.packed_header(&streams, nested - 1),
            Some(header::Header::Packed(_)) | None => {
                self.sink.unexamined(Reason::Broken, DETAIL);
                Ok(())
            }
        }
    }

    fn packed_header(&mut self, streams: &Streams<'_>, nested: usize) -> Result<(), Stop> {
        let (Some(folder), Some(packs)) = (streams.folders.first(), self.packs(streams, 0)) else {
            self.sink.unexamined(Reason::Broken, DETAIL);
            return Ok(());
        };
        let Some(keys) = self.unlock(folder, &packs, folder.size(), folder.crc32)? else {
            // What stands before the header belongs to files that only it could tell.
            self.read.insert(0..next_header(self.content).map_or(0, |next| next.end));
            return Ok(());
        };
        let held = folder.memory();
        self.sink.hold(held)?;
        let mut stream = coders::stream(folder, &packs, &keys);
        let gathered = gather(&mut stream, LARGEST_HEADER, self.sink)?;
        let fault = stream.fault();
        drop(stream);
        self.sink.release(held);
        let is_sound = folder.crc32.is_none_or(|crc32| crc32 == crc32fast::hash(&gathered.bytes));
        match fault {
            Some(fault) => report(fault, DETAIL, self.sink),
            None if is_sound => self.header(&gathered.bytes, nested)?,
            None => self.sink.unexamined(Reason::Broken, DETAIL),
        }
        self.sink.release(gathered.held);
        Ok(())
    }

    fn files(&mut self, archive: &Archive<'_>) -> Result<(), Stop> {
        let mut names = archive.names();
        for (index, folder) in archive.streams.folders.iter().enumerate() {
            self.sink.tick()?;
            let Some(packs) = self.packs(&archive.streams, index) else {
                self.sink.unexamined(Reason::Broken, DETAIL);
                return Ok(());
            };
            self.folder(folder, &packs, &mut names)?;
        }
        Ok(())
    }

    /// Decodes a folder and examines each of its files.
    fn folder(&mut self, folder: &Folder<'_>, packs: &[&[u8]], names: &mut dyn Iterator<Item = String>) -> Result<(), Stop> {
        let mut name = || names.next().unwrap_or_else(|| "content".to_owned());
        let first = folder.files.first();
        let unlocked = match first {
            Some(file) => self.unlock(folder, packs, file.size, file.crc32)?,
            None => None,
        };
        let Some(keys) = unlocked else {
            // The names of what stays closed belong to it.
            folder.files.iter().for_each(|file| self.sink.member(&member(&name(), file, true)));
            return Ok(());
        };
        let held = folder.memory();
        self.sink.hold(held)?;
        let mut stream = coders::stream(folder, packs, &keys);
        let mut is_broken = false;
        for file in &folder.files {
            let (name, mut content) = (name(), (&mut stream as &mut dyn Read).take(file.size));
            self.sink.member(&member(&name, file, folder.is_encrypted()));
            let decoded = self.sink.child(&name, &mut content)?;
            let is_whole = decoded.ended == Ended::AtEnd && decoded.bytes == file.size;
            is_broken |= is_whole && file.crc32.is_some_and(|crc32| crc32 != decoded.crc32);
            is_broken |= !is_whole && stream.fault().is_none();
        }
        match stream.fault() {
            Some(Fault::Unsupported) => self.sink.unexamined(Reason::Unsupported, "SevenZipMethod"),
            Some(fault) => report(fault, DETAIL, self.sink),
            None if is_broken => self.sink.unexamined(Reason::Broken, DETAIL),
            None => {}
        }
        drop(stream);
        self.sink.release(held);
        Ok(())
    }

    /// The packed streams of a folder, each as far as its bytes reach.
    fn packs(&mut self, streams: &Streams<'_>, index: usize) -> Option<Vec<&'a [u8]>> {
        let before: usize = streams.folders.get(..index)?.iter().map(|folder| folder.packed.len()).sum();
        let mut at = streams.start.checked_add(START_HEADER as u64)?;
        for size in streams.packs.get(..before)? {
            at = at.checked_add(*size)?;
        }
        let mut packs = Vec::new();
        for size in streams.packs.get(before..before.checked_add(streams.folders.get(index)?.packed.len())?)? {
            let start = usize::try_from(at).unwrap_or(usize::MAX).min(self.content.len());
            at = at.checked_add(*size)?;
            let end = usize::try_from(at).unwrap_or(usize::MAX).min(self.content.len());
            self.read.insert(start..end);
            packs.push(self.content.get(start..end)?);
        }
        Some(packs)
    }

    /// The keys of the folder's coders, none where it is not encrypted. The first of its files, of this size and checksum, tells which
    /// password is right. Nothing where all are wrong.
    fn unlock(&mut self, folder: &Folder<'_>, packs: &[&[u8]], size: u64, crc32: Option<u32>) -> Result<Option<CoderKeys>, Stop> {
        if !folder.is_encrypted() {
            return Ok(Some(CoderKeys::default()));
        }
        let held = folder.memory();
        for (index, password) in self.passwords.clone().iter().enumerate() {
            let Some(keys) = self.keys.of_folder(folder, index, password, self.sink)? else { break };
            self.sink.hold(held)?;
            let mut stream = coders::stream(folder, packs, &keys);
            let probed = self.sink.probe(&mut (&mut stream as &mut dyn Read).take(size))?;
            let fits = probed.bytes == size && crc32.is_none_or(|crc32| crc32 == probed.crc32);
            drop(stream);
            self.sink.release(held);
            if fits {
                return Ok(Some(keys));
            }
        }
        self.is_encrypted = true;
        Ok(None)
    }
}
