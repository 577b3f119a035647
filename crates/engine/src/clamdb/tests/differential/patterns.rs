//! Bodies, offsets, expressions, modifiers, regular expressions.

use std::collections::BTreeMap;

use super::{Cases, Numbers, hex, md5, pe};

/// A few words over and over, so that wildcards have something to disagree about.
pub(super) fn file(numbers: &mut Numbers) -> Vec<u8> {
    let words: [&[u8]; 14] = [
        b"alpha",
        b"bravo",
        b"AlPha",
        b"char-lie",
        b"de",
        b"\0\0",
        b" ",
        b"\r\n",
        b"\xff\xfe\x01",
        b"a\0l\0p\0h\0a\0",
        b"echo",
        b"_",
        b"-",
        b"xx",
    ];
    // The start keeps it from being taken for text, whose normal form would be matched, too.
    let mut content = b"\x01\x02\x03\x04\0\0\0\0".to_vec();
    for _ in 0..40 + numbers.below(60) {
        content.extend(words[numbers.below(words.len())]);
    }
    // clamscan was seen to match `00!(W)780d` where the file ended before the last byte: it looks behind the end.
    content.extend(b"\x02\x03\x04\x05\x06\x07");
    content
}

/// A PE whose two sections hold such words.
pub(super) fn program(numbers: &mut Numbers) -> Vec<u8> {
    let start = 0x1000 + numbers.below(0x100) as u32;
    pe(&[(0x1000, 0x200, 0x400, 0x200), (0x2000, 0x200, 0x600, 0x200)], start, 0, 0x800, &file(numbers)[8..])
}

/// A pattern cut from the file, with wildcards put in.
pub(super) fn pattern(numbers: &mut Numbers, content: &[u8]) -> String {
    let start = 8 + numbers.below(content.len() - 60);
    let mut at = start;
    let mut text = String::new();
    for segment in 0..1 + numbers.below(3) {
        if segment > 0 {
            let gap = numbers.below(8);
            let least = gap.saturating_sub(numbers.below(3));
            let most = gap + numbers.below(3);
            text += &match numbers.below(7) {
                0 => "*".to_owned(),
                1 => format!("{{{gap}}}"),
                2 if most > least => format!("{{{least}-{most}}}"),
                3 if most > 0 => format!("{{-{most}}}"),
                4 => format!("{{{least}-}}"),
                5 => "??".repeat(gap),
                _ => "*".to_owned(),
            };
            at += gap;
        }
        let length = 3 + numbers.below(9);
        let began = text.len();
        // Two fixed bytes at the end, as every part needs them.
        for (index, byte) in content[at..at + length].iter().enumerate() {
            let free = index > 0 && index + 2 < length;
            text += &match numbers.below(14) {
                0 if free => "??".to_owned(),
                1 if free => format!("{:x}?", byte >> 4),
                2 if free => format!("?{:x}", byte & 15),
                3 if free => format!("({byte:02x}|{:02x})", byte ^ 1),
                // It takes these two only behind fixed bytes.
                5 if free && index > 2 && text[began..].bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                    numbers.pick(&["(B)", "(L)", "(W)", "!(W)"]).to_owned()
                }
                6 if free && index > 2 && text[began..].bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                    format!("({byte:02x}|{:02x}{byte:02x}??)", byte ^ 1)
                }
                4 if free => format!("!({:02x}|{:02x})", byte ^ 1, byte ^ 2),
                _ => format!("{byte:02x}"),
            };
        }
        at += length;
    }
    text
}

fn offset(numbers: &mut Numbers, length: usize) -> String {
    match numbers.below(8) {
        0 => numbers.below(length / 2).to_string(),
        1 => format!("{},{}", numbers.below(length / 2), numbers.below(200)),
        2 => format!("EOF-{}", 1 + numbers.below(length)),
        3 => format!("EOF-{},{}", 1 + numbers.below(length), numbers.below(200)),
        _ => "*".to_owned(),
    }
}

