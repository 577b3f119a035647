//! Compiled HTML help: a directory of files in two sections, one of them LZX in blocks of 32 KiB (M. Russotto, "Microsoft's HTML Help
//! (.chm) format").

use std::io::{self, Read};

use filesafety_model::Reason;
use lzxd::{Lzxd, WindowSize};

use super::{
    Ended, Sink, Stop,
    codec::{Fault, Foreign},
    ranges::{Ranges, examine_gaps},
    solid::Solid,
    streams::report,
    u32_at, u64_at, zip,
};

const DETAIL: &str = "Chm";
const STORAGE: &str = "::DataSpace/Storage/MSCompressed/";
const BLOCK: u64 = 0x8000;
const MAX_FILES: usize = 1 << 20;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut read = Ranges::default();
    match Help::parse(content, sink)? {
        Some(help) => help.walk(&mut read, sink)?,
        None => sink.unexamined(Reason::Broken, DETAIL),
    }
    let gaps = examine_gaps(content, &read, sink)?;
    zip::open_across(content, &gaps, sink)
}

struct Help<'a> {
    content: &'a [u8],
    /// Where the sections start.
    data: usize,
    directory: std::ops::Range<usize>,
    files: Vec<File>,
}

struct File {
    name: String,
    is_packed: bool,
    offset: u64,
    size: u64,
}

impl<'a> Help<'a> {
    fn parse(content: &'a [u8], sink: &mut dyn Sink) -> Result<Option<Self>, Stop> {
        let head = || {
            let place = |at: usize| usize::try_from(u64_at(content, at)?).ok();
            let (directory, data) = (place(0x48)?, place(0x58)?);
            let header = content.get(directory..).filter(|header| header.starts_with(b"ITSP"))?;
            let (length, chunk, chunks) = (u32_at(header, 8)? as usize, u32_at(header, 16)? as usize, u32_at(header, 44)? as usize);
            let start = directory.checked_add(length)?;
            let end = start.checked_add(chunk.checked_mul(chunks)?)?;
            (chunk >= 32 && data <= content.len()).then_some((directory, data, start..end, chunk))
        };
        let Some((directory, data, chunks, chunk)) = head() else { return Ok(None) };
        let mut help = Self { content, data, directory: directory..chunks.end.min(content.len()), files: Vec::new() };
        let Some(listing) = content.get(chunks) else { return Ok(None) };
        for chunk in listing.chunks(chunk).filter(|chunk| chunk.starts_with(b"PMGL")) {
            sink.tick()?;
            if help.entries(chunk).is_none() {
                return Ok(None);
            }
        }
        Ok(Some(help))
    }

    fn entries(&mut self, chunk: &[u8]) -> Option<()> {
        const HEADER: usize = 20;
        let used = chunk.len().checked_sub(u32_at(chunk, 4)? as usize)?;
        let mut rest = chunk.get(HEADER..used)?;
        while !rest.is_empty() {
            let length = usize::try_from(number(&mut rest)?).ok()?;
            let (name, behind) = rest.split_at_checked(length)?;
            rest = behind;
            let (section, offset, size) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
            let name = String::from_utf8_lossy(name).into_owned();
            self.files.push(File { name, is_packed: section != 0, offset, size });
            if self.files.len() > MAX_FILES {
                return None;
            }
        }
        Some(())
    }

