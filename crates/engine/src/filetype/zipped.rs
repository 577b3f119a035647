//! What a zip is beyond a zip, by the names in its first local headers.

use memchr::memmem;

use crate::unpack::{u16_at, u32_at};

/// As many headers, and as many bytes, are looked at.
const HEADERS: usize = 200;
const LOOKED_AT: usize = 1 << 20;

pub(super) fn media_type(content: &[u8]) -> &'static str {
    let start = content.get(..LOOKED_AT).unwrap_or(content);
    let mut is_office = false;
    let mut is_jar = false;
    for at in memmem::find_iter(start, b"PK\x03\x04").take(HEADERS) {
        let Some(name) = name_at(start, at) else { break };
        match name {
            b"mimetype" if at == 0 => return declared(start),
            b"AndroidManifest.xml" => return "application/vnd.android.package-archive",
            b"[Content_Types].xml" | b"_rels/.rels" => is_office = true,
            b"META-INF/MANIFEST.MF" => is_jar = true,
            _ if name.starts_with(b"word/") => return "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            _ if name.starts_with(b"xl/") => return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            _ if name.starts_with(b"ppt/") => return "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            _ => {}
        }
    }
    match (is_jar, is_office) {
        (true, false) => "application/java-archive",
        (true, true) | (false, true) | (false, false) => "application/zip",
    }
}

/// Office Open XML, OpenDocument or EPUB, by the names in its directory: local headers may be those of an archive inside.
pub(super) fn is_document(content: &[u8]) -> bool {
    let mut rest = directory(content).unwrap_or_default();
    for index in 0..HEADERS {
        if !rest.starts_with(b"PK\x01\x02") {
            break;
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(rest, at).map_or(0, usize::from));
        match rest.get(46..46 + name).unwrap_or_default() {
            b"[Content_Types].xml" => return true,
            b"mimetype" if index == 0 => return true,
            name if [&b"word/"[..], b"xl/", b"ppt/"].iter().any(|folder| name.starts_with(folder)) => return true,
            _ => {}
        }
        rest = rest.get(46 + name + extra + comment..).unwrap_or_default();
    }
    false
}

/// The central directory that the last end record tells of, whatever stands before the archive.
fn directory(content: &[u8]) -> Option<&[u8]> {
    let end = memmem::rfind(content, b"PK\x05\x06")?;
    let length = usize::try_from(u32_at(content, end.checked_add(12)?)?).ok()?;
    content.get(end.checked_sub(length)?..end)
}

fn name_at(content: &[u8], at: usize) -> Option<&[u8]> {
    let length = u16_at(content, at.checked_add(26)?)?;
    content.get(at.checked_add(30)?..)?.get(..usize::from(length))
}

/// The type that a stored first member called `mimetype` declares (OpenDocument, EPUB).
fn declared(content: &[u8]) -> &'static str {
    const KNOWN: &[&str] = &[
        "application/epub+zip",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.graphics",
    ];
    let length = u32_at(content, 18).and_then(|length| usize::try_from(length).ok());
    let extra = u16_at(content, 28).map_or(0, usize::from);
    let text = length.and_then(|length| content.get(30 + 8 + extra..)?.get(..length));
    KNOWN.iter().find(|known| text == Some(known.as_bytes())).copied().unwrap_or("application/zip")
}
