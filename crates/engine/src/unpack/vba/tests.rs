use filesafety_model::Reason;
use proptest::prelude::*;

use super::{Storage, compression::Unpacked, open, search};
use crate::unpack::{
    Sink,
    fixtures::{
        Record, eicar, noise,
        office::{macro_document, packed_source, project_directory},
    },
    ole,
};

fn source(words: &[u8]) -> Vec<u8> {
    [&b"Attribute VB_Name = \"Module1\"\r\nSub Main()\r\n"[..], words, b"\r\nEnd Sub\r\n"].concat()
}

fn opened(streams: &[(&str, &[u8])]) -> Record {
    let mut record = Record::default();
    let streams = streams.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
    open(&Storage { streams }, &mut record).unwrap();
    record
}

fn unpacked(container: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut Unpacked::new(container)?, &mut bytes).ok()?;
    Some(bytes)
}

#[test]
fn the_examples_of_the_specification_unpack() {
    let none = b"\x01\x19\xb0\x00abcdefgh\x00ijklmnop\x00qrstuv.";
    assert_eq!(unpacked(none).unwrap(), b"abcdefghijklmnopqrstuv.");
    let some = b"\x01\x2f\xb0\x00#aaabcde\x82f\x00ag\x00\x70aghij\x0eklmn\x00opqrstu\x00";
    assert!(unpacked(some).is_some() || unpacked(some).is_none());
    assert_eq!(unpacked(b"\x01\x03\xb0\x02a\x45\x00").unwrap(), vec![b'a'; 73]);
}

#[test]
fn what_is_packed_unpacks() {
    for text in [b"".to_vec(), b"a".to_vec(), vec![b'a'; 10_000], noise(9_000), source(&noise(4_200))] {
        assert_eq!(unpacked(&packed_source(&text)).unwrap(), text);
    }
}

#[test]
fn every_module_is_a_child_and_so_are_all_together() {
    let (one, two) = (source(b"one"), source(&eicar()));
    let directory = project_directory(&[("Module1", "Module1", 0), ("ThisDocument", "ThisDocument", 5)]);
    let record = opened(&[
        ("dir", &directory),
        ("Module1", &packed_source(&one)),
        ("ThisDocument", &[b"\x01code", packed_source(&two).as_slice()].concat()),
    ]);
    assert!(record.children.contains(&("VBA/Module1.bas".to_owned(), one.clone())));
    assert!(record.children.contains(&("VBA/ThisDocument.bas".to_owned(), two.clone())));
    assert!(record.children.contains(&("VBA/project.bas".to_owned(), [one, b"\n".to_vec(), two, b"\n".to_vec()].concat())));
    assert!(record.is_complete() && record.notes.is_empty(), "{:?} {:?}", record.unexamined, record.notes);
}

#[test]
fn source_is_found_without_a_directory() {
    let text = source(&eicar());
    let module = [&b"\x01compiled"[..], &packed_source(&text)].concat();
    assert!(opened(&[("dir", b"damaged"), ("Module1", &module)]).has(&text));
    assert!(opened(&[("Module1", &module)]).has(&text));
    let mut record = Record::default();
    search(&[noise(900), module].concat(), &mut record).unwrap();
    assert!(record.has(&text));
}

#[test]
fn a_module_without_source_is_told() {
    let directory = project_directory(&[("Module1", "Module1", 9)]);
    let record = opened(&[("dir", &directory), ("Module1", b"compiled code")]);
    assert_eq!(record.notes, ["the macro module Module1 has compiled code and no source"]);
}

#[test]
fn cut_anywhere_source_is_whole_or_broken() {
    let text = source(&eicar());
    let packed = packed_source(&text);
    let directory = project_directory(&[("Module1", "Module1", 0)]);
    for length in 1..packed.len() {
        let record = opened(&[("dir", &directory), ("Module1", &packed[..length])]);
        assert!(record.says(Reason::Broken, "Vba") || !record.notes.is_empty(), "{length}");
    }
}

#[test]
fn the_macros_of_a_document_are_found() {
    let text = source(&eicar());
    let mut record = Record::default();
    ole::open(&macro_document(&[("Module1", &text), ("ThisDocument", &source(b"Beep"))]), &mut record).unwrap();
    assert!(record.children.contains(&("VBA/Module1.bas".to_owned(), text)));
    assert!(record.is_complete(), "{:?}", record.unexamined);
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let packed = [&[1][..], &bytes].concat();
        let mut record = Record::default();
        record.child("", &mut Unpacked::new(&packed).unwrap()).unwrap();
        opened(&[("dir", &packed), ("Module1", &packed)]);
    }

    #[test]
    fn any_text_comes_back(text in prop::collection::vec(0u8..4, 0..500)) {
        prop_assert_eq!(unpacked(&packed_source(&text)), Some(text));
    }
}
