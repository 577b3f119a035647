//! Magic numbers.

use crate::unpack::{u16_at, u32_at};

/// Bytes at a place that tell a type.
struct Magic {
    offset: usize,
    bytes: &'static [u8],
    media_type: &'static str,
    /// Ends the signature of a format that carries files and is not opened.
    unsupported: Option<&'static str>,
}

const fn leaf(offset: usize, bytes: &'static [u8], media_type: &'static str) -> Magic {
    Magic { offset, bytes, media_type, unsupported: None }
}

const fn closed(offset: usize, bytes: &'static [u8], media_type: &'static str, detail: &'static str) -> Magic {
    Magic { offset, bytes, media_type, unsupported: Some(detail) }
}

/// The first that fits counts.
const TABLE: &[Magic] = &[
    closed(8, b"\x19\x04\0\x10", "application/vnd.symbian.install", "Sis"),
    closed(0, b"\x7a\x1a\x20\x10", "application/vnd.symbian.install", "Sis"),
    closed(0, b"ISc(", "application/octet-stream", "InstallShield"),
    closed(0, b"070701", "application/x-cpio", "Cpio"),
    closed(0, b"070702", "application/x-cpio", "Cpio"),
    closed(0, b"070707", "application/x-cpio", "Cpio"),
    closed(0, b"!<thin>\n", "application/x-archive", "Ar"),
    closed(2, b"-lh0-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lh1-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lh4-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lh5-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lh6-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lh7-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lhd-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lzs-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lz4-", "application/x-lzh-compressed", "Lha"),
    closed(2, b"-lz5-", "application/x-lzh-compressed", "Lha"),
    closed(7, b"**ACE**", "application/x-ace-compressed", "Ace"),
    closed(20, b"\xdc\xa7\xc4\xfd", "application/x-zoo", "Zoo"),
    closed(0, b"\x89LZO\0\r\n\x1a\n", "application/x-lzop", "Lzop"),
    closed(0, b"LRZI", "application/x-lrzip", "Lrzip"),
    closed(0, b"xar!\0\x1c", "application/x-xar", "Xar"),
    closed(0, b"MSWIM\0\0\0", "application/x-ms-wim", "Wim"),
    closed(0, b"sqsh", "application/vnd.squashfs", "Squashfs"),
    closed(0, b"\x45\x3d\xcd\x28", "application/x-cramfs", "Cramfs"),
    closed(0, b"ALZ\x01", "application/x-alz", "Alz"),
    closed(0, b"EGGA\0\x01", "application/x-egg", "Egg"),
    closed(0, b"hsqs", "application/vnd.squashfs", "Squashfs"),
    closed(0, b"SIT!", "application/x-stuffit", "Stuffit"),
    closed(0, b"StuffIt (c)", "application/x-stuffit", "Stuffit"),
    closed(0, b"7kSt", "application/octet-stream", "Zpaq"),
    closed(0, b"zPQ", "application/octet-stream", "Zpaq"),
    closed(0, b"!BDN", "application/vnd.ms-outlook", "Pst"),
    closed(0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "application/onenote", "OneNote"),
    closed(0, b"vhdxfile", "application/x-vhdx", "Vhdx"),
    closed(0, b"conectix", "application/x-vhd", "Vhd"),
    closed(0, b"KDMV", "application/x-vmdk", "Vmdk"),
    closed(0, b"QFI\xfb", "application/x-qemu-disk", "Qcow"),
    leaf(0, b"\x89PNG\r\n\x1a\n", "image/png"),
    leaf(0, b"\xff\xd8\xff", "image/jpeg"),
    leaf(0, b"GIF87a", "image/gif"),
    leaf(0, b"GIF89a", "image/gif"),
    leaf(8, b"WEBP", "image/webp"),
    leaf(8, b"WAVE", "audio/wav"),
    leaf(8, b"AVI ", "video/x-msvideo"),
    leaf(0, b"II*\0", "image/tiff"),
    leaf(0, b"MM\0*", "image/tiff"),
    leaf(4, b"ftypavif", "image/avif"),
    leaf(4, b"ftypheic", "image/heic"),
    leaf(4, b"ftypheix", "image/heic"),
    leaf(4, b"ftypM4A ", "audio/mp4"),
    leaf(4, b"ftypqt  ", "video/quicktime"),
    leaf(4, b"ftyp", "video/mp4"),
    leaf(0, b"8BPS", "image/vnd.adobe.photoshop"),
    leaf(0, b"\0\0\x01\0", "image/vnd.microsoft.icon"),
    leaf(0, b"\xff\x0a", "image/jxl"),
    leaf(0, b"ID3", "audio/mpeg"),
    leaf(0, b"fLaC", "audio/flac"),
    leaf(0, b"OggS", "application/ogg"),
    leaf(0, b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    leaf(0, b"\x7fELF", "application/x-executable"),
    leaf(0, b"\0asm", "application/wasm"),
    leaf(0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    leaf(0, b"wOFF", "font/woff"),
    leaf(0, b"wOF2", "font/woff2"),
    leaf(0, b"OTTO\0", "font/otf"),
    leaf(0, b"\0\x01\0\0\0", "font/ttf"),
    leaf(0, b"%!PS", "application/postscript"),
    leaf(0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    leaf(0, b"BM", "image/bmp"),
    leaf(0, b"MZ", "application/vnd.microsoft.portable-executable"),
];

pub(super) fn media_type(content: &[u8]) -> Option<&'static str> {
    TABLE
        .iter()
        .find(|magic| magic.fits(content))
        .filter(|magic| magic.media_type != "image/bmp" || is_bitmap(content))
        .map(|m| m.media_type)
}

/// The detail of a format that carries files and cannot be opened.
pub(super) fn unsupported(content: &[u8]) -> Option<&'static str> {
    let known = TABLE.iter().find(|magic| magic.fits(content)).and_then(|magic| magic.unsupported);
    known.or_else(|| structured(content))
}

impl Magic {
    fn fits(&self, content: &[u8]) -> bool {
        content.get(self.offset..).is_some_and(|rest| rest.starts_with(self.bytes))
    }
}

/// Formats with too short a magic number to be believed without their structure.
fn structured(content: &[u8]) -> Option<&'static str> {
    if is_compress(content) {
        return Some("Compress");
    }
    if is_old_cpio(content) {
        return Some("Cpio");
    }
    let trailer = content.len().checked_sub(512).and_then(|at| content.get(at..))?;
    if trailer.starts_with(b"koly\0\0\0\x04\0\0\x02\0") {
        return Some("Dmg");
    }
    trailer.starts_with(b"conectix").then_some("Vhd")
}

