use filesafety_model::{Password, Reason};

use super::{Recorded, catalog, deflated, document_with, open, record, stream};

const WORDS: &[u8] = b"the sealed sentence";

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pdf/", $name, ".pdf"))
    };
}

#[test]
fn a_document_with_a_password_is_encrypted_and_nothing_else() {
    for locked in [&fixture!("locked-rc4")[..], &fixture!("locked-r6")[..]] {
        let recorded = record(locked);
        assert_eq!(recorded.unexamined, [(Reason::Encrypted, "Pdf".to_owned())]);
    }
}

#[test]
fn the_password_of_the_user_and_that_of_the_owner_open_it() {
    for locked in [&fixture!("locked-rc4")[..], &fixture!("locked-r6")[..]] {
        for right in ["user", "owner"] {
            let mut recorded = Recorded { passwords: passwords(&["wrong", right]), ..Recorded::default() };
            open(locked, &mut recorded).unwrap();
            assert!(recorded.is_complete(), "{right}: {:?}", recorded.unexamined);
            assert!(recorded.has(b"the sealed sentence, attached"), "{right}");
        }
        let mut recorded = Recorded { passwords: passwords(&["wrong", "users", "use"]), ..Recorded::default() };
        open(locked, &mut recorded).unwrap();
        assert_eq!(recorded.unexamined, [(Reason::Encrypted, "Pdf".to_owned())]);
    }
}

fn passwords(texts: &[&str]) -> Vec<Password> {
    texts.iter().map(|text| Password::new(*text).unwrap()).collect()
}

#[test]
fn other_handlers_and_unknown_versions_are_encrypted() {
    for encrypt in [
        "<< /Filter /Adobe.PubSec /SubFilter /adbe.pkcs7.s5 /V 4 >>",
        "<< /Filter /Standard /V 3 /R 3 /O (x) /U (y) /P -1 >>",
        "<< /Filter /Standard /V 99 >>",
        "<< /Filter /Standard /V 2 /R 3 /Length 128 /O <00> /U <00> /P -4 >>",
        "<< /Filter /Standard /V 5 /R 6 /O <00> /U <00> >>",
        "<< /Filter /Standard /V 4 /R 4 /StmF /Missing >>",
        "<< >>",
        "99 0 R",
    ] {
        let file = document_with(&format!("/Encrypt {encrypt}"), &[catalog(), stream("/Filter /FlateDecode", &deflated(WORDS))]);
        let recorded = record(&file);
        assert_eq!(recorded.unexamined, [(Reason::Encrypted, "Pdf".to_owned())], "{encrypt}");
        assert!(recorded.has(WORDS), "what is in the clear is examined all the same: {encrypt}");
    }
}

#[test]
fn what_the_empty_password_opens_is_decrypted_and_complete() {
    let fixtures: [(&str, &[u8]); 9] = [
        ("rc4-40", fixture!("rc4-40")),
        ("rc4-128", fixture!("rc4-128")),
        ("rc4-crypt-filter", fixture!("rc4-crypt-filter")),
        ("aes-128", fixture!("aes-128")),
        ("aes-128-clear-metadata", fixture!("aes-128-clear-metadata")),
        ("aes-256-r5", fixture!("aes-256-r5")),
        ("aes-256-r6", fixture!("aes-256-r6")),
        ("owner-empty-rc4", fixture!("owner-empty-rc4")),
        ("owner-empty-r6", fixture!("owner-empty-r6")),
    ];
    for (name, content) in fixtures {
        let recorded = record(content);
        assert!(recorded.is_complete(), "{name}: {:?}", recorded.unexamined);
        let with_words = |data: &[u8]| data.windows(WORDS.len()).any(|part| part == WORDS);
        assert!(recorded.children.iter().filter(|(_, data)| with_words(data)).count() >= 3, "{name}: page, metadata and attachment");
        assert!(recorded.has(b"the sealed sentence, attached"), "{name}");
    }
}

#[test]
fn a_damaged_encrypted_document_never_passes_for_whole() {
    let content = fixture!("aes-128");
    for end in 0..content.len() {
        let _ = record(&content[..end]);
    }
    let at = memchr::memmem::find(content, b"stream\n").unwrap() + 40;
    let mut changed = content.to_vec();
    changed[at] ^= 0x40;
    assert!(record(&changed).tells(Reason::Broken, "Pdf"));
}

#[test]
fn a_trailer_without_encryption_leaves_both_readings() {
    let mut content = fixture!("rc4-128").to_vec();
    let clear = b"PK in the clear";
    content.extend(b"90 0 obj\n");
    content.extend(stream("", clear));
    content.extend(b"\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF");
    let recorded = record(&content);
    assert!(recorded.is_complete());
    assert!(recorded.has(clear) && recorded.has(b"the sealed sentence, attached"));
}
