//! What stands in a text for another reader to decode: UTF-16, encoded scripts, scripts and `data:` addresses in markup, and files that are
//! written out in digits.
//!
//! Nothing here is a fault of the text: a candidate that decodes to nothing known, or to a container that is not whole, is a text that
//! happens to look like one, and stays what it is, bytes that every engine has seen.

mod blobs;
mod markup;
mod offer;
mod shortcut;
#[cfg(test)]
mod tests;

use crate::{
    filetype,
    normalise::{self, Endian},
    unpack::{self, Sink, Stop},
};

/// Gives what the text hides as children.
pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    if shortcut::starts(content) {
        return shortcut::open(content, sink);
    }
    if !filetype::is_textual(content) {
        // Some hosts of scripts look past what stands before the markup.
        return if markup::is_in(content) { markup::open(content, sink) } else { Ok(()) };
    }
    if let Some(endian) = Endian::of(content) {
        return converted(content, endian, sink);
    }
    if let Some(text) = content.strip_prefix(b"\xef\xbb\xbf") {
        // Signatures that ask for the first bytes are to see those of the text.
        return sink.part("utf-8", text).map(drop);
    }
    decoded_script(content, sink)?;
    unpack::open_written_files(content, sink)?;
    markup::open(content, sink)?;
    blobs::open(content, sink)
}

fn converted(content: &[u8], endian: Endian, sink: &mut dyn Sink) -> Result<(), Stop> {
    let held = content.len() as u64 * 2;
    sink.hold(held)?;
    let text = normalise::to_utf8(content, endian);
    sink.child("utf-8", &mut text.as_slice())?;
    sink.release(held);
    Ok(())
}

fn decoded_script(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let held = content.len() as u64;
    sink.hold(held)?;
    if let Some(script) = normalise::decode_script(content) {
        sink.child("decoded-script", &mut script.as_slice())?;
    }
    sink.release(held);
    Ok(())
}
