//! UDF (ECMA-167, OSTA UDF 1.02 to 2.01) on optical discs: the tree of the file set, by its allocation descriptors. Partitions of later
//! kinds (virtual, sparable, metadata) are told.

use std::{collections::HashSet, io::Read, ops::Range};

use filesafety_model::Reason;

use super::{
    Sink, Stop,
    iso::Pieces,
    ranges::Ranges,
    stretches::{Stretch, Stretches},
    u16_at, u32_at, u64_at,
};

const DETAIL: &str = "Udf";
const SECTOR: usize = 2_048;
const MAX_DEPTH: usize = 64;

/// More extents of one file are not followed.
const MAX_EXTENTS: usize = 1 << 16;

/// Tags of descriptors (ECMA-167, 3/7.2.1 and 4/7.2.1).
mod tag {
    pub(super) const ANCHOR: u16 = 2;
    pub(super) const PARTITION: u16 = 5;
    pub(super) const LOGICAL_VOLUME: u16 = 6;
    pub(super) const TERMINATOR: u16 = 8;
    pub(super) const FILE_SET: u16 = 256;
    pub(super) const FILE_ID: u16 = 257;
    pub(super) const FILE_ENTRY: u16 = 261;
    pub(super) const EXTENDED_FILE_ENTRY: u16 = 266;
}

/// Whether the extended area names UDF.
pub(crate) fn starts(content: &[u8]) -> bool {
    (16..80).any(|sector| matches!(content.get(sector * SECTOR + 1..sector * SECTOR + 6), Some(b"NSR02" | b"NSR03")))
}

/// Walks the tree. `done` are the files that another tree of the image gave already.
pub(crate) fn open(
    content: &[u8],
    done: &HashSet<(usize, usize)>,
    read: &mut Ranges,
    parts: &mut Vec<Range<usize>>,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    let Some(volume) = Volume::find(content) else {
        sink.unexamined(Reason::Broken, DETAIL);
        return Ok(());
    };
    if volume.is_of_a_later_kind {
        sink.unexamined(Reason::Unsupported, DETAIL);
    }
    let mut walk = Walk { volume, done, entries: HashSet::new(), read, parts, sink, is_broken: false };
    match walk.volume.root() {
        Some(root) => walk.entry(root, &mut String::new(), 0)?,
        None => walk.is_broken = true,
    }
    if walk.is_broken {
        walk.sink.unexamined(Reason::Broken, DETAIL);
    }
    Ok(())
}

struct Volume<'a> {
    content: &'a [u8],
    block: usize,
    /// Of each partition of the logical volume, its first byte.
    partitions: Vec<usize>,
    file_set: Place,
    is_of_a_later_kind: bool,
}

/// A block of a partition.
#[derive(Clone, Copy)]
struct Place {
    block: u32,
    partition: u16,
}

impl<'a> Volume<'a> {
    fn find(content: &'a [u8]) -> Option<Self> {
        let last = content.len() / SECTOR;
        let anchors = [Some(256), last.checked_sub(1), last.checked_sub(257)].into_iter().flatten();
        let anchor = anchors.filter_map(|sector| descriptor(content, sector * SECTOR, tag::ANCHOR)).next()?;
        [16, 24].into_iter().find_map(|at| {
            let length = u32_at(anchor, at)? as usize;
            let start = (u32_at(anchor, at + 4)? as usize).checked_mul(SECTOR)?;
            Self::of_sequence(content, content.get(start..)?.get(..length.min(1 << 20))?)
        })
    }

    /// The volume that a sequence of descriptors tells; the last of a kind counts.
    fn of_sequence(content: &'a [u8], sequence: &[u8]) -> Option<Self> {
        let (mut logical, mut physical) = (None, Vec::new());
        for sector in sequence.chunks_exact(SECTOR) {
            match u16_at(sector, 0)? {
                tag::PARTITION => physical.push((u16_at(sector, 22)?, u32_at(sector, 188)? as usize)),
                tag::LOGICAL_VOLUME => logical = Some(sector),
                tag::TERMINATOR => break,
                _ => {}
            }
        }
        let logical = logical?;
        let block = u32_at(logical, 212)? as usize;
        let file_set = Place { block: u32_at(logical, 252)?, partition: u16_at(logical, 256)? };
        let mut volume = Self { content, block, partitions: Vec::new(), file_set, is_of_a_later_kind: false };
        let mut at = 440;
        for _ in 0..u32_at(logical, 268)?.min(16) {
            let (kind, length) = (*logical.get(at)?, usize::from(*logical.get(at + 1)?));
            volume.is_of_a_later_kind |= kind != 1;
            let number = u16_at(logical, at + if kind == 1 { 4 } else { 38 })?;
            let start = physical.iter().rev().find(|(known, _)| *known == number).map(|(_, start)| *start)?;
            volume.partitions.push(start.checked_mul(block)?);
            at += length.max(6);
        }
        matches!(block, 512 | 1_024 | 2_048 | 4_096).then_some(volume)
    }

