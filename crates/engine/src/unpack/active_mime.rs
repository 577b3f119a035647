//! ActiveMime, in which documents in XML and web pages of Office wrap a packed compound file, mostly one of macros.

use filesafety_model::Reason;
use memchr::memchr_iter;

use super::{
    Sink, Stop,
    codec::{Inflate, Stream},
};

const MAGIC: &[u8] = b"ActiveMime";
/// The packed data starts at one of a few places after the header; what decodes there is it.
const LAST_START: usize = 4_096;

pub(crate) fn starts(content: &[u8]) -> bool {
    content.starts_with(MAGIC)
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let head = content.get(..LAST_START).unwrap_or(content);
    // The first byte of a zlib header with the largest window.
    for at in memchr_iter(0x78, head) {
        let header = content.get(at..).and_then(|rest| rest.first_chunk()).map(|two| u16::from_be_bytes(*two));
        if !header.is_some_and(|header| header.is_multiple_of(31)) {
            continue;
        }
        let data = content.get(at + 2..).unwrap_or_default();
        if sink.probe(&mut Inflate::new(data))?.bytes < MAGIC.len() as u64 {
            continue;
        }
        let mut stream = Inflate::new(data);
        sink.child("editdata", &mut stream)?;
        if stream.fault().is_some() {
            sink.unexamined(Reason::Broken, "ActiveMime");
        }
        return Ok(());
    }
    sink.unexamined(Reason::Broken, "ActiveMime");
    Ok(())
}
