use filesafety_model::Reason;
use proptest::prelude::*;

use super::{
    super::fixtures::{Member, Record, eicar, noise, zip},
    open,
};

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    open(content, &mut record).unwrap();
    record
}

fn base64(content: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, group) in content.chunks(3).enumerate() {
        if index > 0 && index % 19 == 0 {
            text.push_str("\r\n");
        }
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            text.push(if place <= group.len() { char::from(digits[(bits >> (18 - 6 * place) & 63) as usize]) } else { '=' });
        }
    }
    text
}

const HEAD: &str = "From: a@b.c\r\nTo: d@e.f\r\nSubject: hello\r\nMIME-Version: 1.0\r\n";

/// A message with a text and an attachment.
fn message(attachment: &[u8]) -> Vec<u8> {
    format!(
        "{HEAD}Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\nno MIME here\r\n--=_b\r\nContent-Type: text/plain\r\n\r\nhello\r\n\
         --=_b\r\nContent-Type: application/octet-stream; name=\"a.com\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"a.com\"\r\n\r\n{}\r\n--=_b--\r\n",
        base64(attachment)
    )
    .into_bytes()
}

#[test]
fn a_message_gives_its_parts_by_name_and_is_complete() {
    let record = opened(&message(&eicar()));
    let names: Vec<_> = record.children.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["part-1", "a.com"]);
    assert_eq!(record.contents(), [&b"hello"[..], &eicar()]);
    assert!(record.is_complete() && record.notes.is_empty(), "{:?} {:?}", record.unexamined, record.notes);
}

#[test]
fn a_message_is_no_part_of_itself_whatever_stands_before_its_header() {
    for before in ["", "Article 1 of alt.news:\n", "\u{feff}", "\n\n", "\n\u{1} odd\n", "\u{de}\u{12}\0\0 a catalogue\0\n"] {
        let content = [before.as_bytes(), &message(&eicar())].concat();
        let record = opened(&content);
        assert!(record.contents().iter().all(|child| child.len() < content.trim_ascii_start().len()), "{before:?}");
        assert!(record.contents().contains(&&eicar()[..]), "{before:?}");
    }
}

#[test]
fn no_truncation_panics_or_hides_that_an_attachment_is_cut() {
    let content = noise(500);
    let whole = message(&content);
    let start = memchr::memmem::find(&whole, b"\"a.com\"\r\n\r\n").unwrap() + 11;
    let end = memchr::memmem::find(&whole, b"\r\n--=_b--").unwrap();
    for length in 0..whole.len() {
        let record = opened(&whole[..length]);
        if (start + 1..end).contains(&length) {
            assert!(record.says(Reason::Broken, "Mail"), "cut to {length}");
        } else if length >= end + 9 {
            assert!(record.has(&content) && record.is_complete(), "cut to {length}");
        }
    }
}

#[test]
fn each_encoding_gives_the_content() {
    let uu = |content: &[u8]| {
        let mut text = String::from("begin 644 a.com\n");
        for line in content.chunks(45) {
            text.push(char::from(b' ' + u8::try_from(line.len()).unwrap()));
            for group in line.chunks(3) {
                let bits = group.iter().chain([0, 0].iter()).take(3).fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
                (0..4).for_each(|place| text.push(char::from(b' ' + (bits >> (18 - 6 * place) & 63) as u8)));
            }
            text.push('\n');
        }
        text + "`\nend\n"
    };
    let quoted = eicar().iter().map(|byte| format!("={byte:02X}")).collect::<Vec<_>>().join("=\r\n");
    for (encoding, body) in [
        ("base64", base64(&eicar())),
        ("\"Base64\"", base64(&eicar())),
        ("x-base64 (a comment)", base64(&eicar())),
        ("quoted-printable", quoted),
        ("7bit", String::from_utf8(eicar()).unwrap()),
        ("8bit", uu(&eicar())),
        ("x-uuencode", uu(&eicar())),
    ] {
        let text = format!("{HEAD}Content-Type: text/plain; name=x\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}");
        let record = opened(text.as_bytes());
        assert!(record.has(&eicar()) && record.is_complete(), "{encoding}: {:?}", record.children);
    }
}

