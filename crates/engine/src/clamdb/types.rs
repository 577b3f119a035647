//! The types that signatures take objects for, by the names of ClamAV's manual without `CL_TYPE_`.

use crate::{
    clamdb::executable::{Executable, Sort},
    filetype::{self, FileType, Format},
};

/// `ZIP` and its kin; one of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClamType(&'static str);

#[rustfmt::skip]
const NAMES: [&str; 89] = [
    "7Z", "7ZSFX", "ALZ", "APM", "ARJ", "ARJSFX", "AUTOIT", "BINARY_DATA", "BINHEX", "BZ", "CABSFX", "CPIO_CRC", "CPIO_NEWC", "CPIO_ODC",
    "CPIO_OLD", "CRYPTFF", "DMG", "EGG", "EGGSFX", "ELF", "GIF", "GPT", "GRAPHICS", "GZ", "HTML", "HTML_UTF16", "HWP3", "HWP5", "HWPOLE2",
    "IGNORED", "INTERNAL", "ISHIELD_MSI", "ISO9660", "JAVA", "JPEG", "LHA_LZH", "LNK", "MACHO", "MACHO_UNIBIN", "MAIL", "MBR", "MHTML",
    "MSCAB", "MSCHM", "MSEXE", "MSOLE2", "MSPPT", "MSSZDD", "MSWORD", "MSXL", "NULSFT", "OLD_TAR", "ONENOTE", "OOXML_HWP", "OOXML_PPT",
    "OOXML_WORD", "OOXML_XL", "PART_ANY", "PART_HFSPLUS", "PDF", "PNG", "POSIX_TAR", "PS", "PYTHON_COMPILED", "RAR", "RARSFX", "RIFF",
    "RTF", "SCRENC", "SCRIPT", "SFX", "SIS", "SWF", "TEXT_ASCII", "TEXT_UTF16BE", "TEXT_UTF16LE", "TEXT_UTF8", "TIFF", "TNEF", "UDF",
    "UUENCODED", "XAR", "XDP", "XML_HWP", "XML_WORD", "XML_XL", "XZ", "ZIP", "ZIPSFX",
];

/// What nothing else is known of.
const BINARY_DATA: ClamType = ClamType("BINARY_DATA");

