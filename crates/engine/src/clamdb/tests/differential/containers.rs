//! What containers say of their members, and which containers stand around an object.

use std::collections::BTreeMap;

use super::{Cases, Numbers, hex};
use crate::unpack::fixtures::{Member, gzip, tar, zip};

const NAMES: [&str; 8] = ["a.exe", "Invoice.PDF.exe", "b.txt", "dir/c.js", "d.bin", "x.DOC", "long name.scr", "dir/sub/e.exe"];
const WORDS: [&str; 5] = ["needle-one", "needle-two", "needle-three", "needle-four", "needle-five"];

fn leaf(numbers: &mut Numbers) -> Vec<u8> {
    let word = numbers.pick(&WORDS);
    [b"\0\x01\x02\xff\xfe\x80\0\x01", word.as_bytes(), b"\0\xff\x80", &vec![0xee; numbers.below(60)]].concat()
}

fn container(numbers: &mut Numbers, depth: usize) -> Vec<u8> {
    let mut members: Vec<(&str, Vec<u8>)> = Vec::new();
    for _ in 0..1 + numbers.below(3) {
        let name = NAMES[numbers.below(NAMES.len())];
        // Two members of one name are read differently, and not for their names' sake.
        if members.iter().all(|(known, _)| *known != name) {
            let content = if depth > 0 && numbers.below(2) == 0 { container(numbers, depth - 1) } else { leaf(numbers) };
            members.push((name, content));
        }
    }
    match numbers.below(4) {
        0 => tar(&members.iter().map(|(name, content)| (*name, content.as_slice())).collect::<Vec<_>>()),
        1 => gzip(&members[0].1),
        _ => zip(&members.iter().map(|(name, content)| Member::deflated(name, content)).collect::<Vec<_>>()),
    }
}

fn range(numbers: &mut Numbers, around: usize) -> String {
    match numbers.below(4) {
        0 => around.to_string(),
        1 => format!("{}-{}", around.saturating_sub(numbers.below(30)), around + numbers.below(30)),
        _ => "*".to_owned(),
    }
}

fn of_member(numbers: &mut Numbers, number: usize) -> String {
    let kind = numbers.pick(&["*", "*", "CL_TYPE_ZIP", "CL_TYPE_POSIX_TAR", "CL_TYPE_RAR", "CL_TYPE_ANY"]);
    let name =
        numbers.pick(&["*", "*", "\\.exe$", "(?i)\\.(exe|scr|js)$", "^dir/", "^[a-d]\\.", "name", "Invoice.*\\.[A-Za-z]+$", "NAME", "sub"]);
    let encrypted = numbers.pick(&["*", "*", "0", "1"]);
    let position = numbers.pick(&["*", "*", "1", "2", "1-2", "2-9", "0"]);
    let length = 20 + numbers.below(60);
    let (size, packed, unpacked) = (range(numbers, 300), range(numbers, length), range(numbers, length));
    format!("M{number}:{kind}:{size}:{name}:{packed}:{unpacked}:{encrypted}:{position}:*:*\n")
}

fn around(numbers: &mut Numbers, number: usize) -> String {
    let kinds = ["CL_TYPE_ZIP", "CL_TYPE_POSIX_TAR", "CL_TYPE_GZ"];
    let word = hex(numbers.pick(&WORDS));
    let condition = match numbers.below(4) {
        0 => "Container:CL_TYPE_ANY".to_owned(),
        1 => format!("Container:{}", numbers.pick(&kinds)),
        2 => format!("Intermediates:{}", numbers.pick(&kinds)),
        _ => format!("Intermediates:{}>{}", numbers.pick(&kinds), numbers.pick(&kinds)),
    };
    format!("A{number};Engine:81-255,{condition},Target:0;0;{word}\n")
}

pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let files: BTreeMap<_, _> = (0..40).map(|number| (format!("c{number}"), container(&mut numbers, 2))).collect();
    let (mut cdb, mut ldb) = (String::new(), String::new());
    for number in 0..count {
        if number % 3 < 2 {
            cdb += &of_member(&mut numbers, number);
        } else {
            ldb += &around(&mut numbers, number);
        }
    }
    Cases::new(files, [("a.cdb", cdb), ("a.ldb", ldb)])
}

pub(super) fn explain(_: &str, _: &str, _: bool) -> Option<&'static str> {
    None
}
