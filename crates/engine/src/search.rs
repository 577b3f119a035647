//! Containers embedded in what is none: behind a picture's end, in a self-extractor, anywhere that an opener might look.
//!
//! A candidate becomes a container once its header checks and its first member decodes; until then it is nothing.

mod text;

use filesafety_model::Reason;
use memchr::memmem;

use crate::unpack::{self, Codec, Ended, Sink, Stop, u32_at, u64_at};

/// Looks through what is no container for what may be embedded in it, in its bytes or in what they spell.
pub(crate) fn leaf(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    embedded(content, sink)?;
    text::open(content, sink)
}

/// Looks through `content` and opens what it finds.
pub(crate) fn embedded(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    unpack::open_embedded_zip(content, sink)?;
    for codec in [&Codec::GZIP, &Codec::BZIP2, &Codec::XZ, &Codec::ZSTD, &Codec::LZIP] {
        streams(codec, content, sink)?;
    }
    closed(content, sink)
}

fn streams(codec: &Codec, content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let finder = memmem::Finder::new(codec.magic);
    let mut from = 0;
    while let Some(found) = content.get(from..).and_then(|rest| finder.find(rest)) {
        let at = from + found;
        let candidate = content.get(at..).unwrap_or_default();
        from = at + 1;
        sink.tick()?;
        if (codec.starts)(candidate) != unpack::Start::Stream {
            continue;
        }
        let held = (codec.window)(candidate);
        sink.hold(held)?;
        let mut stream = (codec.open)(candidate);
        let probed = sink.probe(&mut *stream)?;
        let consumed = stream.consumed();
        drop(stream);
        sink.release(held);
        if probed.ended == Ended::AtEnd && consumed > 0 {
            let walked = unpack::walk_streams(codec, candidate, Some(&format!("{}-at-{at}", codec.detail.to_ascii_lowercase())), sink)?;
            from = at + walked.end.max(consumed);
        }
    }
    Ok(())
}

/// Whether the header that content starts with proves itself.
type Check = fn(&[u8]) -> bool;

/// Archives whose header proves them.
const PROVEN: [(&[u8], Check, &str); 4] = [
    (b"7z\xbc\xaf\x27\x1c", is_seven_zip, "SevenZip"),
    (b"Rar!\x1a\x07\x00", is_rar4, "Rar"),
    (b"Rar!\x1a\x07\x01\x00", is_rar5, "Rar"),
    (b"MSCF\0\0\0\0", is_cab, "Cab"),
];

/// Whether content starts with the whole header of an archive, which proves itself.
pub(crate) fn is_proven(content: &[u8]) -> bool {
    PROVEN.iter().any(|(magic, is, _)| content.starts_with(magic) && is(content))
}

/// Archives that are not opened count only with a whole header that proves itself.
fn closed(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    for (magic, is, detail) in PROVEN {
        for at in memmem::find_iter(content, magic) {
            sink.tick()?;
            if content.get(at..).is_some_and(is) {
                sink.member_unexamined(&format!("{}-at-{at}", detail.to_ascii_lowercase()), Reason::Unsupported, detail);
                break;
            }
        }
    }
    Ok(())
}

/// The start header's checksum is over offset, size and checksum of the next header, which must lie within the file.
fn is_seven_zip(content: &[u8]) -> bool {
    let Some(header) = content.get(12..32) else { return false };
    let (Some(offset), Some(size)) = (u64_at(content, 12), u64_at(content, 20)) else { return false };
    let end = offset.checked_add(size).and_then(|end| end.checked_add(32));
    u32_at(content, 8) == Some(crc32fast::hash(header)) && size > 0 && end.is_some_and(|end| end <= content.len() as u64)
}

/// The archive header after the mark: type 0x73, and the low half of its CRC-32.
fn is_rar4(content: &[u8]) -> bool {
    let Some(length) = unpack::u16_at(content, 12).map(usize::from).filter(|length| *length >= 13) else { return false };
    let Some(header) = content.get(9..7 + length) else { return false };
    let sum = crc32fast::hash(header) & 0xffff;
    header.first() == Some(&0x73) && unpack::u16_at(content, 7).map(u32::from) == Some(sum)
}

/// The main header after the mark: CRC-32, its size as a variable number, then type 1.
fn is_rar5(content: &[u8]) -> bool {
    /// A header has at most 2 MiB, so its size takes no more bytes.
    const LONGEST_SIZE: usize = 3;
    let Some(rest) = content.get(12..) else { return false };
    let Some(last) = rest.iter().take(LONGEST_SIZE).position(|byte| byte & 0x80 == 0) else { return false };
    let size = rest.iter().take(last + 1).rev().fold(0usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
    let Some(header) = rest.get(..last + 1 + size) else { return false };
    // 4 is the header of an encrypted archive.
    size > 0 && matches!(header.get(last + 1), Some(1 | 4)) && u32_at(content, 8) == Some(crc32fast::hash(header))
}

/// The cabinet header (MS-CAB 2.1): reserved fields zero, version 1.3, folders and files, sizes within the file.
fn is_cab(content: &[u8]) -> bool {
    let (Some(size), Some(files)) = (u32_at(content, 8), u32_at(content, 16)) else { return false };
    let reserved = u32_at(content, 4) == Some(0) && u32_at(content, 12) == Some(0) && u32_at(content, 20) == Some(0);
    let counts =
        unpack::u16_at(content, 26).is_some_and(|folders| folders > 0) && unpack::u16_at(content, 28).is_some_and(|files| files > 0);
    let within = files >= 36 && files < size && size as usize <= content.len();
    reserved && content.get(24..26) == Some(&[3, 1]) && counts && within
}
