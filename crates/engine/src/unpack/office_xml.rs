//! Documents in XML, and the parts of those that are archives of it: what they embed as text is a child, what they do is a fact.

mod base64;
mod parts;
mod tags;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{Sink, Stop};

pub(crate) use tags::{Tag, tags};

/// Longer ones are scanned as they are: no writer makes parts of such a size that say what is looked for here.
const MOST: usize = 256 << 20;

/// Looks at content that may be XML of a document; of other content, nothing is said.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    if content.len() > MOST || !looks_like_markup(content) {
        return Ok(());
    }
    let copied = if is_wide(content) { content.len() as u64 * 2 } else { 0 };
    sink.hold(copied)?;
    let result = match text_of(content) {
        Some(text) => parts::open(&text, sink),
        None => Ok(()),
    };
    sink.release(copied);
    result
}

fn is_wide(content: &[u8]) -> bool {
    matches!(content, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'<', 0, ..] | [0, b'<', ..])
}

fn looks_like_markup(content: &[u8]) -> bool {
    is_wide(content) || content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start().starts_with(b"<")
}

/// UTF-16 by its mark or by its first character, else UTF-8; wrong bytes in it do not matter.
fn text_of(content: &[u8]) -> Option<Cow<'_, str>> {
    if !is_wide(content) {
        // A copy is made of what is not UTF-8, which no writer of documents makes.
        return match std::str::from_utf8(content) {
            Ok(text) => Some(Cow::Borrowed(text)),
            Err(_) if content.len() <= MOST / 16 => Some(String::from_utf8_lossy(content)),
            Err(_) => None,
        };
    }
    let is_big = matches!(content, [0xfe, 0xff, ..] | [0, b'<', ..]);
    let units = content.as_chunks::<2>().0.iter().map(|unit| if is_big { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) });
    let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Some(Cow::Owned(text))
}

/// A short text in base64.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Reading from memory does not fail.
    let _: std::io::Result<usize> = std::io::Read::read_to_end(&mut base64::Base64::new(text), &mut bytes);
    bytes
}
