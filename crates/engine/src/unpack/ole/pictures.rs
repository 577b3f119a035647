//! Pictures as drawings hold them (MS-ODRAW 2.2.23), wherever they stand in a stream: each behind a header that tells its kind.

use std::io::Read;

use memchr::memchr_iter;

use crate::unpack::{Sink, Stop, codec::Inflate, u16_at, u32_at};

/// Of a bitmap in a file of its own.
const FILE_HEADER: usize = 14;

/// What a header says stands behind it.
struct Blip {
    start: usize,
    end: usize,
    suffix: &'static str,
    is_packed: bool,
}

/// Examines every picture in the bytes of a stream.
pub(crate) fn open(path: &str, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut from = 0;
    // The second byte of a picture's record type.
    for high in memchr_iter(0xf0, bytes) {
        let Some(at) = high.checked_sub(3).filter(|at| *at >= from) else { continue };
        let Some(blip) = blip_at(bytes, at) else { continue };
        sink.tick()?;
        let data = bytes.get(blip.start..blip.end).unwrap_or_default();
        let name = format!("{path}-picture-at-{at}.{}", blip.suffix);
        if blip.is_packed {
            // Past the two bytes of the zlib header.
            sink.child(&name, &mut Inflate::new(data.get(2..).unwrap_or_default()))?;
        } else {
            picture(&name, data, sink)?;
        }
        from = blip.end;
    }
    Ok(())
}

/// A picture as it is; a bitmap without its file header gets one, or nothing would know it for a picture.
pub(crate) fn picture(name: &str, data: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    match bitmap_header(data) {
        Some(header) => sink.child(name, &mut header.as_slice().chain(data)).map(drop),
        None => sink.part(name, data).map(drop),
    }
}

/// The header of a bitmap file for what starts with the header of a bitmap.
fn bitmap_header(data: &[u8]) -> Option<[u8; FILE_HEADER]> {
    const MASKS: u32 = 3;
    const SHORT: u32 = 12;
    const PLAIN: u32 = 40;
    let size = u32_at(data, 0).filter(|size| matches!(*size, SHORT | PLAIN | 108 | 124))?;
    let (planes, bits) = if size == SHORT { (u16_at(data, 8)?, u16_at(data, 10)?) } else { (u16_at(data, 12)?, u16_at(data, 14)?) };
    if planes != 1 || !matches!(bits, 1 | 4 | 8 | 16 | 24 | 32) {
        return None;
    }
    let (masks, used) =
        if size == SHORT { (0, 0) } else { (if size == PLAIN && u32_at(data, 16)? == MASKS { 12 } else { 0 }, u32_at(data, 32)?) };
    let colors = if used > 0 {
        used.min(256)
    } else if bits <= 8 {
        1 << bits
    } else {
        0
    };
    let pixels = 14 + size + masks + colors * if size == SHORT { 3 } else { 4 };
    let length = u32::try_from(data.len() + FILE_HEADER).ok()?;
    let mut header = [0; FILE_HEADER];
    let fields = b"BM".iter().copied().chain(length.to_le_bytes()).chain([0; 4]).chain(pixels.to_le_bytes());
    header.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
    Some(header)
}

fn blip_at(bytes: &[u8], at: usize) -> Option<Blip> {
    const UID: usize = 16;
    const METAFILE_HEADER: usize = 34;
    let (version, kind) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
    if version & 0xf != 0 {
        return None;
    }
    let length = usize::try_from(u32_at(bytes, at + 4)?).ok()?;
    let end = at.checked_add(8)?.checked_add(length)?.min(bytes.len());
    let (suffix, is_metafile) = match kind {
        0xf01a => ("emf", true),
        0xf01b => ("wmf", true),
        0xf01c => ("pict", true),
        0xf01d | 0xf02a => ("jpg", false),
        0xf01e => ("png", false),
        0xf01f => ("dib", false),
        0xf029 => ("tif", false),
        _ => return None,
    };
    // One identifier or two; the instance tells, but the data itself is the better witness.
    [UID, 2 * UID].into_iter().find_map(|ids| {
        let head = at + 8 + ids;
        let start = head + if is_metafile { METAFILE_HEADER } else { 1 };
        let data = bytes.get(start..end)?;
        let is_deflated = data.first().is_some_and(|first| first & 0xf == 8)
            && data.first_chunk().is_some_and(|two| u16::from_be_bytes(*two).is_multiple_of(31));
        let fits = match suffix {
            "jpg" => data.starts_with(b"\xff\xd8"),
            "png" => data.starts_with(b"\x89PNG"),
            "tif" => data.starts_with(b"II") || data.starts_with(b"MM"),
            "dib" => matches!(u32_at(data, 0), Some(12 | 40 | 52 | 56 | 64 | 108 | 124)),
            _ => is_deflated || bytes.get(head + METAFILE_HEADER - 2) == Some(&0xfe),
        };
        fits.then_some(Blip { start, end, suffix, is_packed: is_metafile && is_deflated })
    })
}