fn offset_of_program(numbers: &mut Numbers) -> String {
    let base = match numbers.below(8) {
        0 => format!("EP+{}", numbers.below(200)),
        1 => format!("EP-{}", numbers.below(200)),
        2 => format!("S{}+{}", numbers.below(3), numbers.below(200)),
        3 => format!("SL+{}", numbers.below(200)),
        4 => return format!("SE{}", numbers.below(3)),
        5 => return "*".to_owned(),
        _ => return offset(numbers, 0x800),
    };
    if numbers.below(2) == 0 { base } else { format!("{base},{}", 1 + numbers.below(300)) }
}

pub(super) fn simple(numbers: &mut Numbers) -> String {
    hex(numbers.pick(&["alpha", "bravo", "AlPha", "char-lie", "echo", "xxxx", "dede", "alphaecho", "bravo_"]))
}

fn logical_line(numbers: &mut Numbers, number: usize, content: &[u8]) -> String {
    let subs: Vec<_> = (0..3)
        .map(|sub| match numbers.below(4) {
            0 => pattern(numbers, content),
            1 if sub == 2 => {
                let regex =
                    numbers.pick(&["al[a-p]ha", "alpha.*echo", "br.vo[^a-z]", "(?<=a)bravo", "^bravo", "echo$", "xx+", "(alpha|de)\\x00"]);
                format!(
                    "{}/{regex}/{}",
                    numbers.pick(&["0", "1", "0&1", "0|1", "0>1", "1=0"]),
                    numbers.pick(&["", "i", "g", "gs", "m", "gim"])
                )
            }
            _ => format!("{}{}", simple(numbers), numbers.pick(&["", "::i", "::f", "::w", "::wa", "::fi", "::iwfa", "::wf"])),
        })
        .collect();
    let (x, y) = (numbers.below(6), 1 + numbers.below(3));
    let expression = match numbers.below(12) {
        0 => "0&1&2".to_owned(),
        1 => "0|1|2".to_owned(),
        2 => format!("(0|1|2)>{x},{y}"),
        3 => format!("(0|1|2)={x}"),
        4 => format!("(0|1|2)<{},{y}", x + 1),
        5 => format!("(0={x})&(1|2)"),
        6 => format!("0>{x}|(1&2)"),
        7 => format!("(0&1)>{x}|2"),
        8 => "(0&1&2)|(0=0)".replace("(0=0)", "(2=0)"),
        9 => format!("0<{}&(1|2)", x + 1),
        10 => "0&(1|2)=0".to_owned(),
        _ => format!("((0|1)>{x},{y})&(2=0)"),
    };
    format!("L{number};Engine:81-255,Target:0;{expression};{}\n", subs.join(";"))
}

/// Patterns with every wildcard, offset and operator, and digests.
pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let mut files: BTreeMap<_, _> = (0..60).map(|number| (format!("f{number}"), file(&mut numbers))).collect();
    files.extend((0..20).map(|number| (format!("p{number}"), program(&mut numbers))));
    let all: Vec<_> = files.values().collect();
    let (mut ndb, mut ldb, mut hdb) = (String::new(), String::new(), String::new());
    for number in 0..count {
        let content = all[numbers.below(all.len())];
        match number % 5 {
            0 => {
                let content = &files[&format!("p{}", numbers.below(20))];
                let (offset, pattern) = (offset_of_program(&mut numbers), pattern(&mut numbers, &content[0x400 - 8..]));
                ndb += &format!("N{number}:1:{offset}:{pattern}\n");
            }
            1..=2 => {
                let offset = offset(&mut numbers, content.len());
                ndb += &format!("N{number}:0:{offset}:{}\n", pattern(&mut numbers, content));
            }
            3 => ldb += &logical_line(&mut numbers, number, content),
            // Of two names of one digest clamscan tells one; so every digest is listed once.
            _ => {
                let (content, more) = match files.get(&format!("f{}", number / 5)) {
                    Some(content) if number % 3 > 0 => (content.clone(), 0),
                    Some(content) => (content.clone(), 1),
                    None => (number.to_le_bytes().to_vec(), 0),
                };
                hdb += &format!("{}:{}:H{number}\n", md5(&content), content.len() + more);
            }
        }
    }
    Cases::new(files, [("a.ndb", ndb), ("a.ldb", ldb), ("a.hdb", hdb)])
}
