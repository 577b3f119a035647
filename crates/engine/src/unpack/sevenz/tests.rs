use std::io::Cursor;

use filesafety_model::{Password, Reason};
use sevenz_rust2::{
    ArchiveEntry, ArchiveWriter, EncoderConfiguration, EncoderMethod, SourceReader,
    encoder_options::{AesEncoderOptions, EncoderOptions},
};

use super::open;
use crate::unpack::fixtures::{Record, eicar, noise};

const METHODS: [EncoderMethod; 5] =
    [EncoderMethod::LZMA, EncoderMethod::LZMA2, EncoderMethod::PPMD, EncoderMethod::BZIP2, EncoderMethod::DEFLATE];
const FILTERS: [EncoderMethod; 3] = [EncoderMethod::BCJ_X86_FILTER, EncoderMethod::BCJ_ARM_FILTER, EncoderMethod::DELTA_FILTER];

fn writer(methods: Vec<EncoderConfiguration>) -> ArchiveWriter<Cursor<Vec<u8>>> {
    let mut writer = ArchiveWriter::new(Cursor::new(Vec::new())).unwrap();
    writer.set_content_methods(methods);
    writer
}

/// All in one folder.
fn solid(methods: &[EncoderMethod], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = writer(methods.iter().map(|method| EncoderConfiguration::new(*method)).collect());
    let entries = files.iter().map(|(name, _)| ArchiveEntry::new_file(name)).collect();
    writer.push_archive_entries(entries, files.iter().map(|(_, content)| SourceReader::new(*content)).collect()).unwrap();
    writer.finish().unwrap().into_inner()
}

fn encrypted(password: &str, files: &[(&str, &[u8])], header: bool) -> Vec<u8> {
    let aes =
        EncoderConfiguration::new(EncoderMethod::AES256_SHA256).with_options(EncoderOptions::Aes(AesEncoderOptions::new(password.into())));
    let mut writer = writer(vec![aes, EncoderConfiguration::new(EncoderMethod::LZMA2)]);
    writer.set_encrypt_header(header);
    for (name, content) in files {
        writer.push_archive_entry(ArchiveEntry::new_file(name), Some(*content)).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn opened(archive: &[u8], passwords: &[&str]) -> Record {
    let mut record = Record { passwords: passwords.iter().map(|text| Password::new(*text).unwrap()).collect(), ..Record::default() };
    open(archive, &mut record).unwrap();
    record
}

#[test]
fn every_method_alone_and_behind_a_filter() {
    let long = noise(150_000);
    for method in METHODS {
        for filter in [None].into_iter().chain(FILTERS.map(Some)) {
            let methods: Vec<_> = filter.into_iter().chain([method]).collect();
            let archive = solid(&methods, &[("a", &eicar()), ("dir/b", &long), ("c", b"")]);
            let record = opened(&archive, &[]);
            assert!(record.is_complete() && record.notes.is_empty(), "{methods:?} {:?} {:?}", record.unexamined, record.notes);
            assert_eq!(record.children[..2], [("a".to_owned(), eicar()), ("dir/b".to_owned(), long.clone())], "{methods:?}");
        }
    }
}

#[test]
fn passwords_open_files_and_headers() {
    let files: [(&str, &[u8]); 2] = [("a", &eicar()), ("b", &noise(5_000))];
    for header in [false, true] {
        let archive = encrypted("s\u{e9}same", &files, header);
        let record = opened(&archive, &["wrong", "s\u{e9}same"]);
        assert!(record.is_complete(), "{:?}", record.unexamined);
        assert_eq!(record.contents(), [&eicar(), &noise(5_000)]);
        for passwords in [&[][..], &["wrong"]] {
            let record = opened(&archive, passwords);
            assert_eq!(record.unexamined, [(Reason::Encrypted, "SevenZip".to_owned())]);
            assert!(record.children.is_empty());
        }
    }
}

#[test]
fn cut_anywhere_is_never_complete() {
    let archive = solid(&[EncoderMethod::LZMA2], &[("a", &noise(300)), ("b", &noise(900))]);
    for length in (6..archive.len()).step_by(5) {
        assert!(!opened(&archive[..length], &[]).is_complete(), "cut to {length}");
    }
}

#[test]
fn wrong_bytes_are_told_or_change_nothing() {
    for archive in [
        solid(&[EncoderMethod::LZMA], &[("a", &noise(300)), ("b", &noise(900))]),
        solid(&[EncoderMethod::PPMD], &[("a", &noise(300)), ("b", &noise(900))]),
        encrypted("p", &[("a", &noise(300))], false),
    ] {
        for at in (0..archive.len()).step_by(3) {
            for change in [1, 0xff] {
                let mut archive = archive.clone();
                archive[at] ^= change;
                let record = opened(&archive, &["p"]);
                assert!(!record.is_complete() || record.has(&noise(300)), "{at}");
            }
        }
    }
}

/// The checksums of the start header and of the next header, made right again.
fn sealed(mut archive: Vec<u8>) -> Vec<u8> {
    let number = |at: usize| u64::from_le_bytes(archive[at..at + 8].try_into().unwrap()) as usize;
    let (start, size) = (32 + number(12), number(20));
    let sum = crc32fast::hash(&archive[start..start + size]);
    archive[28..32].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32fast::hash(&archive[12..32]);
    archive[8..12].copy_from_slice(&sum.to_le_bytes());
    archive
}

#[test]
fn headers_with_right_checksums_and_wrong_bytes_do_no_harm() {
    let archive = solid(&[EncoderMethod::BCJ_X86_FILTER, EncoderMethod::LZMA2], &[("a", &noise(300)), ("b", &noise(900))]);
    let header = 32 + u64::from_le_bytes(archive[12..20].try_into().unwrap()) as usize;
    for at in header..archive.len() {
        for value in (0..=255).step_by(17) {
            let mut archive = archive.clone();
            archive[at] = value;
            opened(&sealed(archive), &[]);
        }
    }
}

#[test]
fn what_stands_behind_and_before_is_examined() {
    let archive = solid(&[EncoderMethod::LZMA], &[("a", b"one")]);
    let record = opened(&[archive.clone(), [&b"and "[..], &eicar()].concat()].concat(), &[]);
    assert!(record.has(b"one") && record.has(&[&b"and "[..], &eicar()].concat()) && record.is_complete());
    let mut searched = Record::default();
    crate::search::embedded(&[b"MZ program".to_vec(), archive.clone()].concat(), &mut searched).unwrap();
    assert_eq!(searched.children, [("7z-at-10".to_owned(), archive)]);
}
