use std::io::{Cursor, Write};

use cab::{CabinetBuilder, CompressionType};
use filesafety_model::Reason;

use super::open;
use crate::unpack::fixtures::{Record, eicar, noise};

fn cabinet(packing: CompressionType, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = CabinetBuilder::new();
    let folder = builder.add_folder(packing);
    for (name, _) in files {
        folder.add_file(*name);
    }
    let mut writer = builder.build(Cursor::new(Vec::new())).unwrap();
    for (_, content) in files {
        writer.next_file().unwrap().unwrap().write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// One file in one block of LZX that is not compressed: no translation, type 3, the size, three offsets, the bytes.
fn lzx(content: &[u8]) -> Vec<u8> {
    let size = content.len() as u32;
    // Words of 16 bits, low byte first, are read from their highest bit: 0 (no translation), 011, 24 bits of size, filling.
    let head = 0b0011u32 << 28 | size << 4;
    let words = [(head >> 16) as u16, head as u16].map(u16::to_le_bytes).concat();
    let mut data = [words, [1u32; 3].map(u32::to_le_bytes).concat(), content.to_vec()].concat();
    data.resize(data.len().next_multiple_of(2), 0);
    let mut stored = cabinet(CompressionType::None, &[("a", content)]);
    let folder = 36;
    let block = u32::from_le_bytes(stored[folder..folder + 4].try_into().unwrap()) as usize;
    stored[folder + 6..folder + 8].copy_from_slice(&(3u16 | 15 << 8).to_le_bytes());
    stored.truncate(block);
    stored.extend([0; 4]);
    stored.extend((data.len() as u16).to_le_bytes());
    stored.extend((content.len() as u16).to_le_bytes());
    stored.extend(data);
    let length = stored.len() as u32;
    stored[8..12].copy_from_slice(&length.to_le_bytes());
    stored
}

fn opened(archive: &[u8]) -> Record {
    let mut record = Record::default();
    open(archive, &mut record).unwrap();
    record
}

#[test]
fn every_packing_gives_its_files() {
    let long = [noise(90_000), vec![b'x'; 50_000]].concat();
    for packing in [CompressionType::None, CompressionType::MsZip] {
        let record = opened(&cabinet(packing, &[("a.com", &eicar()), ("dir\\b.bin", &long), ("c", b"")]));
        assert!(record.is_complete() && record.notes.is_empty(), "{packing:?} {:?} {:?}", record.unexamined, record.notes);
        assert_eq!(record.children[..2], [("a.com".to_owned(), eicar()), ("dir/b.bin".to_owned(), long.clone())]);
    }
    let record = opened(&lzx(&eicar()));
    assert!(record.contents() == [&eicar()] && record.is_complete(), "{:?}", record.unexamined);
}

#[test]
fn cut_anywhere_is_never_complete_and_wrong_bytes_are_told() {
    let files: [(&str, &[u8]); 2] = [("a", &noise(200)), ("b", &noise(300))];
    for archive in [cabinet(CompressionType::MsZip, &files), cabinet(CompressionType::None, &files), lzx(&noise(200))] {
        for length in 36..archive.len() {
            assert!(!opened(&archive[..length]).is_complete(), "cut to {length}");
        }
        for at in 36..archive.len() {
            for change in [1, 0xff] {
                let mut archive = archive.clone();
                archive[at] ^= change;
                opened(&archive);
            }
        }
    }
    // The checksum of a block covers all its bytes.
    let archive = cabinet(CompressionType::None, &files);
    for back in 1..500 {
        let mut archive = archive.clone();
        let at = archive.len() - back;
        archive[at] ^= 0x10;
        assert!(opened(&archive).says(Reason::Broken, "Cab"), "{back}");
    }
}

#[test]
fn a_packing_that_is_not_known_and_a_volume_are_told() {
    let mut archive = cabinet(CompressionType::None, &[("a", b"one")]);
    archive[42] = 2;
    assert!(opened(&archive).says(Reason::Unsupported, "CabMethod"));
    let mut archive = cabinet(CompressionType::None, &[("a", b"one")]);
    let file = u32::from_le_bytes(archive[16..20].try_into().unwrap()) as usize;
    archive[file + 8..file + 10].copy_from_slice(&[0xfd, 0xff]);
    assert!(opened(&archive).says(Reason::Unsupported, "CabVolume"));
}

#[test]
fn files_that_overlap_and_bytes_around_are_examined() {
    let mut archive = cabinet(CompressionType::MsZip, &[("a", b"one two"), ("b", b"three")]);
    let file = u32::from_le_bytes(archive[16..20].try_into().unwrap()) as usize;
    // The second starts inside the first.
    let second = file + 16 + 2;
    archive[second + 4] = 4;
    let record = opened(&archive);
    assert!(record.has(b"one two") && record.has(b"twoth"), "{:?}", record.children);
    let record = opened(&[cabinet(CompressionType::MsZip, &[("a", b"one")]), b"something else entirely".to_vec()].concat());
    assert!(record.has(b"one") && record.has(b"something else entirely") && record.is_complete());
}
