use filesafety_model::Reason;
use proptest::prelude::*;

use super::{
    fixtures::{
        Member, Record, ar, bzip2, cpio, deflate, eicar, finish_zip, gzip, gzip_named, lz4, lzip, lzma, noise, snappy, tar, tar_member, xz,
        zip, zip_lzma, zip64, zstd,
    },
    open,
};
use crate::{
    filetype::{FileType, Format, identify},
    search,
};

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    match identify(content) {
        FileType::Container(format) => open(format, content, Some("file.gz"), &mut record).unwrap(),
        other => panic!("{other:?}"),
    }
    record
}

fn searched(content: &[u8]) -> Record {
    let mut record = Record::default();
    search::embedded(content, &mut record).unwrap();
    record
}

const FORMATS: [Format; 22] = [
    Format::Zip,
    Format::Gzip,
    Format::Bzip2,
    Format::Xz,
    Format::Zstd,
    Format::Lzma,
    Format::Lzip,
    Format::Tar,
    Format::Ar,
    Format::Cpio,
    Format::Rpm,
    Format::SevenZip,
    Format::Rar,
    Format::Cab,
    Format::Iso,
    Format::Lha,
    Format::Arj,
    Format::Compress,
    Format::Lz4,
    Format::Snappy,
    Format::Szdd,
    Format::Chm,
];

/// Every format around the same content.
fn around(content: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("Zip", zip(&[Member::stored("a", content)])),
        ("Zip", zip(&[Member::deflated("a", content)])),
        ("Zip", zip(&[Member::deflated("a", content).with_descriptor()])),
        ("Zip", zip(&[Member::stored("a", content).with_descriptor()])),
        ("Zip", zip(&[Member::packed("a", 12, bzip2(content), content)])),
        ("Zip", zip(&[Member { flags: 2, ..Member::packed("a", 14, zip_lzma(content), content) }])),
        ("Zip", zip(&[Member::packed("a", 93, zstd(content), content)])),
        ("Zip", zip(&[Member::packed("a", 95, xz(content), content)])),
        ("Gzip", gzip(content)),
        ("Bzip2", bzip2(content)),
        ("Xz", xz(content)),
        ("Zstd", zstd(content)),
        ("Tar", tar(&[("a", content)])),
        ("Lzma", lzma(content)),
        ("Lzip", lzip(content)),
        ("Ar", ar(&[("a", content)])),
        ("Cpio", cpio(&[("a", content)])),
        ("Lz4", lz4(content)),
        ("Snappy", snappy(content)),
    ]
}

#[test]
fn every_format_gives_its_content_and_is_complete() {
    for content in [b"hello".to_vec(), eicar(), noise(300_000), vec![0; 100_000]] {
        for (index, (detail, archive)) in around(&content).into_iter().enumerate() {
            let record = opened(&archive);
            assert_eq!(record.contents(), [&content], "{detail} {index}");
            assert!(record.is_complete() && record.notes.is_empty(), "{detail} {index}: {:?} {:?}", record.unexamined, record.notes);
        }
    }
}

#[test]
fn cut_anywhere_inside_an_entry_is_never_complete() {
    let content = noise(700);
    for (index, (detail, archive)) in around(&content).into_iter().enumerate() {
        for length in 0..archive.len() {
            let cut = &archive[..length];
            let FileType::Container(_) = identify(cut) else { continue };
            let record = opened(cut);
            // Snappy's frames have no end: its mark alone is a file of nothing.
            let is_nothing = detail == "Snappy" && length == 10;
            assert!(record.has(&content) || !record.is_complete() || is_nothing, "{detail} {index} cut to {length}");
        }
    }
}

#[test]
fn cut_anywhere_two_members_are_never_fewer_and_complete() {
    let (one, two) = (noise(90), noise(120));
    let first = Member::deflated("one", &one).local_record().len();
    let whole = zip(&[Member::deflated("one", &one), Member::deflated("two", &two)]);
    for length in 4..whole.len() {
        let record = opened(&whole[..length]);
        // Cut exactly between two members, nothing shows that there was a second.
        let told = record.has(&one) && record.has(&two) || !record.is_complete() || length == first;
        assert!(told, "cut to {length}");
    }
}

#[test]
fn a_truncated_archive_still_gives_what_is_there() {
    let members = [Member::stored("eicar.com", &eicar()), Member::deflated("long", &noise(5_000))];
    let archive = zip(&members);
    let record = opened(&archive[..archive.len() - 2_000]);
    assert!(record.has(&eicar()) && record.says(Reason::Broken, "Zip"));
    for (index, (detail, archive)) in around(&[eicar(), noise(400_000)].concat()).into_iter().enumerate() {
        let record = opened(&archive[..archive.len() - archive.len() / 3]);
        assert!(record.says(Reason::Broken, detail), "{detail} {index}");
        let partial = record.contents().iter().any(|child| child.starts_with(&eicar()));
        // A bzip2 block of 900,000 bytes comes out whole or not at all.
        let by_block = detail == "Bzip2" || index == 4;
        assert!(partial || by_block, "{detail} {index}: nothing of it came out");
    }
}

