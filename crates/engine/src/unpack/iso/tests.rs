use filesafety_model::Reason;

use super::open;
use crate::unpack::fixtures::{Record, eicar, noise};

const SECTOR: usize = 2_048;

fn record(name: &[u8], block: u32, size: u32, flags: u8) -> Vec<u8> {
    let mut record = vec![0; 33];
    record[2..6].copy_from_slice(&block.to_le_bytes());
    record[6..10].copy_from_slice(&block.to_be_bytes());
    record[10..14].copy_from_slice(&size.to_le_bytes());
    record[14..18].copy_from_slice(&size.to_be_bytes());
    record[25] = flags;
    record[32] = name.len() as u8;
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = record.len() as u8;
    record
}

/// One directory in the root and these files in it, at sectors 20 and on; behind them, bytes of no file.
fn image(files: &[(&[u8], &[u8])], behind: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 20 * SECTOR];
    let mut directory = [record(&[0], 19, SECTOR as u32, 2), record(&[1], 18, SECTOR as u32, 2)].concat();
    for (name, content) in files {
        let block = (image.len() / SECTOR) as u32;
        directory.extend(record(name, block, content.len() as u32, 0));
        image.extend(*content);
        image.resize(image.len().next_multiple_of(SECTOR), 0);
    }
    image.extend(behind);
    let root = record(&[0], 18, SECTOR as u32, 2);
    let mut descriptor = b"\x01CD001\x01".to_vec();
    descriptor.resize(SECTOR, 0);
    descriptor[128..130].copy_from_slice(&(SECTOR as u16).to_le_bytes());
    descriptor[156..156 + root.len()].copy_from_slice(&root);
    image[16 * SECTOR..17 * SECTOR].copy_from_slice(&descriptor);
    image[17 * SECTOR..17 * SECTOR + 7].copy_from_slice(b"\xffCD001\x01");
    let entries = [record(&[0], 18, SECTOR as u32, 2), record(&[1], 18, SECTOR as u32, 2), record(b"DIR", 19, SECTOR as u32, 2)].concat();
    image[18 * SECTOR..18 * SECTOR + entries.len()].copy_from_slice(&entries);
    image[19 * SECTOR..19 * SECTOR + directory.len()].copy_from_slice(&directory);
    image
}

fn opened(image: &[u8]) -> Record {
    let mut record = Record::default();
    open(image, &mut record).unwrap();
    record
}

#[test]
fn files_and_what_belongs_to_none_are_examined() {
    let hidden = [&b"between the files: "[..], &eicar()].concat();
    let record = opened(&image(&[(b"EICAR.COM;1", &eicar()), (b"B.BIN;1", &noise(5_000))], &hidden));
    assert_eq!(record.children[..2], [("DIR/EICAR.COM".to_owned(), eicar()), ("DIR/B.BIN".to_owned(), noise(5_000))]);
    assert!(record.has(&hidden) && record.is_complete(), "{:?}", record.unexamined);
}

#[test]
fn a_directory_that_holds_itself_ends() {
    let mut image = image(&[(b"A.;1", b"one")], b"");
    let again = record(b"AGAIN", 18, SECTOR as u32, 2);
    image[19 * SECTOR + 68..19 * SECTOR + 68 + again.len()].copy_from_slice(&again);
    opened(&image);
}

#[test]
fn cut_anywhere_is_never_complete_and_wrong_bytes_do_no_harm() {
    let image = image(&[(b"A.;1", &noise(3_000)), (b"B.;1", &noise(100))], b"");
    let last = image.len() - SECTOR + 99;
    for length in (17 * SECTOR..last).step_by(199) {
        assert!(!opened(&image[..length]).is_complete(), "cut to {length}");
    }
    for at in (16 * SECTOR..16 * SECTOR + 190).chain(18 * SECTOR..18 * SECTOR + 110).chain(19 * SECTOR..19 * SECTOR + 150) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut image = image.clone();
            image[at] = value;
            opened(&image);
        }
    }
}

#[test]
fn an_image_without_a_volume_is_broken() {
    let mut image = vec![0; 0x8800];
    image[0x8001..0x8006].copy_from_slice(b"CD001");
    assert!(opened(&image).says(Reason::Broken, "Iso"));
}
