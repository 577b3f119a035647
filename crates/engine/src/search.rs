//! Containers embedded in what is none: behind a picture's end, in a self-extractor, anywhere that an opener might look.
//!
//! A candidate becomes a container once its header checks and its first member decodes; until then it is nothing.

use filesafety_model::Reason;
use memchr::memmem;

use crate::unpack::{self, Codec, Ended, Sink, Stop, u32_at};

/// Looks through `content` and opens what it finds.
pub(crate) fn embedded(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    unpack::open_embedded_zip(content, sink)?;
    for codec in [&Codec::GZIP, &Codec::BZIP2, &Codec::XZ, &Codec::ZSTD, &Codec::LZIP] {
        streams(codec, content, sink)?;
    }
    whole_headers(content, sink)
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

/// Whether the header that content starts with proves itself.
type Check = fn(&[u8]) -> bool;

/// Archives that count only with a whole header that proves itself. From the first of a kind on the content is an object of its own;
/// those that follow are found in it.
fn whole_headers(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    const OPENED: [(&[u8], Check, &str); 2] =
        [(b"7z\xbc\xaf\x27\x1c", unpack::sevenz_starts, "7z"), (b"Rar!\x1a\x07", unpack::rar_starts, "rar")];
    const CLOSED: [(&[u8], Check, &str); 1] = [(b"MSCF\0\0\0\0", is_cab, "Cab")];
    for (magic, is, name) in OPENED {
        if let Some((at, rest)) = first(content, magic, is, sink)? {
            sink.part(&format!("{name}-at-{at}"), rest)?;
        }
    }
    for (magic, is, detail) in CLOSED {
        if let Some((at, _)) = first(content, magic, is, sink)? {
            sink.member_unexamined(&format!("{}-at-{at}", detail.to_ascii_lowercase()), Reason::Unsupported, detail);
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

/// The cabinet header (MS-CAB 2.1): reserved fields zero, version 1.3, folders and files, sizes within the file.
fn is_cab(content: &[u8]) -> bool {
    let (Some(size), Some(files)) = (u32_at(content, 8), u32_at(content, 16)) else { return false };
    let reserved = u32_at(content, 4) == Some(0) && u32_at(content, 12) == Some(0) && u32_at(content, 20) == Some(0);
    let counts =
        unpack::u16_at(content, 26).is_some_and(|folders| folders > 0) && unpack::u16_at(content, 28).is_some_and(|files| files > 0);
    let within = files >= 36 && files < size && size as usize <= content.len();
    reserved && content.get(24..26) == Some(&[3, 1]) && counts && within
}