#[test]
fn a_damaged_checksum_is_broken_and_the_content_examined() {
    for (index, (detail, archive)) in
        around(b"hello hello hello").into_iter().enumerate().filter(|(index, (detail, _))| *index != 11 && *detail != "Snappy")
    {
        let mut record = None;
        // The checksum, wherever it stands: some byte must do.
        for at in 0..archive.len() {
            let mut damaged = archive.clone();
            damaged[at] ^= 1;
            if !matches!(identify(&damaged), FileType::Container(_)) {
                continue;
            }
            let seen = opened(&damaged);
            if seen.has(b"hello hello hello") && seen.says(Reason::Broken, detail) {
                record = Some(seen);
            }
        }
        assert!(record.is_some() || matches!(detail, "Tar" | "Ar" | "Lzma"), "{detail} {index}");
    }
}

#[test]
fn each_gzip_member_is_an_object_and_so_is_the_whole() {
    let record = opened(&[gzip(b"one"), gzip_named("second", b"two")].concat());
    assert_eq!(record.contents(), [&b"one"[..], b"two", b"onetwo"]);
    assert_eq!(record.children[0].0, "file");
    assert_eq!(record.children[1].0, "second-2");
    assert!(record.is_complete());
    for pack in [bzip2, xz, zstd, lzip] {
        let record = opened(&[pack(b"one"), pack(b"two")].concat());
        assert_eq!(record.contents(), [&b"one"[..], b"two", b"onetwo"]);
    }
}

#[test]
fn bytes_behind_a_stream_are_examined_and_noted() {
    for pack in [gzip, bzip2, xz, zstd, lzip] {
        let record = opened(&[pack(b"one"), eicar()].concat());
        assert!(record.has(&eicar()) && record.is_complete());
        assert_eq!(record.notes, ["bytes after the end"]);
        let record = opened(&[pack(b"one"), vec![0; 64]].concat());
        assert_eq!(record.contents(), [b"one"]);
        assert_eq!(record.notes, ["zero bytes after the end"]);
        assert_eq!(opened(&[pack(b"one"), vec![0; 64], pack(b"two")].concat()).children.len(), 3);
    }
}

#[test]
fn skippable_frames_hold_nothing() {
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let record = opened(&[skippable.clone(), zstd(b"one"), skippable].concat());
    assert_eq!(record.contents(), [b"one"]);
    assert!(record.is_complete() && record.notes.is_empty());
}

#[test]
fn a_window_beyond_the_bound_is_a_limit() {
    // A frame header that asks for 2 GiB.
    let record = opened(&[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0]);
    assert!(record.says(Reason::Limit, "Memory"));
}

#[test]
fn members_that_cannot_be_read_say_why() {
    let encrypted = Member { packed: noise(40), ..Member::stored("a", &noise(28)) }.encrypted();
    for archive in [zip(std::slice::from_ref(&encrypted)), [b"MZ program".to_vec(), zip(&[encrypted])].concat()] {
        let mut record = Record::default();
        match identify(&archive) {
            FileType::Container(_) => record = opened(&archive),
            FileType::Leaf | FileType::Unsupported(_) => search::embedded(&archive, &mut record).unwrap(),
        }
        assert!(record.says(Reason::Encrypted, "Zip"));
    }
    assert!(opened(&zip(&[Member::packed("a", 10, noise(40), b"x")])).says(Reason::Unsupported, "ZipMethod"));
    assert!(opened(&zip(&[Member::packed("a", 99, noise(40), b"x")])).says(Reason::Encrypted, "Zip"));
}

#[test]
fn an_encryption_flag_that_lies_hides_nothing() {
    for member in [Member::stored("a", &eicar()), Member::deflated("a", &eicar())] {
        let record = opened(&zip(&[member.encrypted()]));
        assert!(record.has(&eicar()) && record.is_complete());
    }
}

#[test]
fn headers_that_disagree_are_read_both_ways() {
    let innocent = deflate(b"innocent");
    let member = Member { local: Some((0, innocent.len() as u32)), ..Member::packed("a", 8, innocent.clone(), b"innocent") };
    let record = opened(&zip(&[member]));
    assert!(record.has(b"innocent") && record.has(&innocent));
    assert_eq!(record.notes, ["local and central headers disagree"]);
    // The directory calls it short, the local header long: what only the local reading has is there.
    let long = [b"short".to_vec(), eicar()].concat();
    let mut local = Member::stored("a", &long).local_record();
    let archive = finish_zip(std::mem::take(&mut local), &[(&Member::stored("a", b"short"), 0)]);
    let record = opened(&archive);
    assert!(record.has(b"short") && record.has(&long));
}

