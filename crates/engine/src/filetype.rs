//! The type of content, by the content alone: a name proves nothing.

mod compound;
mod format;
mod mail;
mod table;
mod zipped;

use memchr::memmem;

use crate::unpack;

pub(crate) use format::Format;
pub(crate) use mail::is_mail;

use format::{MediaType, Sort};

/// What is to be done with an object beyond scanning its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    /// It is opened.
    Container(Format),
    /// It carries files, and this build cannot open it; the word ends the signature.
    Unsupported(&'static str),
    /// It has no members of its own; containers may be embedded in it.
    Leaf,
}

/// The MIME type by content, `application/octet-stream` where nothing is known.
pub fn media_type(content: &[u8]) -> &'static str {
    match identify(content) {
        FileType::Container(format) => match format.media_type() {
            MediaType::Fixed(media_type) => media_type,
            MediaType::Of(look) => look(content),
        },
        FileType::Unsupported(_) | FileType::Leaf => table::media_type(content).unwrap_or_else(|| text_type(content)),
    }
}

/// Whether the first bytes tell a type: a magic number of a container, a program, a picture or another medium.
pub(crate) fn has_magic(content: &[u8]) -> bool {
    table::media_type(content).is_some()
}

/// Whether content of no known type can be text: no zeros at its start but those of UTF-16.
pub(crate) fn is_textual(content: &[u8]) -> bool {
    let start = content.get(..1_024).unwrap_or(content);
    !has_magic(content) && (memchr::memchr(0, start).is_none() || crate::normalise::Endian::of(content).is_some())
}

pub(crate) fn identify(content: &[u8]) -> FileType {
    if let Some(format) = format_of(content) {
        return FileType::Container(format);
    }
    if let Some(detail) = table::unsupported(content) {
        return FileType::Unsupported(detail);
    }
    if unpack::tar_starts(content) {
        return FileType::Container(Format::Tar);
    }
    if has_pdf_header(content) {
        return FileType::Container(Format::Pdf);
    }
    if mail::is_mail(content) {
        return FileType::Container(Format::Mail);
    }
    FileType::Leaf
}

/// Whether its parts are parts of one thing, as the macros of a document are; the members of an archive are things of their own.
pub(crate) fn is_document(file_type: FileType, content: &[u8]) -> bool {
    match file_type {
        FileType::Container(format) => match format.sort() {
            Sort::Document => true,
            Sort::Perhaps(look) => look(content),
            Sort::Archive => false,
        },
        FileType::Unsupported(detail) => detail == "OneNote",
        FileType::Leaf => false,
    }
}

