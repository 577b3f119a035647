//! RPM packages: what stands behind the lead and the two headers is a compressed cpio archive (rpm, "RPM Package format V4").

use filesafety_model::Reason;

use super::{Sink, Stop};

const LEAD: usize = 96;
const HEADER_MAGIC: &[u8] = b"\x8e\xad\xe8\x01";
const PREAMBLE: usize = 16;
const INDEX_ENTRY: u64 = 16;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let payload = header_end(content, LEAD)
        // The signature fills to eight bytes, the header after it does not.
        .and_then(|end| header_end(content, end.checked_next_multiple_of(8)?))
        .and_then(|end| Some((end, content.get(end..)?)));
    let Some((at, payload)) = payload.filter(|(_, payload)| !payload.is_empty()) else {
        sink.unexamined(Reason::Broken, "Rpm");
        return super::zip::open_across(content, &[], sink);
    };
    sink.part("payload", payload)?;
    super::zip::open_across(content, std::slice::from_ref(&(at..content.len())), sink)
}

/// Where the header at `at` ends: a preamble, so many entries of an index, so many bytes.
fn header_end(content: &[u8], at: usize) -> Option<usize> {
    let header = content.get(at..)?;
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(*header.get(at..)?.first_chunk()?)));
    let length = PREAMBLE as u64 + number(8)? * INDEX_ENTRY + number(12)?;
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    (header.starts_with(HEADER_MAGIC) && end <= content.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, cpio, eicar, gzip, rpm};

    #[test]
    fn the_payload_is_an_object_and_damage_is_broken() {
        let payload = gzip(&cpio(&[("a", &eicar())]));
        let package = rpm(&payload);
        let mut record = Record::default();
        open(&package, &mut record).unwrap();
        assert_eq!(record.contents(), [&payload]);
        assert!(record.is_complete());
        for length in [50, 96, 110, 130, package.len() - payload.len()] {
            let mut record = Record::default();
            open(&package[..length], &mut record).unwrap();
            assert!(record.says(Reason::Broken, "Rpm"), "{length}");
        }
    }
}
