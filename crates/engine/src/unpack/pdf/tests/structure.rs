use std::fmt::Write as _;
use std::time::{Duration, Instant};

use filesafety_model::Reason;
use proptest::prelude::{Just, Strategy, any, prop, proptest};

use super::{Recorded, catalog, deflated, document, record, stream, stream_of_length};
use crate::unpack::pdf::{open, open_within};

const WORDS: &[u8] = b"BT (what is on the page) Tj ET";

/// Two pages, one compressed, and an attachment.
fn small() -> Vec<u8> {
    document(&[
        catalog(),
        stream("", WORDS),
        stream("/Filter /FlateDecode", &deflated(WORDS)),
        stream("/Type /EmbeddedFile /Filter [/FlateDecode]", &deflated(b"attached")),
        b"<< /Type /Filespec /F (note\\051.txt) /EF << /F 4 0 R >> >>".to_vec(),
    ])
}

#[test]
fn a_small_document_is_complete_with_or_without_bytes_after_its_end() {
    let recorded = record(&small());
    assert!(recorded.is_complete() && recorded.notes.is_empty(), "{recorded:?}");
    let names: Vec<&str> = recorded.children.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["obj-2-0", "obj-3-0", "note).txt"]);
    assert!(recorded.has(WORDS) && recorded.has(b"attached"));

    let recorded = record(&[small().as_slice(), b"PK and more"].concat());
    assert!(recorded.is_complete());
    assert_eq!(recorded.notes, ["trailing bytes"]);

    let recorded = record(&[b"MIME junk\n".as_slice(), &small()].concat());
    assert!(recorded.is_complete() && recorded.has(b"attached"));
}

#[test]
fn no_truncation_panics_or_hides_that_a_stream_is_cut() {
    let whole = small();
    let starts: Vec<usize> = memchr::memmem::find_iter(&whole, b"\nstream\n").map(|at| at + 8).collect();
    let ends: Vec<usize> = memchr::memmem::find_iter(&whole, b"\nendstream").collect();
    for end in 0..whole.len() {
        let recorded = record(&whole[..end]);
        let inside = starts.iter().zip(&ends).any(|(start, stop)| (*start..*stop).contains(&end));
        if inside {
            assert!(recorded.tells(Reason::Broken, "Pdf"), "cut at {end}");
        }
    }
}

#[test]
fn a_lost_index_is_a_note() {
    let whole = small();
    let index = memchr::memmem::find(&whole, b"xref").unwrap();
    let recorded = record(&whole[..index]);
    assert!(recorded.is_complete(), "{:?}", recorded.unexamined);
    assert_eq!(recorded.notes, ["repaired index"]);
    assert_eq!(recorded.children.len(), 3);
}

