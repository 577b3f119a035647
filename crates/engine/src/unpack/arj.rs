//! ARJ archives (ARJ's own "technote.txt"): methods 0 to 4.

mod fastest;

use std::io::Read;

use filesafety_model::Reason;

use self::fastest::Fastest;
use super::{
    Ended, Member, Sink, Stop,
    lzh::{Kind, Lzh},
    ranges, u16_at, u32_at, zip,
};

const DETAIL: &str = "Arj";
const MARK: &[u8] = b"\x60\xea";
const LARGEST_HEADER: usize = 2_600;

/// Whether a header with a right checksum stands here.
pub(crate) fn starts(content: &[u8]) -> bool {
    matches!(Header::parse(content, 0), Some(Header { fields: Some(_), .. }))
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut read = ranges::Ranges::default();
    let mut at = 0;
    let mut ended = false;
    sink.hold(Kind::MEMORY)?;
    // The first header is the archive's.
    let mut is_main = true;
    while let Some(header) = Header::parse(content, at) {
        sink.tick()?;
        let Some(fields) = header.fields else {
            read.insert(at..header.end);
            ended = true;
            break;
        };
        let packed = if is_main { 0 } else { u32_at(fields, 12).unwrap_or(0) as usize };
        let rest = content.get(header.end..).unwrap_or_default();
        if !is_main {
            member(fields, rest.get(..packed).unwrap_or(rest), sink)?;
        }
        if rest.len() < packed {
            sink.unexamined(Reason::Broken, DETAIL);
        }
        let end = header.end.saturating_add(packed).min(content.len());
        read.insert(at..end);
        at = end;
        is_main = false;
    }
    sink.release(Kind::MEMORY);
    if !ended {
        sink.unexamined(Reason::Broken, DETAIL);
    }
    let gaps = ranges::examine_gaps(content, &read, sink)?;
    zip::open_across(content, &gaps, sink)
}

struct Header<'a> {
    /// None at the end of the archive.
    fields: Option<&'a [u8]>,
    end: usize,
}

impl<'a> Header<'a> {
    /// Mark, size, fields, their checksum; then extensions until one has no size.
    fn parse(content: &'a [u8], at: usize) -> Option<Self> {
        let header = content.get(at..)?;
        let size = usize::from(u16_at(header, 2)?);
        if !header.starts_with(MARK) || size > LARGEST_HEADER {
            return None;
        }
        if size == 0 {
            return Some(Self { fields: None, end: at + 4 });
        }
        let fields = header.get(4..4 + size).filter(|fields| fields.len() >= 30)?;
        if u32_at(header, 4 + size)? != crc32fast::hash(fields) {
            return None;
        }
        let mut end = 4 + size + 4;
        loop {
            match usize::from(u16_at(header, end)?) {
                0 => return Some(Self { fields: Some(fields), end: at + end + 2 }),
                size => end += 2 + size + 4,
            }
        }
    }
}

fn member(fields: &[u8], data: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    const GARBLED: u8 = 1;
    const GOES_ON: u8 = 4;
    const BEGAN_BEFORE: u8 = 8;
    const DIRECTORY: u8 = 3;
    let byte = |at: usize| fields.get(at).copied().unwrap_or(0);
    let name = fields.get(usize::from(byte(0))..).unwrap_or_default().split(|&byte| byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let (flags, method, kind) = (byte(4), byte(5), byte(6));
    let (Some(size), Some(crc32)) = (u32_at(fields, 16).map(u64::from), u32_at(fields, 20)) else { return Ok(()) };
    if kind == DIRECTORY || size == 0 && data.is_empty() {
        return Ok(());
    }
    let packed = u32_at(fields, 12).map(u64::from);
    sink.member(&Member { name: &name, packed, unpacked: Some(size), encrypted: flags & GARBLED != 0, crc32: Some(crc32) });
    if flags & GARBLED != 0 {
        sink.member_unexamined(&name, Reason::Encrypted, DETAIL);
        return Ok(());
    }
    if flags & (GOES_ON | BEGAN_BEFORE) != 0 {
        sink.member_unexamined(&name, Reason::Unsupported, "ArjVolume");
    }
    let decoded = match method {
        0 => sink.part(&name, data)?,
        1..=3 => sink.child(&name, &mut Lzh::new(data, Kind::LARGE, size))?,
        4 => sink.child(&name, &mut Fastest::new(data).take(size))?,
        _ => {
            sink.member_unexamined(&name, Reason::Unsupported, "ArjMethod");
            return Ok(());
        }
    };
    if decoded.ended == Ended::InError || decoded.bytes != size || decoded.crc32 != crc32 {
        sink.member_unexamined(&name, Reason::Broken, DETAIL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, eicar, noise};

    fn header(fields: &[u8]) -> Vec<u8> {
        [MARK, &(fields.len() as u16).to_le_bytes(), fields, &crc32fast::hash(fields).to_le_bytes(), &[0, 0]].concat()
    }

    fn fields(method: u8, flags: u8, packed: u32, content: &[u8]) -> Vec<u8> {
        let mut fields = vec![30, 11, 1, 0, flags, method, 0, 0, 0, 0, 0, 0];
        fields.extend(packed.to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend(crc32fast::hash(content).to_le_bytes());
        fields.extend([0; 6]);
        fields.extend(b"a.com\0\0");
        fields
    }

    fn arj(flags: u8, content: &[u8]) -> Vec<u8> {
        let main = header(&fields(2, 0, 0, b""));
        [&main, &header(&fields(0, flags, content.len() as u32, content)), content, MARK, &[0, 0]].concat()
    }

    fn opened(archive: &[u8]) -> Record {
        let mut record = Record::default();
        open(archive, &mut record).unwrap();
        record
    }

    #[test]
    fn members_cuts_and_damage() {
        let archive = arj(0, &eicar());
        let record = opened(&archive);
        assert!(starts(&archive) && record.is_complete() && record.notes.is_empty(), "{:?} {:?}", record.unexamined, record.notes);
        assert_eq!(record.children, [("a.com".to_owned(), eicar())]);
        assert!(opened(&arj(1, &noise(60))).says(Reason::Encrypted, "Arj"));
        for length in 0..archive.len() {
            assert!(!opened(&archive[..length]).is_complete(), "cut to {length}");
        }
        for at in 0..archive.len() {
            let mut archive = archive.clone();
            archive[at] ^= 1;
            assert!(!opened(&archive).is_complete(), "{at}");
        }
    }
}
