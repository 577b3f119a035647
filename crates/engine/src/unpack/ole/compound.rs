//! The structure of a compound file (MS-CFB 2): sectors, their chains, the mini stream. Nothing here is believed: chains may be cyclic,
//! cross each other or lead out of the file.

use std::{borrow::Cow, ops::Range};

use super::directory::{Entry, Kind, entry_at};
use crate::unpack::{Sink, Stop, u16_at, u32_at};

pub(crate) const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Whether what follows the magic number can be the header of one: byte order, sizes of sectors, the limit for short streams.
pub(super) fn has_plausible_header(content: &[u8]) -> bool {
    const ORDER: u16 = 0xfffe;
    let sizes = (u16_at(content, 0x1e), u16_at(content, 0x20));
    u16_at(content, 0x1c) == Some(ORDER) && matches!(sizes, (Some(9 | 12), Some(6))) && u32_at(content, 0x38) == Some(4_096)
}

/// The first number that is no sector.
const NO_SECTOR: u32 = 0xffff_fffa;
const END_OF_CHAIN: u32 = 0xffff_fffe;
const FREE_SECTOR: u32 = 0xffff_ffff;
const MINI_CUTOFF: u64 = 4_096;
/// Entries of the table of tables that stand in the header.
const IN_HEADER: usize = 109;

pub(super) struct Compound<'a> {
    content: &'a [u8],
    sectors: Sectors,
    mini: Sectors,
    mini_stream: Cow<'a, [u8]>,
    directory: Cow<'a, [u8]>,
    cutoff: u64,
    /// What an opener that follows the tables cannot read.
    pub(super) is_damaged: bool,
    /// To be given back.
    pub(super) held: u64,
}

/// Equal pieces of something, linked by a table, and which of them were read.
struct Sectors {
    table: Vec<u32>,
    bits: u32,
    /// Where the first one starts.
    base: usize,
    read: Vec<bool>,
}

/// What a stream holds.
pub(super) struct Content<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) is_whole: bool,
    is_crossed: bool,
}

/// A chain that was followed.
struct Chain {
    pieces: Vec<Range<usize>>,
    /// It has as many bytes as were asked for, and none that something else has as well.
    is_whole: bool,
    /// A part of it was read before, by itself or by another.
    is_crossed: bool,
}

impl Content<'_> {
    /// Says that the bytes are gone.
    pub(super) fn give_back(self, sink: &mut dyn Sink) {
        if let Cow::Owned(bytes) = self.bytes {
            sink.release(bytes.len() as u64);
        }
    }
}

impl<'a> Compound<'a> {
    pub(super) fn read(content: &'a [u8], sink: &mut dyn Sink) -> Result<Self, Stop> {
        let header = Header::of(content);
        let length = content.len();
        let per_sector = 1usize << (header.bits - 2);
        let count = length.saturating_sub(header.base).div_ceil(1 << header.bits);
        let held = (count as u64).saturating_mul(5);
        sink.hold(held)?;
        let mut file = Self {
            content,
            sectors: Sectors { table: Vec::new(), bits: header.bits, base: header.base, read: vec![false; count] },
            mini: Sectors { table: Vec::new(), bits: header.mini_bits, base: 0, read: Vec::new() },
            mini_stream: Cow::Borrowed(&[]),
            directory: Cow::Borrowed(&[]),
            cutoff: header.cutoff,
            is_damaged: header.is_damaged,
            held,
        };
        let tables = file.tables(&header, count.div_ceil(per_sector) + 1, sink)?;
        file.fill_table(&tables, sink)?;
        let directory = file.gathered(header.directory, sink)?;
        file.directory = directory.bytes;
        file.is_damaged |= !directory.is_whole || file.directory.is_empty();
        if header.mini_sectors > 0 {
            let mini_table = file.gathered(header.mini_table, sink)?;
            file.is_damaged |= !mini_table.is_whole;
            file.mini.table = numbers(&mini_table.bytes).collect();
        }
        let root = file.entries().find(|entry| entry.kind == Kind::Root).map(|root| (root.start, root.size));
        match root {
            // Whether all of it is there shows where a stream needs it.
            Some((start, size)) if size > 0 => {
                let mini_stream = file.gathered(start, sink)?;
                file.is_damaged |= mini_stream.is_crossed;
                file.mini_stream = mini_stream.bytes;
            }
            Some(_) => {}
            None => file.is_damaged = true,
        }
        file.mini.read = vec![false; file.mini_stream.len().div_ceil(1 << header.mini_bits)];
        Ok(file)
    }

