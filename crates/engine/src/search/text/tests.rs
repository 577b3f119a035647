use filesafety_model::Reason;
use proptest::prelude::*;

use super::open;
use crate::unpack::fixtures::{Member, Record, eicar, gzip, noise, zip};

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    open(content, &mut record).unwrap();
    record
}

fn base64(content: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in content.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            text.push(if place <= group.len() { char::from(digits[(bits >> (18 - 6 * place) & 63) as usize]) } else { '=' });
        }
    }
    text
}

fn hex(content: &[u8]) -> String {
    content.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cut into pieces of so many characters, joined by `glue`.
fn pieces(text: &str, length: usize, glue: &str) -> String {
    let pieces: Vec<_> = text.as_bytes().chunks(length).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
    pieces.join(glue)
}

#[test]
fn files_that_are_written_out_in_digits_are_children() {
    let archive = zip(&[Member::deflated("eicar.com", &eicar())]);
    let list = |each: fn(&u8) -> String| archive.iter().map(each).collect::<Vec<_>>().join(", ");
    for (what, text) in [
        ("a string", format!("var a = \"{}\";", base64(&archive))),
        ("pieces of a string", format!("var a = \"{}\";", pieces(&base64(&archive), 60, "\" +\n    \""))),
        ("pieces that are added up", format!("a = \"{}\"", pieces(&base64(&archive), 60, "\"\r\na = a & \""))),
        ("lines", format!("-----BEGIN CERTIFICATE-----\r\n{}\r\n-----END CERTIFICATE-----", pieces(&base64(&archive), 64, "\r\n"))),
        ("lines that are echoed", format!("echo {} >> b.txt\r\n", pieces(&base64(&archive), 64, " >> b.txt\r\necho "))),
        ("hexadecimal digits", format!("s = '{}'", hex(&archive))),
        ("pieces of them", format!("s = '{}'", pieces(&hex(&archive), 80, "' & _\r\n  '"))),
        ("escapes", format!("s = '{}'", archive.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>())),
        ("percent escapes", format!("unescape('{}')", archive.iter().map(|byte| format!("%{byte:02X}")).collect::<String>())),
        ("numbers", format!("[byte[]] $a = {}", list(|byte| byte.to_string()))),
        ("numbers in hexadecimal", format!("a = [{}]", list(|byte| format!("0x{byte:x}")))),
        ("an address", format!("<a href=\"data:application/zip;base64,{}\" download>x</a>", base64(&archive))),
        ("an address in single quotes", format!("<a href='DATA:;BASE64,{}'>x</a>", pieces(&base64(&archive), 70, "%0A"))),
        ("an address in a style sheet", format!("a {{ background: url(data:x/y;base64,{}) }}", base64(&archive))),
    ] {
        let record = opened(text.as_bytes());
        assert!(record.has(&archive), "{what}: {:?}", record.children);
        assert!(record.is_complete());
    }
}

#[test]
fn texts_that_are_written_out_are_children() {
    let wide: Vec<u8> = "Write-Host 'hello, world'".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (text, content) in [
        (format!("powershell -EncodedCommand {}", base64(&wide)), wide),
        (format!("eval(atob('{}'))", base64(&eicar())), eicar()),
        (format!("<img src=\"data:image/svg+xml,{}\">", "%3Csvg%3E%3Cscript%3Ex%3C/script%3E"), b"<svg><script>x</script>".to_vec()),
        (format!("<html><SCRIPT type='a>b'>\n{}\n</script>", "document.write('x')"), b"\ndocument.write('x')\n".to_vec()),
        ("<script>never closed, and long enough".into(), b"never closed, and long enough".to_vec()),
    ] {
        let record = opened(text.as_bytes());
        assert!(record.has(&content), "{text}: {:?}", record.children);
    }
}

#[test]
fn each_blob_of_a_list_is_its_own() {
    let pictures = [
        [&b"\x89PNG\r\n\x1a\n"[..], &noise(60)].concat(),
        [&b"\xff\xd8\xff\xe0"[..], &noise(60)].concat(),
        [&b"GIF89a"[..], &noise(63)].concat(),
    ];
    let text = format!("[{}]", pictures.iter().map(|picture| format!("\"{}\"", base64(picture))).collect::<Vec<_>>().join(",\n"));
    let record = opened(text.as_bytes());
    assert!(pictures.iter().all(|picture| record.has(picture)), "{:?}", record.children);
}

#[test]
fn what_is_nothing_or_not_whole_stays_text() {
    let archive = zip(&[Member::deflated("a", &noise(500))]);
    let packed = gzip(&noise(500));
    for text in [
        format!("key = \"{}\"", base64(&noise(200).iter().map(|byte| byte.wrapping_mul(77)).collect::<Vec<_>>())),
        format!("sha512-{}", hex(&noise(64).iter().map(|byte| byte ^ 0xa5).collect::<Vec<_>>())),
        format!("for example \"{}\"...", base64(&archive[..300])),
        format!("for example \"{}\"...", base64(&packed[..200])),
        (0..300).map(|number| format!("{}, ", number * 7 % 256)).collect(),
        "data:,".to_owned(),
        "the data: it is here, and it is large, and there is no end of it".to_owned(),
        "/usr/share/some/very/long/path/to/a/file/that/is/somewhere/in/a/tree/of/folders".to_owned(),
    ] {
        let record = opened(text.as_bytes());
        assert!(record.is_complete(), "{text}: {:?}", record.unexamined);
        assert!(record.children.len() <= 1, "{text}: {:?}", record.children);
    }
}

#[test]
fn a_blob_that_is_encrypted_is_told() {
    let archive = zip(&[Member { packed: noise(40), ..Member::stored("a", &noise(28)) }.encrypted()]);
    let mut record = Record::default();
    super::offer::offer("x", &archive, &mut record).unwrap();
    assert!(record.has(&archive));
    assert!(!record.says(Reason::Broken, "Zip"));
}

#[test]
fn texts_in_other_encodings_are_shown_as_utf_8() {
    let text = "WScript.Echo \"caf\u{e9}\"";
    let little: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for content in [little, big, marked] {
        assert_eq!(opened(&content).children, [("utf-8".to_owned(), text.as_bytes().to_vec())]);
    }
}

#[test]
fn pictures_and_programs_are_not_searched_for_digits_but_for_scripts() {
    let blob = format!("MZ\0\0 \"{}\"", base64(&zip(&[Member::stored("a", b"x")])));
    assert!(opened(blob.as_bytes()).children.is_empty());
    assert!(opened(b"GIF89a\0\0<script>alert('hello, world')</script>").has(b"alert('hello, world')"));
}

#[test]
fn a_shortcut_gives_its_command() {
    let mut content = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".to_vec();
    content.extend((1u32 | 1 << 3 | 1 << 5 | 1 << 7).to_le_bytes());
    content.resize(76, 0);
    content.extend([2, 0, 9, 9]);
    for text in ["..\\cmd.exe", "/c start x"] {
        content.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        content.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    }
    assert_eq!(opened(&content).children, [("command".to_owned(), b"..\\cmd.exe /c start x".to_vec())]);
    for length in 0..content.len() {
        opened(&content[..length]);
    }
}

proptest! {
    #[test]
    fn any_text_is_taken(content in "[ -~\\n]{0,600}", bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        opened(content.as_bytes());
        opened(&bytes);
        opened(format!("<script>data:{content}\\x41,{content}").as_bytes());
    }

    #[test]
    fn blobs_with_wrong_bytes_are_taken(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut text = base64(&zip(&[Member::deflated("eicar.com", &eicar())])).into_bytes();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        opened(&text);
    }
}
