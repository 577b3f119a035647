//! cpio archives: `newc` with and without checksum (070701, 070702) and POSIX `odc` (070707), and the binary formats before it, of
//! either byte order; see cpio(5) of FreeBSD.

use filesafety_model::Reason;

use super::{Sink, Stop};

/// Names end in a zero; longer ones are no names.
const MAX_NAME: usize = 65_536;

/// Whether content starts with a header that is followed by a name.
pub(crate) fn starts(content: &[u8]) -> bool {
    Header::parse(content, 0).is_some()
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let (mut at, mut parts) = (0, Vec::new());
    let mut ended = false;
    while at < content.len() {
        sink.tick()?;
        let Some(header) = Header::parse(content, at) else { break };
        at = member(content, &header, &mut parts, sink)?;
        ended = header.is_trailer();
        // An initial ramdisk is several archives in a row, with zeros between them.
        if ended {
            at += content.get(at..).unwrap_or_default().iter().take_while(|&&byte| byte == 0).count();
        }
    }
    let rest = content.get(at..).unwrap_or_default();
    if !ended {
        sink.unexamined(Reason::Broken, "Cpio");
    }
    if !rest.is_empty() {
        sink.note("bytes after the end");
        parts.push(at..content.len());
        sink.part("trailing", rest)?;
    }
    super::zip::open_across(content, &parts, sink)
}

