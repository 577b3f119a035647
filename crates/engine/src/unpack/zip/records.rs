//! The records of a zip (APPNOTE 6.3.10, section 4.3), each read as far as its bytes reach.

use memchr::memmem;

use crate::unpack::{u16_at, u32_at, u64_at};

pub(super) const LOCAL: &[u8] = b"PK\x03\x04";
pub(super) const CENTRAL: &[u8] = b"PK\x01\x02";
pub(super) const END: &[u8] = b"PK\x05\x06";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";

const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const LOCATOR64_BYTES: usize = 20;

/// What one header says of a member's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) crc32: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    /// Of the last change, in DOS format.
    pub(super) time: u16,
    pub(super) aes: Option<Aes>,
    /// The data carried an authentication code, and it was right: the checksum is then not needed.
    pub(super) is_proven: bool,
}

/// How WinZip encrypted the data (extra field 0x9901).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aes {
    /// 1, 2, 3: keys of 128, 192, 256 bits.
    pub(super) strength: u8,
    /// What the data is once decrypted.
    pub(super) method: u16,
}

/// A local header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local<'a> {
    pub(super) facts: Facts,
    pub(super) name: &'a [u8],
    /// Where the data starts.
    pub(super) data: usize,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Central<'a> {
    pub(super) facts: Facts,
    pub(super) name: &'a [u8],
    pub(super) local: u64,
    /// Where the entry ends.
    pub(super) end: usize,
}

/// A directory, by its end record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) start: usize,
    /// Added to the offsets in the entries: what stands before the archive.
    pub(super) base: usize,
    /// Modulo 2¹⁶ unless zip64.
    pub(super) entries: u64,
}

/// An end record.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) at: usize,
    /// After its comment.
    pub(super) end: usize,
    /// Where zip64 records before it start, or the record itself.
    pub(super) tail: usize,
    entries: u64,
    directory_bytes: u64,
    directory_offset: u64,
}

impl Facts {
    /// The method of a member that WinZip encrypted.
    pub(super) const AES: u16 = 99;

    pub(super) fn is_encrypted(&self) -> bool {
        const ENCRYPTED: u16 = 1 | 1 << 6;
        self.flags & ENCRYPTED != 0 || self.method == Self::AES
    }

    /// "Strong encryption" of section 7, which is not opened.
    pub(super) fn is_strongly_encrypted(&self) -> bool {
        self.flags & 1 << 6 != 0
    }

    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & 8 != 0
    }

    pub(super) fn lzma_has_end_mark(&self) -> bool {
        self.flags & 2 != 0
    }

    /// A directory, or an empty file.
    pub(super) fn is_empty(&self) -> bool {
        self.packed == 0 && self.unpacked == 0 && self.crc32 == 0 && !self.has_descriptor()
    }

    /// Size and checksum stand behind the data.
    pub(super) fn is_deferred(&self) -> bool {
        self.has_descriptor() && self.crc32 == 0 && self.packed == 0
    }

    /// Whether a reader of `other` would read other data than a reader of these.
    pub(super) fn disagrees(&self, other: &Self) -> bool {
        let sizes = !self.is_deferred() && (self.packed != other.packed || self.crc32 != other.crc32 || self.unpacked != other.unpacked);
        self.method != other.method || self.is_encrypted() != other.is_encrypted() || sizes
    }

    /// These, with what stands behind the data filled in from `other`.
    pub(super) fn completed_by(self, other: &Self) -> Self {
        if self.is_deferred() { Self { method: self.method, flags: self.flags, ..*other } } else { self }
    }
}

impl<'a> Local<'a> {
    pub(super) fn parse(content: &'a [u8], at: usize) -> Option<Self> {
        let header = content.get(at..)?.get(..LOCAL_BYTES)?;
        if !header.starts_with(LOCAL) {
            return None;
        }
        let facts = facts_at(header, 6)?;
        let name_start = at.checked_add(LOCAL_BYTES)?;
        let extra_start = name_start.checked_add(usize::from(u16_at(header, 26)?))?;
        let data = extra_start.checked_add(usize::from(u16_at(header, 28)?))?;
        let extra = content.get(extra_start..data)?;
        let (facts, _) = with_zip64(facts, None, extra);
        Some(Self { facts: Facts { aes: aes_field(extra), ..facts }, name: content.get(name_start..extra_start)?, data })
    }