    /// All directory entries in their order, used or not.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.directory.len() / Entry::BYTES).filter_map(|index| self.entry(index))
    }

    pub(super) fn entry(&self, index: usize) -> Option<Entry> {
        entry_at(&self.directory, index, self.sectors.bits)
    }

    /// The stream of an entry; whole only when it is read for the first time. Its bytes are held until [`Content::give_back`].
    pub(super) fn stream(&mut self, entry: &Entry, sink: &mut dyn Sink) -> Result<Content<'a>, Stop> {
        let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
        if size == 0 {
            return Ok(Content { bytes: Cow::Borrowed(&[]), is_whole: true, is_crossed: false });
        }
        if entry.size < self.cutoff {
            let chain = self.mini.chain(entry.start, size, self.mini_stream.len(), sink)?;
            let bytes = joined(&self.mini_stream, &chain.pieces, sink)?.into_owned();
            if chain.pieces.len() == 1 {
                sink.hold(bytes.len() as u64)?;
            }
            return Ok(Content { bytes: Cow::Owned(bytes), is_whole: chain.is_whole, is_crossed: chain.is_crossed });
        }
        let chain = self.sectors.chain(entry.start, size, self.content.len(), sink)?;
        let bytes = joined(self.content, &chain.pieces, sink)?;
        Ok(Content { bytes, is_whole: chain.is_whole, is_crossed: chain.is_crossed })
    }

    /// A short stream, which counts as read by nobody.
    pub(super) fn short_stream(&self, entry: &Entry) -> Vec<u8> {
        let (mut bytes, mut next, size) = (Vec::new(), entry.start, usize::try_from(entry.size).unwrap_or(0));
        while bytes.len() < size && entry.size < self.cutoff {
            let Some(range) = self.mini.range(next as usize, self.mini_stream.len()) else { break };
            bytes.extend_from_slice(self.mini_stream.get(range).unwrap_or_default());
            next = self.mini.table.get(next as usize).copied().unwrap_or(NO_SECTOR);
        }
        bytes.truncate(size);
        bytes
    }

    /// Where the last sector ends that the table says to be in use.
    pub(super) fn extent(&self) -> usize {
        let last = self.sectors.table.iter().rposition(|next| *next != FREE_SECTOR).unwrap_or(0);
        self.sectors.range(last, self.content.len()).map_or(self.content.len(), |range| range.end)
    }

    /// Runs of sectors that nothing which was read leads to, and what follows the last whole one.
    pub(super) fn unread(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (index, _) in self.sectors.read.iter().enumerate().filter(|(_, is_read)| !**is_read) {
            let Some(range) = self.sectors.range(index, self.content.len()) else { continue };
            match runs.last_mut() {
                Some(run) if run.end == range.start => run.end = range.end,
                Some(_) | None => runs.push(range),
            }
        }
        runs
    }

    /// The sectors that hold the table, from the header and from the chain of tables of tables.
    fn tables(&mut self, header: &Header, most: usize, sink: &mut dyn Sink) -> Result<Vec<u32>, Stop> {
        let mut tables: Vec<u32> = header.tables.iter().copied().take_while(|sector| *sector < NO_SECTOR).collect();
        let mut next = header.more_tables;
        let mut steps = 0;
        while next < NO_SECTOR {
            sink.tick()?;
            steps += 1;
            let Some(sector) = self.sectors.range(next as usize, self.content.len()).filter(|_| steps <= most) else {
                self.is_damaged = true;
                break;
            };
            self.sectors.mark(next);
            let listed: Vec<u32> = numbers(self.content.get(sector).unwrap_or_default()).collect();
            let (last, listed) = listed.split_last().unwrap_or((&END_OF_CHAIN, &[]));
            tables.extend(listed.iter().copied().take_while(|sector| *sector < NO_SECTOR));
            next = if listed.len() + 1 < 1 << (self.sectors.bits - 2) { END_OF_CHAIN } else { *last };
        }
        // More of them than the file has sectors tell of nothing.
        if tables.len() > most {
            self.is_damaged = true;
            tables.truncate(most);
        }
        self.is_damaged |= (tables.len() as u64) < u64::from(header.table_sectors);
        Ok(tables)
    }

    fn fill_table(&mut self, tables: &[u32], sink: &mut dyn Sink) -> Result<(), Stop> {
        let per_sector = 1usize << (self.sectors.bits - 2);
        for &sector in tables {
            sink.tick()?;
            let bytes =
                self.sectors.range(sector as usize, self.content.len()).and_then(|range| self.content.get(range)).unwrap_or_default();
            self.sectors.mark(sector);
            // A table that is not there still has its place: what follows is told by position.
            let end = self.sectors.table.len() + per_sector;
            self.is_damaged |= bytes.len() < per_sector * 4;
            self.sectors.table.extend(numbers(bytes));
            self.sectors.table.resize(end, NO_SECTOR);
            if self.sectors.table.len() >= self.sectors.read.len() {
                // What lies beyond the file's end is not kept, whatever the tables say.
                self.sectors.table.truncate(self.sectors.read.len());
            }
        }
        Ok(())
    }

    /// A chain of the structure itself, to its end; held as long as this is.
    fn gathered(&mut self, start: u32, sink: &mut dyn Sink) -> Result<Content<'a>, Stop> {
        if start == END_OF_CHAIN {
            return Ok(Content { bytes: Cow::Borrowed(&[]), is_whole: true, is_crossed: false });
        }
        let chain = self.sectors.chain(start, usize::MAX, self.content.len(), sink)?;
        let bytes = joined(self.content, &chain.pieces, sink)?;
        if let Cow::Owned(bytes) = &bytes {
            self.held = self.held.saturating_add(bytes.len() as u64);
        }
        Ok(Content { bytes, is_whole: chain.is_whole, is_crossed: chain.is_crossed })
    }
}

