//! Messages of Outlook (MS-OXMSG): properties are streams, named by their numbers; what an attachment is called is a stream beside it.

use std::collections::HashMap;

use filesafety_model::Reason;

use super::{Listed, compound::Compound};
use crate::unpack::{Ended, Sink, Stop, lzfu};

const CONTENT: &str = "__substg1.0_37010102";
pub(super) const RICH_TEXT: &str = "__substg1.0_10090102";
/// The long name and the short one, in either encoding.
const NAMES: [&str; 4] = ["__substg1.0_3707001F", "__substg1.0_3707001E", "__substg1.0_3704001F", "__substg1.0_3704001E"];
/// A name of more bytes is none.
const LONGEST_NAME: u64 = 1_024;

/// Calls attachments by their names.
pub(super) fn name_attachments(streams: &mut [Listed], file: &Compound<'_>) {
    let mut names: HashMap<u32, (usize, usize)> = HashMap::new();
    for (index, listed) in streams.iter().enumerate() {
        let rank = NAMES.iter().position(|name| *name == listed.entry.name);
        if let (Some(rank), Some(storage)) = (rank, listed.storage) {
            let best = names.entry(storage).or_insert((rank, index));
            *best = (*best).min((rank, index));
        }
    }
    for index in 0..streams.len() {
        let Some(listed) = streams.get(index).filter(|listed| listed.entry.name == CONTENT) else { continue };
        let Some((_, named)) = listed.storage.and_then(|storage| names.get(&storage)) else { continue };
        let Some(entry) = streams.get(*named).map(|listed| listed.entry.clone()).filter(|entry| entry.size <= LONGEST_NAME) else {
            continue;
        };
        let stream = file.short_stream(&entry);
        let name = if entry.name.ends_with('F') { wide(&stream) } else { String::from_utf8_lossy(&stream).into_owned() };
        if let Some(listed) = streams.get_mut(index) {
            let storage = listed.path.strip_suffix(CONTENT).unwrap_or_default();
            listed.path = format!("{storage}{}", name.trim_end_matches('\0'));
        }
    }
}

/// The body as rich text, which is packed.
pub(super) fn rich_text(stream: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let Some(mut unpacked) = lzfu::Unpacked::new(stream) else { return Ok(()) };
    let decoded = sink.child("body.rtf", &mut unpacked)?;
    if decoded.ended == Ended::InError || decoded.bytes < unpacked.told() {
        sink.member_unexamined("body.rtf", Reason::Broken, super::DETAIL);
    }
    Ok(())
}

fn wide(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
