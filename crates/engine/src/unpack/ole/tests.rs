use filesafety_model::Reason;
use proptest::prelude::*;

use super::open;
use crate::{
    facts::Fact,
    unpack::fixtures::{
        Member, Record, eicar, noise,
        office::{Layout, PLAIN, compound, compound_as, native_package},
        zip,
    },
};

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    open(content, &mut record).unwrap();
    record
}

fn layouts() -> impl Iterator<Item = Layout> {
    [9, 12].into_iter().flat_map(|bits| [false, true].map(|is_scattered| Layout { bits, is_scattered }))
}

#[test]
fn streams_of_every_size_come_out_of_every_layout() {
    let streams: Vec<(&str, Vec<u8>)> =
        vec![("tiny", eicar()), ("a/mini", noise(4_095)), ("a/b/edge", noise(4_096)), ("long", noise(200_000)), ("a/empty", Vec::new())];
    let listed: Vec<(&str, &[u8])> = streams.iter().map(|(path, content)| (*path, content.as_slice())).collect();
    for layout in layouts() {
        let record = opened(&compound_as(layout, &listed));
        let expected: Vec<_> = listed
            .iter()
            .filter(|(_, content)| !content.is_empty())
            .map(|(path, content)| ((*path).to_owned(), content.to_vec()))
            .collect();
        assert_eq!(record.children, expected, "{layout:?}");
        assert!(record.is_complete() && record.notes.is_empty(), "{layout:?} {:?} {:?}", record.unexamined, record.notes);
    }
}

#[test]
fn a_table_that_does_not_fit_the_header_goes_on_in_its_chain() {
    // 109 sectors of 128 entries each are 7 MB.
    let content = noise(9 << 20);
    let record = opened(&compound(&[("long", &content), ("last", &eicar())]));
    assert!(record.has(&content) && record.has(&eicar()) && record.is_complete());
}

#[test]
fn cut_anywhere_a_stream_is_found_or_broken() {
    let content = noise(5_000);
    for layout in layouts() {
        let file = compound_as(layout, &[("mini", &eicar()), ("long", &content)]);
        for length in (8..file.len()).step_by(if layout.bits == 9 { 1 } else { 37 }) {
            let record = opened(&file[..length]);
            let is_found = record.has(&eicar()) && record.has(&content);
            assert!(is_found || record.says(Reason::Broken, "Ole"), "{layout:?} cut to {length}");
        }
    }
}

#[test]
fn chains_that_go_in_circles_end() {
    let file = compound(&[("long", &noise(20_000)), ("mini", &noise(3_000))]);
    // Every link of every table, turned to every place that may be bad.
    let table = file.len() - 512;
    for at in (table..file.len()).step_by(4) {
        for value in [0u32, 1, 5, (at as u32 - table as u32) / 4, 200, 0xffff_fffe, 0xffff_ffff] {
            let mut damaged = file.clone();
            damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let record = opened(&damaged);
            let is_whole = record.has(&noise(20_000)) && record.has(&noise(3_000));
            assert!(is_whole || !record.is_complete(), "{at} {value}");
        }
    }
    let mut damaged = file;
    damaged[0x44..0x4c].copy_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
    opened(&damaged);
}

#[test]
fn a_damaged_header_is_broken() {
    let file = compound(&[("long", &noise(6_000)), ("mini", &eicar())]);
    for (at, value) in [(0x1e, 12u8), (0x1e, 0), (0x1e, 255), (0x20, 9), (0x30, 0xff), (0x2c, 200), (0x38, 1), (0x3c, 99), (0x4c, 99)] {
        let mut damaged = file.clone();
        damaged[at] = value;
        assert!(opened(&damaged).says(Reason::Broken, "Ole"), "{at:x} {value}");
    }
}

#[test]
fn entries_outside_of_the_tree_are_examined() {
    let mut file = compound(&[("first", &noise(5_000)), ("hidden", &eicar())]);
    let wide: Vec<u8> = "first".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let entry = memchr::memmem::find(&file, &wide).unwrap();
    // Its sibling to the right.
    file[entry + 72..entry + 76].copy_from_slice(&[0xff; 4]);
    let record = opened(&file);
    assert!(record.children.contains(&("orphaned/hidden".to_owned(), eicar())) && record.is_complete());
}

#[test]
fn what_belongs_to_no_stream_is_searched() {
    let archive = zip(&[Member::deflated("a", &eicar())]);
    let mut file = compound(&[("first", &noise(5_000))]);
    file.extend(&archive);
    let record = opened(&file);
    assert!(record.has(&eicar()) && record.is_complete(), "{:?}", record.unexamined);
    // In free sectors between others.
    let mut file = compound_as(Layout { is_scattered: true, ..PLAIN }, &[("first", &noise(5_000))]);
    file[1_024 + 10..1_024 + 10 + archive.len()].copy_from_slice(&archive);
    assert!(opened(&file).has(&eicar()));
}

#[test]
fn a_compound_file_in_something_else_is_opened() {
    let inner = compound(&[("a", &eicar()), ("b", &noise(5_000))]);
    let mut record = Record::default();
    super::open_embedded(&[b"MZ a program".to_vec(), noise(3_000), inner.clone(), noise(900)].concat(), &mut record).unwrap();
    assert_eq!(record.contents(), [&inner]);
    let mut record = Record::default();
    super::open_embedded(&[b"MZ a program".to_vec(), inner[..inner.len() - 600].to_vec()].concat(), &mut record).unwrap();
    assert!(record.children.is_empty() && record.is_complete());
}