    /// The bytes of a file that is not packed.
    fn plain(&self, file: &File) -> Option<&'a [u8]> {
        let start = self.data.checked_add(usize::try_from(file.offset).ok()?)?;
        self.content.get(start..start.checked_add(usize::try_from(file.size).ok()?)?)
    }

    fn named(&self, name: &str) -> Option<&'a [u8]> {
        self.plain(self.files.iter().find(|file| !file.is_packed && file.name == name)?)
    }

    fn walk(&self, read: &mut Ranges, sink: &mut dyn Sink) -> Result<(), Stop> {
        read.insert(0..0x60);
        read.insert(self.directory.clone());
        for file in self.files.iter().filter(|file| !file.is_packed && file.size > 0) {
            sink.tick()?;
            let Some(bytes) = self.plain(file) else {
                sink.member_unexamined(&file.name, Reason::Broken, DETAIL);
                continue;
            };
            let start = self.data.saturating_add(usize::try_from(file.offset).unwrap_or(usize::MAX));
            read.insert(start..start.saturating_add(bytes.len()));
            // What describes or is the packed section is no file.
            if !file.name.starts_with("::") {
                sink.part(&file.name, bytes)?;
            }
        }
        let mut packed: Vec<&File> = self.files.iter().filter(|file| file.is_packed && file.size > 0).collect();
        if packed.is_empty() {
            return Ok(());
        }
        packed.sort_by_key(|file| file.offset);
        let Some(section) = Section::of(self) else {
            sink.unexamined(Reason::Unsupported, DETAIL);
            return Ok(());
        };
        let held = section.window as u64 + (512 << 10);
        sink.hold(held)?;
        let mut solid = Solid::new(|| Foreign::new(&[], |_| Ok(Box::new(section.reader()) as Box<dyn Read>), |_| 0));
        let mut is_short = false;
        for file in packed {
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

/// The packed section.
#[derive(Clone, Copy)]
struct Section<'a> {
    content: &'a [u8],
    /// Where each block starts, eight bytes each.
    starts: &'a [u8],
    size: u64,
    window: WindowSize,
    /// The decoder begins anew after so many blocks.
    reset_after: u64,
}

impl<'a> Section<'a> {
    fn of(help: &Help<'a>) -> Option<Self> {
        const TABLE: &str = "Transform/{7FC28940-9D31-11D0-9B27-00A0C91E9C7C}/InstanceData/ResetTable";
        let named = |name: &str| help.named(&format!("{STORAGE}{name}"));
        let (content, control, table) = (named("Content")?, named("ControlData")?, named(TABLE)?);
        let unit = if u32_at(control, 8)? == 2 { BLOCK } else { 1 };
        let number = |at: usize| Some(u64::from(u32_at(control, at)?).saturating_mul(unit));
        let (interval, window, windows) = (number(12)?, number(16)?, u64::from(u32_at(control, 20)?));
        let header = u32_at(table, 12)? as usize;
        let is_known = control.get(4..8)? == b"LZXC" && u32_at(table, 8)? == 8 && u64_at(table, 32)? == BLOCK;
        let window_size = match window {
            0x8000 => WindowSize::KB32,
            0x1_0000 => WindowSize::KB64,
            0x2_0000 => WindowSize::KB128,
            0x4_0000 => WindowSize::KB256,
            0x8_0000 => WindowSize::KB512,
            0x10_0000 => WindowSize::MB1,
            0x20_0000 => WindowSize::MB2,
            _ => return None,
        };
        let reset_after = (interval / (window / 2)).saturating_mul(windows).max(1);
        let section = Self { content, starts: table.get(header..)?, size: u64_at(table, 16)?, window: window_size, reset_after };
        is_known.then_some(section)
    }

    fn reader(self) -> Blocks<'a> {
        Blocks { section: self, decoder: Lzxd::new(self.window), block: 0, out: Vec::new(), given: 0 }
    }
}

struct Blocks<'a> {
    section: Section<'a>,
    decoder: Lzxd,
    block: u64,
    out: Vec<u8>,
    given: usize,
}

impl Blocks<'_> {
    /// Unpacks the next block; false where there is none.
    fn next(&mut self) -> Result<bool, Fault> {
        let Section { content, starts, size, reset_after, .. } = self.section;
        let left = size.saturating_sub(self.block.saturating_mul(BLOCK));
        if left == 0 {
            return Ok(false);
        }
        let start = |block: u64| {
            let at = usize::try_from(block).ok()?.checked_mul(8)?;
            usize::try_from(u64_at(starts, at)?).ok()
        };
        let from = start(self.block).ok_or(Fault::Cut)?;
        let to = start(self.block + 1).unwrap_or(content.len());
        let data = content.get(from..to).ok_or(Fault::Cut)?;
        if self.block > 0 && self.block.is_multiple_of(reset_after) {
            self.decoder.reset();
        }
        let length = usize::try_from(left.min(BLOCK)).unwrap_or(0);
        let unpacked = self.decoder.decompress_next(data, length).map_err(|_| Fault::Damaged)?;
        (self.out, self.given, self.block) = (unpacked.to_vec(), 0, self.block + 1);
        Ok(true)
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.out.get(self.given..).unwrap_or_default();
            if !rest.is_empty() || buffer.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer.iter_mut().zip(rest).for_each(|(byte, out)| *byte = *out);
                self.given += count;
                return Ok(count);
            }
            match self.next() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(fault) => return Err(super::codec::failed(fault)),
            }
        }
    }
}

