use super::{nrv::tests::literals, *};
use crate::unpack::fixtures::{Record, eicar};

fn opened(content: &[u8]) -> (bool, Record) {
    let mut record = Record::default();
    let opened = open(content, &mut record).unwrap();
    (opened, record)
}

/// A header as UPX writes it, and the block behind it.
fn packed(method: u8, content: &[u8], packed: &[u8]) -> Vec<u8> {
    let mut header = [MAGIC, &[13, 9, method, 9]].concat();
    for value in [adler(content), adler(packed), content.len() as u32, packed.len() as u32, content.len() as u32] {
        header.extend(value.to_le_bytes());
    }
    header.extend([0, 0, 0]);
    header.push((header[4..].iter().map(|byte| u32::from(*byte)).sum::<u32>() % 251) as u8);
    [b"MZ program with ", &header[..], packed, b" and a loader"].concat()
}

fn lzma_of(content: &[u8]) -> Vec<u8> {
    use lzma_rust2::{LzmaOptions, LzmaWriter};
    use std::io::Write as _;
    let options = LzmaOptions { lc: 3, lp: 0, pb: 2, dict_size: 1 << 16, ..LzmaOptions::with_preset(6) };
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false).unwrap();
    writer.write_all(content).unwrap();
    // Position bits beside the sum of the others, then both of these.
    [vec![3 << 3 | 2, 3], writer.finish().unwrap()].concat()
}

#[test]
fn a_program_for_windows_is_unpacked_by_each_method_and_proven() {
    let content = [&eicar()[..], &[b'x'; 3_000]].concat();
    let mut cases: Vec<_> = (2..=10).map(|method| (method, literals(Method::of(method).unwrap(), &content))).collect();
    cases.push((14, lzma_of(&content)));
    for (method, block) in cases {
        let file = packed(method, &content, &block);
        let (is_packed, record) = opened(&file);
        assert!(is_packed && record.is_complete(), "method {method}");
        assert_eq!(record.children, [("unpacked".to_owned(), content.clone())], "method {method}");
        // One byte differs: the sums do not fit, and nothing is made of it.
        for at in [20, 24, 60, file.len() - 20] {
            let mut file = file.clone();
            file[at] ^= 1;
            assert!(!opened(&file).0, "method {method} at {at}");
        }
        for length in [30, 50, file.len() / 2] {
            assert!(!opened(&file[..length]).0, "method {method} cut to {length}");
        }
    }
}

/// An ELF in blocks; those of `late` stand behind the loader.
fn elf(program: &[u8], late: usize) -> Vec<u8> {
    let block = |content: &[u8]| {
        let packed = literals(Method::of(2).unwrap(), content);
        // Where packing makes it longer, it is stored.
        let packed = if packed.len() < content.len() { packed } else { content.to_vec() };
        [&(content.len() as u32).to_le_bytes()[..], &(packed.len() as u32).to_le_bytes(), &[2, 0, 0, 0], &packed].concat()
    };
    let (headers, rest) = program.split_at(64);
    let (early, late) = rest.split_at(rest.len() - late);
    let info =
        [&[0; 4][..], MAGIC, &[0; 4], &[0; 4], &(program.len() as u32).to_le_bytes(), &(program.len() as u32).to_le_bytes()].concat();
    let end = [0u32.to_le_bytes(), *b"UPX!"].concat();
    let mut file = [&b"\x7fELF"[..], &[1; 60], &info, &block(headers), &block(early), &end, b"loader loader loader"].concat();
    if !late.is_empty() {
        file.extend(block(late));
    }
    file
}

#[test]
fn an_elf_is_put_together_from_its_blocks() {
    let program = [&b"\x7fELF"[..], &[2; 60], &eicar(), &[7; 500]].concat();
    for late in [0, 100] {
        let (is_packed, record) = opened(&elf(&program, late));
        assert!(is_packed && record.is_complete(), "{late}");
        assert_eq!(record.children, [("unpacked".to_owned(), program.clone())]);
    }
    let whole = elf(&program, 100);
    let (is_packed, record) = opened(&whole[..whole.len() - 20]);
    assert!(is_packed && record.says(Reason::Unsupported, "PackedProgram"), "a block is cut");
    for content in [&whole[..80], &whole[..100], b"\x7fELF UPX! and more of it, none of which is a block of anything at all"] {
        let (is_packed, record) = opened(content);
        assert!(!is_packed && record.children.is_empty() && record.is_complete());
    }
}

#[test]
fn calls_get_their_distances_back() {
    // A call at 1 whose distance is 0x10: what it leads to is 0x12, written behind the mark.
    let mut code = [0x90, 0xe8, 7, 0, 0, 0x12, 0x0f, 0x84, 7, 0, 0, 0x18];
    let unmarked = code;
    unfilter(&mut code, 0x26, 7);
    assert_eq!(code[..6], [0x90, 0xe8, 0x10, 0, 0, 0]);
    assert_eq!(code[6..], unmarked[6..], "jumps on conditions are another filter's");
    unfilter(&mut code, 0x49, 7);
    assert_eq!(code[8..], [0x10, 0, 0, 0]);
    let mut other = unmarked;
    unfilter(&mut other, 0x26, 8);
    unfilter(&mut other, 0x11, 7);
    assert_eq!(other, unmarked);
}