#[test]
fn a_message_that_contradicts_itself_is_read_every_way() {
    let (part, plain) = (base64(&eicar()), String::from_utf8(eicar()).unwrap());
    let attached = format!("Content-Transfer-Encoding: base64\r\n\r\n{part}\r\n");
    for (what, text) in [
        (
            "two types, the last counts",
            format!("Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{attached}--b--"),
        ),
        (
            "two types, the first counts",
            format!("Content-Type: multipart/mixed; boundary=b\r\nContent-Type: text/plain\r\n\r\n--b\r\n{attached}--b--"),
        ),
        ("two boundaries", format!("Content-Type: multipart/mixed; boundary=x; boundary=b\r\n\r\n--b\r\n{attached}--b--")),
        (
            "a boundary in two fields",
            format!(
                "Content-Type: multipart/mixed; boundary=x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--x\r\n\r\n--b\r\n{attached}--b--\r\n--x--"
            ),
        ),
        (
            "a boundary without quotes, with a blank",
            format!("Content-Type: multipart/mixed; boundary=b c\r\n\r\n--b c\r\n{attached}--b c--"),
        ),
        ("a boundary that ends at a blank", format!("Content-Type: multipart/mixed; boundary=b c\r\n\r\n--b\r\n{attached}--b--")),
        ("quotes in the boundary", format!("Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--\"b\"\r\n{attached}--\"b\"--")),
        ("an open quote", format!("Content-Type: multipart/mixed; boundary=\"b\r\n\r\n--b\r\n{attached}--b--")),
        ("no boundary", format!("Content-Type: multipart/mixed\r\n\r\n--b\r\n{attached}--b--")),
        ("no last delimiter", format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{attached}")),
        ("a longer delimiter", format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--bc\r\n{attached}--b--")),
        ("after the last delimiter", format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n{attached}")),
        ("two encodings, the last counts", format!("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\n{part}")),
        (
            "two encodings, the first counts",
            format!("Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{part}"),
        ),
        ("two encodings, neither true", format!("Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{plain}")),
        ("a blank before the colon", format!("Content-Transfer-Encoding : base64\r\n\r\n{part}")),
        ("a folded value", format!("Content-Transfer-Encoding:\r\n  base64\r\n\r\n{part}")),
        ("a folded parameter", format!("Content-Type: multipart/mixed;\r\n\tboundary\r\n =\r\n b\r\n\r\n--b\r\n{attached}--b--")),
        ("a lone carriage return", format!("X-A: b\rContent-Transfer-Encoding: base64\r\n\r\n{part}")),
        ("a zero in the name", format!("Content-\0Transfer-Encoding: base64\r\n\r\n{part}")),
        ("a zero in the value", format!("Content-Type: multipart/mixed; boundary=b\0c\r\n\r\n--b\r\n{attached}--b--")),
        ("a line of blanks is no end", format!("X-A: b\r\n \t\r\nContent-Transfer-Encoding: base64\r\n\r\n{part}")),
        ("a line of blanks is the end", format!("Content-Transfer-Encoding: base64\r\n \r\n{part}\r\n\r\n")),
        ("a line that is no field", format!("X-A: b\r\nno field\r\nContent-Transfer-Encoding: base64\r\n\r\n{part}")),
        ("a comment in the type", format!("Content-Type: multipart(x)/mixed (a; b=c); boundary=b\r\n\r\n--b\r\n{attached}--b--")),
        (
            "an encoded multipart body",
            format!(
                "Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
                base64(format!("--b\r\n{attached}--b--").as_bytes())
            ),
        ),
        ("strange characters in base64", format!("Content-Transfer-Encoding: base64\r\n\r\n{}", part.replace('V', "*V-"))),
        (
            "base64 that ends at padding",
            format!(
                "Content-Transfer-Encoding: base64\r\n\r\n{}{}",
                base64(&[&eicar()[..], b"  "].concat()).trim_end_matches("\r\n"),
                "QUFB"
            ),
        ),
        ("base64 that goes on behind padding", format!("Content-Transfer-Encoding: base64\r\n\r\nQQ==\r\n{part}")),
        (
            "a message without a header of mail",
            format!("Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n{part}"),
        ),
        (
            "a message that is encoded",
            format!(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
                base64(format!("Content-Transfer-Encoding: base64\r\n\r\n{part}").as_bytes())
            ),
        ),
        (
            "a digest",
            format!(
                "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nX: y\r\nContent-Transfer-Encoding: base64\r\n\r\n{part}\r\n--b--"
            ),
        ),
        ("a boundary in pieces", format!("Content-Type: multipart/mixed; boundary*0=b; boundary*1*=%63\r\n\r\n--bc\r\n{attached}--bc--")),
        ("unix line ends", format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{attached}--b--").replace("\r\n", "\n")),
        ("a part without a header", format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{plain}\r\n--b--")),
    ] {
        let record = opened(format!("{HEAD}{text}").as_bytes());
        let found = record.contents().iter().any(|content| memchr::memmem::find(content, &eicar()).is_some());
        assert!(found, "{what}: {:?}", record.children);
    }
}

#[test]
fn what_contradicts_itself_is_not_called_broken_for_the_other_reading() {
    let text = format!("{HEAD}Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nhello, world");
    assert!(opened(text.as_bytes()).is_complete());
    // A list's footer behind an attachment is honest.
    let text = format!(
        "{HEAD}Content-Type: application/x-a\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n_____\r\nA list\r\n",
        base64(&noise(100))
    );
    assert!(opened(text.as_bytes()).is_complete());
}

#[test]
fn messages_inside_messages_are_children() {
    let inner = message(&eicar());
    let text = [
        format!("{HEAD}Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\nContent-Type: message/rfc822\r\n\r\n").as_bytes(),
        &inner,
        b"--out--\r\n",
    ]
    .concat();
    let record = opened(&text);
    assert_eq!(record.children[0].0, "message-1.eml");
    assert!(inner.starts_with(&record.children[0].1) && record.is_complete());
}

#[test]
fn a_mailbox_gives_its_messages_and_a_from_line_in_a_text_hides_nothing() {
    let first = format!("From a@b Mon Jan  1 00:00:00 2001\r\n{HEAD}\r\none\r\n\r\n");
    let second = format!("From c@d Tue Jan  2 00:00:00 2001\r\n{}", String::from_utf8(message(&eicar())).unwrap());
    let record = opened(format!("{first}{second}").as_bytes());
    let names: Vec<_> = record.children.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["body", "message-1.eml", "message-2.eml"]);
    assert!(record.is_complete());
    // To a reader of single messages, all of it is the first one.
    let inside = String::from_utf8(message(&eicar()))
        .unwrap()
        .replace("hello\r\n--=_b", "hello\r\n\r\nFrom c@d Tue Jan  2 00:00:00 2001\r\n\r\n--=_b");
    let record = opened(format!("From a@b Mon Jan  1 00:00:00 2001\r\n{inside}").as_bytes());
    assert!(record.has(&eicar()));
}

#[test]
fn what_is_sealed_or_in_pieces_is_told() {
    let head = |kind: &str, body: &str| opened(format!("{HEAD}Content-Type: {kind}\r\n\r\n{body}").as_bytes());
    assert!(head("multipart/encrypted; boundary=b", "--b\r\n\r\nx\r\n--b--").says(Reason::Encrypted, "Pgp"));
    let armoured = "-----BEGIN PGP MESSAGE-----\r\nVersion: 1\r\n\r\nhQEMA0AAAAAAAAAAAQf/\r\n-----END PGP MESSAGE-----";
    assert!(head("text/plain", armoured).says(Reason::Encrypted, "Pgp"));
    assert!(head("text/plain", &format!("see this: {armoured}")).is_complete());
    assert!(head("message/partial; id=a; number=1; total=2", "x").says(Reason::Unsupported, "PartialMail"));
    assert!(head("message/partial; id=a; number=1; total=1", "Subject: x\r\n\r\nx").is_complete());
    let yenc = "=ybegin part=1 total=2 line=128 size=3 name=a\r\n=ypart begin=1 end=1\r\n\u{8b}\r\n=yend size=1\r\n";
    assert!(head("text/plain", yenc).says(Reason::Unsupported, "PartialMail"));
}

#[test]
fn names_are_those_that_readers_show() {
    for (field, name) in [
        ("Content-Disposition: attachment; filename=\"=?utf-8?B?cmVjaG51bmcucGRmLmV4ZQ==?=\"", "rechnung.pdf.exe"),
        ("Content-Disposition: attachment; filename*=utf-8''%E2%82%AC.exe", "\u{20ac}.exe"),
        ("Content-Type: application/x-a; name=b.exe", "b.exe"),
        ("Content-Type: application/x-a", "body"),
        ("Content-Disposition: attachment; filename=\" \"", "body"),
    ] {
        assert_eq!(opened(format!("{HEAD}{field}\r\n\r\nx").as_bytes()).children[0].0, name);
    }
}

#[test]
fn nests_and_repeats_end() {
    let mut text = HEAD.to_owned();
    for level in 0..200 {
        text.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    assert!(opened(text.as_bytes()).says(Reason::Limit, "Depth"));
    // Every boundary cuts everything, over and over.
    let many: String = (0..200).map(|_| "; boundary=b".to_owned()).collect();
    let one = format!("Content-Type: multipart/mixed{many}\r\n\r\n--b\r\n");
    opened(format!("{HEAD}{}", one.repeat(2_000)).as_bytes());
    let prefixes: String = (1..16).map(|length| format!("; boundary={}", "-".repeat(length))).collect();
    let text = format!(
        "{HEAD}Content-Type: multipart/mixed{prefixes}\r\n\r\n{}",
        format!("{}\r\nContent-Type: multipart/mixed{prefixes}\r\n\r\n", "-".repeat(40)).repeat(500)
    );
    let record = opened(text.as_bytes());
    assert!(record.children.len() < 100_000);
}

#[test]
fn containers_are_whole_behind_every_encoding() {
    let archive = zip(&[Member::deflated("eicar.com", &eicar())]);
    let text = [format!("{HEAD}Content-Type: application/zip\r\nContent-Transfer-Encoding: binary\r\n\r\n").as_bytes(), &archive].concat();
    assert!(opened(&text).has(&archive));
}

proptest! {
    #[test]
    fn any_bytes_behind_a_header_are_taken(body in prop::collection::vec(any::<u8>(), 0..1_000)) {
        opened(&body);
        opened(&[HEAD.as_bytes(), &body].concat());
        opened(&[HEAD.as_bytes(), b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n", &body].concat());
    }

    #[test]
    fn a_message_with_wrong_bytes_is_taken(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut text = message(&eicar());
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        opened(&text);
    }
}
