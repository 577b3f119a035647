//! The type of content, by the content alone: a name proves nothing.

mod mail;
mod table;
mod zipped;

use memchr::memmem;

use crate::unpack;

pub(crate) use mail::is_mail;

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
}

/// The MIME type by content, `application/octet-stream` where nothing is known.
pub fn media_type(content: &[u8]) -> &'static str {
    match identify(content) {
        FileType::Container(Format::Zip) => zipped::media_type(content),
        FileType::Container(Format::Gzip) => "application/gzip",
        FileType::Container(Format::Bzip2) => "application/x-bzip2",
        FileType::Container(Format::Xz) => "application/x-xz",
        FileType::Container(Format::Zstd) => "application/zstd",
        FileType::Container(Format::Lzma) => "application/x-lzma",
        FileType::Container(Format::Lzip) => "application/x-lzip",
        FileType::Container(Format::Tar) => "application/x-tar",
        FileType::Container(Format::Ar) => ar_media_type(content),
        FileType::Container(Format::Cpio) => "application/x-cpio",
        FileType::Container(Format::Rpm) => "application/x-rpm",
        FileType::Container(Format::Pdf) => "application/pdf",
        FileType::Unsupported(_) if mail::is_mail(content) => "message/rfc822",
        FileType::Unsupported(_) | FileType::Leaf => table::media_type(content).unwrap_or_else(|| text_type(content)),
    }
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
        return FileType::Unsupported("Mail");
    }
    FileType::Leaf
}

/// Whether its parts are parts of one thing, as the macros of a document are; the members of an archive are things of their own.
pub(crate) fn is_document(file_type: FileType, content: &[u8]) -> bool {
    match file_type {
        FileType::Container(Format::Pdf) => true,
        FileType::Container(Format::Zip) => zipped::is_document(content),
        FileType::Container(
            Format::Gzip
            | Format::Bzip2
            | Format::Xz
            | Format::Zstd
            | Format::Lzma
            | Format::Lzip
            | Format::Tar
            | Format::Ar
            | Format::Cpio
            | Format::Rpm,
        ) => false,
        FileType::Unsupported(detail) => matches!(detail, "Ole2" | "Rtf" | "OneNote"),
        FileType::Leaf => false,
    }
}

fn format_of(content: &[u8]) -> Option<Format> {
    match content {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, b'P', b'K', 3, 4, ..] => Some(Format::Zip),
        [b'P', b'K', b'0', b'0', b'P', b'K', 3, 4, ..] => Some(Format::Zip),
        [0x1f, 0x8b, 8, ..] => Some(Format::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(Format::Pdf),
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', _, ..] => Some(Format::Ar),
        [0xed, 0xab, 0xee, 0xdb, ..] => Some(Format::Rpm),
        [b'L', b'Z', b'I', b'P', 1, ..] => Some(Format::Lzip),
        _ if unpack::cpio_starts(content) => Some(Format::Cpio),
        _ if unpack::lzma_starts(content) => Some(Format::Lzma),
        _ if unpack::bzip2_starts(content) => Some(Format::Bzip2),
        _ if unpack::zstd_after_skippable(content) => Some(Format::Zstd),
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

fn ar_media_type(content: &[u8]) -> &'static str {
    let is_debian = content.get(8..).is_some_and(|rest| rest.starts_with(b"debian-binary"));
    if is_debian { "application/vnd.debian.binary-package" } else { "application/x-archive" }
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
    fn formats_that_stay_closed_have_a_name() {
        let mut iso = vec![0; 0x8006];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        for (content, detail) in [
            (&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more"[..], "Ole2"),
            (b"{\\rtf1 hello}", "Rtf"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "SevenZip"),
            (b"Rar!\x1a\x07\x01\0 and more", "Rar"),
            (b"Rar!\x1a\x07\0 and more", "Rar"),
            (b"MSCF\0\0\0\0 and more", "Cab"),
            (&iso, "Iso"),
            (b"Received: from a by b\r\nSubject: hello\r\n\r\nbody", "Mail"),
            (b"MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n", "Mail"),
            (b"X-Spam: no\n folded\nMessage-ID: <a@b>\nTo: c\n\n", "Mail"),
            (b"From: me\nSubject: a file\n\nbegin 644 a.com\nM", "Mail"),
            (b"From: me\nContent-Type: multipart/mixed\n\n", "Mail"),
            (b"an odd line\nX_Spam.flag!: no\nMessage-ID: <a@b>\nTo: c\n\n", "Mail"),
            (b"\x50\x2a\x4d\x18\x01\0\0\0x\x04\x22\x4d\x18 and more", "Lz4"),
            (b"\x1f\x9d\x90abc", "Compress"),
            (b"From a@b Mon Jan 1\nFrom: a\nTo: c\n\n", "Mail"),
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
