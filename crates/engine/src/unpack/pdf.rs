//! PDF (ISO 32000-2) without its index: objects are found by search, so that every revision and whatever the index leaves out is seen.
//! Each stream is a child, decoded, and so are scripts in strings and what the actions are; other dictionaries and strings outside of
//! streams stand in the clear in the raw file.

mod actions;
mod blocks;
mod crypt;
mod filters;
mod flate;
mod images;
mod lexer;
mod objects;
mod packed;
mod predictor;
mod streams;
mod text_filters;

#[cfg(test)]
mod tests;

use filesafety_model::{Password, Reason};
use memchr::memmem;

use super::{Sink, Stop};
use blocks::Meter;
use objects::{Objects, headers};
use streams::{Protection, Walk};

/// What the signatures of this opener end with.
const DETAIL: &str = "Pdf";

/// Gives every stream of the document to `sink`. Never fails on content: what cannot be read is told to `sink` as unexamined.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    // Between the filters of a chain, honest documents have less than they have in all; the constant is room for small ones.
    let between_filters = (content.len() as u64).saturating_mul(8).saturating_add(1 << 30);
    open_within(content, between_filters, sink)
}

/// The same with a bound for the bytes that pass between filters, which the budget of the scan does not see.
fn open_within(content: &[u8], between_filters: u64, sink: &mut dyn Sink) -> Result<(), Stop> {
    note_frame(content, sink);
    let objects = Objects::find(content, sink)?;
    let passwords = sink.passwords();
    let passwords: Vec<&[u8]> = passwords.iter().map(Password::reveal).collect();
    let protection = Protection::of(&objects, &passwords);
    if matches!(protection, Protection::Locked) {
        sink.unexamined(Reason::Encrypted, DETAIL);
    }
    if objects.overflow {
        sink.unexamined(Reason::Limit, "Objects");
    }
    let mut walk = Walk::new(content, &objects, protection, Meter::new(between_filters));
    for header in headers(content) {
        if !walk.object(header, sink)? {
            break;
        }
    }
    walk.finish(sink)?;
    if objects.is_exhausted() || walk.is_used_up() {
        sink.unexamined(Reason::Limit, "Bytes");
    }
    Ok(())
}

/// Tells what is odd around the objects, none of which hides anything from a search.
fn note_frame(content: &[u8], sink: &mut dyn Sink) {
    if !content.starts_with(b"%PDF-") {
        sink.note("bytes before the header");
    }
    if memmem::rfind(content, b"startxref").is_none() {
        sink.note("repaired index");
    }
    let trailing = memmem::rfind(content, b"%%EOF").and_then(|at| content.get(at + b"%%EOF".len()..)).unwrap_or_default();
    if !trailing.trim_ascii().is_empty() {
        sink.note("trailing bytes");
    }
}
