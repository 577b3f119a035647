//! The formats that are opened: the one list of what is known of each beside how it is read.

use super::{compound, zipped};

/// A container that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Zip,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Lzma,
    Lzip,
    Tar,
    Ar,
    Cpio,
    Rpm,
    Pdf,
    SevenZip,
    Rar,
    Cab,
    Iso,
    Lha,
    Arj,
    Compress,
    Lz4,
    Snappy,
    Szdd,
    Chm,
    Ole,
    Rtf,
    Mail,
    Tnef,
    Cms,
}

/// How the MIME type is known.
pub(super) enum MediaType {
    Fixed(&'static str),
    Of(fn(&[u8]) -> &'static str),
}

/// What the parts of a container are to each other.
pub(super) enum Sort {
    /// Things of their own.
    Archive,
    /// Parts of one thing.
    Document,
    /// One or the other: the content tells whether a document.
    Perhaps(fn(&[u8]) -> bool),
}

impl Format {
    pub(super) fn media_type(self) -> MediaType {
        self.traits().0
    }

    pub(super) fn sort(self) -> Sort {
        self.traits().1
    }

    /// Whether containers may be embedded in it that its opener does not see.
    pub(crate) fn is_searched(self) -> bool {
        self.traits().2
    }

    /// MIME type, sort, and whether it is searched for what its opener does not see: where readers look beyond the format's own bytes.
    fn traits(self) -> (MediaType, Sort, bool) {
        let archive = |media_type| (MediaType::Fixed(media_type), Sort::Archive, false);
        let message = |media_type| (MediaType::Fixed(media_type), Sort::Archive, true);
        let document = |media_type| (MediaType::Fixed(media_type), Sort::Document, true);
        match self {
            Self::Zip => (MediaType::Of(zipped::media_type), Sort::Perhaps(zipped::is_document), false),
            Self::Gzip => archive("application/gzip"),
            Self::Bzip2 => archive("application/x-bzip2"),
            Self::Xz => archive("application/x-xz"),
            Self::Zstd => archive("application/zstd"),
            Self::Lzma => archive("application/x-lzma"),
            Self::Lzip => archive("application/x-lzip"),
            Self::Tar => archive("application/x-tar"),
            Self::Ar => (MediaType::Of(ar_media_type), Sort::Archive, false),
            Self::Cpio => archive("application/x-cpio"),
            Self::Rpm => archive("application/x-rpm"),
            Self::Pdf => document("application/pdf"),
            Self::SevenZip => archive("application/x-7z-compressed"),
            Self::Rar => archive("application/vnd.rar"),
            Self::Cab => archive("application/vnd.ms-cab-compressed"),
            Self::Iso => archive("application/x-iso9660-image"),
            Self::Lha => archive("application/x-lzh-compressed"),
            Self::Arj => archive("application/x-arj"),
            Self::Compress => archive("application/x-compress"),
            Self::Lz4 => archive("application/x-lz4"),
            Self::Snappy => archive("application/x-snappy-framed"),
            Self::Szdd => archive("application/x-ms-compress-szdd"),
            Self::Chm => archive("application/vnd.ms-htmlhelp"),
            Self::Ole => (MediaType::Of(compound::media_type), Sort::Document, false),
            Self::Rtf => document("application/rtf"),
            Self::Mail => message("message/rfc822"),
            Self::Tnef => message("application/vnd.ms-tnef"),
            Self::Cms => message("application/pkcs7-mime"),
        }
    }
}

fn ar_media_type(content: &[u8]) -> &'static str {
    let is_debian = content.get(8..).is_some_and(|rest| rest.starts_with(b"debian-binary"));
    if is_debian { "application/vnd.debian.binary-package" } else { "application/x-archive" }
}
