//! Objects in presentations (MS-PPT 2.10.34): compound files of their own, mostly packed.

use filesafety_model::Reason;
use memchr::memmem;

use super::compound;
use crate::unpack::{Ended, Sink, Stop, codec::Inflate, u16_at, u32_at};

const STORAGE: &[u8] = &[0x11, 0x10];
/// Version and instance in front of the type: as it is, or packed.
const PLAIN: u16 = 0x0000;
const PACKED: u16 = 0x0010;

/// Examines every object, wherever in the stream its record stands.
pub(super) fn open(stream: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    for kind in memmem::find_iter(stream, STORAGE) {
        let Some(at) = kind.checked_sub(2) else { continue };
        let (Some(version), Some(length)) = (u16_at(stream, at), u32_at(stream, at + 4)) else { continue };
        let rest = stream.get(at + 8..).unwrap_or_default();
        let data = usize::try_from(length).ok().and_then(|length| rest.get(..length)).unwrap_or(rest);
        let name = format!("object-at-{at}");
        match version {
            PLAIN if data.starts_with(compound::MAGIC) => {
                sink.part(&name, data)?;
            }
            PACKED if data.get(4).is_some_and(|first| first & 0xf == 8) => {
                sink.tick()?;
                // Past its size and the two bytes of the zlib header.
                let decoded = sink.child(&name, &mut Inflate::new(data.get(6..).unwrap_or_default()))?;
                if decoded.ended == Ended::InError && decoded.bytes > 0 {
                    sink.member_unexamined(&name, Reason::Broken, super::DETAIL);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
