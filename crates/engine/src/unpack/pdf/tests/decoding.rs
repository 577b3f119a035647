use filesafety_model::Reason;
use weezl::BitOrder;
use weezl::encode::Encoder;

use super::{Recorded, catalog, deflated, document, record, stream};

const WORDS: &[u8] = b"what a reader of this stream sees, seen, seen, seen\0\0\0\0\0";

fn of(filter: &str, data: &[u8]) -> Recorded {
    record(&document(&[catalog(), stream(filter, data)]))
}

fn hex(data: &[u8]) -> Vec<u8> {
    data.iter().flat_map(|byte| format!("{byte:02x} ").into_bytes()).chain(*b">").collect()
}

fn ascii85(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for part in data.chunks(4) {
        let mut group = [0; 4];
        group[..part.len()].copy_from_slice(part);
        let mut number = u32::from_be_bytes(group);
        let mut digits = [0; 5];
        for digit in digits.iter_mut().rev() {
            *digit = b'!' + u8::try_from(number % 85).unwrap();
            number /= 85;
        }
        if part == [0; 4] { text.push(b'z') } else { text.extend(&digits[..=part.len()]) }
    }
    text.extend(b"~>");
    text
}

fn run_length(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in data.chunks(100) {
        out.push(u8::try_from(part.len() - 1).unwrap());
        out.extend(part);
    }
    out.extend([255, b'!', 255, b'!', 128]);
    out
}

fn lzw(data: &[u8], early_change: bool) -> Vec<u8> {
    let mut encoder = if early_change { Encoder::with_tiff_size_switch(BitOrder::Msb, 8) } else { Encoder::new(BitOrder::Msb, 8) };
    encoder.encode(data).unwrap()
}

#[test]
fn an_unknown_filter_is_unsupported_and_its_input_is_seen() {
    for filter in ["/Filter /Brotli", "/Filter [/FlateDecode /Brotli]", "/Filter 7", "/Filter [7]", "/Filter [/FlateDecode [/FlateDecode]]"]
    {
        let data = if filter.contains("Flate") { deflated(WORDS) } else { WORDS.to_vec() };
        let recorded = of(filter, &data);
        assert_eq!(recorded.unexamined, [(Reason::Unsupported, "PdfFilter".to_owned())], "{filter}");
        assert!(recorded.has(WORDS), "{filter}");
    }
    let recorded = of("/Filter [/DCTDecode /FlateDecode]", WORDS);
    assert!(recorded.tells(Reason::Unsupported, "PdfFilter") && recorded.has(WORDS));
    let recorded = of("/Filter /FlateDecode /DecodeParms << /Predictor 77 >>", &deflated(WORDS));
    assert!(recorded.tells(Reason::Unsupported, "PdfPredictor") && recorded.has(WORDS));
    let recorded = of(&format!("/Filter [{}]", "/AHx ".repeat(9)), b"41>");
    assert!(recorded.tells(Reason::Limit, "PdfFilters"));
}

