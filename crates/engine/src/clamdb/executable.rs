//! What signatures ask of an executable: its entry point, its sections, its imports.
//!
//! PE by Microsoft's *PE Format*, ELF by the System V gABI, Mach-O by Apple's *OS X ABI Mach-O File Format Reference*. Headers lie:
//! every number is checked against the bytes that are there, every walk is bounded.

mod imports;

use crate::unpack::{u16_at, u32_at, u64_at};

pub(super) use imports::import_hash;

/// The sort of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Pe,
    Elf,
    MachO,
}

/// An executable, in offsets of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Executable {
    pub(super) sort: Sort,
    /// Where execution begins, if that lies in the file.
    pub(super) entry: Option<usize>,
    /// In the order of the header; one without content has no length.
    pub(super) sections: Vec<Section>,
    /// Of a PE; empty otherwise.
    pub(super) directories: Vec<Directory>,
    /// Whether addresses of a PE have 64 bits.
    pub(super) wide: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) start: usize,
    pub(super) length: usize,
    /// Where it lies in memory, relative to the image for a PE.
    pub(super) address: u64,
    /// How long it is there.
    pub(super) memory: u64,
}

/// A table of a PE's optional header: an address relative to the image, and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) address: u32,
}

impl Executable {
    /// `None` where the content is no executable, or its header lies outside it.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        match content {
            [b'M', b'Z', ..] | [b'Z', b'M', ..] => parse_pe(content),
            [0x7f, b'E', b'L', b'F', ..] => parse_elf(content),
            _ => parse_mach_o(content),
        }
    }

    /// Where an address relative to the image lies in the file.
    pub(super) fn offset_of(&self, address: u32) -> Option<usize> {
        let address = u64::from(address);
        let holds =
            |section: &&Section| address >= section.address && address - section.address < section.memory.max(section.length as u64);
        match self.sections.iter().rev().find(holds) {
            Some(section) => {
                let within = usize::try_from(address - section.address).ok()?;
                (within < section.length).then(|| section.start + within)
            }
            // The headers are mapped as they stand.
            None => {
                let first = self.sections.iter().map(|section| section.address).min().unwrap_or(u64::MAX);
                (address < first).then(|| usize::try_from(address).ok()).flatten()
            }
        }
    }
}

/// The Windows loader takes no more.
const MAX_SECTIONS: usize = 96;
/// Sections and segments of ELF and Mach-O that are looked at.
const MAX_OTHER_SECTIONS: usize = 1024;

fn at(content: &[u8], from: usize) -> &[u8] {
    content.get(from..).unwrap_or_default()
}

fn parse_pe(content: &[u8]) -> Option<Executable> {
    let header = at(content, u32_at(content, 0x3c)? as usize);
    if !header.starts_with(b"PE\0\0") {
        return None;
    }
    let count = usize::from(u16_at(header, 6)?).min(MAX_SECTIONS);
    let optional_length = usize::from(u16_at(header, 20)?);
    let optional = at(header, 24);
    let wide = u16_at(optional, 0)? == 0x20b;
    let entry = u32_at(optional, 16)?;
    let alignment = u32_at(optional, 36)? as usize;
    let table = at(optional, optional_length);
    let sections: Vec<_> = (0..count).map_while(|index| pe_section(content, at(table, index * 40), alignment)).collect();
    let tables = at(optional, if wide { 112 } else { 96 });
    let announced = u32_at(optional, if wide { 108 } else { 92 }).unwrap_or(0) as usize;
    let directories = (0..announced.min(16)).map_while(|index| Some(Directory { address: u32_at(tables, index * 8)? })).collect();
    let mut executable = Executable { sort: Sort::Pe, entry: None, sections, directories, wide };
    executable.entry = executable.offset_of(entry).filter(|&entry| entry < content.len());
    Some(executable)
}

/// The loader rounds where a section begins down, and its length up, to the alignment; beyond the file's end there is nothing.
fn pe_section(content: &[u8], header: &[u8], alignment: usize) -> Option<Section> {
    let (memory, address) = (u32_at(header, 8)?, u32_at(header, 12)?);
    let (length, start) = (u32_at(header, 16)? as usize, u32_at(header, 20)? as usize);
    let sane = alignment.is_power_of_two() && alignment <= 0x1_0000;
    let (start, length) = if sane { (start & !(alignment - 1), length.next_multiple_of(alignment)) } else { (start, length) };
    let length = length.min(content.len().saturating_sub(start));
    let start = if length == 0 { start.min(content.len()) } else { start };
    Some(Section { start, length, address: u64::from(address), memory: u64::from(memory) })
}

/// Numbers of one width and order.
struct Reader<'a> {
    content: &'a [u8],
    wide: bool,
    big: bool,
}

