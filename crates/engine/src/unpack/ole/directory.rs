//! The directory of a compound file (MS-CFB 2.6): entries in a tree that is not trusted to be one.

use super::compound::Compound;
use crate::unpack::{Sink, Stop, u16_at, u32_at, u64_at};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unused,
    Storage,
    Stream,
    Root,
}

/// One entry of the directory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) size: u64,
    left: u32,
    right: u32,
    child: u32,
}

impl Entry {
    pub(super) const BYTES: usize = 128;
}

/// Where every entry stands in the tree.
pub(super) struct Tree {
    /// The storage of each entry; none for what the tree does not lead to.
    parents: Vec<Option<u32>>,
}

pub(super) fn entry_at(directory: &[u8], index: usize, sector_bits: u32) -> Option<Entry> {
    const SMALL_SECTOR: u32 = 9;
    let entry = directory.get(index.checked_mul(Entry::BYTES)?..)?.get(..Entry::BYTES)?;
    let kind = match entry.get(66)? {
        1 => Kind::Storage,
        2 => Kind::Stream,
        5 => Kind::Root,
        _ => Kind::Unused,
    };
    let length = usize::from(u16_at(entry, 64)?).clamp(2, 64) - 2;
    let units = entry.get(..length)?.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let size = u64_at(entry, 120)?;
    Some(Entry {
        index,
        name: char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        kind,
        start: u32_at(entry, 116)?,
        // The upper half is not set by writers of small sectors.
        size: if sector_bits == SMALL_SECTOR { size & 0xffff_ffff } else { size },
        left: u32_at(entry, 68)?,
        right: u32_at(entry, 72)?,
        child: u32_at(entry, 76)?,
    })
}

impl Tree {
    pub(super) fn of(file: &Compound<'_>, sink: &mut dyn Sink) -> Result<Self, Stop> {
        let count = file.entries().count();
        let mut tree = Self { parents: vec![None; count] };
        let mut seen = vec![false; count];
        let mut ahead: Vec<(u32, u32)> = vec![(0, 0)];
        while let Some((index, parent)) = ahead.pop() {
            sink.tick()?;
            let Some(is_seen) = seen.get_mut(index as usize).filter(|is_seen| !**is_seen) else { continue };
            *is_seen = true;
            let Some(entry) = file.entry(index as usize) else { continue };
            if let Some(place) = tree.parents.get_mut(index as usize) {
                *place = Some(parent);
            }
            if index != 0 {
                ahead.extend([(entry.left, parent), (entry.right, parent)]);
            }
            if matches!(entry.kind, Kind::Storage | Kind::Root) {
                ahead.push((entry.child, index));
            }
        }
        Ok(tree)
    }

    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.parents.get(entry.index).is_some_and(Option::is_some)
    }

    pub(super) fn storage(&self, entry: &Entry) -> Option<u32> {
        self.parents.get(entry.index).copied().flatten()
    }

    /// The names of all storages around an entry, and its own.
    pub(super) fn path(&self, file: &Compound<'_>, entry: &Entry) -> String {
        const DEEPEST: usize = 16;
        let mut names = vec![entry.name.clone()];
        let mut at = self.storage(entry);
        while let Some(index) = at.filter(|index| *index != 0 && names.len() < DEEPEST) {
            names.extend(file.entry(index as usize).map(|storage| storage.name));
            at = self.parents.get(index as usize).copied().flatten();
        }
        if !self.has(entry) {
            names.push("orphaned".to_owned());
        }
        names.reverse();
        names.join("/")
    }
}
