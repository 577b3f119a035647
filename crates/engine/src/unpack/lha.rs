//! LHA archives (LHA for UNIX, "header.doc.md"): headers of level 0 to 3; stored, and the methods with a static code.

use std::io::{self, Read};

use filesafety_model::Reason;

use super::{
    Ended, Member, Sink, Stop,
    lzh::{Kind, Lzh},
    ranges, u16_at, u32_at, u64_at, zip,
};

const DETAIL: &str = "Lha";

/// Whether a header stands here: a method between dashes, a level, and for old levels the header's own checksum.
pub(crate) fn starts(content: &[u8]) -> bool {
    let Some(&[length, sum, b'-', b'l' | b'p', _, _, b'-']) = content.first_chunk() else { return false };
    match content.get(20) {
        Some(0 | 1) => {
            let header = content.get(2..2 + usize::from(length));
            header.is_some_and(|header| header.len() > 19 && header.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == sum)
        }
        Some(2) => u16_at(content, 0).is_some_and(|length| (24..=65_280).contains(&length)),
        Some(3) => u16_at(content, 0) == Some(4),
        _ => false,
    }
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut read = ranges::Ranges::default();
    let mut at = 0;
    let mut ended = false;
    sink.hold(Kind::MEMORY)?;
    while let Some(rest) = content.get(at..).filter(|rest| !rest.is_empty()) {
        sink.tick()?;
        if rest.first() == Some(&0) {
            ended = true;
            read.insert(at..at + 1);
            break;
        }
        let Some(header) = Header::parse(content, at) else { break };
        member(&header, sink)?;
        if header.is_cut {
            sink.unexamined(Reason::Broken, DETAIL);
        }
        read.insert(at..header.end);
        at = header.end;
    }
    sink.release(Kind::MEMORY);
    if !ended {
        // Old writers leave the last zero out; a header that is none is damage.
        if at < content.len() || at == 0 {
            sink.unexamined(Reason::Broken, DETAIL);
        } else {
            sink.note("no end mark");
        }
    }
    let gaps = ranges::examine_gaps(content, &read, sink)?;
    zip::open_across(content, &gaps, sink)
}

fn member(header: &Header<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let (name, data) = (&header.name, header.data);
    if header.method == *b"-lhd-" || header.size == 0 && data.is_empty() {
        return Ok(());
    }
    sink.member(&Member { name, packed: Some(data.len() as u64), unpacked: Some(header.size), ..Member::default() });
    let content: Box<dyn Read + '_> = match &header.method {
        b"-lh0-" | b"-lz4-" | b"-pm0-" => Box::new(data),
        b"-lh4-" | b"-lh5-" => Box::new(Lzh::new(data, Kind::SMALL, header.size)),
        b"-lh6-" | b"-lh7-" => Box::new(Lzh::new(data, Kind::LARGE, header.size)),
        _ => {
            sink.member_unexamined(name, Reason::Unsupported, "LhaMethod");
            return Ok(());
        }
    };
    let mut content = Summed { inner: content, sum: Crc16::default() };
    let decoded = sink.child(name, &mut content)?;
    let sum = content.sum.value();
    if decoded.ended == Ended::InError || decoded.bytes != header.size || sum != header.crc16 {
        sink.member_unexamined(name, Reason::Broken, DETAIL);
    }
    Ok(())
}

struct Header<'a> {
    method: [u8; 5],
    name: String,
    size: u64,
    crc16: u16,
    /// As far as its bytes reach.
    data: &'a [u8],
    is_cut: bool,
    end: usize,
}