#[test]
fn an_object_cut_inside_its_value_is_broken() {
    let recorded = record(b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages");
    assert!(recorded.tells(Reason::Broken, "Pdf"));
}

#[test]
fn a_wrong_length_is_not_broken_where_a_reading_decodes() {
    let data = deflated(WORDS);
    for length in [0, 1, data.len() - 3, data.len() + 1, data.len() + 2, data.len() + 30, 1 << 40] {
        let recorded = record(&document(&[catalog(), stream_of_length("/Filter /FlateDecode", length, &data)]));
        assert!(recorded.is_complete(), "length {length}: {:?}", recorded.unexamined);
        assert!(recorded.has(WORDS), "length {length}");
    }
    for length in ["/Length -1", "/Length (x)", "/Length 99 0 R", "/Length 2 0 R", ""] {
        let mut body = format!("<< /Filter /FlateDecode {length} >> stream\r\n").into_bytes();
        body.extend_from_slice(&data);
        body.extend_from_slice(b"\r\nendstream");
        let recorded = record(&document(&[catalog(), body]));
        assert!(recorded.is_complete() && recorded.has(WORDS), "{length}: {:?}", recorded.unexamined);
    }
}

#[test]
fn where_length_and_search_disagree_both_readings_are_seen() {
    let inner = [b"before endstream after".as_slice(), WORDS].concat();
    let recorded = record(&document(&[catalog(), stream("", &inner)]));
    assert!(recorded.is_complete());
    assert!(recorded.has(&inner) && recorded.has(b"before "));

    let mut body = format!("<< /Length {} >>\nstream\n", inner.len()).into_bytes();
    body.extend_from_slice(&inner);
    body.extend_from_slice(b" no keyword here, so the length is not to be trusted");
    assert!(record(&document(&[catalog(), body])).has(&inner));
}

#[test]
fn an_indirect_length_and_filter_are_followed_in_every_revision() {
    let body = [b"<< /Length 3 0 R /Filter 4 0 R >>\nstream\n".as_slice(), &deflated(b"a endstream b"), b"\nendstream"].concat();
    let length = deflated(b"a endstream b").len().to_string().into_bytes();
    let mut file = document(&[catalog(), body, length, b"/FlateDecode".to_vec()]);
    let recorded = record(&file);
    assert!(recorded.is_complete() && recorded.has(b"a endstream b"), "{recorded:?}");

    file.extend_from_slice(b"4 0 obj\n/ASCIIHexDecode\nendobj\n3 0 obj 7 endobj\n%%EOF");
    let recorded = record(&file);
    assert!(recorded.has(b"a endstream b"), "the first revision");
    assert!(recorded.tells(Reason::Broken, "Pdf"), "the last one does not decode");
}

#[test]
fn a_filter_inside_an_object_stream_is_followed() {
    let packed = b"7 0 8 14 /FlateDecode  (a string that is longer than what is asked for)";
    let objects = stream("/Type /ObjStm /N 2 /First 9 /Filter /FlateDecode", &deflated(packed));
    let recorded = record(&document(&[catalog(), stream("/Filter 7 0 R", &deflated(WORDS)), objects]));
    assert!(recorded.is_complete() && recorded.has(WORDS) && recorded.has(packed), "{recorded:?}");
    // A reference to nothing is null: no filter.
    let recorded = record(&document(&[catalog(), stream("/Filter 7 0 R", WORDS)]));
    assert!(recorded.is_complete() && recorded.has(WORDS));
}

#[test]
fn names_of_attachments_are_found_in_object_streams() {
    let packed = b"9 0 << /UF <FEFF0061002E0074> /EF << /UF 3 0 R >> >>";
    let objects = stream("/Type /ObjStm /N 1 /First 4", packed);
    let recorded = record(&document(&[catalog(), objects, stream("/Type /EmbeddedFile", b"attached")]));
    assert_eq!(recorded.children[1], ("a.t".to_owned(), b"attached".to_vec()));
}

#[test]
fn objects_are_found_however_they_are_written() {
    for text in [
        "1 0 obj<</Length 5>>stream\nwords\nendstream endobj",
        "1\n0\r\nobj % a comment\n<< /Length 5 >> % another\nstream\r\nwords\r\nendstream",
        "1 0 % between\nobj << /Length 5 >> stream\nwords\nendstream",
        "junk(1 0 obj<</Length 5>>stream\nwords\nendstream",
        "<< /A (1 0 obj<</Length 5>>stream\nwords\nendstream) >>",
        "% 1 0 obj<</Length 5>>stream\nwords\nendstream",
        "1 0 obj<</Length 5 stream\nwords\nendstream",
        "1 0 obj<</A [ ( ] /Length 5) >>stream\nwords\nendstream",
        "1 0 obj<</Length 5>>stream \t\nwords\nendobj",
        "1 0 obj<</Length 5>>stream\rwords\rendstream",
    ] {
        let recorded = record(format!("%PDF-1.7\n{text}\n").as_bytes());
        assert!(recorded.children.iter().any(|(_, data)| data.starts_with(b"words")), "{text}");
    }
    for text in ["1 0 object<</Length 5>>stream\nwords\nendstream", "1 0 endobj<</Length 5>>stream\nwords\nendstream"] {
        assert!(record(text.as_bytes()).children.is_empty(), "{text}");
    }
}

#[test]
fn both_filters_of_a_repeated_key_are_seen() {
    let data = deflated(WORDS);
    let recorded = record(&document(&[catalog(), stream("/Filter /FlateDecode /Filter null", &data)]));
    assert!(recorded.has(WORDS) && recorded.has(&data));
}

#[test]
fn a_used_up_budget_stops_the_walk() {
    let mut recorded = Recorded { budget: Some(1), ..Recorded::default() };
    assert!(open(&small(), &mut recorded).is_err());
    assert_eq!(recorded.children.len(), 1);
}

#[test]
fn files_made_to_be_slow_are_not() {
    let mut many = String::new();
    for number in 0..20_000 {
        let _ = writeln!(many, "{number} 0 obj<</Length {number} 0 R/Filter/Fl>>stream");
    }
    let unclosed = |text: &str| text.repeat(20_000);
    for text in [
        many,
        unclosed("1 0 obj ("),
        unclosed("1 0 obj ["),
        unclosed("1 0 obj <<"),
        unclosed("1 0 obj <"),
        unclosed("1 0 obj %"),
        unclosed("1 0 obj"),
        unclosed("trailer("),
        format!("{}{}", "1 0 obj<</Length 1 0 R>>stream\n".repeat(5_000), "1 0 obj [".repeat(10_000)),
    ] {
        let start = Instant::now();
        let mut recorded = Recorded { budget: Some(1000), ..Recorded::default() };
        let _ = open(text.as_bytes(), &mut recorded);
        assert!(start.elapsed() < Duration::from_secs(30), "{}", &text[..40]);
    }
}

#[test]
fn filters_that_blow_up_between_each_other_end_at_a_limit() {
    let data = deflated(&deflated(&vec![b' '; 16 << 20]));
    let bomb = stream("/Filter [/Fl /Fl /AHx]", &data);
    let file = document(&vec![bomb; 5]);
    let mut recorded = Recorded::default();
    open_within(&file, 64 << 20, &mut recorded).expect("no budget to use up");
    assert!(recorded.tells(Reason::Limit, "Bytes"), "{:?}", recorded.unexamined);
    assert!(recorded.children.len() < 5);
}

#[test]
fn object_streams_that_blow_up_end_at_a_limit() {
    let bomb = stream("/Type /ObjStm /N 0 /First 0 /Filter /Fl", &deflated(&vec![b' '; 5 << 20]));
    let mut bodies = vec![catalog(), stream("/Filter 99 0 R", WORDS)];
    bodies.extend(vec![bomb; 40]);
    let file = document(&bodies);
    let mut recorded = Recorded::default();
    open_within(&file, 32 << 20, &mut recorded).expect("no budget to use up");
    assert!(recorded.tells(Reason::Limit, "Bytes"), "{:?}", recorded.unexamined);
    assert!(recorded.ticks < 20, "{} ticks", recorded.ticks);

    let mut recorded = Recorded { budget: Some(4), ..Recorded::default() };
    assert!(open(&file, &mut recorded).is_err());
    assert!(recorded.children.is_empty());
}

#[test]
fn a_document_saved_many_times_is_complete() {
    let mut file = small();
    for save in 0..500 {
        file.extend(
            format!("trailer\n<< /Size 6 /Root 1 0 R /Prev {save} /ID [<{save:08}> <{save:08}>] >>\nstartxref\n0\n%%EOF\n").into_bytes(),
        );
    }
    let recorded = record(&file);
    assert!(recorded.is_complete(), "{:?}", recorded.unexamined);
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (Just(small()), prop::collection::vec(change, 1..20)).prop_map(|(mut file, changes)| {
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file
    })
}

proptest! {
    #[test]
    fn no_mutation_panics(file in mutated()) {
        let _ = record(&file);
    }

    #[test]
    fn no_bytes_panic(file in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = record(&file);
    }

    #[test]
    fn no_words_of_the_format_panic(words in prop::collection::vec(prop::sample::select(&[
        "1 0 obj", "<<", ">>", "stream\n", "endstream", "endobj", "/Filter", "/Fl", "/AHx", "/RL", "/A85", "/LZW", "[", "]", "(", ")", "<", ">",
        "/Length", "7", "1 0 R", "trailer", "/Encrypt", "/Type", "/ObjStm", "/N", "/First", "-9", "%", "\n", "\\", "/DecodeParms", "/Predictor 12",
        "/Columns", "/Crypt", "/XRef", "/Standard", "/V 4", "null", "~>", "\u{80}",
    ][..]), 0..80)) {
        let _ = record(words.join(" ").as_bytes());
    }
}