#[test]
fn a_stream_that_only_the_local_header_tells_is_read_to_its_own_end() {
    let hidden = Member::deflated("a", &[noise(500), eicar()].concat()).with_descriptor();
    let listed = Member::stored("a", &hidden.packed[..4]);
    let record = opened(&finish_zip(hidden.local_record(), &[(&listed, 0)]));
    assert!(record.has(&[noise(500), eicar()].concat()) && record.has(&hidden.packed[..4]));
}

#[test]
fn what_only_the_local_header_calls_closed_is_told() {
    let secret = noise(400);
    let encrypted = Member { packed: secret.clone(), ..Member::stored("a", b"unknown") }.encrypted();
    let listed = Member::stored("a", &secret[..4]);
    let record = opened(&finish_zip(encrypted.local_record(), &[(&listed, 0)]));
    assert!(record.says(Reason::Encrypted, "Zip"));
    let other = Member::packed("a", 10, secret.clone(), b"unknown");
    let record = opened(&finish_zip(other.local_record(), &[(&listed, 0)]));
    assert!(record.says(Reason::Unsupported, "ZipMethod"));
}

#[test]
fn many_descriptors_that_could_end_a_member_are_summed_once() {
    let mut content = Vec::new();
    for _ in 0..100_000 {
        let length = content.len() as u32;
        content.extend(b"PK\x07\x08");
        content.extend([1, 2, 3, 4]);
        content.extend(length.to_le_bytes());
        content.extend([0; 4]);
    }
    let record = opened(&Member::stored("a", &content).with_descriptor().local_record());
    assert_eq!(record.contents(), [&content]);
}

#[test]
fn a_zip_across_another_container_is_found() {
    let archive = zip(&[Member::deflated("a", &eicar())]);
    let frame = [&[0x50, 0x2a, 0x4d, 0x18][..], &(archive.len() as u32).to_le_bytes(), &archive].concat();
    for content in [[frame.clone(), zstd(b"one")].concat(), [zstd(b"one"), frame].concat()] {
        let record = opened(&content);
        assert!(record.has(b"one") && (record.has(&archive) || record.has(&eicar())));
    }
    // In the extra field of a gzip header.
    let mut plain = gzip(b"one");
    plain[3] = 4;
    plain.splice(10..10, [&(archive.len() as u16).to_le_bytes()[..], &archive].concat());
    let record = opened(&plain);
    assert!(record.has(b"one") && record.has(&eicar()) && record.is_complete());
    // The member in one file of a tar, the directory in another.
    let member = Member::deflated("a", &eicar());
    let start = tar_member("one", b'0', &member.local_record());
    let offset = 512;
    let directory = finish_zip(start.clone(), &[(&member, offset)]).split_off(start.len());
    let mut content = [start, tar_member("two", b'0', &directory), vec![0; 1_024]].concat();
    assert_eq!(opened(&tar(&[("a.zip", &archive)])).contents(), [&archive]);
    let central = 1_024 + 512u32 + if member.local_record().len() > 512 { 512 } else { 0 };
    let at = memchr::memmem::find(&content, b"PK\x05\x06").unwrap();
    content[at + 16..at + 20].copy_from_slice(&central.to_le_bytes());
    assert!(opened(&content).has(&eicar()));
}

#[test]
fn a_candidate_with_a_wrong_checksum_is_examined() {
    let member = Member { crc32: 7, ..Member::deflated("a", &eicar()) };
    let record = searched(&[b"MZ program".to_vec(), member.local_record(), noise(50)].concat());
    assert!(record.has(&eicar()) && record.is_complete());
}

#[test]
fn a_directory_counts_by_any_of_its_entries() {
    let (absent, member) = (Member::stored("absent", b"absent"), Member::packed("a", 10, noise(40), b"x"));
    let archive = finish_zip(member.local_record(), &[(&absent, 5_000), (&member, 0)]);
    assert!(searched(&[b"MZ program".to_vec(), archive].concat()).says(Reason::Unsupported, "ZipMethod"));
}

