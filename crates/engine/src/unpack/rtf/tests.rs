use filesafety_model::Reason;
use proptest::prelude::*;

use super::open;
use crate::unpack::fixtures::{
    Record, eicar, noise,
    office::{compound, hexadecimal, old_object, packaged},
};

fn opened(text: &[u8]) -> Record {
    let mut record = Record::default();
    open(text, &mut record).unwrap();
    record
}

fn with_object(digits: &str) -> Vec<u8> {
    format!("{{\\rtf1\\ansi Hello {{\\object\\objemb{{\\*\\objclass Package}}{{\\*\\objdata {digits}}}{{\\result {{\\pict\\wmetafile8 0100}}}}}} world\\par}}").into_bytes()
}

#[test]
fn plain_text_is_complete() {
    for text in [
        &b"{\\rtf1\\ansi\\deff0{\\fonttbl{\\f0 Times New Roman;}}{\\*\\generator Writer;}\\pard Hello \\'e4 \\u8364? world\\par}"[..],
        b"{\\rtf1 no end",
        b"{\\rtf1}\r\n\0",
        b"{\\rtf1 }}}}",
        b"{\\rtf1 \\",
        b"{\\rtf1 \\'",
    ] {
        let record = opened(text);
        assert!(record.is_complete() && record.children.is_empty(), "{:?} {:?}", record.unexamined, record.children);
    }
}

#[test]
fn an_embedded_file_is_a_child_however_its_digits_are_written() {
    let object = old_object("Package", &packaged("invoice.exe", &eicar()));
    let digits = hexadecimal(&object);
    let spaced: String = digits
        .chars()
        .enumerate()
        .map(|(index, digit)| if index % 5 == 0 { format!("\r\n\t {digit}") } else { digit.to_string() })
        .collect();
    let words = digits
        .chars()
        .enumerate()
        .map(|(index, digit)| if index % 40 == 1 { format!("{{\\par}}\\b0 {digit}") } else { digit.to_string() })
        .collect::<String>();
    let groups = digits
        .chars()
        .enumerate()
        .map(|(index, digit)| if index % 50 == 3 { format!("{{{digit}}}{{\\*\\x 77}}") } else { digit.to_string() })
        .collect::<String>();
    let unknown = digits
        .chars()
        .enumerate()
        .map(|(index, digit)| if index % 64 == 8 { format!("{{\\*\\x{{\\y 4}}}}{digit}") } else { digit.to_string() })
        .collect::<String>();
    for (index, digits) in [digits.clone(), digits.to_uppercase(), spaced, words, groups, unknown].iter().enumerate() {
        let record = opened(&with_object(digits));
        assert!(record.children.contains(&("invoice.exe".to_owned(), eicar())), "{index}: {:?}", record.children);
        assert!(record.is_complete(), "{index}");
    }
    let raw = [&b"{\\rtf1{\\object{\\*\\objdata \\bin"[..], object.len().to_string().as_bytes(), b" ", &object, b"}}}"].concat();
    assert!(opened(&raw).has(&eicar()));
    let mixed =
        [format!("{{\\rtf1{{\\object{{\\*\\objdata {}\\bin{} ", &digits[..20], object.len() - 10).as_bytes(), &object[10..], b"}}}"]
            .concat();
    assert!(opened(&mixed).has(&eicar()));
}

#[test]
fn digits_in_groups_that_a_reader_ignores_are_another_reading() {
    let digits = hexadecimal(&old_object("Package", &packaged("a", &eicar())));
    let (start, rest) = digits.split_at(30);
    assert!(opened(&with_object(&format!("{start}{{\\*\\x {rest}}}"))).has(&eicar()));
    assert!(opened(&with_object(&format!("{start}{{\\*\\x 0102}}{rest}"))).has(&eicar()));
}

#[test]
fn a_compound_file_is_found_in_an_object_with_a_wrong_header() {
    let file = compound(&[("a", &eicar())]);
    assert!(opened(&with_object(&hexadecimal(&old_object("Word.Document.8", &file)))).has(&file));
    assert!(opened(&with_object(&hexadecimal(&[b"wrong", file.as_slice()].concat()))).has(&file));
    let record = opened(&with_object(&format!("0{}", hexadecimal(&file))));
    assert!(record.contents().iter().any(|child| child.starts_with(&file[..600])), "{:?}", record.children.len());
}

#[test]
fn pictures_are_children() {
    let picture = [&b"\x89PNG\r\n\x1a\n"[..], &noise(100)].concat();
    let text = format!(
        "{{\\rtf1{{\\*\\shppict{{\\pict{{\\*\\picprop{{\\sp{{\\sn x}}{{\\sv 12ab}}}}}}\\pngblip\\picw9{{\\*\\blipuid 00112233}}\r\n{}}}}}}}",
        hexadecimal(&picture)
    );
    let record = opened(text.as_bytes());
    assert_eq!(record.contents(), [&picture]);
    let raw = [&b"{\\rtf1{\\pict\\jpegblip\\bin"[..], picture.len().to_string().as_bytes(), b" ", &picture, b"}}"].concat();
    assert_eq!(opened(&raw).contents(), [&picture]);
}

#[test]
fn cut_anywhere_an_object_is_found_or_broken() {
    let text = with_object(&hexadecimal(&old_object("Package", &packaged("a", &eicar()))));
    let (from, to) = (memchr::memmem::find(&text, b"objdata ").unwrap() + 8, memchr::memmem::find(&text, b"{\\result").unwrap());
    for length in from..text.len() {
        let record = opened(&text[..length]);
        assert!(record.has(&eicar()) || record.says(Reason::Broken, "Rtf"), "{length}");
        assert!(length < to || record.is_complete() || record.says(Reason::Broken, "Rtf"));
    }
    assert!(opened(b"{\\rtf1{\\pict\\bin500 abc").says(Reason::Broken, "Rtf"));
}

#[test]
fn groups_without_bound_are_taken() {
    let text = [&b"{\\rtf1"[..], &b"{".repeat(100_000), b"{\\*\\objdata 0105"].concat();
    opened(&text);
    opened(&b"{\\rtf1 {\\*\\objdata 01".repeat(5_000));
}

proptest! {
    #[test]
    fn any_text_is_taken(text in "(\\{|\\}|\\\\objdata|\\\\pict|\\\\bin[0-9]{0,3}|\\\\\\*|\\\\'|[0-9a-f]{0,9}| |\\\\fldinst|\\\\template){0,40}") {
        open(text.as_bytes(), &mut Record::default()).unwrap();
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        open(&bytes, &mut Record::default()).unwrap();
    }
}
