//! A 32-bit program for Windows as the system loads it, and as it can be written down again (Microsoft's *PE Format*).

use super::machine::{Extent, Program};
use crate::unpack::{u16_at, u32_at};

/// What a header says of a program.
pub(super) struct Header {
    at: usize,
    /// Where the headers of the sections begin.
    table: usize,
    pub(super) sections: Vec<Section>,
    pub(super) entry: u32,
    base: u32,
    imports: u32,
    header_bytes: u32,
    file_alignment: u32,
    alignment: u32,
    image_bytes: u32,
    /// Whether addresses have 32 bits, and its processor is x86.
    pub(super) is_narrow: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Section {
    pub(super) name: [u8; 8],
    pub(super) address: u32,
    pub(super) memory: u32,
    start: u32,
    pub(super) length: u32,
    flags: u32,
}

/// The Windows loader takes no more.
const MAX_SECTIONS: u16 = 96;
const SECTION_BYTES: usize = 40;
const PAGE: u32 = 0x1000;
/// Sections start on one, whatever the header says.
const SECTOR: u32 = 0x200;
/// Larger programs are not loaded.
const MAX_IMAGE: u32 = 64 << 20;

const CODE: u32 = 0x20;
const EXECUTABLE: u32 = 0x2000_0000;
const WRITABLE: u32 = 0x8000_0000;

impl Section {
    pub(super) fn is_writable(&self) -> bool {
        self.flags & WRITABLE != 0
    }

    pub(super) fn is_executable(&self) -> bool {
        self.flags & (EXECUTABLE | CODE) != 0
    }

    /// What it takes in memory.
    pub(super) fn extent(&self) -> u32 {
        if self.memory == 0 { self.length } else { self.memory }
    }

    pub(super) fn holds(&self, address: u32) -> bool {
        let length = self.extent().checked_next_multiple_of(PAGE).unwrap_or(u32::MAX);
        address.wrapping_sub(self.address) < length
    }
}

impl Header {
    /// `None` where the content is no program for Windows.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let at = u32_at(content, 0x3c)? as usize;
        let header = content.get(at..)?;
        if !content.starts_with(b"MZ") || !header.starts_with(b"PE\0\0") {
            return None;
        }
        let (machine, count, optional_bytes) = (u16_at(header, 4)?, u16_at(header, 6)?, u16_at(header, 20)?);
        let optional = header.get(24..)?;
        let is_wide = u16_at(optional, 0)? == 0x20b;
        let table = optional.get(usize::from(optional_bytes)..)?;
        let sections = (0..usize::from(count.min(MAX_SECTIONS))).map_while(|index| section(table.get(index * SECTION_BYTES..)?)).collect();
        let directories = u32_at(optional, if is_wide { 108 } else { 92 })?;
        Some(Self {
            at,
            table: at + 24 + usize::from(optional_bytes),
            sections,
            entry: u32_at(optional, 16)?,
            base: u32_at(optional, 28)?,
            imports: if directories < 2 { 0 } else { u32_at(optional, if is_wide { 120 } else { 104 }).unwrap_or(0) },
            header_bytes: u32_at(optional, 60)?,
            file_alignment: u32_at(optional, 36)?,
            alignment: u32_at(optional, 32)?,
            image_bytes: u32_at(optional, 56)?,
            is_narrow: machine == 0x14c && !is_wide,
        })
    }

    /// The section in which execution begins.
    pub(super) fn entry_section(&self) -> Option<&Section> {
        self.sections.iter().rev().find(|section| section.holds(self.entry))
    }

    /// How long the image is, where that is sane.
    pub(super) fn image_bytes(&self) -> Option<u32> {
        let ends = self.sections.iter().map(|section| section.address.checked_add(section.extent()));
        let end = ends.chain([Some(self.image_bytes)]).try_fold(PAGE, |end, next| Some(end.max(next?)))?;
        let end = end.checked_next_multiple_of(PAGE)?;
        (end <= MAX_IMAGE && self.base.checked_add(end).is_some_and(|end| end < 0x2000_0000) && self.base >= PAGE).then_some(end)
    }

    /// The program as it lies in memory before it runs.
    pub(super) fn load(&self, content: &[u8], image_bytes: u32, room: u32) -> Program {
        let mut image = vec![0; image_bytes as usize];
        copy(content, 0, &mut image, 0, self.header_bytes);
        for section in &self.sections {
            let file_bytes = section.length.checked_next_multiple_of(self.file_alignment.clamp(1, PAGE)).unwrap_or(u32::MAX);
            let length = file_bytes.min(section.extent().checked_next_multiple_of(PAGE).unwrap_or(u32::MAX));
            copy(content, section.start & !(SECTOR - 1), &mut image, section.address, length);
        }
        let sections = self.sections.iter().map(|section| Extent { address: section.address, length: section.extent() }).collect();
        Program { base: self.base, image, entry: self.entry, imports: self.imports, sections, room }
    }

    /// Makes an image a file again: each section stands where it lies in memory, and execution begins at `entry`.
    pub(super) fn settle(&self, image: &mut [u8], entry: u32) {
        let optional = self.at + 24;
        put(image, optional + 16, entry);
        put(image, optional + 36, self.alignment);
        for (index, section) in self.sections.iter().enumerate() {
            let header = self.table + index * SECTION_BYTES;
            let room = u32::try_from(image.len()).unwrap_or(u32::MAX).saturating_sub(section.address);
            put(image, header + 8, section.extent());
            put(image, header + 16, section.extent().min(room));
            put(image, header + 20, section.address);
            if section.holds(entry) {
                // What was seen once is not to be run again.
                put(image, header + 36, section.flags & !WRITABLE | EXECUTABLE);
            }
        }
    }
}

fn put(image: &mut [u8], at: usize, value: u32) {
    if let Some(place) = image.get_mut(at..at.saturating_add(4)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn section(header: &[u8]) -> Option<Section> {
    Some(Section {
        name: *header.first_chunk()?,
        memory: u32_at(header, 8)?,
        address: u32_at(header, 12)?,
        length: u32_at(header, 16)?,
        start: u32_at(header, 20)?,
        flags: u32_at(header, 36)?,
    })
}

/// Copies as much as both have.
fn copy(from: &[u8], start: u32, to: &mut [u8], address: u32, length: u32) {
    let from = from.get(start as usize..).unwrap_or_default();
    let to = to.get_mut(address as usize..).unwrap_or_default();
    let length = from.len().min(to.len()).min(length as usize);
    if let (Some(from), Some(to)) = (from.get(..length), to.get_mut(..length)) {
        to.copy_from_slice(from);
    }
}
