//! What other containers than zip and tar say of their members: 7z, rar, cabinets, arj, mail.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write as _},
};

use rars::{ArchiveVersion, Builder};

use super::{Cases, Numbers};

const NAMES: [&str; 8] = ["a.exe", "Invoice.PDF.exe", "b.txt", "c.js", "d.bin", "x.DOC", "report.scr", "e.exe"];
const KINDS: [&str; 4] = ["CL_TYPE_7Z", "CL_TYPE_RAR", "CL_TYPE_MSCAB", "CL_TYPE_MAIL"];

type Files = Vec<(&'static str, Vec<u8>)>;

fn members(numbers: &mut Numbers) -> Files {
    let mut members = Files::new();
    for _ in 0..1 + numbers.below(3) {
        let name = NAMES[numbers.below(NAMES.len())];
        if members.iter().all(|(known, _)| *known != name) {
            members.push((name, [b"\0\x01\x02\xff\xfe\x80\0\x01", &vec![0xee; 20 + numbers.below(60)][..]].concat()));
        }
    }
    members
}

fn seven_zip(files: &Files) -> Vec<u8> {
    let mut writer = sevenz_rust2::ArchiveWriter::new(Cursor::new(Vec::new())).unwrap();
    for (name, content) in files {
        writer.push_archive_entry(sevenz_rust2::ArchiveEntry::new_file(name), Some(content.as_slice())).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn rar(files: &Files, version: ArchiveVersion) -> Vec<u8> {
    let mut builder = Builder::new(version).store(true);
    for (name, content) in files {
        builder.add_bytes(name.as_bytes().to_vec(), content.clone(), None, None).unwrap();
    }
    builder.to_bytes().unwrap()
}

fn cabinet(files: &Files) -> Vec<u8> {
    let mut builder = cab::CabinetBuilder::new();
    let folder = builder.add_folder(cab::CompressionType::MsZip);
    for (name, _) in files {
        folder.add_file(*name);
    }
    let mut writer = builder.build(Cursor::new(Vec::new())).unwrap();
    for (_, content) in files {
        writer.next_file().unwrap().unwrap().write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn mail(files: &Files) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "From: a@b\r\nTo: c@d\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"==x\"\r\n\r\n".to_owned();
    for (name, content) in files {
        text += "--==x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n";
        text += &format!("Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n");
        for group in content.chunks(3) {
            let bits = group.iter().chain(&[0, 0]).take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
            let digit = |place: usize| char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
            text.extend((0..4).map(|place| if place > group.len() { '=' } else { digit(place) }));
        }
        text += "\r\n";
    }
    (text + "--==x--\r\n").into_bytes()
}

fn range(numbers: &mut Numbers, around: usize) -> String {
    match numbers.below(4) {
        0 => format!("{}-{}", around.saturating_sub(numbers.below(30)), around + numbers.below(30)),
        1 => format!("0-{}", around + numbers.below(30)),
        _ => "*".to_owned(),
    }
}

fn signature(numbers: &mut Numbers, number: usize) -> String {
    let kind = numbers.pick(&[&["*", "CL_TYPE_ZIP"][..], &KINDS].concat());
    let name = numbers.pick(&["\\.exe$", "(?i)\\.(exe|scr|js)$", "^[a-d]\\.", "Invoice.*\\.[A-Za-z]+$", "PDF", "a.exe"]);
    let encrypted = numbers.pick(&["*", "*", "*", "0", "1"]);
    let length = 28 + numbers.below(60);
    let (packed, unpacked) = (range(numbers, length), range(numbers, length));
    let position = numbers.pick(&["*", "*", "*", "1", "2", "1-2", "2-9", "0", "0-1"]);
    format!("M{number}:{kind}:*:{name}:{packed}:{unpacked}:{encrypted}:{position}:*:*\n")
}

pub(super) fn cases(seed: u64, count: usize) -> Cases {
    let mut numbers = Numbers(seed);
    let mut files = BTreeMap::new();
    for number in 0..40 {
        let members = members(&mut numbers);
        let (sort, content) = match number % 5 {
            0 => ("7z", seven_zip(&members)),
            1 => ("rar", rar(&members, ArchiveVersion::Rar30)),
            2 => ("rar5", rar(&members, ArchiveVersion::Rar50)),
            3 => ("cab", cabinet(&members)),
            _ => ("eml", mail(&members)),
        };
        files.insert(format!("c{number}.{sort}"), content);
    }
    let cdb = (0..count).map(|number| signature(&mut numbers, number)).collect();
    Cases::new(files, [("a.cdb", cdb)])
}

/// Positions are counted from one here, in every container.
pub(super) fn explain(file: &str, line: &str, ours_alone: bool) -> Option<&'static str> {
    if file.contains(".rar") && ours_alone {
        return Some("clamscan opens no rar where its library for it is not installed");
    }
    let position = line.split(':').nth(7).unwrap_or_default();
    (position != "*").then_some("clamscan counts the members of 7z, cabinets and mail from zero or not at all")
}