impl ClamType {
    /// `CL_TYPE_ZIP` and its kin; `None` for what is none of ClamAV 1.4.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix("CL_TYPE_")?;
        NAMES.iter().find(|known| **known == name).copied().map(Self)
    }

    pub(super) fn pack(self) -> u32 {
        NAMES.iter().position(|known| *known == self.0).and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
    }

    pub(super) fn unpack(at: u32) -> Option<Self> {
        NAMES.get(at as usize).copied().map(Self)
    }

    /// By the content, as far as it tells.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self::known(content, Executable::parse(content).map(|executable| executable.sort))
    }

    /// As [`ClamType::of`], where it is known what executable the content is.
    pub(super) fn known(content: &[u8], executable: Option<Sort>) -> Self {
        match executable {
            Some(Sort::Pe) => return Self("MSEXE"),
            Some(Sort::Elf) => return Self("ELF"),
            Some(Sort::MachO) => return Self("MACHO"),
            // Seen so: the two letters are enough.
            None if content.starts_with(b"MZ") => return Self("MSEXE"),
            None => {}
        }
        if let FileType::Container(format) = filetype::identify(content) {
            return of_format(format, content);
        }
        let kind = match content {
            [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => "MSOLE2",
            [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => "RAR",
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => "7Z",
            [b'M', b'S', b'C', b'F', ..] => "MSCAB",
            [b'I', b'T', b'S', b'F', ..] => "MSCHM",
            [0x60, 0xea, ..] => "ARJ",
            [b'F' | b'C' | b'Z', b'W', b'S', ..] => "SWF",
            [b'{', b'\\', b'r', b't', b'f', ..] => "RTF",
            [0xca, 0xfe, 0xba, 0xbe, ..] => "JAVA",
            [0x89, b'P', b'N', b'G', ..] => "PNG",
            [0xff, 0xd8, 0xff, ..] => "JPEG",
            [b'G', b'I', b'F', b'8', ..] => "GIF",
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "TIFF",
            [b'R', b'I', b'F', b'F', ..] => "RIFF",
            [b'B', b'M', ..] => "GRAPHICS",
            [b'L', 0, 0, 0, 1, 0x14, 2, 0, ..] => "LNK",
            [b'x', b'a', b'r', b'!', ..] => "XAR",
            [0x78, 0x9f, 0x3e, 0x22, ..] => "TNEF",
            [0xe4, 0x52, 0x5c, 0x7b, 0x8c, 0xd8, 0xa7, 0x4d, ..] => "ONENOTE",
            [b'b', b'e', b'g', b'i', b'n', b' ', b'0'..=b'7', b'0'..=b'7', b'0'..=b'7', b' ', ..] => "UUENCODED",
            _ => return of_text(content),
        };
        Self(kind)
    }

    /// Whether it says little: bytes, or a text.
    pub(super) fn is_vague(self) -> bool {
        matches!(self.0, "BINARY_DATA" | "TEXT_ASCII" | "TEXT_UTF8" | "TEXT_UTF16BE" | "TEXT_UTF16LE")
    }

    pub(super) fn is_text(self) -> bool {
        self.is_vague() && self != BINARY_DATA
    }

    pub(super) fn is_mail(self) -> bool {
        self.0 == "MAIL"
    }

    /// By the manual's *File Types*, and as `clamscan` was seen to do it; `None` for what is of none but 0.
    pub(super) fn target(self) -> Option<u8> {
        match self.0 {
            "MSEXE" => Some(1),
            "MSOLE2" => Some(2),
            "HTML" | "HTML_UTF16" => Some(3),
            "MAIL" => Some(4),
            "GRAPHICS" | "PNG" | "JPEG" | "GIF" | "TIFF" => Some(5),
            "ELF" => Some(6),
            "TEXT_ASCII" | "TEXT_UTF8" | "TEXT_UTF16BE" | "TEXT_UTF16LE" => Some(7),
            "MACHO" | "MACHO_UNIBIN" => Some(9),
            "PDF" => Some(10),
            "SWF" => Some(11),
            "JAVA" => Some(12),
            "INTERNAL" => Some(13),
            "BINARY_DATA" => Some(14),
            _ => None,
        }
    }
}

fn of_format(format: Format, content: &[u8]) -> ClamType {
    let kind = match format {
        Format::Zip => match filetype::media_type(content) {
            media_type if media_type.ends_with("wordprocessingml.document") => "OOXML_WORD",
            media_type if media_type.ends_with("spreadsheetml.sheet") => "OOXML_XL",
            media_type if media_type.ends_with("presentationml.presentation") => "OOXML_PPT",
            _ => "ZIP",
        },
        Format::Gzip => "GZ",
        Format::Bzip2 => "BZ",
        Format::Xz => "XZ",
        Format::Tar if content.get(257..262) == Some(b"ustar") => "POSIX_TAR",
        Format::Tar => "OLD_TAR",
        Format::Cpio => match content {
            [b'0', b'7', b'0', b'7', b'0', b'1', ..] => "CPIO_NEWC",
            [b'0', b'7', b'0', b'7', b'0', b'2', ..] => "CPIO_CRC",
            [b'0', b'7', b'0', b'7', b'0', b'7', ..] => "CPIO_ODC",
            _ => "CPIO_OLD",
        },
        Format::Pdf => "PDF",
        Format::SevenZip => "7Z",
        Format::Rar => "RAR",
        Format::Cab => "MSCAB",
        Format::Iso => "ISO9660",
        Format::Lha => "LHA_LZH",
        Format::Arj => "ARJ",
        Format::Szdd => "MSSZDD",
        Format::Chm => "MSCHM",
        Format::Ole => "MSOLE2",
        Format::Rtf => "RTF",
        Format::Mail => "MAIL",
        Format::Tnef => "TNEF",
        Format::Zstd | Format::Lzma | Format::Lzip | Format::Ar | Format::Rpm => return BINARY_DATA,
        Format::Compress | Format::Lz4 | Format::Snappy | Format::Cms => return BINARY_DATA,
    };
    ClamType(kind)
}

fn of_text(content: &[u8]) -> ClamType {
    if filetype::is_mail(content) {
        return ClamType("MAIL");
    }
    // Readers look for the header within the first 1,024 bytes.
    if memchr::memmem::find(content.get(..1_024 + 5).unwrap_or(content), b"%PDF-").is_some() {
        return ClamType("PDF");
    }
    if is_text(content) { ClamType("TEXT_ASCII") } else { BINARY_DATA }
}

/// So much of the start tells a text.
const TOLD_BY: usize = 1_024;

/// No control characters but those of texts; or UTF-16 by its mark.
fn is_text(content: &[u8]) -> bool {
    let start = content.get(..TOLD_BY).unwrap_or(content);
    let marked = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    let fits = |byte: &u8| matches!(byte, 0x07..=0x0d | 0x1b | 0x20..=0x7e | 0x80..);
    !start.is_empty() && (marked || start.iter().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures;

    #[test]
    fn every_name_is_read_and_no_other() {
        for name in NAMES {
            assert_eq!(ClamType::parse(&format!("CL_TYPE_{name}")), Some(ClamType(name)));
            assert_eq!(ClamType::unpack(ClamType(name).pack()), Some(ClamType(name)));
        }
        for name in ["", "ZIP", "CL_TYPE_", "CL_TYPE_ANY", "CL_TYPE_zip", "CL_TYPE_NONE"] {
            assert_eq!(ClamType::parse(name), None, "{name}");
        }
    }

    #[test]
    fn types_are_told_by_content() {
        let word = fixtures::zip(&[fixtures::Member::stored("word/document.xml", b"x")]);
        for (content, expected) in [
            (&b""[..], "BINARY_DATA"),
            (b"MZ and more", "MSEXE"),
            (b"a text\n", "TEXT_ASCII"),
            (b"no text\0\n", "BINARY_DATA"),
            (&word, "OOXML_WORD"),
            (&fixtures::zip(&[fixtures::Member::stored("a", b"x")]), "ZIP"),
            (&fixtures::tar(&[("a", b"x")]), "POSIX_TAR"),
            (&fixtures::gzip(b"x"), "GZ"),
            (b"From: a\nMessage-ID: <a@b>\nTo: c\n\nx", "MAIL"),
            (b"  %PDF-1.4", "PDF"),
        ] {
            assert_eq!(ClamType::of(content), ClamType(expected), "{expected}");
        }
    }

    #[test]
    fn whatever_has_a_target_has_a_name() {
        assert_eq!(NAMES.iter().filter(|name| ClamType(name).target().is_some()).count(), 22);
    }
}