/// Examines what follows a header; gives where the next header should be.
fn member(content: &[u8], header: &Header<'_>, parts: &mut Vec<std::ops::Range<usize>>, sink: &mut dyn Sink) -> Result<usize, Stop> {
    let rest = content.get(header.data..).unwrap_or_default();
    let stored = rest.get(..header.size).unwrap_or(rest);
    let name = String::from_utf8_lossy(header.name).into_owned();
    if !stored.is_empty() {
        parts.push(header.data..header.data + stored.len());
        sink.part(&name, stored)?;
    }
    let sum = || stored.iter().fold(0u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    if stored.len() < header.size || header.checksum.is_some_and(|told| told != sum()) {
        sink.member_unexamined(&name, Reason::Broken, "Cpio");
    }
    Ok(header.format.aligned(header.data.saturating_add(header.size)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    New,
    Odc,
    /// The oldest: numbers of 16 bits, in the order of the machine.
    Binary,
}

struct Header<'a> {
    format: Format,
    name: &'a [u8],
    /// Where the content starts, and its length.
    data: usize,
    size: usize,
    checksum: Option<u32>,
}

impl Format {
    /// `newc` fills to four bytes.
    fn aligned(self, at: usize) -> usize {
        match self {
            Self::New => at.checked_next_multiple_of(4).unwrap_or(usize::MAX),
            Self::Odc => at,
            Self::Binary => at.checked_next_multiple_of(2).unwrap_or(usize::MAX),
        }
    }
}

impl<'a> Header<'a> {
    fn parse(content: &'a [u8], at: usize) -> Option<Self> {
        let header = content.get(at..)?;
        if let [0xc7, 0x71, ..] | [0x71, 0xc7, ..] = header {
            return Self::parse_binary(content, at);
        }
        let (format, fixed, radix) = match header.get(..6)? {
            b"070701" | b"070702" => (Format::New, 110, 16),
            b"070707" => (Format::Odc, 76, 8),
            _ => return None,
        };
        let number = |from: usize, length: usize| {
            let digits = std::str::from_utf8(header.get(from..from + length)?).ok()?;
            // A sign would be no digit.
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix).ok())?
        };
        let (name_size, size) = match format {
            Format::New => (number(94, 8)?, number(54, 8)?),
            Format::Odc => (number(59, 6)?, number(65, 11)?),
            Format::Binary => return None,
        };
        let name_size = usize::try_from(name_size).ok().filter(|length| (1..=MAX_NAME).contains(length))?;
        let name = header.get(fixed..)?.get(..name_size)?.strip_suffix(&[0])?;
        let checksum = header.starts_with(b"070702").then(|| number(102, 8)).flatten().and_then(|sum| u32::try_from(sum).ok());
        let data = format.aligned(at + fixed + name_size);
        Some(Self { format, name, data, size: usize::try_from(size).ok()?, checksum })
    }

    /// Thirteen numbers; their mark is short, so the file's type and name have to be such.
    fn parse_binary(content: &'a [u8], at: usize) -> Option<Self> {
        const FIXED: usize = 26;
        const KINDS: [u32; 8] = [0, 0o01, 0o02, 0o04, 0o06, 0o10, 0o12, 0o14];
        let header = content.get(at..)?;
        let is_little = header.first() == Some(&0xc7);
        let number = |index: usize| {
            let bytes = *header.get(index * 2..)?.first_chunk::<2>()?;
            Some(u32::from(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }))
        };
        let size = number(11)? << 16 | number(12)?;
        let name = header.get(FIXED..)?.get(..number(10)? as usize)?.strip_suffix(&[0])?;
        let is_name = !name.is_empty() && name.iter().all(|&byte| byte >= b' ' && byte != 0x7f);
        let is_kind = KINDS.contains(&(number(3)? >> 12)) || name == b"TRAILER!!!";
        let data = Format::Binary.aligned(at + FIXED + name.len() + 1);
        (is_name && is_kind).then_some(Self { format: Format::Binary, name, data, size: size as usize, checksum: None })
    }

    fn is_trailer(&self) -> bool {
        self.name == b"TRAILER!!!"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, cpio, cpio_odc, eicar};

    fn opened(archive: &[u8]) -> Record {
        let mut record = Record::default();
        open(archive, &mut record).unwrap();
        record
    }

    #[test]
    fn both_formats_and_archives_in_a_row() {
        for pack in [cpio, cpio_odc] {
            let record = opened(&pack(&[("a", b"one"), ("dir/b", &eicar())]));
            assert_eq!(record.children, [("a".to_owned(), b"one".to_vec()), ("dir/b".to_owned(), eicar())]);
            assert!(record.is_complete() && record.notes.is_empty());
        }
        let record = opened(&[cpio(&[("a", b"one")]), vec![0; 512], cpio(&[("b", b"two")])].concat());
        assert_eq!(record.contents(), [b"one", b"two"]);
        assert!(record.is_complete());
        let record = opened(&[cpio(&[("a", b"one")]), eicar()].concat());
        assert!(record.has(&eicar()) && record.is_complete());
    }

    #[test]
    fn numbers_of_either_byte_order() {
        let member = |name: &str, content: &[u8], order: fn(u16) -> [u8; 2]| {
            let numbers = [0o70_707, 0, 1, 0o100_644, 0, 0, 1, 0, 0, 0, name.len() as u16 + 1, 0, content.len() as u16];
            let mut member = numbers.map(order).concat();
            member.extend(name.as_bytes());
            member.push(0);
            member.resize(member.len().next_multiple_of(2), 0);
            member.extend(content);
            member.resize(member.len().next_multiple_of(2), 0);
            member
        };
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let archive = [member("a", &eicar(), order), member("bc", b"odd", order), member("TRAILER!!!", b"", order)].concat();
            let record = opened(&archive);
            assert_eq!(record.contents(), [&eicar()[..], b"odd"]);
            assert!(record.is_complete() && starts(&archive) && !opened(&archive[..60]).is_complete());
        }
        assert!(!starts(b"\xc7\x71 and then a text that is none of this at all"));
    }

    #[test]
    fn what_is_cut_or_wrong_is_broken() {
        let archive = cpio(&[("a", &eicar())]);
        for length in 6..archive.len() - 1 {
            let record = opened(&archive[..length]);
            assert!(record.says(Reason::Broken, "Cpio") || record.has(&eicar()), "{length}");
        }
        let mut wrong = archive.clone();
        let at = wrong.windows(5).position(|bytes| bytes == b"EICAR").unwrap();
        wrong[at] = b'X';
        assert!(opened(&wrong).says(Reason::Broken, "Cpio"));
    }
}
