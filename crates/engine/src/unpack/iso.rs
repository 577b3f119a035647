//! Images of optical discs: ISO 9660 (ECMA-119) with the trees of every volume descriptor, Joliet's among them, and UDF beside or alone.
//! What belongs to no file, as the image that a machine starts from, is examined as well.

mod records;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, ops::Range};

use filesafety_model::Reason;

use self::records::{Alphabet, Record, Volume};
use super::{
    Sink, Stop,
    ranges::{Ranges, examine_gaps},
    udf, zip,
};

const DETAIL: &str = "Iso";
const SECTOR: usize = 2_048;
const FIRST_DESCRIPTOR: usize = 16;
/// More descriptors are none.
const MAX_DESCRIPTORS: usize = 64;
const MAX_DEPTH: usize = 64;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut walk = Walk { content, sink, read: Ranges::default(), done: HashSet::new(), parts: Vec::new(), is_broken: false };
    let volumes = walk.descriptors();
    let has_udf = udf::starts(content);
    // The richest names first.
    for volume in volumes.iter().filter(|volume| volume.alphabet == Alphabet::Ucs2).chain(&volumes) {
        walk.directory(volume, &volume.root, &mut String::new(), 0)?;
    }
    if volumes.is_empty() && !has_udf {
        walk.is_broken = true;
    }
    if walk.is_broken {
        walk.sink.unexamined(Reason::Broken, DETAIL);
    }
    let Walk { mut read, done, mut parts, .. } = walk;
    if has_udf {
        udf::open(content, &done, &mut read, &mut parts, sink)?;
    }
    parts.extend(examine_gaps(content, &read, sink)?);
    zip::open_across(content, &parts, sink)
}

/// Whether the standard's identifier stands where the first volume descriptor is.
pub(crate) fn starts(content: &[u8]) -> bool {
    let at = |sector: usize| content.get(sector * SECTOR + 1..sector * SECTOR + 6);
    (FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + 3).any(|sector| at(sector) == Some(b"CD001"))
        || at(FIRST_DESCRIPTOR) == Some(b"BEA01") && udf::starts(content)
}

struct Walk<'a, 's> {
    content: &'a [u8],
    sink: &'s mut dyn Sink,
    read: Ranges,
    /// Directories and files that were seen, by place and size: trees share them.
    done: HashSet<(usize, usize)>,
    parts: Vec<Range<usize>>,
    is_broken: bool,
}

impl Walk<'_, '_> {
    fn descriptors(&mut self) -> Vec<Volume> {
        const BOOT: u8 = 0;
        const PRIMARY: u8 = 1;
        const SUPPLEMENTARY: u8 = 2;
        let mut volumes = Vec::new();
        for sector in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + MAX_DESCRIPTORS {
            let Some(descriptor) = self.content.get(sector * SECTOR..).and_then(|rest| rest.get(..SECTOR)) else { break };
            match (descriptor.first(), descriptor.get(1..6)) {
                (Some(&(PRIMARY | SUPPLEMENTARY)), Some(b"CD001")) => volumes.extend(Volume::parse(descriptor)),
                (Some(&BOOT), Some(b"CD001")) | (_, Some(b"BEA01" | b"NSR02" | b"NSR03" | b"TEA01" | b"BOOT2")) => {}
                // The terminator; another extension may follow it.
                (Some(255), Some(b"CD001")) => {}
                _ => break,
            }
            self.read.insert(sector * SECTOR..(sector + 1) * SECTOR);
        }
        volumes
    }

    fn directory(&mut self, volume: &Volume, directory: &Record, path: &mut String, depth: usize) -> Result<(), Stop> {
        self.sink.tick()?;
        let (start, size) = (directory.start(volume), directory.size);
        if depth > MAX_DEPTH || !self.done.insert((start, size)) {
            return Ok(());
        }
        let Some(entries) = self.content.get(start..).map(|rest| rest.get(..size).unwrap_or(rest)) else {
            self.is_broken = true;
            return Ok(());
        };
        self.is_broken |= entries.len() < size;
        self.read_to_sector(start..start + entries.len());
        let (mut at, mut extents) = (0, Vec::new());
        while at < entries.len() {
            self.sink.tick()?;
            let length = usize::from(entries.get(at).copied().unwrap_or(0));
            if length == 0 {
                // Records do not cross sectors.
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            }
            let Some(record) = entries.get(at..at + length).and_then(|bytes| Record::parse(bytes, volume.alphabet)) else {
                self.is_broken = true;
                break;
            };
            at += length;
            if record.is_self_or_parent {
                continue;
            }
            let parent = path.len();
            path.push_str(if parent == 0 { "" } else { "/" });
            path.push_str(&record.name);
            if record.is_directory {
                self.directory(volume, &record, path, depth + 1)?;
            } else {
                let (is_last, is_zisofs) = (!record.has_more, record.is_zisofs);
                extents.push(record);
                if is_last {
                    self.file(volume, &std::mem::take(&mut extents), path)?;
                }
                if is_zisofs {
                    self.sink.member_unexamined(path, Reason::Unsupported, "IsoZisofs");
                }
            }
            path.truncate(parent);
        }
        Ok(())
    }

    /// The zeros that fill the last sector are read with it.
    fn read_to_sector(&mut self, range: Range<usize>) {
        let end = range.end.next_multiple_of(SECTOR).min(self.content.len());
        let is_filled = self.content.get(range.end..end).is_some_and(|rest| rest.iter().all(|&byte| byte == 0));
        self.read.insert(range.start..if is_filled { end } else { range.end });
    }

    /// A file, which large ones have in several extents.
    fn file(&mut self, volume: &Volume, extents: &[Record], path: &str) -> Result<(), Stop> {
        let mut pieces = Vec::new();
        for extent in extents {
            let start = extent.start(volume);
            let Some(rest) = self.content.get(start..) else {
                self.is_broken |= extent.size > 0;
                continue;
            };
            let piece = rest.get(..extent.size).unwrap_or(rest);
            self.is_broken |= piece.len() < extent.size || extent.is_interleaved;
            self.read_to_sector(start..start + piece.len());
            pieces.push((start, piece));
        }
        let Some(&(start, first)) = pieces.first() else { return Ok(()) };
        let total = pieces.iter().map(|(_, piece)| piece.len()).sum();
        if total == 0 || !self.done.insert((start, total)) {
            return Ok(());
        }
        self.parts.push(start..start + first.len());
        match pieces.as_slice() {
            [(_, piece)] => self.sink.part(path, piece)?,
            many => self.sink.child(path, &mut Pieces { pieces: many.iter().map(|(_, piece)| *piece).collect(), at: 0 })?,
        };
        Ok(())
    }
}

/// Slices one after another.
pub(crate) struct Pieces<'a> {
    pub(super) pieces: Vec<&'a [u8]>,
    pub(super) at: usize,
}

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(piece) = self.pieces.get_mut(self.at) {
            if !piece.is_empty() {
                return piece.read(buffer);
            }
            self.at += 1;
        }
        Ok(0)
    }
}