#[test]
fn documents_of_hangul_are_unpacked() {
    let mut header = b"HWP Document File".to_vec();
    header.resize(36, 0);
    header.extend([1, 0, 0, 0]);
    let packed = crate::unpack::fixtures::deflate(&eicar());
    let record = opened(&compound(&[("FileHeader", &header), ("BodyText/Section0", &packed), ("BinData/a.png", b"not packed")]));
    assert!(record.has(&eicar()) && record.is_complete());
    header[36] = 3;
    assert!(opened(&compound(&[("FileHeader", &header)])).says(Reason::Encrypted, "Hangul"));
}

#[test]
fn a_packaged_file_is_a_child_with_its_name() {
    let record = opened(&compound(&[("ObjectPool/_1/\u{1}Ole10Native", &native_package("invoice.exe", &eicar()))]));
    assert!(record.children.contains(&("invoice.exe".to_owned(), eicar())), "{:?}", record.children);
    assert!(record.is_complete());
    // With a size that is a lie.
    let mut native = native_package("a", &eicar());
    native[0..4].fill(0xff);
    assert!(opened(&compound(&[("\u{1}OLE10native", &native)])).has(&eicar()));
}

#[test]
fn pictures_are_children() {
    let picture = [&b"\xff\xd8\xff\xe0"[..], &noise(300)].concat();
    let blip = |kind: u16, instance: u16, head: usize, data: &[u8]| {
        let mut record = (instance << 4).to_le_bytes().to_vec();
        record.extend(kind.to_le_bytes());
        record.extend((head as u32 + data.len() as u32).to_le_bytes());
        record.extend(vec![7; head]);
        record.extend(data);
        record
    };
    let metafile = noise(900);
    let zlib = [&[0x78, 0x9c][..], &crate::unpack::fixtures::deflate(&metafile), &[0; 4]].concat();
    let stream = [noise(50), blip(0xf01d, 0x46a, 17, &picture), blip(0xf01d, 0x46b, 33, &picture), blip(0xf01a, 0x3d4, 50, &zlib)].concat();
    let record = opened(&compound(&[("Pictures", &stream)]));
    assert_eq!(record.contents().iter().filter(|child| **child == picture).count(), 2);
    assert!(record.has(&metafile), "{:?}", record.children.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn the_attachments_of_a_message_have_their_names() {
    let name: Vec<u8> = "invoice.exe".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text =
        b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\x00\x0a\x00rcpg125\x42\x32\x0a\xf3 hel\x09\x00\x20bw\x05\xb0ld}\x0a\x80\x0f\xa0";
    let record = opened(&compound(&[
        ("__attach_version1.0_#00000000/__substg1.0_37010102", &eicar()),
        ("__attach_version1.0_#00000000/__substg1.0_3707001F", &name),
        ("__substg1.0_10090102", text),
    ]));
    assert!(record.children.contains(&("__attach_version1.0_#00000000/invoice.exe".to_owned(), eicar())));
    assert!(record.children.iter().any(|(name, text)| name == "body.rtf" && text.starts_with(b"{\\rtf1")) && record.is_complete());
}

#[test]
fn objects_of_presentations_are_opened() {
    let inner = compound(&[("a", &eicar())]);
    let packed = [&(inner.len() as u32).to_le_bytes()[..], &[0x78, 0x9c], &crate::unpack::fixtures::deflate(&inner), &[0; 4]].concat();
    let record_of =
        |version: u16, data: &[u8]| [&version.to_le_bytes()[..], &[0x11, 0x10], &(data.len() as u32).to_le_bytes(), data].concat();
    let stream = [noise(77), record_of(0x10, &packed), record_of(0, &inner)].concat();
    let record = opened(&compound(&[("PowerPoint Document", &stream)]));
    assert_eq!(record.contents().iter().filter(|child| **child == inner).count(), 2);
}

#[test]
fn fields_and_links_of_old_documents_are_facts() {
    let wide: Vec<u8> = "\u{13} DDEAUTO c:\\cmd.exe \u{14}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for text in [b"\x13DDEAUTO c:\\\\cmd.exe \"/k calc\" \x14!\x15".to_vec(), wide] {
        let record = opened(&compound(&[("WordDocument", &[noise(50), text].concat())]));
        assert_eq!(record.facts, [Fact::RunsByItself, Fact::Executes]);
    }
    assert!(opened(&compound(&[("WordDocument", b"\x13 PAGE \x15 DDE cmd")])).facts.is_empty());
    let address: Vec<u8> = "http://x/y".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let moniker = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    let link = [&[1, 0, 0, 2][..], &[0; 16], moniker, &[40, 0, 0, 0], &address, &[0, 0]].concat();
    assert_eq!(opened(&compound(&[("\u{1}Ole", &link)])).facts, [Fact::Fetches]);
}

proptest! {
    #[test]
    fn any_bytes_are_taken(content in prop::collection::vec(any::<u8>(), 0..3_000)) {
        open(&content, &mut Record::default()).unwrap();
        open(&[super::compound::MAGIC, &content].concat(), &mut Record::default()).unwrap();
    }

    #[test]
    fn files_with_wrong_bytes_are_taken(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9)) {
        let mut file = compound(&[("a/long", &noise(9_000)), ("a/mini", &eicar()), ("b", &noise(70))]);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        open(&file, &mut Record::default()).unwrap();
    }
}
