use filesafety_model::Reason;

use super::*;
use crate::unpack::fixtures::{Record, eicar};

const BASE: u32 = 0x40_0000;
const WRITABLE_CODE: u32 = 0xe000_0020;

/// A name, an address, a length in memory, the content, flags.
type Part<'a> = (&'a [u8; 8], u32, u32, &'a [u8], u32);

/// A program of sections, whose execution begins at `entry`.
fn program(entry: u32, sections: &[Part<'_>]) -> Vec<u8> {
    let mut file = [&b"MZ"[..], &[0; 0x3a], &0x40u32.to_le_bytes(), b"PE\0\0\x4c\x01", &(sections.len() as u16).to_le_bytes()].concat();
    file.extend([0; 12]);
    file.extend([0xe0, 0, 2, 1]);
    let optional = file.len();
    file.resize(optional + 0xe0, 0);
    file[optional..optional + 2].copy_from_slice(&[0x0b, 1]);
    for (at, value) in [(16, entry), (28, BASE), (32, 0x1000), (36, 0x200), (56, 0x4000), (60, 0x400), (92, 16)] {
        put(&mut file, optional + at, value);
    }
    let mut start = 0x400;
    for (name, address, memory, content, flags) in sections {
        file.extend_from_slice(&name[..]);
        let length = (content.len() as u32).next_multiple_of(0x200);
        for value in [*memory, *address, length, if length == 0 { 0 } else { start }, 0, 0, 0, *flags] {
            file.extend(value.to_le_bytes());
        }
        start += length;
    }
    file.resize(0x400, 0);
    for (_, _, _, content, _) in sections {
        file.extend_from_slice(content);
        file.resize(file.len().next_multiple_of(0x200), 0);
    }
    file
}

fn put(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// What the packed program does once it is unpacked: it returns.
fn payload() -> Vec<u8> {
    [&[0xc3][..], &eicar(), &[0x90; 64]].concat()
}

/// A loader that turns the bytes behind it into the payload at the first section, and goes on there.
fn packed(name: &[u8; 8]) -> Vec<u8> {
    let payload = payload();
    let mut loader = vec![0x60, 0xbe];
    loader.extend((BASE + 0x2100).to_le_bytes());
    loader.push(0xbf);
    loader.extend((BASE + 0x1000).to_le_bytes());
    loader.push(0xb9);
    loader.extend((payload.len() as u32).to_le_bytes());
    loader.extend([0xac, 0x34, 0x5a, 0xaa, 0xe2, 0xfa, 0x61, 0x68]);
    loader.extend((BASE + 0x1000).to_le_bytes());
    loader.push(0xc3);
    loader.resize(0x100, 0);
    loader.extend(payload.iter().map(|byte| byte ^ 0x5a));
    program(0x2000, &[(name, 0x1000, 0x1000, b"", WRITABLE_CODE), (b"second\0\0", 0x2000, 0x1000, &loader, WRITABLE_CODE)])
}

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    open(content, &mut record).unwrap();
    record
}

#[test]
fn what_a_loader_unpacks_is_seen_as_a_program() {
    let record = opened(&packed(b"first\0\0\0"));
    assert!(record.is_complete(), "{:?}", record.unexamined);
    let [(name, program)] = &record.children[..] else { panic!("{} children", record.children.len()) };
    assert_eq!(name, "unpacked");
    assert_eq!(program[0x1000..0x1000 + payload().len()], payload());
    let header = Header::parse(program).unwrap();
    assert_eq!((header.entry, header.sections.len()), (0x1000, 2));
    assert!(header.sections.iter().all(|section| section.length == 0x1000), "sections stand where they lie");
    // What came out is not packed: it is not opened again.
    assert!(opened(program).children.is_empty());
}

#[test]
fn code_that_is_nowhere_is_told_where_the_loader_does_not_run() {
    let mut halted = packed(b"first\0\0\0");
    halted[0x400] = 0xf4;
    let record = opened(&halted);
    assert!(record.says(Reason::Unsupported, "PackedProgram") && record.children.is_empty());
    // Of another processor: it cannot be run here.
    let mut foreign = packed(b"first\0\0\0");
    foreign[0x44..0x46].copy_from_slice(&[0x64, 0x86]);
    assert!(opened(&foreign).says(Reason::Unsupported, "PackedProgram"));
}

#[test]
fn programs_that_are_not_packed_are_leaves() {
    let ret = [0xc3; 16];
    let loop_for_ever = [0xeb, 0xfe];
    for sections in [
        // As compilers have it: not run at all.
        [(b".text\0\0\0", 0x1000, 0x1000, &loop_for_ever[..], 0x6000_0020), (b".data\0\0\0", 0x2000, 0x1000, &[][..], 0xc000_0040)],
        // One section for everything, as old linkers and test files have it.
        [(b"all\0\0\0\0\0", 0x1000, 0x1000, &ret[..], 0xe000_0020), (b".bss\0\0\0\0", 0x2000, 0x1000, &[][..], 0xc000_0080)],
    ] {
        let record = opened(&program(0x1000, &sections));
        assert!(record.is_complete() && record.children.is_empty(), "{:?}", record.unexamined);
    }
    // A library of resources has no entry.
    assert!(opened(&program(0, &[(b".rsrc\0\0\0", 0x1000, 0x1000, &ret, 0x4000_0040)])).is_complete());
}

#[test]
fn the_mark_of_a_packer_tells_of_one_that_does_not_open() {
    let sections = [(b".aspack\0", 0x1000, 0x1000, &[0xf4; 16][..], 0xc000_0040)];
    assert!(opened(&program(0x1000, &sections)).says(Reason::Unsupported, "PackedProgram"));
}

#[test]
fn cut_or_changed_anywhere_it_ends() {
    let whole = packed(b"UPX0\0\0\0\0");
    for length in (0..whole.len()).step_by(7) {
        opened(&whole[..length]);
    }
    for at in 0x3c..0x600 {
        for value in [0, 0xff, whole[at] ^ 0x10] {
            let mut changed = whole.clone();
            changed[at] = value;
            // An image of wild size is not made; a loop that never ends would be.
            if Header::parse(&changed).is_some_and(|header| header.image_bytes().is_some_and(|bytes| bytes < 1 << 20)) && at < 0x400 {
                opened(&changed);
            }
        }
    }
}
