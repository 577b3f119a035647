use proptest::prelude::*;

use super::{fixtures::pe, *};

const TWO: [fixtures::PeSection; 2] = [(0x1000, 0x300, 0x410, 0x333), (0x2000, 0x200, 0x800, 0x400)];

fn ranges(executable: &Executable) -> Vec<(usize, usize)> {
    executable.sections.iter().map(|section| (section.start, section.length)).collect()
}

#[test]
fn sections_of_a_pe_are_aligned_and_end_with_the_file() {
    let parsed = Executable::parse(&pe(&TWO, 0x1010, 0, 0xa00, b"x")).unwrap();
    assert_eq!(parsed.sort, Sort::Pe);
    assert_eq!(ranges(&parsed), [(0x400, 0x400), (0x800, 0x200)]);
    assert_eq!(parsed.entry, Some(0x410));
}

#[test]
fn an_entry_outside_the_file_is_none() {
    assert_eq!(Executable::parse(&pe(&TWO, 0x9000, 0, 0xa00, b"x")).unwrap().entry, None);
    assert_eq!(Executable::parse(&pe(&TWO, 0x40, 0, 0xa00, b"x")).unwrap().entry, Some(0x40));
}

#[test]
fn what_only_begins_like_one_is_none() {
    for content in [&b""[..], b"MZ", b"\x7fELF", b"\x7fELF\x02\x01", b"\xcf\xfa\xed\xfe", b"PE\0\0", b"abcd"] {
        assert_eq!(Executable::parse(content), None, "{content:?}");
    }
}

#[test]
fn the_imports_of_a_pe_have_a_hash() {
    let mut file = pe(&[(0x1000, 0x400, 0x400, 0x400)], 0x1000, 0x1000, 0x800, b"\0");
    let mut put = |at: usize, bytes: &[u8]| file[0x400 + at..0x400 + at + bytes.len()].copy_from_slice(bytes);
    // One descriptor: lookup table at 0x1080, name at 0x1100; two functions, one by its number.
    put(0, &0x1080u32.to_le_bytes());
    put(12, &0x1100u32.to_le_bytes());
    put(16, &0x1080u32.to_le_bytes());
    put(0x80, &0x1140u32.to_le_bytes());
    put(0x84, &0x8000_0007u32.to_le_bytes());
    put(0x100, b"KERNEL32.dll\0");
    put(0x142, b"ExitProcess\0");
    let parsed = Executable::parse(&file).unwrap();
    use md5::Digest as _;
    let text = b"kernel32.exitprocess,kernel32.ord7";
    assert_eq!(import_hash(&file, &parsed), Some((md5::Md5::digest(text).into(), text.len())));
}

#[test]
fn a_pe_without_imports_has_no_hash_of_them() {
    let file = pe(&TWO, 0x1000, 0, 0xa00, b"x");
    assert_eq!(import_hash(&file, &Executable::parse(&file).unwrap()), None);
}

#[test]
fn an_elf_has_entry_and_sections() {
    let mut file = vec![0; 0x300];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let mut put = |at: usize, value: u64, bytes: usize| file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    put(24, 0x40_0110, 8);
    put(32, 64, 8);
    put(40, 0x200, 8);
    put(54, 56, 2);
    put(56, 1, 2);
    put(58, 64, 2);
    put(60, 2, 2);
    // The segment: offset 0x100 at 0x400100, 0x80 bytes.
    put(64 + 8, 0x100, 8);
    put(64 + 16, 0x40_0100, 8);
    put(64 + 32, 0x80, 8);
    // The second section: offset 0x120, far too long.
    put(0x200 + 64 + 24, 0x120, 8);
    put(0x200 + 64 + 32, u64::MAX, 8);
    let parsed = Executable::parse(&file).unwrap();
    assert_eq!((parsed.sort, parsed.entry), (Sort::Elf, Some(0x110)));
    assert_eq!(ranges(&parsed), [(0, 0), (0x120, 0x1e0)]);
}

#[test]
fn a_mach_o_has_entry_and_sections() {
    let mut file = vec![0; 0x400];
    let mut put = |at: usize, value: u64, bytes: usize| file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    put(0, 0xfeed_facf, 4);
    put(16, 2, 4);
    put(32, 0x19, 4);
    put(36, 72 + 80, 4);
    put(32 + 64, 1, 4);
    put(32 + 72 + 32, 0x1000, 8);
    put(32 + 72 + 40, 0x40, 8);
    put(32 + 72 + 48, 0x200, 4);
    put(32 + 152, 0x8000_0028, 4);
    put(32 + 156, 24, 4);
    put(32 + 160, 0x210, 8);
    let parsed = Executable::parse(&file).unwrap();
    assert_eq!((parsed.sort, parsed.entry, ranges(&parsed)), (Sort::MachO, Some(0x210), vec![(0x200, 0x40)]));
}

proptest! {
    #[test]
    fn any_bytes_behind_a_magic_number_are_read_without_a_fault(kind in 0usize..5, mut bytes in proptest::collection::vec(any::<u8>(), 64..600)) {
        let magic: [&[u8]; 5] = [b"MZ", b"\x7fELF\x01\x02", b"\x7fELF\x02\x01", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce"];
        bytes[..magic[kind].len()].copy_from_slice(magic[kind]);
        if kind == 0 {
            bytes[0x3c..0x40].copy_from_slice(&4u32.to_le_bytes());
            bytes[4..8].copy_from_slice(b"PE\0\0");
        }
        if let Some(parsed) = Executable::parse(&bytes) {
            for section in &parsed.sections {
                prop_assert!(section.start + section.length <= bytes.len());
            }
            import_hash(&bytes, &parsed);
        }
    }
}
