//! Containers: what is inside counts, and what cannot be opened is never clean.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::archives::{self, Member, Zeros, ZipWriter, gzip, nested, tar, without_directory, zip, zip_of};
use crate::support::eicar::{self, eicar};
use crate::support::{Options, Server, quine};

/// The finished scan: a bomb on a busy machine may take longer than a caller waits.
fn scan(content: &[u8]) -> Value {
    let server = Server::shared();
    let answer = server.scan(content);
    if answer.status == 202 { server.finished(&answer.scan_id()) } else { answer.expect(200) }
}

#[track_caller]
fn assert_found(content: &[u8], path: &str) {
    let scan = scan(content);
    assert_eq!(scan["verdict"], "infected", "{scan}");
    assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE, "{scan}");
    let detections = scan["virus"]["detections"].as_array().expect("detections");
    assert!(detections.iter().any(|found| found["path"].as_str().is_some_and(|found| found.ends_with(path))), "{path} in {scan}");
}

#[track_caller]
fn assert_unexamined(content: &[u8], reason: &str, signature: &str) {
    let scan = scan(content);
    assert_eq!(scan["verdict"], "infected", "{scan}");
    assert_eq!(scan["virus"]["kind"], "unexamined", "{scan}");
    assert_eq!(scan["virus"]["reason"], reason, "{scan}");
    assert!(scan["virus"]["signature"].as_str().is_some_and(|name| name.starts_with(signature)), "{signature}: {scan}");
    assert_eq!(scan["coverage"]["complete"], false, "{scan}");
    assert!(scan["coverage"]["unexamined"].as_array().is_some_and(|list| !list.is_empty()), "{scan}");
}

#[track_caller]
fn assert_clean(content: &[u8]) -> Value {
    let scan = scan(content);
    assert_eq!(scan["verdict"], "clean", "{scan}");
    assert_eq!(scan["coverage"]["complete"], true, "{scan}");
    scan
}

#[test]
fn a_clean_zip_is_clean_and_counted() {
    let scan = assert_clean(&zip(&[Member::deflated("a.txt", b"hello hello hello"), Member::stored("b.txt", b"world")]));
    assert_eq!(scan["coverage"]["objects"], 3);
    assert_eq!(scan["file"]["type"], "application/zip");
}

#[test]
fn eicar_is_found_in_every_container() {
    assert_found(&zip_of("eicar.com", &eicar()), "eicar.com");
    assert_found(&zip(&[Member::deflated("eicar.com", &eicar())]), "eicar.com");
    assert_found(&gzip(&eicar()), "");
    assert_found(&tar(&[("clean.txt", b"clean"), ("eicar.com", &eicar())]), "eicar.com");
    assert_found(&gzip(&tar(&[("eicar.com", &eicar())])), "eicar.com");
    assert_found(&zip(&[Member::deflated("inner.tgz", &gzip(&tar(&[("x/eicar.com", &eicar())])))]), "eicar.com");
}

#[test]
fn the_path_names_every_level() {
    let content = zip_of("inner.zip", &zip(&[Member::deflated("eicar.com", &eicar())]));
    assert_found(&content, "inner.zip/eicar.com");
}

#[test]
fn each_gzip_member_and_their_concatenation_are_objects() {
    assert_found(&[gzip(b"clean"), gzip(&eicar())].concat(), "");
    let (front, back) = (&eicar()[..30], &eicar()[30..]);
    assert_found(&[gzip(front), gzip(back)].concat(), "");
}

#[test]
fn a_prefix_and_an_overlay_hide_nothing() {
    let inner = zip(&[Member::deflated("eicar.com", &eicar())]);
    assert_found(&[b"#!/bin/sh\nexit\n".as_slice(), &inner].concat(), "eicar.com");
    assert_found(&[&inner, b"trailing bytes".as_slice()].concat(), "eicar.com");
    let elf = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 5000], &inner].concat();
    assert_found(&elf, "eicar.com");
}

#[test]
fn a_bomb_of_ten_gigabytes_ends_at_a_limit() {
    let bomb = Zeros::mebibytes(10 << 10);
    let start = Instant::now();
    assert_unexamined(&bomb.gzip(), "limit", "Heuristics.Limits.");
    assert_unexamined(&bomb.zip(), "limit", "Heuristics.Limits.");
    assert!(start.elapsed() < Duration::from_secs(50));
}

