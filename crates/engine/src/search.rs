//! Containers embedded in what is none: behind a picture's end, in a self-extractor, anywhere that an opener might look.
//!
//! A candidate becomes a container once its header checks and its first member decodes; until then it is nothing.

mod text;

use filesafety_model::Reason;
use memchr::memmem;

use crate::{
    clamdb,
    unpack::{self, Codec, Ended, Sink, Stop},
};

/// Looks through what is no container for what may be embedded in it, in its bytes or in what they spell.
pub(crate) fn leaf(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    embedded(content, sink)?;
    text::open(content, sink)
}

/// Looks through `content` and opens what it finds.
pub(crate) fn embedded(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    unpack::open_embedded_zip(content, sink)?;
    for codec in [&Codec::GZIP, &Codec::BZIP2, &Codec::XZ, &Codec::ZSTD, &Codec::LZIP] {
        streams(codec, content, sink)?;
    }
    unpack::open_embedded_ole(content, sink)?;
    whole_headers(content, sink)?;
    installers(content, sink)
}

fn streams(codec: &Codec, content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let finder = memmem::Finder::new(codec.magic);
    let mut from = 0;
    while let Some(found) = content.get(from..).and_then(|rest| finder.find(rest)) {
        let at = from + found;
        let candidate = content.get(at..).unwrap_or_default();
        from = at + 1;
        sink.tick()?;
        if (codec.starts)(candidate) != unpack::Start::Stream {
            continue;
        }
        let held = (codec.window)(candidate);
        sink.hold(held)?;
        let mut stream = (codec.open)(candidate);
        let probed = sink.probe(&mut *stream)?;
        let consumed = stream.consumed();
        drop(stream);
        sink.release(held);
        if probed.ended == Ended::AtEnd && consumed > 0 {
            let walked = unpack::walk_streams(codec, candidate, Some(&format!("{}-at-{at}", codec.detail.to_ascii_lowercase())), sink)?;
            from = at + walked.end.max(consumed);
        }
    }
    Ok(())
}

/// Installers that carry files behind the program in a way of their own.
fn installers(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    const CLOSED: [(&[u8], &str); 4] = [
        (b"AU3!EA0", "AutoIt"),
        (b"Inno Setup Setup Data (", "InnoSetup"),
        (b"InstallShield\0", "InstallShield"),
        (b"ISc(", "InstallShield"),
    ];
    /// By which Inno Setup's program finds what stands behind it; it is there where that was cut off, too.
    const INNO_TABLE: &[u8] = b"rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a";
    /// The manifest that is written with what an installer carries, and stands in no program that carries nothing.
    const NSIS_PROGRAM: &[u8] = b"name=\"Nullsoft.NSIS.exehead\"";
    if !content.starts_with(b"MZ") {
        return Ok(());
    }
    // What a program says of itself is no installer; what stands behind it is.
    let overlay = clamdb::end_of_program(content).and_then(|end| content.get(end..)).unwrap_or_default();
    match memmem::find(content, unpack::NSIS_MARK) {
        Some(mark) => unpack::open_nsis(content, mark, sink)?,
        // It is cut before what it carries.
        None if memmem::find(content, NSIS_PROGRAM).is_some() => sink.unexamined(Reason::Broken, "Nsis"),
        None => {}
    }
    if let Some((_, detail)) = CLOSED.iter().find(|(mark, _)| memmem::find(overlay, mark).is_some()) {
        sink.unexamined(Reason::Unsupported, detail);
    } else if memmem::find(content, INNO_TABLE).is_some() {
        sink.unexamined(Reason::Unsupported, "InnoSetup");
    }
    Ok(())
}

/// Whether the header that content starts with proves itself.
type Check = fn(&[u8]) -> bool;

/// Archives that count only with a whole header that proves itself. From the first of a kind on the content is an object of its own;
/// those that follow are found in it.
fn whole_headers(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    const KINDS: [(&[u8], Check, &str); 3] = [
        (b"7z\xbc\xaf\x27\x1c", unpack::sevenz_starts, "7z"),
        (b"Rar!\x1a\x07", unpack::rar_starts, "rar"),
        (b"MSCF\0\0\0\0", unpack::cab_starts, "cab"),
    ];
    for (magic, is, name) in KINDS {
        if let Some((at, rest)) = first(content, magic, is, sink)? {
            sink.part(&format!("{name}-at-{at}"), rest)?;
        }
    }
    Ok(())
}

/// The first place behind the start where `magic` stands and `is` holds.
fn first<'a>(content: &'a [u8], magic: &[u8], is: Check, sink: &mut dyn Sink) -> Result<Option<(usize, &'a [u8])>, Stop> {
    for at in memmem::find_iter(content, magic).filter(|at| *at > 0) {
        sink.tick()?;
        if let Some(rest) = content.get(at..).filter(|rest| is(rest)) {
            return Ok(Some((at, rest)));
        }
    }
    Ok(None)
}