#[test]
fn a_stream_that_does_not_start_is_broken_and_not_opened_again() {
    let record = opened(&[0x1f, 0x8b, 8, 0xff, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(record.says(Reason::Broken, "Gzip") && record.children.is_empty());
}

#[test]
fn members_outside_the_directory_are_found() {
    let hidden = Member::stored("hidden", &eicar());
    let listed = Member::deflated("listed", b"listed");
    // Before, between and behind the members that the directory knows.
    let before = [hidden.local_record(), listed.local_record()].concat();
    let offset = hidden.local_record().len() as u32;
    assert!(opened(&finish_zip(before, &[(&listed, offset)])).has(&eicar()));
    let behind = [zip(std::slice::from_ref(&listed)), zip(std::slice::from_ref(&hidden))].concat();
    let record = opened(&behind);
    assert!(record.has(&eicar()) && record.has(b"listed") && record.is_complete(), "{:?}", record.unexamined);
}

#[test]
fn duplicate_names_and_names_of_any_kind_are_members_like_others() {
    let mut evil = Member::stored("x", b"three");
    evil.name = b"../../etc/passwd\0.txt".to_vec();
    let record = opened(&zip(&[Member::stored("a", b"one"), Member::stored("a", b"two"), evil]));
    assert_eq!(record.contents(), [&b"one"[..], b"two", b"three"]);
}

#[test]
fn a_zip_behind_a_prefix_or_before_an_overlay_is_found() {
    let archive = zip(&[Member::deflated("a", &eicar())]);
    for prefix in [b"#!/bin/sh\nexit\n".to_vec(), b"MZ".to_vec(), noise(100_000)] {
        let record = searched(&[prefix, archive.clone(), noise(70_000)].concat());
        assert!(record.has(&eicar()) && record.is_complete(), "{:?}", record.unexamined);
    }
    let record = opened(&[archive, b"and a good many more bytes behind it".to_vec()].concat());
    assert!(record.has(b"and a good many more bytes behind it") && record.is_complete());
    assert_eq!(record.notes, ["bytes after the end"]);
}

#[test]
fn a_zip_without_its_directory_is_repaired() {
    let members: Vec<u8> = [Member::deflated("a", b"one"), Member::stored("b", b"two")].iter().flat_map(Member::local_record).collect();
    let record = opened(&members);
    assert_eq!(record.contents(), [b"one", b"two"]);
    assert!(record.is_complete());
    assert_eq!(record.notes, ["repaired index"]);
}

#[test]
fn numbers_in_zip64_fields_are_read() {
    let record = opened(&zip64(&eicar()));
    assert_eq!(record.contents(), [&eicar()]);
    assert!(record.is_complete() && record.notes.is_empty(), "{:?} {:?}", record.unexamined, record.notes);
    let record = searched(&[b"MZ program".to_vec(), zip64(&eicar())].concat());
    assert!(record.has(&eicar()) && record.is_complete());
}

#[test]
fn data_that_many_entries_share_is_decoded_once() {
    let member = Member::deflated("a", &noise(10_000));
    let archive = finish_zip(member.local_record(), &vec![(&member, 0); 1_000]);
    assert_eq!(opened(&archive).children.len(), 1);
}

#[test]
fn streams_are_found_anywhere() {
    for pack in [gzip, bzip2, xz, zstd, lzip] {
        let record = searched(&[b"#!/bin/sh\ntail -c +99 $0\n".to_vec(), pack(&eicar()), noise(99)].concat());
        assert!(record.has(&eicar()) && record.is_complete());
    }
}

#[test]
fn a_candidate_that_does_not_decode_is_nothing() {
    let mut content = noise(50_000);
    for (index, magic) in [
        &b"PK\x03\x04"[..],
        b"PK\x05\x06",
        b"PK\x01\x02",
        b"\x1f\x8b\x08\0",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\x01\0",
        b"MSCF\0\0\0\0",
    ]
    .into_iter()
    .enumerate()
    {
        let at = index * 4_000 + 100;
        content[at..at + magic.len()].copy_from_slice(magic);
    }
    let record = searched(&content);
    assert!(record.is_complete() && record.children.is_empty(), "{:?} {:?}", record.unexamined, record.children.len());
    let broken = gzip(&noise(5_000));
    let record = searched(&[b"MZ".to_vec(), broken[..broken.len() / 2].to_vec()].concat());
    assert!(record.is_complete() && record.children.is_empty());
}

proptest! {
    #[test]
    fn openers_take_any_bytes(content in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for format in FORMATS {
            open(format, &content, None, &mut Record::default()).unwrap();
        }
        search::embedded(&content, &mut Record::default()).unwrap();
        identify(&content);
        crate::media_type(&content);
    }

    #[test]
    fn openers_take_archives_with_wrong_bytes(which in 0usize..19, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut archive = around(&noise(600)).swap_remove(which).1;
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        for format in FORMATS {
            open(format, &archive, None, &mut Record::default()).unwrap();
        }
        search::embedded(&archive, &mut Record::default()).unwrap();
    }
}