impl Sectors {
    fn range(&self, index: usize, length: usize) -> Option<Range<usize>> {
        let start = index.checked_mul(1 << self.bits)?.checked_add(self.base)?;
        (start < length).then(|| start..start.saturating_add(1 << self.bits).min(length))
    }

    /// Whether it was read before.
    fn mark(&mut self, sector: u32) -> bool {
        self.read.get_mut(sector as usize).is_some_and(|is_read| std::mem::replace(is_read, true))
    }

    /// Follows a chain for `size` bytes, or for `usize::MAX` to its end.
    fn chain(&mut self, start: u32, size: usize, length: usize, sink: &mut dyn Sink) -> Result<Chain, Stop> {
        const BETWEEN_TICKS: usize = 1_024;
        let (mut pieces, mut left, mut next): (Vec<Range<usize>>, usize, u32) = (Vec::new(), size, start);
        let most = length >> self.bits;
        let (mut steps, mut is_crossed) = (0usize, false);
        while left > 0 && next < NO_SECTOR {
            if steps.is_multiple_of(BETWEEN_TICKS) {
                sink.tick()?;
            }
            steps += 1;
            // One that is longer than what it lies in goes in a circle.
            let Some(range) = self.range(next as usize, length).filter(|_| steps <= most + 1) else {
                return Ok(Chain { pieces, is_whole: false, is_crossed });
            };
            is_crossed |= self.mark(next);
            let whole = range.len() == 1 << self.bits;
            let taken = range.len().min(left);
            let range = range.start..range.start + taken;
            match pieces.last_mut() {
                Some(piece) if piece.end == range.start => piece.end = range.end,
                Some(_) | None => pieces.push(range),
            }
            left = if size == usize::MAX { left } else { left - taken };
            next = self.table.get(next as usize).copied().unwrap_or(NO_SECTOR);
            if !whole {
                // Cut by the end of the file.
                return Ok(Chain { pieces, is_whole: left == 0 && !is_crossed, is_crossed });
            }
        }
        let is_ended = if size == usize::MAX { next == END_OF_CHAIN } else { left == 0 };
        Ok(Chain { pieces, is_whole: is_ended && !is_crossed, is_crossed })
    }
}

/// The bytes of all pieces; only several are copied.
fn joined<'a>(content: &'a [u8], pieces: &[Range<usize>], sink: &mut dyn Sink) -> Result<Cow<'a, [u8]>, Stop> {
    if let [piece] = pieces {
        return Ok(Cow::Borrowed(content.get(piece.clone()).unwrap_or_default()));
    }
    let length = pieces.iter().map(ExactSizeIterator::len).sum();
    sink.hold(length as u64)?;
    let mut bytes = Vec::with_capacity(length);
    for piece in pieces {
        bytes.extend_from_slice(content.get(piece.clone()).unwrap_or_default());
    }
    Ok(Cow::Owned(bytes))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

struct Header {
    bits: u32,
    mini_bits: u32,
    base: usize,
    cutoff: u64,
    table_sectors: u32,
    directory: u32,
    mini_table: u32,
    mini_sectors: u32,
    more_tables: u32,
    tables: Vec<u32>,
    is_damaged: bool,
}

impl Header {
    /// Reads what there is; a wrong number gets the value that openers assume.
    fn of(content: &[u8]) -> Self {
        const LENGTH: usize = 512;
        let number = |at| u32_at(content, at);
        let shift = |at, allowed: Range<u32>| u16_at(content, at).map(u32::from).filter(|bits| allowed.contains(bits));
        let assumed = if u16_at(content, 0x1a) == Some(4) { 12 } else { 9 };
        let (bits, mini_bits) = (shift(0x1e, 7..21), shift(0x20, 2..12));
        let cutoff = number(0x38).map_or(MINI_CUTOFF, u64::from);
        let agrees = bits == Some(assumed) && mini_bits == Some(6) && cutoff == MINI_CUTOFF;
        let bits = bits.unwrap_or(assumed);
        Self {
            bits,
            mini_bits: mini_bits.filter(|mini| *mini <= bits).unwrap_or(6),
            base: 1 << bits,
            cutoff,
            table_sectors: number(0x2c).unwrap_or(0),
            directory: number(0x30).unwrap_or(END_OF_CHAIN),
            mini_table: number(0x3c).unwrap_or(END_OF_CHAIN),
            mini_sectors: number(0x40).unwrap_or(0),
            more_tables: number(0x44).unwrap_or(END_OF_CHAIN),
            tables: numbers(content.get(0x4c..LENGTH).unwrap_or_default()).take(IN_HEADER).collect(),
            is_damaged: content.len() < LENGTH || !agrees,
        }
    }
}
