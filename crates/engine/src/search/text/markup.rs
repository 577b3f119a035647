//! HTML, SVG, HTA, WSF and kin: the bodies of scripts, and what `data:` addresses hold.

use memchr::memchr_iter;

use super::offer::offer;
use crate::{
    normalise::script_bodies,
    unpack::{Sink, Stop, base64_of, percent},
};

/// More scripts of one page are seen with the page alone.
const MAX_SCRIPTS: usize = 1_000;
/// Shorter ones likewise.
const LEAST_SCRIPT: usize = 16;
/// The media type of a `data:` address ends within as many bytes.
const MAX_TYPE: usize = 300;
const LEAST_DATA: usize = 16;

/// Whether there is a script for a host that does not mind what stands before it.
pub(super) fn is_in(content: &[u8]) -> bool {
    [&b"<script"[..], b"<SCRIPT", b"<Script", b"<hta:", b"<HTA:"].iter().any(|tag| memchr::memmem::find(content, tag).is_some())
}

pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    scripts(content, sink)?;
    data_addresses(content, sink)
}

fn scripts(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut count = 0;
    for script in script_bodies(content) {
        sink.tick()?;
        if script.trim_ascii().len() >= LEAST_SCRIPT {
            count += 1;
            if count > MAX_SCRIPTS {
                sink.note("more scripts than are examined on their own");
                break;
            }
            sink.part(&format!("script-{count}"), script)?;
        }
    }
    Ok(())
}

fn data_addresses(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    const SCHEME: &[u8] = b"data";
    let mut from = 0;
    for colon in memchr_iter(b':', content) {
        let Some(start) = colon.checked_sub(SCHEME.len()).filter(|&start| start >= from) else { continue };
        if !content.get(start..colon).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME)) {
            continue;
        }
        if let Some(end) = data_address(content, start, colon + 1, sink)? {
            from = end;
        }
    }
    Ok(())
}

/// Examines the address at `start`; where it ends, if it is one.
fn data_address(content: &[u8], start: usize, after: usize, sink: &mut dyn Sink) -> Result<Option<usize>, Stop> {
    let head = content.get(after..).unwrap_or_default();
    let Some(comma) = memchr::memchr(b',', head.get(..MAX_TYPE).unwrap_or(head)) else { return Ok(None) };
    let kind = head.get(..comma).unwrap_or_default();
    if kind.iter().any(|byte| matches!(byte, b'<' | b'>' | b'{' | b'}' | b'\n')) {
        return Ok(None);
    }
    sink.tick()?;
    let data = head.get(comma + 1..).unwrap_or_default();
    let before = start.checked_sub(1).and_then(|at| content.get(at)).copied();
    let ends = |byte: u8| match before {
        Some(quote @ (b'"' | b'\'' | b'`')) => byte == quote,
        Some(b'(') => byte == b')',
        _ => matches!(byte, b'"' | b'\'' | b'`' | b'>' | b')') || byte.is_ascii_whitespace(),
    };
    let data = data.get(..data.iter().position(|&byte| ends(byte)).unwrap_or(data.len())).unwrap_or_default();
    if data.len() >= LEAST_DATA {
        let kind = kind.to_ascii_lowercase();
        let held = data.len() as u64 * 2;
        sink.hold(held)?;
        let plain = percent(data);
        let decoded = if memchr::memmem::find(&kind, b"base64").is_some() { base64_of(&plain) } else { plain };
        offer(&format!("data-at-{start}"), &decoded, sink)?;
        drop(decoded);
        sink.release(held);
    }
    Ok(Some(after + comma + 1 + data.len()))
}