#[test]
fn damaged_data_is_broken_and_what_decodes_is_seen() {
    let long: Vec<u8> = (0..40_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    let whole = deflated(&long);
    for (filter, data) in [
        ("/Filter /FlateDecode", whole[..whole.len() / 2].to_vec()),
        ("/Filter /LZWDecode", lzw(&long, true)[..90_000].to_vec()),
        ("/Filter /RunLengthDecode", run_length(&long)[..100_000].to_vec()),
        ("/Filter [/AHx /Fl]", hex(&whole[..whole.len() / 2])),
    ] {
        let recorded = of(filter, &data);
        assert_eq!(recorded.unexamined, [(Reason::Broken, "Pdf".to_owned())], "{filter}");
        let (_, seen) = &recorded.children[0];
        assert!(seen.len() > 50_000 && long.starts_with(seen), "{filter}: {}", seen.len());
    }
    let mut wrong_sum = deflated(WORDS);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let recorded = of("/Filter /FlateDecode", &wrong_sum);
    assert!(recorded.tells(Reason::Broken, "Pdf") && recorded.has(WORDS));
    assert!(of("/Filter /FlateDecode", b"no deflate data at all").tells(Reason::Broken, "Pdf"));
    assert!(of("/Filter /ASCII85Decode", b"\x01\x02\x03~>").tells(Reason::Broken, "Pdf"));
}

#[test]
fn what_readers_forgive_is_not_broken() {
    let whole = deflated(WORDS);
    let bare = whole[2..whole.len() - 4].to_vec();
    for (data, what) in [
        ([whole.as_slice(), b"trailing garbage"].concat(), "garbage"),
        (whole[..whole.len() - 4].to_vec(), "no checksum"),
        (whole[..whole.len() - 2].to_vec(), "half a checksum"),
        ([b"\r\n".as_slice(), &whole].concat(), "leading line end"),
        (bare, "no header"),
        ([b"\x78\x00", &whole[2..]].concat(), "wrong check of the header"),
    ] {
        let recorded = of("/Filter /FlateDecode", &data);
        assert!(recorded.is_complete(), "{what}: {:?}", recorded.unexamined);
        assert!(recorded.has(WORDS), "{what}");
    }
    for filter in ["/FlateDecode", "/LZWDecode", "/ASCIIHexDecode", "/ASCII85Decode", "/RunLengthDecode", "/DCTDecode"] {
        assert!(of(&format!("/Filter {filter}"), b"").is_complete(), "{filter}");
        assert!(of(&format!("/Filter {filter}"), b"\r\n").is_complete(), "{filter}");
    }
    assert!(of("/Filter /AHx", b"4 1 4\n").has(b"A@"));
    assert!(of("/Filter /A85", &[b"<~".as_slice(), &ascii85(WORDS)].concat()).has(WORDS));
}

#[test]
fn every_filter_and_its_abbreviation_decodes() {
    for (name, short, data) in [
        ("FlateDecode", "Fl", deflated(WORDS)),
        ("LZWDecode", "LZW", lzw(WORDS, true)),
        ("ASCIIHexDecode", "AHx", hex(WORDS)),
        ("ASCII85Decode", "A85", ascii85(WORDS)),
        ("ASCII85Decode", "#418#35", ascii85(WORDS)),
    ] {
        for filter in [format!("/Filter /{name}"), format!("/Filter [/{short}]"), format!("/F#69lter/{short}"), format!("/F /{short}")] {
            let recorded = of(&filter, &data);
            assert!(recorded.is_complete(), "{filter}: {:?}", recorded.unexamined);
            assert!(recorded.has(WORDS), "{filter}");
        }
    }
    assert!(of("/Filter /RL", &run_length(WORDS)).has(&[WORDS, b"!!!!"].concat()));
}

#[test]
fn chains_decode_in_order() {
    let data = ascii85(&hex(&deflated(&lzw(WORDS, false))));
    let filter = "/Filter [/A85 /AHx /Fl /LZW] /DecodeParms [null null null << /EarlyChange 0 >>]";
    let recorded = of(filter, &data);
    assert!(recorded.is_complete() && recorded.has(WORDS), "{:?}", recorded.unexamined);
    let recorded = of("/Filter [/Crypt /Fl] /DecodeParms [<< /Name /Identity >> null]", &deflated(WORDS));
    assert!(recorded.is_complete() && recorded.has(WORDS));
}

#[test]
fn both_ways_to_change_the_code_length_are_known() {
    let long: Vec<u8> = (0..30_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    assert!(of("/Filter /LZWDecode", &lzw(&long, true)).has(&long));
    assert!(of("/Filter /LZWDecode /DecodeParms << /EarlyChange 0 >>", &lzw(&long, false)).has(&long));
}

#[test]
fn a_picture_ends_the_chain_with_the_bytes_before_its_filter() {
    for filter in ["DCTDecode", "DCT", "JPXDecode", "CCITTFaxDecode", "CCF", "JBIG2Decode"] {
        let recorded = of(&format!("/Filter [/ASCIIHexDecode /{filter}]"), &hex(b"\xff\xd8\xff\xe0 a picture"));
        assert!(recorded.is_complete() && recorded.has(b"\xff\xd8\xff\xe0 a picture"), "{filter}");
    }
}

#[test]
fn predictors_are_undone() {
    let parameters = |kind, columns| format!("/Filter /Fl /DecodeParms << /Predictor {kind} /Columns {columns} /Colors 1 >>");
    // One row of each PNG type, all of which mean 10 20 30 40 and so on.
    let png = [0, 10, 20, 30, 40, 1, 50, 10, 10, 10, 2, 40, 40, 40, 40, 3, 85, 35, 40, 45, 4, 40, 10, 10, 10];
    let seen = of(&parameters(12, 4), &deflated(&png));
    assert_eq!(seen.children[0].1, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 150, 170, 190, 170, 180, 190, 200]);
    let seen = of(&parameters(2, 4), &deflated(&[10, 10, 10, 10, 50, 1, 1, 1]));
    assert_eq!(seen.children[0].1, [10, 20, 30, 40, 50, 51, 52, 53]);
    // A last row that is not whole, and a row without columns.
    let seen = of(&parameters(15, 4), &deflated(&[1, 1, 1, 1, 1, 1, 7, 1]));
    assert_eq!(seen.children[0].1, [1, 2, 3, 4, 7, 8]);
    assert!(seen.is_complete());
    assert!(of(&parameters(15, 0), &deflated(WORDS)).tells(Reason::Unsupported, "PdfPredictor"));
    assert!(of(&parameters(15, i64::MAX), &deflated(WORDS)).tells(Reason::Unsupported, "PdfPredictor"));
}