#[test]
fn ratio_alone_is_no_finding() {
    assert_clean(&Zeros::mebibytes(200).gzip());
}

#[test]
fn overlapping_entries_do_not_multiply() {
    let packed = Zeros::mebibytes(64);
    let mut archive = ZipWriter::default();
    archive.add_packed("all", &packed.packed, packed.crc, packed.size as u32);
    for number in 0..5000 {
        let sizes = (packed.packed.len() as u32, packed.size as u32);
        archive.entry(format!("again{number}").as_bytes(), 0, 8, packed.crc, sizes, 0);
    }
    let start = Instant::now();
    let scan = scan(&archive.finish());
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    assert!(scan["verdict"] == "clean" || scan["virus"]["reason"] == "limit", "{scan}");
}

#[test]
fn a_zip_whose_members_nest_without_end_stops_at_a_limit() {
    // Each level holds the one below four times: 4^25 files at the bottom, were one to open them all.
    let mut level = zip_of("leaf", b"the bottom");
    for _ in 0..25 {
        let members: Vec<Member> = (0..4).map(|number| Member::deflated(format!("{number}.zip"), &level)).collect();
        level = zip(&members);
    }
    let start = Instant::now();
    assert_unexamined(&level, "limit", "Heuristics.Limits.");
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
}

#[test]
fn a_zip_that_holds_itself_stops_at_a_limit() {
    assert_unexamined(&quine::zip(), "limit", "Heuristics.Limits.Depth");
}

#[test]
fn twenty_five_levels_are_too_deep_and_fifteen_are_not() {
    assert_unexamined(&nested(25, b"deep"), "limit", "Heuristics.Limits.Depth");
    assert_found(&nested(15, &eicar()), "level0.zip");
}

#[test]
fn three_hundred_thousand_members_are_too_many() {
    let mut archive = ZipWriter::default();
    for number in 0..300_000 {
        archive.add(&Member::stored(format!("{number}"), b"x"));
    }
    assert_unexamined(&archive.finish(), "limit", "Heuristics.Limits.Objects");
}

#[test]
fn names_that_climb_or_hold_nul_are_only_names() {
    let server = Server::shared();
    for name in [
        b"../../../../evil.com".as_slice(),
        b"/etc/evil.com",
        b"..\\..\\evil.com",
        b"a\0b.com",
        b"\xff\xfe\x1b[31m.com",
        b"",
        b"x/../../../evil.com",
    ] {
        let scan = scan(&zip(&[Member::deflated(name, &eicar())]));
        assert_eq!(scan["virus"]["signature"], eicar::SIGNATURE, "{scan}");
        let path = scan["virus"]["path"].as_str().expect("a path");
        assert!(!path.chars().any(char::is_control), "{path:?}");
    }
    let parent = server.options().folder().parent().expect("a parent");
    assert!(!parent.join("evil.com").exists());
}

#[test]
fn headers_that_disagree_are_both_believed() {
    assert_found(&zip(&[Member::deflated("a.txt", &eicar()).central_name("b.txt")]), "txt");
    let shorter = zip(&[Member::stored("a.txt", &[vec![b'.'; 100], eicar()].concat()).central_size(50)]);
    assert_eq!(scan(&shorter)["verdict"], "infected");
    // The directory knows nothing of the first member.
    let mut hidden = ZipWriter::default();
    hidden.add(&Member::stored("shown.txt", b"shown"));
    let shown = hidden.finish();
    let mut both = ZipWriter::default();
    both.add(&Member::deflated("hidden.com", &eicar()));
    let with_hidden = both.finish();
    let local_only = without_directory(&with_hidden);
    assert_found(&[local_only, shown].concat(), "hidden.com");
}

#[test]
fn duplicate_names_are_all_examined() {
    assert_found(
        &zip(&[Member::stored("same.txt", b"clean"), Member::deflated("same.txt", &eicar()), Member::stored("same.txt", b"clean")]),
        "same.txt",
    );
}

#[test]
fn a_truncated_zip_is_never_clean() {
    let text = b"some text before it. ".repeat(400);
    let whole = zip(&[Member::deflated("a.txt", &text), Member::deflated("eicar.com", &eicar()), Member::deflated("b.txt", &text)]);
    for cut in (40..whole.len() - 30).step_by(11) {
        let scan = scan(&whole[..cut]);
        let signature = scan["virus"]["signature"].as_str().unwrap_or_default();
        assert_eq!(scan["verdict"], "infected", "cut at {cut}: {scan}");
        assert!(signature == eicar::SIGNATURE || signature.starts_with("Heuristics.Broken."), "cut at {cut}: {scan}");
    }
}

