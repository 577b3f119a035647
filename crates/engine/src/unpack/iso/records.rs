//! Volume descriptors and directory records (ECMA-119, sections 8 and 9.1), with the parts of Rock Ridge that name files.

use crate::unpack::{u16_at, u32_at};

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    Ascii,
    /// Joliet.
    Ucs2,
}

/// A tree of directories.
pub(super) struct Volume {
    pub(super) alphabet: Alphabet,
    pub(super) root: Record,
    block: usize,
}

/// A directory, or an extent of a file.
pub(super) struct Record {
    pub(super) name: String,
    block: usize,
    pub(super) size: usize,
    pub(super) is_directory: bool,
    /// The file goes on in the next record.
    pub(super) has_more: bool,
    /// Its blocks stand apart, which nobody writes.
    pub(super) is_interleaved: bool,
    pub(super) is_self_or_parent: bool,
    /// Compressed as zisofs has it.
    pub(super) is_zisofs: bool,
}

impl Volume {
    pub(super) fn parse(descriptor: &[u8]) -> Option<Self> {
        let alphabet = match descriptor.get(88..91)? {
            b"%/@" | b"%/C" | b"%/E" => Alphabet::Ucs2,
            _ => Alphabet::Ascii,
        };
        let block = usize::from(u16_at(descriptor, 128)?);
        let root = Record::parse(descriptor.get(156..190)?, alphabet)?;
        matches!(block, 512 | 1_024 | 2_048).then_some(Self { alphabet, root, block })
    }
}

impl Record {
    pub(super) fn parse(record: &[u8], alphabet: Alphabet) -> Option<Self> {
        const DIRECTORY: u8 = 2;
        const MORE: u8 = 0x80;
        let (flags, name_length) = (*record.get(25)?, usize::from(*record.get(32)?));
        let name = record.get(33..33 + name_length)?;
        // Names have a byte of filling where their length is even; what is behind belongs to Rock Ridge.
        let system = record.get(33 + name_length + usize::from(name_length % 2 == 0)..).unwrap_or_default();
        let extended = usize::from(*record.get(1)?);
        Some(Self {
            name: rock_ridge_name(system).unwrap_or_else(|| text(name, alphabet)),
            block: (u32_at(record, 2)? as usize).checked_add(extended)?,
            size: u32_at(record, 10)? as usize,
            is_directory: flags & DIRECTORY != 0,
            has_more: flags & MORE != 0,
            is_interleaved: record.get(26..28)? != [0, 0],
            is_self_or_parent: matches!(name, [0] | [1]),
            is_zisofs: fields(system).any(|(signature, _)| signature == *b"ZF"),
        })
    }

    pub(super) fn start(&self, volume: &Volume) -> usize {
        self.block.saturating_mul(volume.block)
    }
}

/// Without the version and the dot before it.
fn text(name: &[u8], alphabet: Alphabet) -> String {
    let name = match alphabet {
        Alphabet::Ascii => String::from_utf8_lossy(name).into_owned(),
        Alphabet::Ucs2 => {
            let units: Vec<u16> = name.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
            String::from_utf16_lossy(&units)
        }
    };
    let name = name.split_once(';').map_or(name.as_str(), |(name, _)| name);
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

/// The fields of the system use sharing protocol: signature and content.
fn fields(mut system: &[u8]) -> impl Iterator<Item = ([u8; 2], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(*system.get(2)?);
        let (field, rest) = system.split_at_checked(length.max(4))?;
        system = rest;
        Some((*field.first_chunk()?, field.get(4..)?))
    })
}

fn rock_ridge_name(system: &[u8]) -> Option<String> {
    let names = fields(system).filter(|(signature, _)| signature == b"NM").filter_map(|(_, field)| field.get(1..));
    let name: Vec<u8> = names.flatten().copied().collect();
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}
