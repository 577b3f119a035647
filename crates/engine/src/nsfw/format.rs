//! What kind of picture content is, from its first bytes alone.

/// A kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bmp,
    Gif,
    Icon,
    Jpeg,
    Jpeg2000,
    Png,
    Tiff,
    WebP,
    /// A picture to a browser or a viewer, but none that this build decodes: AVIF, HEIC, JPEG XL, SVG, PSD.
    Foreign,
}

/// Whether content is a picture, decodable here or not.
pub(crate) fn is_picture(content: &[u8]) -> bool {
    recognise(content).is_some()
}

/// The kind of picture, or `None` for anything else. Where a signature is shorter than four bytes, the header behind it has to make
/// sense as well: chance data taken for a picture would end as one that cannot be judged.
pub(super) fn recognise(content: &[u8]) -> Option<Format> {
    match content {
        [0xFF, 0xD8, 0xFF, 0xC0..=0xFE, ..] => Some(Format::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Format::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::WebP),
        [b'B', b'M', ..] if is_bmp(content) => Some(Format::Bmp),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        [b'8', b'B', b'P', b'S', 0, 1 | 2, ..] => Some(Format::Foreign),
        [0, 0, 0, 12, b'J', b'X', b'L', b' ', b'\r', b'\n', 0x87, b'\n', ..] => Some(Format::Foreign),
        [0xFF, 0x0A, stream @ ..] if is_jpeg_xl(stream) => Some(Format::Foreign),
        [0, 0, 0, 12, b'j', b'P', b' ' | 0x1A, b' ' | 0x1A, ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => Some(Format::Jpeg2000),
        [0, 0, 1, 0, ..] if is_icon(content) => Some(Format::Icon),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if is_heif_brand(brand) => Some(Format::Foreign),
        _ if is_svg(content) => Some(Format::Foreign),
        _ => None,
    }
}

/// The headers of all versions begin with their own size, and the pixels stand behind them.
fn is_bmp(content: &[u8]) -> bool {
    let (Some(pixels), Some(header)) = (le_u32(content, 10), le_u32(content, 14)) else { return false };
    matches!(header, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124) && pixels >= header.saturating_add(14)
}

/// The first entry of the directory has a zero where one is due and points behind the directory, into the file.
fn is_icon(content: &[u8]) -> bool {
    let (Some(count), Some(size), Some(start)) = (content.get(4..6), le_u32(content, 14), le_u32(content, 18)) else { return false };
    let count = u32::from(count[0]) | u32::from(count[1]) << 8;
    let end = u64::from(start) + u64::from(size);
    (1..=256).contains(&count) && content.get(9) == Some(&0) && size >= 40 && start >= 6 + 16 * count && end <= content.len() as u64
}

/// The size as ISO/IEC 18181-1 codes it: bits from the lowest, each number in the shortest form, neither side beyond 65,536. Where the
/// metadata behind it are the default ones, zeros fill their last byte.
fn is_jpeg_xl(stream: &[u8]) -> bool {
    const LONGEST: u64 = 65_536;
    let (Some(bytes), true) = (stream.first_chunk().copied().map(u64::from_le_bytes), stream.len() >= 10) else { return false };
    let mut used = 0;
    let mut take = |count: u32| {
        let value = bytes >> used & ((1 << count) - 1);
        used += count;
        value
    };
    let small = take(1) == 1;
    let side = |take: &mut dyn FnMut(u32) -> u64| {
        if small {
            return Some((take(5) + 1) * 8);
        }
        let (bits, more_than) = [(9, 0), (13, 1 << 9), (18, 1 << 13), (30, 1 << 18)][take(2) as usize];
        Some(take(bits) + 1).filter(|side| (more_than + 1..=LONGEST).contains(side))
    };
    let height = side(&mut take);
    let is_square_or_known = take(3) != 0;
    if height.is_none() || !(is_square_or_known || side(&mut take).is_some()) {
        return false;
    }
    let default_metadata = take(2);
    default_metadata != 0b11 || bytes >> used & ((1 << (used.wrapping_neg() % 8)) - 1) == 0
}

/// The brands of still and moving pictures in an ISO base media file (ISO/IEC 23008-12, AVIF); a film has others.
fn is_heif_brand(brand: &[u8]) -> bool {
    let brands: [&[u8]; 11] = [b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"mif1", b"msf1"];
    brands.iter().any(|known| brand.starts_with(known))
}

/// Whether the root element is `svg` and stands within the first KiB: HTML with a drawing inside is no picture.
fn is_svg(content: &[u8]) -> bool {
    const WITHIN: usize = 1024;
    let mut rest = content.get(..WITHIN).unwrap_or(content);
    rest = rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest);
    loop {
        rest = rest.trim_ascii_start();
        let end: &[u8] = match rest {
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', ..] => b">",
            [b'<', b's', b'v', b'g', after, ..] => return after.is_ascii_whitespace() || matches!(after, b'>' | b'/' | b':'),
            _ => return false,
        };
        match memchr::memmem::find(rest, end).and_then(|at| rest.get(at + end.len()..)) {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

fn le_u32(content: &[u8], at: usize) -> Option<u32> {
    content.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_content_is_no_picture() {
        let others: [&[u8]; 16] = [
            b"",
            b"B",
            b"BM",
            b"BMW sells cars, and this text is longer than the header of a bitmap file by some",
            b"\xFF\xD8",
            b"\xFF\x0A",
            b"\xFF\x0A\0\0",
            b"\xFF\x0A\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            b"\x89PNG",
            b"RIFF\x24\0\0\0WAVEfmt ",
            b"\0\0\x01\0\x01\0\x10\x10\0\xFF\x01\0\x20\0\xFF\xFF\xFF\x7F\x16\0\0\0",
            b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
            b"<html><body><svg width='1'/></body></html>",
            b"<?xml version='1.0'?><svgfont/>",
            b"<!-- <svg> never ends",
            b"MZ\x90\0",
        ];
        for other in others {
            assert_eq!(recognise(other), None, "{}", other.escape_ascii());
        }
        assert_eq!(recognise(&[b" ".repeat(1100).as_slice(), b"<svg/>"].concat()), None);
    }

    #[test]
    fn pictures_that_are_not_decoded_are_recognised() {
        let mut icon = b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0\x28\0\0\0\x16\0\0\0".to_vec();
        icon.resize(22 + 40, 0);
        let foreign: [&[u8]; 5] = [
            b"\0\0\0\x1Cftypavif\0\0\0\0",
            b"\0\0\0\x18ftypheic\0\0\0\0",
            b"\xFF\x0A\xFA\x1F\x41\x91\x08\x06\x01\0\x4B\0",
            b"\0\0\0\x0CJXL \r\n\x87\n",
            b"8BPS\0\x01\0\0",
        ];
        for content in foreign {
            assert_eq!(recognise(content), Some(Format::Foreign), "{}", content.escape_ascii());
        }
        assert_eq!(recognise(&icon), Some(Format::Icon));
        for content in [b"\0\0\0\x0CjP  \r\n\x87\n".as_slice(), b"\xFF\x4F\xFF\x51\0\x2F"] {
            assert_eq!(recognise(content), Some(Format::Jpeg2000), "{}", content.escape_ascii());
        }
        let drawings: [&[u8]; 3] = [
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"\xEF\xBB\xBF<?xml version='1.0'?>\n<!-- a > b -->\n<!DOCTYPE svg>\n<svg>",
            b"<svg:svg/>",
        ];
        for content in drawings {
            assert_eq!(recognise(content), Some(Format::Foreign), "{}", content.escape_ascii());
        }
    }
}