#[test]
fn a_zip_without_its_directory_is_read_by_its_local_headers() {
    assert_found(&without_directory(&zip(&[Member::deflated("eicar.com", &eicar())])), "eicar.com");
}

#[test]
fn a_checksum_that_fails_is_broken() {
    assert_unexamined(&zip(&[Member::deflated("a.txt", b"wrong sum, wrong sum").crc(7)]), "broken", "Heuristics.Broken.");
    let mut file = gzip(b"wrong sum, wrong sum");
    let sum = file.len() - 8;
    file[sum] ^= 1;
    assert_unexamined(&file, "broken", "Heuristics.Broken.");
}

#[test]
fn a_stream_without_its_end_is_broken() {
    let whole = gzip(&(0..20_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    assert_unexamined(&whole[..whole.len() / 2], "broken", "Heuristics.Broken.");
}

#[test]
fn an_encrypted_zip_is_unexamined() {
    assert_unexamined(
        &zip(&[Member::stored("secret.txt", b"nobody can read this").encrypted(b"correct horse")]),
        "encrypted",
        "Heuristics.Encrypted.",
    );
    let mixed = zip(&[Member::stored("secret.txt", b"secret").encrypted(b"correct horse"), Member::deflated("eicar.com", &eicar())]);
    assert_found(&mixed, "eicar.com");
}

#[test]
fn archives_that_are_none_behind_their_mark_are_broken() {
    for mark in [b"Rar!\x1a\x07\x01\0".as_slice(), b"7z\xbc\xaf\x27\x1c\0\x04", b"MSCF\0\0\0\0"] {
        assert_unexamined(&[mark, &[0x33; 200]].concat(), "broken", "Heuristics.Broken.");
    }
}

#[test]
fn what_cannot_be_opened_is_unsupported() {
    assert_unexamined(&archives::squashfs(), "unsupported", "Heuristics.Unsupported.");
    assert_unexamined(&zip_of("inner.sqfs", &archives::squashfs()), "unsupported", "Heuristics.Unsupported.");
    assert_unexamined(&[b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 2000]].concat(), "broken", "Heuristics.Broken.Ole");
    assert_clean(b"{\\rtf1\\ansi Hello}");
    assert_unexamined(&zip(&[Member::of_unknown_method("a", b"what is this")]), "unsupported", "Heuristics.Unsupported.");
}

#[test]
fn trailing_bytes_and_a_tar_without_its_end_are_complete() {
    let file = tar(&[("a.txt", b"a tar")]);
    assert_clean(&file[..file.len() - 1024]);
    assert_clean(&[gzip(b"zeros may follow"), vec![0; 512]].concat());
    assert_clean(&[zip_of("a", b"an overlay follows"), b"overlay".to_vec()].concat());
}

#[test]
fn the_balanced_policy_lets_the_unopened_through_and_says_so() {
    let server = Options::new().env("FILESAFETY_POLICY", "balanced").start();
    let scan = server.scan(&archives::squashfs()).expect_verdict("clean");
    assert_eq!(scan["coverage"]["complete"], false);
    let scan = server.scan(&zip(&[Member::stored("s", b"secret").encrypted(b"x")])).expect_verdict("clean");
    assert_eq!(scan["coverage"]["complete"], false);
    server.scan(&nested(25, b"deep")).expect_verdict("infected");
    let found = zip(&[Member::stored("s", b"secret").encrypted(b"x"), Member::stored("eicar.com", &eicar())]);
    server.scan(&found).expect_verdict("infected");
}

#[test]
fn a_policy_may_name_each_reason() {
    let server = Options::new().env("FILESAFETY_POLICY", "encrypted=allow").start();
    server.scan(&zip(&[Member::stored("s", b"secret").encrypted(b"x")])).expect_verdict("clean");
    server.scan(&archives::squashfs()).expect_verdict("infected");
}

#[test]
fn at_most_twenty_detections_are_listed() {
    let members: Vec<Member> = (0..60).map(|number| Member::stored(format!("{number}.com"), &eicar())).collect();
    let scan = scan(&zip(&members));
    assert_eq!(scan["virus"]["detections"].as_array().map(Vec::len), Some(20));
}