/// Seven bits in each byte, the highest first; the eighth says that more follow.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    loop {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value = value.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, eicar, noise};

    fn entry(name: &str, section: u8, offset: usize, size: usize) -> Vec<u8> {
        let number = |value: usize| [(value >> 14 & 0x7f) as u8 | 0x80, (value >> 7 & 0x7f) as u8 | 0x80, (value & 0x7f) as u8];
        [&[name.len() as u8], name.as_bytes(), &[section], &number(offset), &number(size)].concat()
    }

    /// One file plain and one in a block of LZX that is not compressed.
    fn chm(plain: &[u8], packed: &[u8]) -> Vec<u8> {
        let head = 0b0011u32 << 28 | (packed.len() as u32) << 4;
        let words = [(head >> 16) as u16, head as u16].map(u16::to_le_bytes).concat();
        let mut lzx = [words, [1u32; 3].map(u32::to_le_bytes).concat(), packed.to_vec()].concat();
        lzx.resize(lzx.len().next_multiple_of(2), 0);
        let control = [&6u32.to_le_bytes()[..], b"LZXC", &[2, 2, 2, 1, 0, 0].map(u32::to_le_bytes).concat()].concat();
        let mut table = [2, 1, 8, 0x28].map(u32::to_le_bytes).concat();
        table.extend([packed.len() as u64, lzx.len() as u64, BLOCK, 0].iter().flat_map(|value| value.to_le_bytes()));
        let named = |name: &str| format!("{STORAGE}{name}");
        let parts = [
            ("/a.html".to_owned(), plain.to_vec()),
            (named("Content"), lzx),
            (named("ControlData"), control),
            (named("Transform/{7FC28940-9D31-11D0-9B27-00A0C91E9C7C}/InstanceData/ResetTable"), table),
        ];
        let (mut data, mut entries) = (Vec::new(), entry("/b.html", 1, 0, packed.len()));
        for (name, part) in parts {
            entries.extend(entry(&name, 0, data.len(), part.len()));
            data.extend(part);
        }
        let chunk = 1_024usize;
        let mut listing = [&b"PMGL"[..], &((chunk - 20 - entries.len()) as u32).to_le_bytes(), &[0; 12], &entries].concat();
        listing.resize(chunk, 0);
        let mut directory = b"ITSP\x01\0\0\0".to_vec();
        directory.extend(84u32.to_le_bytes());
        directory.extend([0; 4]);
        directory.extend((chunk as u32).to_le_bytes());
        directory.resize(44, 0);
        directory.extend(1u32.to_le_bytes());
        directory.resize(84, 0);
        let mut file = b"ITSF\x03\0\0\0".to_vec();
        file.resize(0x48, 0);
        file.extend(0x60u64.to_le_bytes());
        file.extend([0; 8]);
        file.extend((0x60 + 84 + chunk as u64).to_le_bytes());
        [file, directory, listing, data].concat()
    }

    fn opened(content: &[u8]) -> Record {
        let mut record = Record::default();
        open(content, &mut record).unwrap();
        record
    }

    #[test]
    fn both_sections_cuts_and_damage() {
        let help = chm(b"<html>", &eicar());
        let record = opened(&help);
        assert!(record.is_complete() && record.has(b"<html>") && record.has(&eicar()), "{:?} {:?}", record.unexamined, record.children);
        for length in (0..help.len()).step_by(3) {
            assert!(!opened(&help[..length]).is_complete(), "cut to {length}");
        }
        let help = chm(&noise(100), &noise(200));
        for at in 0x40..help.len() {
            for change in [1, 0x80] {
                let mut help = help.clone();
                help[at] ^= change;
                opened(&help);
            }
        }
    }
}
