//! Cabinets (MS-CAB): files stand one after another in folders, which are packed in blocks.

mod folder;
#[cfg(test)]
mod tests;

use filesafety_model::Reason;

use self::folder::{Blocks, Packing};
use super::{
    Ended, Member, Sink, Stop,
    ranges::{Ranges, examine_gaps},
    solid::Solid,
    streams::report,
    u16_at, u32_at, zip,
};

const DETAIL: &str = "Cab";
const HEADER: usize = 36;
const FILE: usize = 16;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut read = Ranges::default();
    match Cabinet::parse(content) {
        Some(cabinet) => cabinet.walk(content, &mut read, sink)?,
        None => sink.unexamined(Reason::Broken, DETAIL),
    }
    let gaps = examine_gaps(content, &read, sink)?;
    zip::open_across(content, &gaps, sink)
}

/// The header (MS-CAB 2.1): reserved fields zero, version 1.3, folders and files, sizes within the content.
pub(crate) fn starts(content: &[u8]) -> bool {
    let (Some(size), Some(files)) = (u32_at(content, 8), u32_at(content, 16)) else { return false };
    let reserved = u32_at(content, 4) == Some(0) && u32_at(content, 12) == Some(0) && u32_at(content, 20) == Some(0);
    let counts = u16_at(content, 26).is_some_and(|folders| folders > 0) && u16_at(content, 28).is_some_and(|files| files > 0);
    let within = files >= 36 && files < size && size as usize <= content.len();
    content.starts_with(b"MSCF") && reserved && content.get(24..26) == Some(&[3, 1]) && counts && within
}

struct Cabinet {
    folders: Vec<Folder>,
    files: Vec<File>,
    /// Where the table of files ends.
    tables_end: usize,
    /// A table was cut.
    is_cut: bool,
    /// Bytes before the data of each block.
    block_reserve: usize,
}

struct Folder {
    start: usize,
    blocks: u16,
    packing: u16,
}

struct File {
    name: String,
    folder: u16,
    offset: u64,
    size: u64,
}

impl Cabinet {
    fn parse(content: &[u8]) -> Option<Self> {
        const PREVIOUS: u16 = 1;
        const NEXT: u16 = 2;
        const RESERVE: u16 = 4;
        let flags = u16_at(content, 30)?;
        let (folders, files) = (usize::from(u16_at(content, 26)?), u16_at(content, 28)?);
        let (mut at, mut folder_reserve, mut block_reserve) = (HEADER, 0, 0);
        if flags & RESERVE != 0 {
            folder_reserve = usize::from(*content.get(at + 2)?);
            block_reserve = usize::from(*content.get(at + 3)?);
            at = at + 4 + usize::from(u16_at(content, at)?);
        }
        // The names of the cabinets before and after, each with its disk.
        for flag in [PREVIOUS, PREVIOUS, NEXT, NEXT] {
            if flags & flag != 0 {
                at = after_text(content, at)?;
            }
        }
        let mut cabinet = Self { folders: Vec::new(), files: Vec::new(), tables_end: at, is_cut: false, block_reserve };
        for index in 0..folders {
            let folder = at + index * (8 + folder_reserve);
            let start = u32_at(content, folder)? as usize;
            cabinet.folders.push(Folder { start, blocks: u16_at(content, folder + 4)?, packing: u16_at(content, folder + 6)? });
        }
        cabinet.tables_end = at + folders * (8 + folder_reserve);
        let mut at = u32_at(content, 16)? as usize;
        for _ in 0..files {
            let Some((file, end)) = File::parse(content, at) else {
                cabinet.is_cut = true;
                break;
            };
            cabinet.files.push(file);
            at = end;
        }
        cabinet.tables_end = cabinet.tables_end.max(at);
        Some(cabinet)
    }

    fn walk(&self, content: &[u8], read: &mut Ranges, sink: &mut dyn Sink) -> Result<(), Stop> {
        read.insert(0..self.tables_end.min(content.len()));
        if self.is_cut {
            sink.unexamined(Reason::Broken, DETAIL);
        }
        let mut files: Vec<&File> = self.files.iter().collect();
        files.sort_by_key(|file| (file.folder, file.offset));
        let mut files = files.as_slice();
        for (folder, index) in self.folders.iter().zip(0u16..) {
            sink.tick()?;
            let (of_folder, rest) = files.split_at(files.partition_point(|file| file.folder <= index));
            files = rest;
            let blocks = Blocks::new(content, folder.start, folder.blocks, self.block_reserve);
            read.insert(folder.start.min(content.len())..blocks.end());
            self.folder(&blocks, folder.packing, of_folder, sink)?;
        }
        for file in files {
            // 0xfffd and above: begun in the cabinet before, or ended in the one behind.
            sink.member(&file.member());
            sink.member_unexamined(&file.name, Reason::Unsupported, "CabVolume");
        }
        Ok(())
    }

    fn folder(&self, blocks: &Blocks<'_>, packing: u16, files: &[&File], sink: &mut dyn Sink) -> Result<(), Stop> {
        let Some(packing) = Packing::of(packing) else {
            files.iter().for_each(|file| sink.member(&file.member()));
            if !files.is_empty() {
                sink.unexamined(Reason::Unsupported, "CabMethod");
            }
            return Ok(());
        };
        let held = packing.memory();
        sink.hold(held)?;
        let mut solid = Solid::new(|| blocks.stream(packing));
        let mut is_short = false;
        for file in files {
            sink.member(&file.member());
            let decoded = solid.file(&file.name, file.offset, file.size, sink)?;
            is_short |= decoded.is_none_or(|decoded| decoded.bytes < file.size || decoded.ended == Ended::InError);
        }
        solid.rest(sink)?;
        let fault = solid.fault();
        drop(solid);
        sink.release(held);
        match fault {
            Some(fault) => report(fault, DETAIL, sink),
            None if is_short => sink.unexamined(Reason::Broken, DETAIL),
            None => {}
        }
        Ok(())
    }
}

impl File {
    fn member(&self) -> Member<'_> {
        Member { name: &self.name, packed: Some(0), unpacked: Some(self.size), ..Member::default() }
    }

    fn parse(content: &[u8], at: usize) -> Option<(Self, usize)> {
        const IS_UTF8: u16 = 0x80;
        let name = at.checked_add(FILE)?;
        let end = after_text(content, name)?;
        let bytes = content.get(name..end - 1)?;
        let attributes = u16_at(content, at + 14)?;
        let name = if attributes & IS_UTF8 == 0 && !bytes.is_ascii() {
            bytes.iter().map(|&byte| char::from(byte)).collect()
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        };
        let file = Self {
            name: name.replace('\\', "/"),
            folder: u16_at(content, at + 8)?,
            offset: u64::from(u32_at(content, at + 4)?),
            size: u64::from(u32_at(content, at)?),
        };
        Some((file, end))
    }
}

/// Where the text at `at`, which ends in a zero, is over.
fn after_text(content: &[u8], at: usize) -> Option<usize> {
    const LONGEST: usize = 1_024;
    let rest = content.get(at..)?;
    Some(at + memchr::memchr(0, rest.get(..LONGEST).unwrap_or(rest))? + 1)
}
