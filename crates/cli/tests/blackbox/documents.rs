//! PDF at its simplest.

use crate::support::eicar::{self, eicar};
use crate::support::{Server, pdf, pictures};

#[test]
fn a_small_clean_pdf_is_clean_and_complete() {
    let scan = Server::shared().scan(&pdf::clean()).expect_verdict("clean");
    assert_eq!(scan["coverage"]["complete"], true, "{scan}");
    assert_eq!(scan["file"]["type"], "application/pdf");
}

#[test]
fn bytes_after_its_end_change_nothing() {
    let scan = Server::shared().scan(&[pdf::clean(), b"\nsome bytes more\n".to_vec()].concat()).expect_verdict("clean");
    assert_eq!(scan["coverage"]["complete"], true, "{scan}");
}

#[test]
fn a_virus_in_a_stream_is_found() {
    let scan = Server::shared().scan(&pdf::with_flate_stream(&eicar())).expect_verdict("infected");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE);
}

#[test]
fn no_cross_reference_is_needed() {
    let file = pdf::with_flate_stream(&eicar());
    let table = file.windows(5).rposition(|window| window == b"xref\n").expect("a table");
    let table = file[..table].windows(5).rposition(|window| window == b"xref\n").unwrap_or(table);
    Server::shared().scan(&file[..table]).expect_verdict("infected");
}

#[test]
fn encodings_of_text_are_decoded() {
    let hex: String = eicar().iter().map(|byte| format!("{byte:02x}")).collect::<String>() + ">";
    let scan = Server::shared().scan(&pdf::with_stream("/Filter /ASCIIHexDecode", hex.as_bytes())).expect_verdict("infected");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE);
}

#[test]
fn an_unknown_filter_is_unsupported() {
    let scan = Server::shared().scan(&pdf::with_stream("/Filter /BrotliDecode", b"\x0b\x02\x80hello\x03")).expect_verdict("infected");
    assert_eq!(scan["virus"]["reason"], "unsupported", "{scan}");
    assert!(scan["virus"]["signature"].as_str().is_some_and(|name| name.starts_with("Heuristics.Unsupported.")));
}

#[test]
fn a_picture_filter_is_a_leaf() {
    let jpeg = pictures::jpeg(&pictures::landscape(320, 200));
    let dictionary = "/Type /XObject /Subtype /Image /Width 320 /Height 200 /BitsPerComponent 8 /ColorSpace /DeviceRGB /Filter /DCTDecode";
    let scan = Server::shared().scan(&pdf::with_stream(dictionary, &jpeg)).expect_verdict("clean");
    assert_eq!(scan["coverage"]["complete"], true, "{scan}");
}

#[test]
fn a_password_nobody_knows_is_encrypted() {
    let scan = Server::shared().scan(&pdf::encrypted()).expect_verdict("infected");
    assert_eq!(scan["virus"]["reason"], "encrypted", "{scan}");
    assert!(scan["virus"]["signature"].as_str().is_some_and(|name| name.starts_with("Heuristics.Encrypted.")));
}
