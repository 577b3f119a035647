use filesafety_model::Reason;
use proptest::prelude::*;

use super::{
    super::fixtures::{Record, eicar},
    *,
};

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    open(content, &mut record).unwrap();
    record
}

fn attribute_of(level: u8, id: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [&[level][..], &id.to_le_bytes(), &length.to_le_bytes(), data, &checksum(data).to_le_bytes()].concat()
}

fn stream(attributes: &[Vec<u8>]) -> Vec<u8> {
    [&SIGNATURE[..], &[1, 0], &attributes.concat()].concat()
}

/// A list of properties of variable size.
fn properties_of(list: &[(u16, u16, &[u8])]) -> Vec<u8> {
    let mut bytes = u32::try_from(list.len()).unwrap().to_le_bytes().to_vec();
    for (kind, id, value) in list {
        bytes.extend([kind.to_le_bytes(), id.to_le_bytes()].concat());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn with_attachment() -> Vec<u8> {
    let wide: Vec<u8> = "eicar.com\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    stream(&[
        attribute_of(1, 0x0008_9006, &[0, 0, 1, 0]),
        attribute_of(2, ATTACHMENT_STARTS, &[0; 14]),
        attribute_of(2, ATTACHMENT_TITLE, b"EICAR~1.COM\0"),
        attribute_of(2, ATTACHMENT_DATA, &eicar()),
        attribute_of(2, ATTACHMENT_PROPERTIES, &properties_of(&[(0x001f, LONG_NAME, &wide)])),
    ])
}

#[test]
fn an_attachment_has_its_long_name_wherever_it_stands() {
    let record = opened(&with_attachment());
    assert_eq!(record.children, [("eicar.com".to_owned(), eicar())]);
    assert!(record.is_complete() && starts(&with_attachment()));
}

#[test]
fn no_truncation_panics_or_hides_that_an_attachment_is_cut() {
    let whole = with_attachment();
    let start = memchr::memmem::find(&whole, &eicar()).unwrap();
    for length in 0..whole.len() {
        let record = opened(&whole[..length]);
        assert!(record.has(&eicar()) || !record.is_complete() || length < start, "cut to {length}");
        assert!(!record.is_complete() || length < start || length > start + eicar().len(), "cut to {length}");
    }
}

#[test]
fn bodies_and_objects_are_children() {
    let inner = with_attachment();
    let object = [&[0; 16][..], &inner].concat();
    // Bare RTF behind its header, and packed: `{\rtf1 ` by the ring, a byte, the end.
    let plain = [&[0; 4][..], &7u32.to_le_bytes(), b"MELA", &[0; 4], b"{\\rtf1}"].concat();
    let packed = [&[0; 4][..], &7u32.to_le_bytes(), b"LZFu", &[0; 4], &[0b1, 0x00, 0x04, b'}', 0]].concat();
    let content = stream(&[
        attribute_of(1, BODY, b"hello"),
        attribute_of(
            1,
            MESSAGE_PROPERTIES,
            &properties_of(&[(0x0102, HTML, b"<html>"), (0x0102, PACKED_RTF, &plain), (0x0102, PACKED_RTF, &packed)]),
        ),
        attribute_of(2, ATTACHMENT_STARTS, &[0; 14]),
        attribute_of(2, ATTACHMENT_PROPERTIES, &properties_of(&[(0x000d, OBJECT_DATA, &object)])),
    ]);
    let record = opened(&content);
    assert_eq!(record.contents(), [&b"hello"[..], b"<html>", b"{\\rtf1}", b"{\\rtf1}", &inner]);
    assert!(record.is_complete(), "{:?}", record.unexamined);
}

#[test]
fn damage_is_broken() {
    let mut content = with_attachment();
    let at = memchr::memmem::find(&content, &eicar()).unwrap();
    content[at + 3] ^= 1;
    assert!(opened(&content).says(Reason::Broken, "Tnef"));
    let bad = stream(&[attribute_of(1, MESSAGE_PROPERTIES, &[9, 0, 0, 0, 0x02, 0x01])]);
    assert!(opened(&bad).says(Reason::Broken, "Tnef"));
    assert!(!starts(b"\x78\x9f\x3e\x22ab and a text"));
}

proptest! {
    #[test]
    fn any_attributes_are_taken(id in prop::sample::select(vec![BODY, ATTACHMENT_DATA, ATTACHMENT_PROPERTIES, MESSAGE_PROPERTIES]), data in prop::collection::vec(any::<u8>(), 0..200), tail in prop::collection::vec(any::<u8>(), 0..40)) {
        opened(&stream(&[attribute_of(2, id, &data), tail]));
        let packed = [&[0; 4][..], &1_000u32.to_le_bytes(), b"LZFu", &[0; 4], &data].concat();
        opened(&stream(&[attribute_of(1, MESSAGE_PROPERTIES, &properties_of(&[(0x0102, PACKED_RTF, &packed)]))]));
    }
}
