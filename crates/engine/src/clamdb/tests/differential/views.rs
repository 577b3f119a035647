//! Texts and pages, raw and normalised.

use std::collections::BTreeMap;

use super::{Cases, Numbers, hex};

const WORDS: [&str; 10] = ["Alpha", "BRAVO", "charlie", "Delta Echo", "x=1;", "100%", "foxtrot,", "\"Golf\"", "hotel.", "INDIA  juliet"];

fn text(numbers: &mut Numbers) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..10 + numbers.below(30) {
        text += numbers.pick(&WORDS);
        text += numbers.pick(&[" ", "  ", "\n", "\r\n\r\n", "\t", " \n "]);
    }
    text.into_bytes()
}

fn page(numbers: &mut Numbers) -> Vec<u8> {
    let mut page = "<html><head><title>Page</title></head><body>".to_owned();
    for _ in 0..6 + numbers.below(12) {
        let (one, two) = (numbers.pick(&WORDS[..5]), numbers.pick(&WORDS[5..]));
        page += &match numbers.below(7) {
            0 => format!("<p>{one}  {two}</p>"),
            1 => format!("<a href=\"http://Site.example/{}\">{one}</a>", numbers.below(9)),
            2 => format!("<!-- {one} -->"),
            3 => format!("<DIV CLASS='{}'>\n {two}\n</DIV>", numbers.pick(&["One", "Two"])),
            4 => format!("<img src=\"Pic{}.png\">", numbers.below(9)),
            5 => format!("<b>{one} &amp; {two}</b>"),
            _ => format!("<br>\t{one}\n\n{two}"),
        };
    }
    (page + "</body></html>\n").into_bytes()
}

/// A piece of what is there, in capitals or small, with white space as it is or folded.
fn piece(numbers: &mut Numbers, content: &[u8]) -> String {
    let length = 4 + numbers.below(14);
    let start = numbers.below(content.len() - length);
    let mut piece = content[start..start + length].to_vec();
    if numbers.below(4) > 0 {
        piece.make_ascii_lowercase();
    }
    if numbers.below(4) > 0 {
        let mut folded: Vec<u8> = Vec::new();
        for byte in piece {
            let blank = byte.is_ascii_whitespace();
            if !(blank && folded.last() == Some(&b' ')) {
                folded.push(if blank { b' ' } else { byte });
            }
        }
        piece = folded;
    }
    if piece.len() < 2 { hex("zz") } else { hex(piece) }
}

pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let mut files: BTreeMap<_, _> = (0..25).map(|number| (format!("t{number}"), text(&mut numbers))).collect();
    files.extend((0..25).map(|number| (format!("h{number}"), page(&mut numbers))));
    let all: Vec<_> = files.values().collect();
    let (mut ndb, mut ldb) = (String::new(), String::new());
    for number in 0..count {
        let content = all[numbers.below(all.len())];
        let target = numbers.pick(&["0", "3", "7", "3", "7"]);
        let first = piece(&mut numbers, content);
        match numbers.below(3) {
            0 => {
                ldb += &format!(
                    "L{number};Engine:81-255,Target:{target};{};{first};{}\n",
                    numbers.pick(&["0&1", "0|1", "0&(1=0)", "0>1,1|1"]),
                    piece(&mut numbers, content)
                )
            }
            1 => ndb += &format!("O{number}:{target}:{}:{first}\n", numbers.pick(&["0", "0,40", "EOF-60,50", "10,200"])),
            _ => ndb += &format!("N{number}:{target}:*:{first}\n"),
        }
    }
    Cases::new(files, [("a.ndb", ndb), ("a.ldb", ldb)])
}

/// The files whose names begin with `h` are pages.
pub(super) fn explain(file: &str, _: &str, ours_alone: bool) -> Option<&'static str> {
    (ours_alone && file.starts_with('h')).then_some("clamscan does not match a page as it is, only its normalised forms")
}