/// What `uncompress` and `unpack` open: LZW with codes of 9 to 16 bits and no reserved flag; LZH with a block that is not empty and a
/// tree of at most 19 lengths; Huffman trees of 1 to 24 levels.
fn is_compress(content: &[u8]) -> bool {
    match content {
        [0x1f, 0x9d, flags, _, ..] => flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f)),
        [0x1f, 0xa0, high, low, lengths, ..] => (*high, *low) != (0, 0) && lengths >> 3 <= 19,
        [0x1f, 0x1e, _, _, _, _, levels, _, ..] => (1..=24).contains(levels),
        _ => false,
    }
}

/// The binary cpio header of either byte order: a sane name that ends in a zero where its length says.
fn is_old_cpio(content: &[u8]) -> bool {
    let Some(magic) = u16_at(content, 0) else { return false };
    let swapped = match magic {
        0o070707 => false,
        0xc771 => true,
        _ => return false,
    };
    let Some(length) = u16_at(content, 20).map(|length| if swapped { length.swap_bytes() } else { length }) else { return false };
    let name = content.get(26..26 + usize::from(length)).unwrap_or_default();
    (2..=1_024).contains(&name.len()) && name.ends_with(&[0]) && memchr::memchr(0, name) == Some(name.len() - 1)
}

fn is_bitmap(content: &[u8]) -> bool {
    u32_at(content, 14).is_some_and(|header| matches!(header, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}