    fn offset(&self, place: Place) -> Option<usize> {
        self.partitions.get(usize::from(place.partition))?.checked_add((place.block as usize).checked_mul(self.block)?)
    }

    fn root(&self) -> Option<Place> {
        place_at(descriptor(self.content, self.offset(self.file_set)?, tag::FILE_SET)?, 400)
    }
}

/// The block that a long allocation descriptor points to.
fn place_at(descriptor: &[u8], at: usize) -> Option<Place> {
    Some(Place { block: u32_at(descriptor, at + 4)?, partition: u16_at(descriptor, at + 8)? })
}

/// What stands at `at`, if it is tagged so, and the tag's own checksum is right.
fn descriptor(content: &[u8], at: usize, wanted: u16) -> Option<&[u8]> {
    let found = content.get(at..)?;
    let tag: &[u8; 16] = found.first_chunk()?;
    let sum = tag.iter().enumerate().filter(|(index, _)| *index != 4).fold(0u8, |sum, (_, byte)| sum.wrapping_add(*byte));
    (u16_at(tag, 0) == Some(wanted) && sum == tag[4]).then_some(found)
}

/// Where a file's bytes are.
enum Data<'a> {
    Embedded(&'a [u8]),
    Extents(Vec<Extent>),
}

struct Extent {
    start: usize,
    length: usize,
    /// Zeros that nobody wrote.
    is_hole: bool,
}

struct Walk<'a, 's> {
    volume: Volume<'a>,
    done: &'s HashSet<(usize, usize)>,
    /// File entries that were met.
    entries: HashSet<usize>,
    read: &'s mut Ranges,
    parts: &'s mut Vec<Range<usize>>,
    sink: &'s mut dyn Sink,
    is_broken: bool,
}

