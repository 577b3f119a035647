use filesafety_model::Reason;
use rars::{ArchiveVersion, Builder};

use super::open;
use crate::unpack::fixtures::{Record, eicar, noise};

const VERSIONS: [ArchiveVersion; 8] = [
    ArchiveVersion::Rar14,
    ArchiveVersion::Rar15,
    ArchiveVersion::Rar20,
    ArchiveVersion::Rar29,
    ArchiveVersion::Rar30,
    ArchiveVersion::Rar40,
    ArchiveVersion::Rar50,
    ArchiveVersion::Rar70,
];

fn rar(version: ArchiveVersion, with: impl FnOnce(Builder) -> Builder, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = with(Builder::new(version));
    for (name, content) in files {
        builder.add_bytes(name.as_bytes().to_vec(), content.to_vec(), None, None).unwrap();
    }
    builder.to_bytes().unwrap()
}

fn opened(archive: &[u8]) -> Record {
    let mut record = Record::default();
    open(archive, &mut record).unwrap();
    record
}

#[test]
fn every_version_stored_packed_and_solid() {
    let long = [noise(20_000), vec![b'x'; 40_000]].concat();
    let files: [(&str, &[u8]); 3] = [("a.com", &eicar()), ("b.bin", &long), ("c.txt", b"hello hello hello hello")];
    for version in VERSIONS {
        for (store, solid) in [(true, false), (false, false), (false, true)] {
            let archive = rar(version, |builder| builder.store(store).solid(solid), &files);
            let record = opened(&archive);
            assert!(record.is_complete(), "{version:?} {store} {solid}: {:?}", record.unexamined);
            assert_eq!(record.contents(), [&eicar()[..], &long, b"hello hello hello hello"], "{version:?} {store} {solid}");
            assert!(record.notes.is_empty() || record.notes == ["no end record"], "{version:?} {:?}", record.notes);
        }
    }
}

#[test]
fn cut_anywhere_a_member_is_never_missing_unsaid() {
    let files: [(&str, &[u8]); 2] = [("a", &noise(120)), ("b", &noise(200))];
    for version in [ArchiveVersion::Rar15, ArchiveVersion::Rar30, ArchiveVersion::Rar50] {
        let archive = rar(version, |builder| builder, &files);
        for length in 7..archive.len() {
            let record = opened(&archive[..length]);
            let seen = record.has(&noise(120)) && record.has(&noise(200));
            // Of the older formats, nothing shows at the end of a member that there was another.
            let at_an_end = version != ArchiveVersion::Rar50 && record.notes.contains(&"no end record".to_owned());
            assert!(seen || !record.is_complete() || at_an_end, "{version:?} cut to {length}");
        }
    }
}

#[test]
fn wrong_bytes_are_told_or_change_nothing() {
    for version in [ArchiveVersion::Rar14, ArchiveVersion::Rar15, ArchiveVersion::Rar30, ArchiveVersion::Rar50] {
        let archive = rar(version, |builder| builder, &[("a", &noise(150))]);
        for at in (7..archive.len()).step_by(2) {
            let mut archive = archive.clone();
            archive[at] ^= 0x41;
            let record = opened(&archive);
            assert!(record.has(&noise(150)) || !record.is_complete() || record.notes.len() > 1, "{version:?} {at} {:?}", record.notes);
        }
    }
}

#[test]
fn what_stands_behind_is_examined_and_a_self_extractor_opened() {
    let archive = rar(ArchiveVersion::Rar50, |builder| builder, &[("a", b"one")]);
    let record = opened(&[archive.clone(), b"something else entirely behind it".to_vec()].concat());
    assert!(record.has(b"one") && record.has(b"something else entirely behind it") && record.is_complete());
    for archive in [archive, rar(ArchiveVersion::Rar30, |builder| builder, &[("a", b"one")])] {
        let mut searched = Record::default();
        crate::search::embedded(&[b"MZ program".to_vec(), archive.clone()].concat(), &mut searched).unwrap();
        assert_eq!(searched.children, [("rar-at-10".to_owned(), archive)]);
    }
}

#[test]
fn a_volume_is_told() {
    let mut builder = Builder::new(ArchiveVersion::Rar50).volume_size(Some(20_000));
    builder.add_bytes(b"a".to_vec(), noise(60_000), None, None).unwrap();
    for volume in builder.build_volumes(None).unwrap() {
        assert!(opened(&volume).says(Reason::Unsupported, "RarVolume"));
    }
}
