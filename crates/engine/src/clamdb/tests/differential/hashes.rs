//! Digests of files and sections, imports aside: for those see the tests of executables.

use std::collections::BTreeMap;

use md5::Digest as _;
use sha1::Sha1;
use sha2::Sha256;

use super::{Cases, Numbers, hex, md5, patterns, pe};

/// Files and programs, some digests of each, of every kind, with sizes that fit, do not fit, or do not matter.
pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let mut files: BTreeMap<_, _> = (0..count / 3).map(|number| (format!("f{number}"), patterns::file(&mut numbers))).collect();
    files.extend((0..count / 3).map(|number| {
        let content = patterns::file(&mut numbers);
        (format!("p{number}"), pe(&[(0x1000, 0x200, 0x400, 0x200), (0x2000, 0x200, 0x600, 0x200)], 0x1000, 0, 0x800, &content[8..]))
    }));
    let (mut hdb, mut hsb, mut mdb, mut msb) = (String::new(), String::new(), String::new(), String::new());
    // Of two names of one digest clamscan tells one; so every digest is listed once.
    for (number, (name, content)) in files.iter().enumerate() {
        let size = match numbers.below(4) {
            0 => "*".to_owned(),
            1 => (content.len() + 1).to_string(),
            _ => content.len().to_string(),
        };
        let level = if size == "*" { ":73" } else { numbers.pick(&["", ":73", ":1:255"]) };
        match numbers.below(3) {
            0 => hdb += &format!("{}:{size}:Md5.{number}{level}\n", md5(content)),
            1 => hsb += &format!("{}:{size}:Sha1.{number}{level}\n", hex(Sha1::digest(content))),
            _ => hsb += &format!("{}:{size}:Sha256.{number}{level}\n", hex(Sha256::digest(content))),
        }
        if name.starts_with('p') {
            let (start, length) = (0x400 + 0x200 * numbers.below(2), 0x200 - numbers.below(4) / 3);
            let section = &content[start..start + length];
            let size = if numbers.below(4) == 0 { "*".to_owned() } else { length.to_string() };
            let level = if size == "*" { ":73" } else { "" };
            match numbers.below(3) {
                0 => mdb += &format!("{size}:{}:Section.Md5.{number}{level}\n", md5(section)),
                1 => msb += &format!("{size}:{}:Section.Sha1.{number}{level}\n", hex(Sha1::digest(section))),
                _ => msb += &format!("{size}:{}:Section.Sha256.{number}{level}\n", hex(Sha256::digest(section))),
            }
        }
    }
    Cases::new(files, [("a.hdb", hdb), ("a.hsb", hsb), ("a.mdb", mdb), ("a.msb", msb)])
}

pub(super) fn explain(_: &str, _: &str, _: bool) -> Option<&'static str> {
    None
}