impl Reader<'_> {
    fn u16(&self, from: usize) -> Option<u64> {
        u16_at(self.content, from).map(|value| u64::from(if self.big { value.swap_bytes() } else { value }))
    }

    fn u32(&self, from: usize) -> Option<u64> {
        u32_at(self.content, from).map(|value| u64::from(if self.big { value.swap_bytes() } else { value }))
    }

    fn u64(&self, from: usize) -> Option<u64> {
        u64_at(self.content, from).map(|value| if self.big { value.swap_bytes() } else { value })
    }

    /// An address or offset, where a narrow file and a wide one have it.
    fn word(&self, narrow: usize, wide: usize) -> Option<u64> {
        if self.wide { self.u64(wide) } else { self.u32(narrow) }
    }

    fn section(&self, start: u64, length: u64, address: u64, memory: u64) -> Section {
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.content.len());
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.content.len() - start);
        Section { start, length, address, memory }
    }
}

fn parse_elf(content: &[u8]) -> Option<Executable> {
    let reader = Reader { content, wide: *content.get(4)? == 2, big: *content.get(5)? == 2 };
    let entry = reader.word(24, 24)?;
    let (segments, sections) = (reader.word(28, 32)?, reader.word(32, 40)?);
    let counts = |narrow: usize, wide: usize| reader.u16(if reader.wide { wide } else { narrow });
    let (segment_length, segment_count) = (counts(42, 54)?, counts(44, 56)?);
    let (section_length, section_count) = (counts(46, 58)?, counts(48, 60)?);
    let place = |table: u64, length: u64, index: u64| usize::try_from(table.saturating_add(length * index)).unwrap_or(usize::MAX / 2);
    let many = MAX_OTHER_SECTIONS as u64;
    let entry = (0..segment_count.min(many)).find_map(|index| {
        let from = place(segments, segment_length, index);
        let (offset, address) = (reader.word(from + 4, from + 8)?, reader.word(from + 8, from + 16)?);
        let length = reader.word(from + 16, from + 32)?;
        let within = entry.checked_sub(address).filter(|&within| within < length)?;
        usize::try_from(offset.checked_add(within)?).ok().filter(|&entry| entry < content.len())
    });
    let sections = (0..section_count.min(many))
        .map_while(|index| {
            let from = place(sections, section_length, index);
            let (address, offset) = (reader.word(from + 12, from + 16)?, reader.word(from + 16, from + 24)?);
            let length = reader.word(from + 20, from + 32)?;
            Some(reader.section(offset, length, address, length))
        })
        .collect();
    Some(Executable { sort: Sort::Elf, entry, sections, directories: Vec::new(), wide: reader.wide })
}

fn parse_mach_o(content: &[u8]) -> Option<Executable> {
    let (wide, big) = match content.get(..4)? {
        [0xfe, 0xed, 0xfa, 0xce] => (false, true),
        [0xce, 0xfa, 0xed, 0xfe] => (false, false),
        [0xfe, 0xed, 0xfa, 0xcf] => (true, true),
        [0xcf, 0xfa, 0xed, 0xfe] => (true, false),
        _ => return None,
    };
    let reader = Reader { content, wide, big };
    let (mut from, mut entry, mut sections) = (if wide { 32 } else { 28 }, None, Vec::new());
    for _ in 0..reader.u32(16)?.min(MAX_OTHER_SECTIONS as u64) {
        let (Some(command), Some(length)) = (reader.u32(from), reader.u32(from + 4)) else { break };
        match command {
            // LC_MAIN
            0x8000_0028 => entry = reader.u64(from + 8).and_then(|at| usize::try_from(at).ok()).filter(|&at| at < content.len()),
            // LC_SEGMENT, LC_SEGMENT_64
            0x1 | 0x19 => mach_o_sections(&reader, from, command == 0x19, &mut sections),
            _ => {}
        }
        let Ok(length @ 8..) = usize::try_from(length) else { break };
        from = from.saturating_add(length).min(usize::MAX / 2);
    }
    Some(Executable { sort: Sort::MachO, entry, sections, directories: Vec::new(), wide })
}

fn mach_o_sections(reader: &Reader<'_>, from: usize, wide: bool, sections: &mut Vec<Section>) {
    let (header, each) = if wide { (72, 80) } else { (56, 68) };
    let count = reader.u32(from + header - 8).unwrap_or(0);
    for index in 0..usize::try_from(count).unwrap_or(0).min(MAX_OTHER_SECTIONS) {
        let from = from + header + index * each;
        let described = if wide {
            reader.u64(from + 32).zip(reader.u64(from + 40)).zip(reader.u32(from + 48))
        } else {
            reader.u32(from + 32).zip(reader.u32(from + 36)).zip(reader.u32(from + 40))
        };
        let Some(((address, length), offset)) = described.filter(|_| sections.len() < MAX_OTHER_SECTIONS) else { return };
        sections.push(reader.section(offset, length, address, length));
    }
}

#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod tests;