    /// Whether it looks like a header and not like four bytes that happen to be its mark.
    pub(super) fn is_plausible(&self, content: &[u8]) -> bool {
        const METHODS: [u16; 18] = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 18, 19, 93, 95, 98, 99];
        let fits = (content.len() - self.data.min(content.len())) as u64 >= self.facts.packed;
        METHODS.contains(&self.facts.method) && !self.name.is_empty() && fits
    }
}

impl<'a> Central<'a> {
    pub(super) fn parse(content: &'a [u8], at: usize) -> Option<Self> {
        let header = content.get(at..)?.get(..CENTRAL_BYTES)?;
        if !header.starts_with(CENTRAL) {
            return None;
        }
        let name_start = at.checked_add(CENTRAL_BYTES)?;
        let extra_start = name_start.checked_add(usize::from(u16_at(header, 28)?))?;
        let comment = extra_start.checked_add(usize::from(u16_at(header, 30)?))?;
        let end = comment.checked_add(usize::from(u16_at(header, 32)?))?;
        let offset = u32_at(header, 42)?;
        let extra = content.get(extra_start..comment)?;
        let (facts, local) = with_zip64(facts_at(header, 8)?, Some(offset), extra);
        content.get(comment..end)?;
        Some(Self { facts: Facts { aes: aes_field(extra), ..facts }, name: content.get(name_start..extra_start)?, local, end })
    }
}

impl End {
    /// The record with its zip64 record, where it has one, and as it is: openers differ in which they follow.
    pub(super) fn readings(content: &[u8], at: usize) -> Vec<Self> {
        let Some(end) = Self::parse(content, at) else { return Vec::new() };
        [end.with_zip64(content), Some(end)].into_iter().flatten().collect()
    }

    fn parse(content: &[u8], at: usize) -> Option<Self> {
        let record = content.get(at..)?.get(..END_BYTES)?;
        if !record.starts_with(END) {
            return None;
        }
        let comment = usize::from(u16_at(record, 20)?);
        Some(Self {
            at,
            // A comment that is cut is no reason to doubt the rest.
            end: at.saturating_add(END_BYTES + comment).min(content.len()),
            tail: at,
            entries: u64::from(u16_at(record, 10)?),
            directory_bytes: u64::from(u32_at(record, 12)?),
            directory_offset: u64::from(u32_at(record, 16)?),
        })
    }

    /// The zip64 record that the locator before this record points to, or that stands just before the locator.
    fn with_zip64(self, content: &[u8]) -> Option<Self> {
        let locator = self.at.checked_sub(LOCATOR64_BYTES)?;
        if !content.get(locator..)?.starts_with(LOCATOR64) {
            return None;
        }
        let pointed = u64_at(content, locator + 8).and_then(|at| usize::try_from(at).ok());
        let is_record = |at: &usize| content.get(*at..).is_some_and(|rest| rest.starts_with(END64));
        let before = memmem::rfind(content.get(locator.saturating_sub(1 << 16)..locator)?, END64);
        let before = before.map(|at| locator.saturating_sub(1 << 16) + at);
        let tail = before.or(pointed.filter(is_record))?;
        Some(Self {
            tail,
            entries: u64_at(content, tail.checked_add(32)?)?,
            directory_bytes: u64_at(content, tail.checked_add(40)?)?,
            directory_offset: u64_at(content, tail.checked_add(48)?)?,
            ..self
        })
    }