fn format_of(content: &[u8]) -> Option<Format> {
    match content {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, b'P', b'K', 3, 4, ..] => Some(Format::Zip),
        [b'P', b'K', b'0', b'0', b'P', b'K', 3, 4, ..] => Some(Format::Zip),
        [0x1f, 0x8b, 8, ..] => Some(Format::Gzip),
        [b'R', b'a', b'r', b'!', 0x1a, 7, 0 | 1, ..] | [b'R', b'E', b'~', b'^', ..] => Some(Format::Rar),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some(Format::SevenZip),
        [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => Some(Format::Cab),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(Format::Pdf),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', _, ..] => Some(Format::Ar),
        [0xed, 0xab, 0xee, 0xdb, ..] => Some(Format::Rpm),
        [b'L', b'Z', b'I', b'P', 1, ..] => Some(Format::Lzip),
        _ if unpack::ole_starts(content) => Some(Format::Ole),
        _ if unpack::rtf_starts(content) => Some(Format::Rtf),
        _ if unpack::tnef_starts(content) => Some(Format::Tnef),
        _ if unpack::cms_starts(content) => Some(Format::Cms),
        _ if unpack::cpio_starts(content) => Some(Format::Cpio),
        _ if unpack::lzma_starts(content) => Some(Format::Lzma),
        _ if unpack::bzip2_starts(content) => Some(Format::Bzip2),
        _ if unpack::zstd_after_skippable(content) => Some(Format::Zstd),
        [b'I', b'T', b'S', b'F', 3, 0, 0, 0, ..] => Some(Format::Chm),
        [0xff, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Some(Format::Snappy),
        _ if unpack::lz4_starts(content) => Some(Format::Lz4),
        _ if unpack::compress_starts(content) => Some(Format::Compress),
        _ if unpack::szdd_starts(content) => Some(Format::Szdd),
        _ if unpack::lha_starts(content) => Some(Format::Lha),
        _ if unpack::arj_starts(content) => Some(Format::Arj),
        _ if unpack::iso_starts(content) => Some(Format::Iso),
        _ => None,
    }
}

/// Readers look for the header within the first 1,024 bytes; an object must follow, or a text about PDF would be one.
fn has_pdf_header(content: &[u8]) -> bool {
    let start = content.get(..1_024 + 8).unwrap_or(content);
    let Some(at) = memmem::find(start, b"%PDF-") else { return false };
    let rest = content.get(at..).unwrap_or_default();
    let versioned = matches!(rest.get(5..8), Some([b'1' | b'2', b'.', b'0'..=b'9']));
    versioned && memmem::find(rest, b" obj").is_some() && memmem::find(rest, b"endobj").is_some()
}

fn text_type(content: &[u8]) -> &'static str {
    let start = content.get(..4_096).unwrap_or(content);
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if start.is_empty() {
        "application/octet-stream"
    } else if begins(b"<!doctype html") || begins(b"<html") {
        "text/html"
    } else if begins(b"<svg") || begins(b"<?xml") && memmem::find(text, b"<svg").is_some() {
        "image/svg+xml"
    } else if begins(b"<?xml") {
        "text/xml"
    } else if begins(b"#!") {
        "text/x-shellscript"
    } else if is_text(start) {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

/// UTF-8 (which the cut may have ended inside a character) without control characters, or UTF-16 by its mark.
fn is_text(start: &[u8]) -> bool {
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return true;
    }
    let valid = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid && !start.iter().any(|&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_noise_are_leaves() {
        for content in [&b""[..], b"P", b"PK", b"%PDF", b"hello", &[0; 512], &[0xff; 2_000], b"BZh9 is how bzip2 files start", b"7z"] {
            assert_eq!(identify(content), FileType::Leaf, "{content:?}");
        }
        assert_eq!(media_type(b""), "application/octet-stream");
        assert_eq!(media_type(b"hello"), "text/plain");
        assert_eq!(media_type("caf\u{e9}".as_bytes()), "text/plain");
        assert_eq!(media_type(b"\x00\x01\x02"), "application/octet-stream");
    }

    #[test]
    fn a_text_about_a_format_is_a_text() {
        assert_eq!(identify(b"a PDF starts with %PDF-1.7, then objects"), FileType::Leaf);
        assert_eq!(identify(b"\x1f\x9d\xffabc"), FileType::Leaf);
        assert_eq!(identify(b"From: me\nTo: you\nSubject: lunch\n\nAt noon?"), FileType::Leaf);
        assert_eq!(
            identify(b"From 0123abcd Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nDate: x\nSubject: [PATCH] y\n\n---\n"),
            FileType::Leaf
        );
        assert_eq!(identify(b"From here: a story\nof two lines"), FileType::Leaf);
        assert_eq!(identify(b"Date: today\nContent-Type: prose\n\n"), FileType::Leaf);
        assert_eq!(identify(b"From: someone\nonly one line is a header"), FileType::Leaf);
        assert_eq!(identify(b"Package: x\nVersion: 1\nDescription: y\n"), FileType::Leaf);
    }

    #[test]
    fn mail_is_told_by_its_header() {
        for content in [
            &b"Received: from a by b\r\nSubject: hello\r\n\r\nbody"[..],
            b"MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n",
            b"X-Spam: no\n folded\nMessage-ID: <a@b>\nTo: c\n\n",
            b"From: me\nSubject: a file\n\nbegin 644 a.com\nM",
            b"From: me\nContent-Type: multipart/mixed\n\n",
            b"an odd line\nX_Spam.flag!: no\nMessage-ID: <a@b>\nTo: c\n\n",
            b"From a@b Mon Jan 1\nFrom: a\nTo: c\n\n",
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\n",
        ] {
            assert_eq!(identify(content), FileType::Container(Format::Mail), "{}", String::from_utf8_lossy(content));
            assert_eq!(media_type(content), "message/rfc822");
        }
    }

    #[test]
    fn formats_that_stay_closed_have_a_name() {
        for (content, detail) in [
            (&b"ISc(\x01 and more"[..], "InstallShield"),
            (b"xar!\0\x1c and more", "Xar"),
            (b"MSWIM\0\0\0 and more", "Wim"),
            (b"hsqs and more", "Squashfs"),
        ] {
            assert_eq!(identify(content), FileType::Unsupported(detail), "{detail}");
        }
    }

    #[test]
    fn pictures_and_programs_are_leaves_with_a_type() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n and more"), "image/png");
        assert_eq!(media_type(b"\xff\xd8\xff\xe0 and more"), "image/jpeg");
        assert_eq!(media_type(b"\x7fELF\x02\x01\x01 and more"), "application/x-executable");
        assert_eq!(media_type(b"<!DOCTYPE html><p>"), "text/html");
        assert_eq!(identify(b"\x89PNG\r\n\x1a\n and more"), FileType::Leaf);
    }
}
