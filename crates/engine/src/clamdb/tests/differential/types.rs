//! Every target with files of every type, and what signatures ask of an executable.

use std::collections::BTreeMap;

use super::{Cases, Numbers, hex, patterns};

const BYTES: &[u8] = b"\0\x01\x02\xff\xfe\x80\0\x01\x02\xff\xfe\x80\0\x01\x02\xff\xfe\x80\0\x01\x02\xff\xfe\x80";

/// The starts of files by which their type is told.
const STARTS: [(&str, &[u8]); 30] = [
    ("binary", b"\0\x01"),
    ("mz", b"MZ"),
    ("zm", b"ZM"),
    ("ole", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    ("rar", b"Rar!\x1a\x07\0"),
    ("7z", b"7z\xbc\xaf\x27\x1c\0\x04"),
    ("cab", b"MSCF\0\0\0\0"),
    ("chm", b"ITSF"),
    ("arj", b"\x60\xea"),
    ("pdf", b"%PDF-1.4\n"),
    ("flash", b"FWS\x09"),
    ("java", b"\xca\xfe\xba\xbe\0\0\0\x34"),
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("bmp", b"BM"),
    ("gif", b"GIF89a"),
    ("jpeg", b"\xff\xd8\xff\xe0"),
    ("tiff", b"II*\0"),
    ("tiff-big", b"MM\0*"),
    ("icon", b"\0\0\x01\0"),
    ("psd", b"8BPS"),
    ("webp", b"RIFF\0\0\0\0WEBP"),
    ("avi", b"RIFF\0\0\0\0AVI "),
    ("link", b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46"),
    ("elf", b"\x7fELF\x01\x01\x01"),
    ("mach-o", b"\xcf\xfa\xed\xfe"),
    ("dex", b"dex\n035\0"),
    ("python", b"\x16\x0d\x0d\x0a"),
    ("xz", b"\xfd7zXZ\0"),
    ("rtf", b"{\\rtf1 "),
];

fn words(numbers: &mut Numbers) -> Vec<u8> {
    let mut content = BYTES.to_vec();
    for _ in 0..6 {
        content.extend(numbers.pick(&["word-one", "word-two", "word-three", "word-four", "word-five", "word-six"]).bytes());
        content.extend(b"\0\xff\x80");
    }
    content
}

pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let mut files: BTreeMap<String, Vec<u8>> =
        STARTS.iter().map(|(name, start)| ((*name).to_owned(), [start, words(&mut numbers).as_slice()].concat())).collect();
    files.extend((0..10).map(|number| (format!("p{number}"), patterns::program(&mut numbers))));
    let (mut ndb, mut ldb) = (String::new(), String::new());
    for number in 0..count {
        let word = hex(numbers.pick(&["word-one", "word-two", "word-three", "word-four", "word-five", "word-six"]));
        let target = numbers.pick(&["0", "1", "2", "4", "5", "6", "9", "10", "11", "12", "13", "14", "14", "5"]);
        match numbers.below(5) {
            0 => ndb += &format!("T{number}:{target}:*:{word}\n"),
            1 => ldb += &format!("L{number};Engine:81-255,Target:{target};0;{word}\n"),
            2 => {
                let length = files.values().nth(numbers.below(files.len())).map_or(0, Vec::len);
                let (less, more) = (length.saturating_sub(numbers.below(20)), length + numbers.below(20));
                ldb += &format!("S{number};Engine:81-255,FileSize:{less}-{more},Target:{target};0;{word}\n");
            }
            3 => {
                let sections = numbers.below(4);
                ldb += &format!(
                    "N{number};Engine:81-255,NumberOfSections:{sections}-{},Target:1;0;{}\n",
                    sections + numbers.below(2),
                    patterns::simple(&mut numbers)
                );
            }
            _ => {
                let entry = 0x400 + numbers.below(0x100);
                ldb += &format!(
                    "E{number};Engine:81-255,EntryPoint:{entry}-{},Target:1;0;{}\n",
                    entry + numbers.below(0x80),
                    patterns::simple(&mut numbers)
                );
            }
        }
    }
    Cases::new(files, [("a.ndb", ndb), ("a.ldb", ldb)])
}

pub(super) fn explain(_: &str, _: &str, _: bool) -> Option<&'static str> {
    None
}