    /// Where the directory may start: just before the record (as most openers have it), or where the record says.
    pub(super) fn directories(&self, content: &[u8]) -> Vec<Directory> {
        let is_start = |at: &usize| content.get(*at..).is_some_and(|rest| rest.starts_with(CENTRAL));
        let offset = usize::try_from(self.directory_offset).ok();
        let before = usize::try_from(self.directory_bytes).ok().and_then(|bytes| self.tail.checked_sub(bytes));
        let mut found = Vec::new();
        for start in [before, offset].into_iter().flatten().filter(is_start) {
            let base = offset.and_then(|offset| start.checked_sub(offset)).unwrap_or(0);
            let directory = Directory { start, base, entries: self.entries };
            if !found.contains(&directory) {
                found.push(directory);
            }
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0 && self.directory_bytes == 0
    }
}

/// How many bytes at `at` are a data descriptor of `crc32` and `packed` (section 4.3.9): with or without its mark, sizes of 4 or 8 bytes.
pub(super) fn descriptor_bytes(content: &[u8], at: usize, crc32: u32, packed: u64) -> Option<usize> {
    let rest = content.get(at..)?;
    let marked = rest.starts_with(DESCRIPTOR);
    for skip in [4usize, 0] {
        if skip == 4 && !marked || u32_at(rest, skip) != Some(crc32) {
            continue;
        }
        if u64_at(rest, skip + 4) == Some(packed) && rest.len() >= skip + 20 {
            return Some(skip + 20);
        }
        if u32_at(rest, skip + 4).map(u64::from) == Some(packed & 0xffff_ffff) && rest.len() >= skip + 12 {
            return Some(skip + 12);
        }
    }
    None
}

/// The descriptors that may end stored data which starts at `data`: how long the data then is, and its checksum.
pub(super) fn stored_ends(content: &[u8], data: usize) -> impl Iterator<Item = (usize, u32)> {
    let rest = content.get(data..).unwrap_or_default();
    memmem::find_iter(rest, DESCRIPTOR).filter_map(move |length| {
        let crc32 = u32_at(rest, length + 4)?;
        descriptor_bytes(rest, length, crc32, length as u64).map(|_| (length, crc32))
    })
}

/// Whether a record of a zip starts at `at`.
pub(super) fn is_record(content: &[u8], at: usize) -> bool {
    let rest = content.get(at..).unwrap_or_default();
    [LOCAL, CENTRAL, END, END64, DESCRIPTOR].iter().any(|mark| rest.starts_with(mark))
}

/// Flags, method, times, checksum and sizes stand in the same order in both headers.
fn facts_at(header: &[u8], at: usize) -> Option<Facts> {
    Some(Facts {
        flags: u16_at(header, at)?,
        method: u16_at(header, at + 2)?,
        time: u16_at(header, at + 4)?,
        aes: None,
        is_proven: false,
        crc32: u32_at(header, at + 8)?,
        packed: u64::from(u32_at(header, at + 12)?),
        unpacked: u64::from(u32_at(header, at + 16)?),
    })
}

/// Replaces what is 0xffffffff by the zip64 field (section 4.5.3), where fields stand in this order and only if needed.
fn with_zip64(mut facts: Facts, offset: Option<u32>, extra: &[u8]) -> (Facts, u64) {
    const FULL: u64 = 0xffff_ffff;
    let mut local = offset.map_or(0, u64::from);
    let mut fields = field(extra, 1).unwrap_or_default().chunks_exact(8).filter_map(|field| u64_at(field, 0));
    let wanted = [Some(&mut facts.unpacked), Some(&mut facts.packed), offset.map(|_| &mut local)];
    for value in wanted.into_iter().flatten().filter(|value| **value == FULL) {
        if let Some(field) = fields.next() {
            *value = field;
        }
    }
    (facts, local)
}

fn aes_field(extra: &[u8]) -> Option<Aes> {
    let field = field(extra, 0x9901)?;
    Some(Aes { strength: *field.get(4)?, method: u16_at(field, 5)? })
}

/// The content of the extra field `id`.
fn field(extra: &[u8], id: u16) -> Option<&[u8]> {
    let mut at = 0usize;
    loop {
        let length = u16_at(extra, at.checked_add(2)?)?;
        let start = at.checked_add(4)?;
        let end = start.checked_add(usize::from(length))?;
        if u16_at(extra, at)? == id {
            return extra.get(start..end);
        }
        at = end;
    }
}