impl<'a> Walk<'a, '_> {
    fn entry(&mut self, place: Place, path: &mut String, depth: usize) -> Result<(), Stop> {
        const DIRECTORY: u8 = 4;
        self.sink.tick()?;
        let content = self.volume.content;
        let found = self.volume.offset(place).and_then(|at| {
            let plain = descriptor(content, at, tag::FILE_ENTRY).map(|entry| (at, entry, 168));
            plain.or_else(|| descriptor(content, at, tag::EXTENDED_FILE_ENTRY).map(|entry| (at, entry, 208)))
        });
        let Some((at, entry, lengths)) = found else {
            self.is_broken = true;
            return Ok(());
        };
        if !self.entries.insert(at) || depth > MAX_DEPTH {
            return Ok(());
        }
        self.read.insert(at..at.saturating_add(self.volume.block).min(content.len()));
        let (Some(data), Some(size)) = (self.data(entry, lengths, place.partition)?, u64_at(entry, 56)) else {
            self.is_broken = true;
            return Ok(());
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if entry.get(27) == Some(&DIRECTORY) { self.directory(&data, size, path, depth) } else { self.file(&data, size, path) }
    }

    fn data(&mut self, entry: &'a [u8], lengths: usize, partition: u16) -> Result<Option<Data<'a>>, Stop> {
        let read = || {
            let kind = u16_at(entry, 34)? & 7;
            let start = lengths.checked_add(8)?.checked_add(u32_at(entry, lengths)? as usize)?;
            Some((kind, entry.get(start..)?.get(..u32_at(entry, lengths + 4)? as usize)?))
        };
        let Some((kind, descriptors)) = read() else { return Ok(None) };
        match kind {
            0 => self.extents(descriptors, 8, partition).map(|extents| extents.map(Data::Extents)),
            1 => self.extents(descriptors, 16, partition).map(|extents| extents.map(Data::Extents)),
            3 => Ok(Some(Data::Embedded(descriptors))),
            _ => Ok(None),
        }
    }

    fn extents(&mut self, mut descriptors: &'a [u8], each: usize, partition: u16) -> Result<Option<Vec<Extent>>, Stop> {
        let mut extents = Vec::new();
        while let Some((descriptor, rest)) = descriptors.split_at_checked(each) {
            self.sink.tick()?;
            descriptors = rest;
            let Some((raw, block)) = u32_at(descriptor, 0).zip(u32_at(descriptor, 4)) else { return Ok(None) };
            let partition = u16_at(descriptor, 8).filter(|_| each == 16).unwrap_or(partition);
            let (kind, length) = (raw >> 30, (raw & 0x3fff_ffff) as usize);
            if length == 0 {
                break;
            }
            let Some(start) = self.volume.offset(Place { block, partition }) else { return Ok(None) };
            if kind == 3 {
                // More descriptors stand there, behind a tag and two numbers.
                const HEAD: usize = 24;
                let more = self.volume.content.get(start..).and_then(|rest| rest.get(HEAD..length));
                let Some(more) = more else { return Ok(None) };
                self.read.insert(start..start + length);
                descriptors = more;
            } else {
                extents.push(Extent { start, length, is_hole: kind != 0 });
            }
            if extents.len() > MAX_EXTENTS {
                return Ok(None);
            }
        }
        Ok(Some(extents))
    }

    /// The bytes of an extent, as far as they reach.
    fn piece(&mut self, extent: &Extent) -> &'a [u8] {
        let rest = self.volume.content.get(extent.start..).unwrap_or_default();
        let piece = rest.get(..extent.length).unwrap_or(rest);
        self.is_broken |= piece.len() < extent.length;
        self.read.insert(extent.start..extent.start.saturating_add(piece.len()));
        piece
    }

    fn directory(&mut self, data: &Data<'a>, size: usize, path: &mut String, depth: usize) -> Result<(), Stop> {
        /// Of as many files as a scan has objects, with long names.
        const LARGEST: u64 = 64 << 20;
        let extents = match data {
            Data::Embedded(entries) => return self.identifiers(entries.get(..size).unwrap_or(entries), path, depth),
            Data::Extents(extents) => extents,
        };
        let pieces = extents.iter().filter(|extent| !extent.is_hole).map(|extent| self.piece(extent)).collect();
        let gathered = super::gather(&mut Pieces { pieces, at: 0 }, LARGEST, self.sink)?;
        self.is_broken |= gathered.ended == super::Ended::InError;
        self.identifiers(gathered.bytes.get(..size).unwrap_or(&gathered.bytes), path, depth)?;
        self.sink.release(gathered.held);
        Ok(())
    }

    fn identifiers(&mut self, mut entries: &[u8], path: &mut String, depth: usize) -> Result<(), Stop> {
        const DELETED: u8 = 4;
        const PARENT: u8 = 8;
        while !entries.is_empty() {
            self.sink.tick()?;
            let parse = || {
                let identifier = descriptor(entries, 0, tag::FILE_ID)?;
                let name = 38usize.checked_add(usize::from(u16_at(identifier, 36)?))?;
                let end = name + usize::from(*identifier.get(19)?);
                Some((*identifier.get(18)?, place_at(identifier, 20)?, text(identifier.get(name..end)?), end.next_multiple_of(4)))
            };
            let Some((flags, place, name, end)) = parse() else {
                // The last block of a directory is filled with zeros.
                self.is_broken |= entries.iter().any(|&byte| byte != 0);
                return Ok(());
            };
            entries = entries.get(end..).unwrap_or_default();
            if flags & (DELETED | PARENT) == 0 {
                let parent = path.len();
                path.push_str(if parent == 0 { "" } else { "/" });
                path.push_str(&name);
                self.entry(place, path, depth + 1)?;
                path.truncate(parent);
            }
        }
        Ok(())
    }

    fn file(&mut self, data: &Data<'a>, size: usize, path: &str) -> Result<(), Stop> {
        let extents = match data {
            Data::Embedded(content) => {
                self.is_broken |= content.len() < size;
                let content = content.get(..size).unwrap_or(content);
                if !content.is_empty() {
                    self.sink.part(path, content)?;
                }
                return Ok(());
            }
            Data::Extents(extents) => extents,
        };
        // What another tree gave is read as well, so that it is no gap.
        let pieces: Vec<&[u8]> = extents.iter().map(|extent| if extent.is_hole { &[][..] } else { self.piece(extent) }).collect();
        let total: usize = extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.length));
        self.is_broken |= total < size;
        let known = extents.first().is_some_and(|first| self.done.contains(&(first.start, size)));
        if size == 0 || known {
            return Ok(());
        }
        match (extents.as_slice(), pieces.as_slice()) {
            ([extent], [piece]) if !extent.is_hole => {
                let content = piece.get(..size).unwrap_or(piece);
                self.parts.push(extent.start..extent.start + content.len());
                self.sink.part(path, content)?;
            }
            _ => {
                let holes =
                    extents.iter().zip(pieces).map(|(extent, piece)| Stretch { piece, zeros: (extent.length - piece.len()) as u64 });
                self.sink.child(path, &mut Stretches(holes.collect()).take(size as u64))?;
            }
        }
        Ok(())
    }
}

/// Compressed Unicode (OSTA UDF, section 2.1.1): the first byte tells how many bits a character has.
fn text(name: &[u8]) -> String {
    match name {
        [16, units @ ..] => {
            let units: Vec<u16> = units.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        [_, latin @ ..] => latin.iter().map(|&byte| char::from(byte)).collect(),
        [] => String::new(),
    }
}