impl<'a> Header<'a> {
    fn parse(content: &'a [u8], at: usize) -> Option<Self> {
        let header = content.get(at..)?;
        let level = *header.get(20)?;
        let (packed, size) = (u64::from(u32_at(header, 7)?), u64::from(u32_at(header, 11)?));
        let mut parsed =
            Self { method: *header.get(2..)?.first_chunk()?, name: String::new(), size, crc16: 0, data: &[], is_cut: false, end: 0 };
        if !starts(header) {
            return None;
        }
        let (mut start, mut length) = match level {
            0 | 1 => {
                let name_length = usize::from(*header.get(21)?);
                parsed.name = name(header.get(22..22 + name_length)?);
                parsed.crc16 = u16_at(header, 22 + name_length)?;
                (usize::from(*header.first()?) + 2, packed)
            }
            _ => {
                parsed.crc16 = u16_at(header, 21)?;
                (if level == 2 { usize::from(u16_at(header, 0)?) } else { u32_at(header, 24)? as usize }, packed)
            }
        };
        let wide = if level == 3 { 4 } else { 2 };
        let mut extension = match level {
            0 => header.len(),
            1 => start.checked_sub(2)?,
            2 => 24,
            _ => 28,
        };
        let mut folder = String::new();
        // Each says at its end how long the next is.
        while let Some(next) =
            if wide == 2 { u16_at(header, extension).map(usize::from) } else { u32_at(header, extension).map(|next| next as usize) }
        {
            if next <= wide {
                break;
            }
            extension += wide;
            let field = header.get(extension..extension.checked_add(next)?)?;
            match field.split_first()? {
                (1, rest) => parsed.name = name(rest.get(..next - 1 - wide)?),
                (2, rest) => folder = name(rest.get(..next - 1 - wide)?),
                (0x42, rest) => (length, parsed.size) = (u64_at(rest, 0)?, u64_at(rest, 8)?),
                _ => {}
            }
            extension += next - wide;
            if level == 1 {
                start += next;
                length = length.checked_sub(next as u64)?;
            }
        }
        parsed.name = format!("{folder}{}", parsed.name);
        let rest = header.get(start..)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        parsed.is_cut = rest.len() < length;
        parsed.data = rest.get(..length).unwrap_or(rest);
        parsed.end = at + start + parsed.data.len();
        (start > 0).then_some(parsed)
    }
}

/// Folders are told apart by 0xff or a backslash.
fn name(bytes: &[u8]) -> String {
    let slashes: Vec<u8> = bytes.iter().map(|&byte| if matches!(byte, 0xff | b'\\') { b'/' } else { byte }).collect();
    String::from_utf8_lossy(slashes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

/// Sums what passes.
struct Summed<R> {
    inner: R,
    sum: Crc16,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// CRC-16 with the polynomial 0x8005, bits reflected.
#[derive(Default)]
struct Crc16(u16);

impl Crc16 {
    fn update(&mut self, bytes: &[u8]) {
        const TABLE: [u16; 256] = {
            let mut table = [0; 256];
            let mut index = 0;
            while index < 256 {
                let (mut value, mut bit) = (index as u16, 0);
                while bit < 8 {
                    value = if value & 1 == 1 { value >> 1 ^ 0xa001 } else { value >> 1 };
                    bit += 1;
                }
                table[index] = value;
                index += 1;
            }
            table
        };
        for byte in bytes {
            let [low, _] = (self.0 ^ u16::from(*byte)).to_le_bytes();
            self.0 = TABLE[usize::from(low)] ^ self.0 >> 8;
        }
    }

    fn value(&self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, eicar, noise};

    /// A member of level 0, stored.
    fn stored(name: &str, content: &[u8]) -> Vec<u8> {
        let mut sum = Crc16::default();
        sum.update(content);
        let mut body = b"-lh0-".to_vec();
        body.extend((content.len() as u32).to_le_bytes());
        body.extend((content.len() as u32).to_le_bytes());
        body.extend([0, 0, 0, 0, 0x20, 0, name.len() as u8]);
        body.extend(name.as_bytes());
        body.extend(sum.value().to_le_bytes());
        let check = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        [vec![body.len() as u8, check], body, content.to_vec()].concat()
    }

    fn opened(archive: &[u8]) -> Record {
        let mut record = Record::default();
        open(archive, &mut record).unwrap();
        record
    }

    #[test]
    fn members_cuts_and_damage() {
        let archive = [stored("a.com", &eicar()), stored("b", &noise(700)), vec![0]].concat();
        assert!(starts(&archive));
        let record = opened(&archive);
        assert!(record.is_complete() && record.notes.is_empty(), "{:?} {:?}", record.unexamined, record.notes);
        assert_eq!(record.children, [("a.com".to_owned(), eicar()), ("b".to_owned(), noise(700))]);
        for length in 1..archive.len() {
            let record = opened(&archive[..length]);
            let at_an_end = record.notes.contains(&"no end mark".to_owned());
            assert!(!record.is_complete() || at_an_end, "cut to {length}");
        }
        for at in 0..archive.len() {
            let mut archive = archive.clone();
            archive[at] ^= 1;
            opened(&archive);
        }
        let mut damaged = archive;
        let last = damaged.len() - 2;
        damaged[last] ^= 1;
        assert!(opened(&damaged).says(Reason::Broken, "Lha"));
    }
}
