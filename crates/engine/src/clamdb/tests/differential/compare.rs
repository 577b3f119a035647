//! Comparison of bytes, macros, and regular expressions with offsets and every flag.

use std::collections::BTreeMap;

use super::{Cases, Numbers, hex};

const MARK: &[u8] = b"MARK";

/// Numbers in every form behind marks.
fn file(numbers: &mut Numbers) -> Vec<u8> {
    let mut content = b"\x01\x02\x03\x04\0\0\0\0".to_vec();
    for _ in 0..2 + numbers.below(5) {
        content.extend(MARK);
        match numbers.below(5) {
            0 => content.extend((numbers.below(1 << 20) as u64).to_be_bytes()),
            1 => content.extend((numbers.below(300) as u64).to_le_bytes()),
            2 => content.extend(format!("{:x} ", numbers.below(1 << 16)).bytes()),
            3 => content.extend(format!(" {} ", numbers.below(500)).bytes()),
            _ => content.extend(format!("0x{:04X}", numbers.below(1 << 16)).bytes()),
        }
        content.extend(match numbers.below(4) {
            0 => &b"\0\xff\x80tail"[..],
            1 => b"alpha\0\xfe",
            2 => b"\xff\0beta bravo\n",
            _ => b"gamma\xff\0",
        });
    }
    content.extend(b"\0\xff\x80\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\0\0\0\0\0\0\0\0");
    content
}

fn compare(numbers: &mut Numbers, content: &[u8]) -> String {
    let last = content.windows(4).rposition(|word| word == MARK).unwrap_or(0);
    let (sign, distance) = if numbers.below(5) == 0 { ("<<", numbers.below(9)) } else { (">>", numbers.below(14)) };
    let from = if sign == "<<" { last.saturating_sub(distance) } else { last + distance };
    let bytes = |length: usize| content.get(from..from + length).unwrap_or_default();
    let exact = numbers.pick(&["", "", "e"]);
    let (options, value) = match numbers.below(4) {
        0 => {
            let length = [1, 2, 4, 8][numbers.below(4)];
            let big = numbers.below(2) == 0;
            let ordered: Vec<u8> = if big { bytes(length).to_vec() } else { bytes(length).iter().rev().copied().collect() };
            let value = ordered.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            (format!("i{}{length}", if big { "b" } else { "l" }), value as i64)
        }
        1 => {
            let length = 1 + numbers.below(8);
            let text = String::from_utf8_lossy(bytes(length)).trim().replace("0x", "").replace("0X", "");
            let digits: String = text.chars().take_while(char::is_ascii_hexdigit).collect();
            (format!("hb{exact}{length}"), i64::from_str_radix(&digits, 16).unwrap_or(0))
        }
        2 => {
            let length = 1 + numbers.below(8);
            let digits: String = String::from_utf8_lossy(bytes(length)).trim().chars().take_while(char::is_ascii_digit).collect();
            (format!("d{exact}{length}"), digits.parse().unwrap_or(0))
        }
        _ => {
            let length = 3 + numbers.below(6);
            let text = String::from_utf8_lossy(bytes(length)).into_owned();
            let value = match text.strip_prefix("0x") {
                Some(rest) => i64::from_str_radix(&rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>(), 16).unwrap_or(0),
                None => text.trim().chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0),
            };
            (format!("ab{exact}{length}"), value)
        }
    };
    let value = value.clamp(-1 << 40, 1 << 40);
    let shown = |value: i64, hexadecimal: bool| if hexadecimal && value >= 0 { format!("0x{value:x}") } else { value.to_string() };
    let comparisons = match numbers.below(5) {
        0 => format!(">{}", shown(value - 1, numbers.below(2) == 0)),
        1 => format!("<{}", shown(value + 1, numbers.below(2) == 0)),
        2 => format!(">{},<{}", shown(value - 1, false), shown(value + 1, false)),
        3 => format!("={}", shown(value + 1, false)),
        _ => format!("={}", shown(value, numbers.below(2) == 0)),
    };
    format!("0({sign}{distance}#{options}#{comparisons})")
}

fn regex(numbers: &mut Numbers, content: &[u8]) -> String {
    let offset = match numbers.below(6) {
        0 => format!("{}:", numbers.below(40)),
        1 => format!("{},{}:", numbers.below(40), 1 + numbers.below(60)),
        // No file is shorter; where the offset lies before the start, clamscan searches everywhere.
        2 => format!("EOF-{}:", 1 + numbers.below(content.len().min(60))),
        _ => String::new(),
    };
    let trigger = numbers.pick(&["0", "0", "0>1", "0=2", "0<9"]);
    let source = numbers.pick(&[
        "MARK.",
        "mark",
        "[a-z]+",
        "alpha|beta",
        "(?<=MARK)[0-9]",
        "tail$",
        "^gamma",
        "b.*o",
        "beta bravo",
        "\\xff\\x80",
        "be ta # x",
        "a{1,2}",
        "[0-9]{2,}",
        "MARK(?!\\x00)",
        "\\d+ ",
        "o$",
    ]);
    let flags = numbers.pick(&["", "", "i", "s", "m", "x", "g", "r", "e", "A", "U", "is", "gi", "re", "rg", "ms", "ix"]);
    format!("{offset}{trigger}/{source}/{flags}")
}

pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let files: BTreeMap<_, _> = (0..30).map(|number| (format!("f{number}"), file(&mut numbers))).collect();
    let all: Vec<_> = files.values().collect();
    let mark = hex(MARK);
    let mut ldb = String::new();
    let mut ndb: String =
        ["alpha", "beta", "gamma"].iter().enumerate().map(|(group, word)| format!("G{group}:0:${group}:{}\n", hex(word))).collect();
    ndb += &format!("G9:0:$2:{}\n", hex("tail"));
    for number in 0..count {
        let content = all[numbers.below(all.len())];
        let expression = numbers.pick(&["0&1", "0&1", "0&1", "0&(1=0)", "0>1&1"]);
        let part = match numbers.below(5) {
            0 | 1 => compare(&mut numbers, content),
            2 => format!("${{{}-{}}}{}$", numbers.below(12), 8 + numbers.below(20), numbers.below(4)),
            _ => regex(&mut numbers, content),
        };
        ldb += &format!("C{number};Engine:81-255,Target:0;{expression};{mark};{part}\n");
    }
    Cases { beside: 4, ..Cases::new(files, [("a.ldb", ldb), ("a.ndb", ndb)]) }
}

/// Whose macros match is another question in `clamscan` 1.4.6: it looks only where the part before matches once more, and then from
/// the match before that one. And it searches all of a file for an expression whose offset from the end lies before the start.
pub(super) fn explain(_: &str, line: &str, ours_alone: bool) -> Option<&'static str> {
    if line.contains(";${") {
        return Some("clamscan looks for a macro only where the part before it matches again");
    }
    let from_end = !ours_alone && line.contains(";EOF-") && line.contains('/');
    from_end.then_some("clamscan takes an offset before the start of a file for any")
}
