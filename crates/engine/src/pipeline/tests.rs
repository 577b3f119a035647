mod archives;
mod office;
mod pictures;

use std::{cell::Cell, time::Duration};

use filesafety_model::{Report, ScanTypes};
use sha2::Digest as _;

use super::*;
use crate::{
    Blueprint, Config, Limits, Unlimited,
    unpack::fixtures::{Member, bzip2, eicar, finish_zip, gzip, gzip_named, noise, tar, xz, zip, zstd},
};

fn engine(limits: Limits) -> Engine {
    Engine::load(Config { limits, ..Config::default() }).unwrap()
}

fn scanned_under(limits: Limits, content: &[u8]) -> Report {
    let engine = engine(limits);
    let input = Input { content, name: Some("upload.gz"), types: ScanTypes::VIRUS, passwords: &[] };
    engine.worker().scan(&input, &Unlimited).unwrap()
}

fn scanned(content: &[u8]) -> Report {
    scanned_under(Limits::default(), content)
}

fn found(report: &Report) -> Vec<(&str, &str)> {
    let detections = report.engines.iter().flat_map(|engine| &engine.detections);
    detections.map(|detection| (detection.signature.as_str(), detection.path.as_str())).collect()
}

fn hidden(report: &Report) -> Vec<&str> {
    report.coverage.unexamined.iter().map(|part| part.signature.as_str()).collect()
}

/// A file inside so many zips.
fn nested(levels: usize, content: &[u8]) -> Vec<u8> {
    (0..levels).fold(content.to_vec(), |inner, _| zip(&[Member::deflated("in", &inner)]))
}

/// A zip of `entries` that all inflate from overlapping data: each local header quotes the next one.
fn many_of_one(entries: usize, size: usize) -> Vec<u8> {
    let members: Vec<_> = (0..entries).map(|index| Member::deflated(&format!("{index}"), &vec![0; size])).collect();
    zip(&members)
}

#[test]
fn an_empty_file_is_one_object_and_complete() {
    let report = scanned(b"");
    assert_eq!((report.coverage.objects, report.coverage.bytes), (1, 0));
    assert!(found(&report).is_empty() && hidden(&report).is_empty());
    assert_eq!(report.engines.len(), 2);
    assert_eq!(report.pictures, None);
}

#[test]
fn paths_tell_the_way_through_any_nesting() {
    let inner = zip(&[Member::deflated("dir/eicar.com", &eicar())]);
    let archive = gzip_named("b.tar", &tar(&[("a.zip", &inner)]));
    let report = scanned(&archive);
    assert_eq!(found(&report), [("EICAR-Test-File", "b.tar/a.zip/dir/eicar.com")]);
    assert_eq!(report.coverage.objects, 4);
    assert!(hidden(&report).is_empty());
    let report = scanned(&gzip(&zstd(&xz(&bzip2(&eicar())))));
    assert_eq!(found(&report).len(), 1);
    assert!(found(&report)[0].1.starts_with("upload/"));
}

#[test]
fn names_are_shown_without_control_characters_and_cut() {
    let archive = zip(&[Member::stored("../\0\u{202e}\n", &eicar()), Member::stored(&"n".repeat(5_000), &[&eicar()[..], b" "].concat())]);
    let report = scanned(&archive);
    let paths: Vec<_> = found(&report).into_iter().map(|(_, path)| path).filter(|path| !path.is_empty()).collect();
    assert_eq!(paths, ["../\\u{0}\\u{202e}\\u{a}", &"n".repeat(255)]);
}

#[test]
fn twenty_levels_are_opened_and_twenty_five_are_a_limit() {
    let report = scanned(&nested(20, &eicar()));
    assert_eq!(found(&report).len(), 1);
    assert!(hidden(&report).is_empty());
    let report = scanned(&nested(25, &eicar()));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Depth"]);
    // What is no container by its type, but holds one, is a limit at that depth as well.
    let limits = Limits { depth: 1, ..Limits::default() };
    let shell = [b"#!/bin/sh\n".to_vec(), gzip(b"payload")].concat();
    let report = scanned_under(limits, &zip(&[Member::stored("run", &shell)]));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Depth"]);
    assert!(hidden(&scanned_under(limits, &zip(&[Member::stored("run", &noise(1_000))]))).is_empty());
    let closed = Member { packed: noise(40), ..Member::stored("a", &noise(28)) }.encrypted();
    let shell = [b"#!/bin/sh\n".to_vec(), zip(&[closed])].concat();
    let report = scanned_under(limits, &zip(&[Member::stored("run", &shell)]));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Depth"]);
}

#[test]
fn a_bomb_is_a_limit_and_what_was_found_stays() {
    let limits = Limits { ratio_exempt_bytes: 1 << 20, unpacked_bytes: 4 << 20, ..Limits::default() };
    let bomb = gzip(&vec![0; 3 << 20]);
    let report = scanned_under(limits, &zip(&[Member::stored("eicar.com", &eicar()), Member::stored("bomb.gz", &bomb)]));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Ratio"]);
    assert!(found(&report).contains(&("EICAR-Test-File", "eicar.com")));
    assert_eq!(hidden(&scanned_under(limits, &many_of_one(8, 1 << 20))), ["Heuristics.Limits.Ratio"]);
    let limits = Limits { ratio: 1 << 20, ..limits };
    assert_eq!(hidden(&scanned_under(limits, &many_of_one(8, 1 << 20))), ["Heuristics.Limits.Bytes"]);
    // What stands at the start of the object that was too much is still named.
    let report = scanned_under(limits, &gzip(&[eicar(), vec![0; 5 << 20]].concat()));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Bytes"]);
    assert_eq!(found(&report), [("EICAR-Test-File", "upload")]);
}

#[test]
fn overlapping_entries_end_in_a_limit() {
    let limits = Limits { ratio_exempt_bytes: 1 << 20, ..Limits::default() };
    // Many entries of one deflate stream, each said to be of another size, so that none is known already.
    let kernel = Member::deflated("a", &vec![0; 1 << 20]);
    let entries: Vec<_> = (0..2_000u32).map(|index| Member { unpacked: index, packed: kernel.packed.clone(), ..kernel.clone() }).collect();
    let mut padded = kernel.local_record();
    padded.extend(vec![0; 3_000]);
    let entries: Vec<_> = entries
        .into_iter()
        .enumerate()
        .map(|(index, mut member)| {
            member.packed.resize(member.packed.len() + index, 0);
            member
        })
        .collect();
    let listed: Vec<_> = entries.iter().map(|member| (member, 0)).collect();
    let report = scanned_under(limits, &finish_zip(padded, &listed));
    assert!(hidden(&report).contains(&"Heuristics.Limits.Ratio"), "{:?}", hidden(&report));
}

#[test]
fn too_many_objects_are_a_limit() {
    let limits = Limits { objects: 50, ..Limits::default() };
    let members: Vec<_> = (0..100).map(|index| Member::stored(&format!("{index}"), b"x")).collect();
    let report = scanned_under(limits, &zip(&members));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Objects"]);
    assert_eq!(report.coverage.objects, 50);
    // Directories hold nothing, and are no way to make a walk endless.
    let members: Vec<_> = (0..1_000).map(|index| Member::stored(&format!("{index}/"), b"")).collect();
    assert_eq!(hidden(&scanned_under(limits, &zip(&members))), ["Heuristics.Limits.Objects"]);
}

#[test]
fn no_time_is_a_limit() {
    let report = scanned_under(Limits { cpu: Duration::ZERO, ..Limits::default() }, &zip(&[Member::stored("a", b"x")]));
    assert_eq!(hidden(&report), ["Heuristics.Limits.Time"]);
}

/// Grants so many bytes, then answers otherwise.
struct Bounded {
    left: Cell<u64>,
    then: Grant,
}

impl Memory for Bounded {
    fn grow(&self, bytes: u64) -> Grant {
        let Some(left) = self.left.get().checked_sub(bytes) else { return self.then };
        self.left.set(left);
        Grant::Granted
    }

    fn shrink(&self, bytes: u64) {
        self.left.set(self.left.get() + bytes);
    }
}

#[test]
fn memory_is_asked_for_and_given_back() {
    let engine = engine(Limits::default());
    let archive = gzip(&gzip(&vec![0; 60 << 20]));
    let input = Input { content: &archive, name: None, types: ScanTypes::VIRUS, passwords: &[] };
    for (granted, then) in [(1 << 20, Grant::Short), (1 << 20, Grant::Beyond), (1 << 30, Grant::Beyond)] {
        let memory = Bounded { left: Cell::new(granted), then };
        let result = engine.worker().scan(&input, &memory);
        assert_eq!(memory.left.get(), granted);
        match (granted, then) {
            (0x10_0000, Grant::Short) => assert_eq!(result, Err(MemoryShort)),
            (0x10_0000, _) => assert_eq!(hidden(&result.unwrap()), ["Heuristics.Limits.Memory"]),
            _ => assert!(hidden(&result.unwrap()).is_empty()),
        }
    }
}

#[test]
fn what_cannot_be_opened_is_unexamined_and_its_bytes_are_scanned() {
    let image = [b"hsqs".to_vec(), eicar()].concat();
    let report = scanned(&image);
    assert_eq!(hidden(&report), ["Heuristics.Unsupported.Squashfs"]);
    assert_eq!(found(&report), [("EICAR-Test-File", "")]);
    let report = scanned(&zip(&[Member::stored("a", &noise(20)).encrypted(), Member::stored("a.img", b"hsqs and more")]));
    assert!(hidden(&report).contains(&"Heuristics.Unsupported.Squashfs"));
}

fn scanned_with_allowed(allowed: &[&[u8]], content: &[u8]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let digest = |content: &[u8]| sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<_> = allowed.iter().map(|content| digest(content)).collect();
    std::fs::write(dir.path().join("ours.allow.sha256"), lines.join("\n")).unwrap();
    // A list of malware that names the same digests does not win.
    std::fs::write(dir.path().join("theirs.sha256"), lines.join("\n")).unwrap();
    let engine = Engine::load(Config { rules_dir: Some(dir.path().to_owned()), ..Config::default() }).unwrap();
    engine.worker().scan(&Input { content, name: None, types: ScanTypes::VIRUS, passwords: &[] }, &Unlimited).unwrap()
}

#[test]
fn what_is_allowed_is_told_and_does_not_count() {
    let report = scanned_with_allowed(&[&eicar()], &eicar());
    assert!(found(&report).is_empty());
    let note = &report.coverage.notes[0];
    assert!(
        note.path.is_empty() && note.note.starts_with("allowed by its digest; found: ") && note.note.contains("EICAR-Test-File"),
        "{note:?}"
    );
    let archive = zip(&[Member::deflated("eicar.com", &eicar())]);
    let report = scanned_with_allowed(&[&eicar()], &archive);
    assert_eq!((found(&report).len(), report.coverage.notes[0].path.as_str()), (0, "eicar.com"));
    // Nothing was found: nothing is told.
    assert!(scanned_with_allowed(&[&eicar()], b"clean").coverage.notes.is_empty());
}

#[test]
fn an_allowance_covers_no_other_object_and_nothing_unseen() {
    let other = [&eicar()[..], b"\n"].concat();
    let archive = zip(&[Member::deflated("allowed.com", &eicar()), Member::deflated("other.com", &other)]);
    assert_eq!(found(&scanned_with_allowed(&[&eicar()], &archive)), [("EICAR-Test-File", "other.com")]);
    // The archive is vouched for, its members are not.
    assert_eq!(found(&scanned_with_allowed(&[&archive], &archive)).len(), 2);
    let whole = gzip(&noise(5_000));
    let cut = &whole[..whole.len() / 2];
    assert_eq!(hidden(&scanned_with_allowed(&[cut], cut)), hidden(&scanned(cut)));
    assert!(!hidden(&scanned(cut)).is_empty());
}

/// Rules of the operator that state one fact each.
const FACTS: &str = r#"
    rule a { meta: fact = "runs_by_itself" description = "word one" strings: $a = "word-one" condition: $a }
    rule b { meta: fact = "executes" description = "word two" strings: $a = "word-two" condition: $a }
"#;

/// Scanned with [`FACTS`], and with these contents allowed.
fn scanned_for_facts(allowed: &[&[u8]], content: &[u8]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let digest = |content: &&[u8]| sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    std::fs::write(dir.path().join("ours.allow.sha256"), allowed.iter().map(digest).collect::<Vec<_>>().join("\n")).unwrap();
    std::fs::write(dir.path().join("facts.yar"), FACTS).unwrap();
    let engine = Engine::load(Config { rules_dir: Some(dir.path().to_owned()), ..Config::default() }).unwrap();
    engine.worker().scan(&Input { content, name: None, types: ScanTypes::VIRUS, passwords: &[] }, &Unlimited).unwrap()
}

fn noted(report: &Report) -> Vec<(&str, &str)> {
    report.notes.iter().map(|note| (note.note.as_str(), note.path.as_str())).collect()
}

const RUNS_PROGRAM: &str = "FileSafety.Suspicious.RunsProgram";
const BOTH: [(&str, &str); 2] = [("runs by itself: word one", "word/a.xml"), ("executes: word two", "word/b.xml")];

fn office(one: &str, other: &str) -> Vec<u8> {
    zip(&[Member::deflated("word/a.xml", one.as_bytes()), Member::deflated("word/b.xml", other.as_bytes())])
}

#[test]
fn one_fact_is_a_note_and_two_of_an_object_are_a_detection() {
    let report = scanned_for_facts(&[], b"word-one");
    assert_eq!((found(&report), noted(&report)), (vec![], vec![("runs by itself: word one", "")]));
    let report = scanned_for_facts(&[], &gzip(b"word-one word-two"));
    assert_eq!((found(&report).len(), report.notes.len()), (1, 2));
    let detection = &report.engines.last().unwrap().detections[0];
    assert_eq!((detection.engine, detection.kind, detection.signature.as_str()), (EngineName::FileSafety, Kind::Suspicious, RUNS_PROGRAM));
    assert!(!detection.path.is_empty());
}

#[test]
fn facts_of_parts_add_up_in_a_document_and_not_in_an_archive() {
    let document = office("word-one", "word-two");
    let report = scanned_for_facts(&[], &document);
    assert_eq!((found(&report), noted(&report)), (vec![(RUNS_PROGRAM, "")], BOTH.to_vec()));
    let members = zip(&[Member::deflated("a.txt", b"word-one"), Member::deflated("b.txt", b"word-two"), Member::stored("c", b"")]);
    assert_eq!((found(&scanned_for_facts(&[], &members)), noted(&scanned_for_facts(&[], &members)).len()), (vec![], 2));
    // Two documents in one archive are two things as well.
    let halves = [office("word-one", "x"), office("word-two", "x")];
    let archive = zip(&[Member::stored("a.docx", &halves[0]), Member::stored("b.docx", &halves[1])]);
    assert_eq!(found(&scanned_for_facts(&[], &archive)), []);
    let archive = zip(&[Member::stored("a.docx", &document)]);
    assert_eq!(found(&scanned_for_facts(&[], &archive)), [(RUNS_PROGRAM, "a.docx")]);
}

#[test]
fn an_allowed_document_is_not_suspicious_nor_is_one_with_an_allowed_part() {
    let document = office("word-one", "word-two");
    let report = scanned_for_facts(&[&document], &document);
    assert_eq!((found(&report), noted(&report).len()), (vec![], 2));
    assert_eq!(report.coverage.notes[0].note, format!("allowed by its digest; found: {RUNS_PROGRAM}"));
    assert_eq!(found(&scanned_for_facts(&[b"word-two"], &document)), []);
    let archive = zip(&[Member::stored("a.docx", &document)]);
    assert_eq!(found(&scanned_for_facts(&[&archive], &archive)), [(RUNS_PROGRAM, "a.docx")]);
}

#[test]
fn an_explanation_tells_rules_and_places_in_every_object() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("facts.yar"), FACTS).unwrap();
    let engine = Engine::load(Config { rules_dir: Some(dir.path().to_owned()), ..Config::default() }).unwrap();
    let content = zip(&[Member::deflated("a.txt", b"xx word-one word-one"), Member::deflated("b.txt", b"word-two")]);
    let explained = engine.explain(&Input { content: &content, name: None, types: ScanTypes::VIRUS, passwords: &[] });
    let paths: Vec<_> = explained.objects.iter().map(|object| object.path.as_str()).collect();
    assert_eq!((paths, explained.report.notes.len()), (vec!["a.txt", "b.txt"], 2));
    let rule = &explained.objects[0].rules.as_ref().unwrap()[0];
    assert_eq!((rule.rule.as_str(), rule.source.as_str(), rule.kind), ("a", "operator/facts.yar", "note"));
    assert_eq!(rule.facts, ["runs_by_itself"]);
    let places: Vec<_> = rule.strings.iter().map(|place| (place.identifier.as_str(), place.offset, place.length)).collect();
    assert_eq!(places, [("$a", 3, 8), ("$a", 12, 8)]);
    assert_eq!(rule.strings[0].bytes, b"word-one");
}

#[test]
fn facts_count_where_a_scan_stops_at_a_limit() {
    let limits = Limits { objects: 2, ..Limits::default() };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("facts.yar"), FACTS).unwrap();
    let engine = Engine::load(Config { rules_dir: Some(dir.path().to_owned()), limits, ..Config::default() }).unwrap();
    let content = office("word-one word-two", "x");
    let report =
        engine.worker().scan(&Input { content: &content, name: None, types: ScanTypes::VIRUS, passwords: &[] }, &Unlimited).unwrap();
    assert_eq!((found(&report), hidden(&report)), (vec![(RUNS_PROGRAM, "")], vec!["Heuristics.Limits.Objects"]));
    let pictures_only = Input { content: &content, name: None, types: ScanTypes::parse(["nsfw"]).unwrap(), passwords: &[] };
    let report = engine.worker().scan(&pictures_only, &Unlimited).unwrap();
    assert!(report.notes.is_empty() && report.engines.is_empty());
}

#[test]
fn the_fingerprint_follows_the_limits() {
    let fingerprint = |limits| Blueprint::load(Config { limits, ..Config::default() }).unwrap().fingerprint().to_owned();
    let one = fingerprint(Limits::default());
    assert_eq!(one.len(), 64);
    assert_eq!(one, fingerprint(Limits::default()));
    assert_ne!(one, fingerprint(Limits { depth: 3, ..Limits::default() }));
}

/// Scanned with these signature files.
fn scanned_with(files: &[(&str, String)], content: &[u8]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let engine = Engine::load(Config { rules_dir: Some(dir.path().to_owned()), ..Config::default() }).unwrap();
    assert!(engine.required().contains(&EngineName::ClamDb));
    let input = Input { content, name: None, types: ScanTypes::VIRUS, passwords: &[] };
    engine.worker().scan(&input, &Unlimited).unwrap()
}

fn found_by_clamdb(report: &Report) -> Vec<(&str, &str)> {
    let engines = report.engines.iter().filter(|engine| engine.engine == EngineName::ClamDb);
    engines.flat_map(|engine| &engine.detections).map(|detection| (detection.signature.as_str(), detection.path.as_str())).collect()
}

const BRAVO: &str = "Bravo:0:*:627261766f21";

#[test]
fn signatures_of_clamav_are_matched_in_every_object() {
    let archive = zip(&[Member::deflated("a.txt", b"nothing"), Member::deflated("b.txt", b"well, bravo!")]);
    let report = scanned_with(&[("a.ndb", BRAVO.to_owned())], &archive);
    assert_eq!(found_by_clamdb(&report), [("Bravo.UNOFFICIAL", "b.txt")]);
    assert!(hidden(&report).is_empty());
}

#[test]
fn what_containers_say_of_their_members_is_matched() {
    let lines = "Exe:CL_TYPE_ZIP:*:\\.exe$:*:*:*:*:*:*\nSecond:*:*:*:*:*:*:2:*:*\nLocked:CL_TYPE_ZIP:*:*:*:*:1:*:*:*\nTar:CL_TYPE_POSIX_TAR:*:*:*:3:*:*:*:*\n";
    let inner = zip(&[Member::deflated("a.txt", b"nothing"), Member::deflated("b.exe", b"nothing at all").encrypted()]);
    let report = scanned_with(&[("a.cdb", lines.to_owned())], &tar(&[("x.zip", &inner), ("abc", b"abc")]));
    let expected = [
        ("Exe.UNOFFICIAL", "x.zip/b.exe"),
        ("Locked.UNOFFICIAL", "x.zip/b.exe"),
        ("Second.UNOFFICIAL", "x.zip/b.exe"),
        ("Second.UNOFFICIAL", "abc"),
        ("Tar.UNOFFICIAL", "abc"),
    ];
    assert_eq!(found_by_clamdb(&report), expected);
}

#[test]
fn a_signature_can_ask_for_the_containers_around_an_object() {
    let line = |name: &str, condition: &str| format!("{name};Engine:81-255,{condition},Target:0;0;627261766f21\n");
    let lines = [
        line("Outermost", "Container:CL_TYPE_ANY"),
        line("InZip", "Container:CL_TYPE_ZIP"),
        line("InTar", "Container:CL_TYPE_POSIX_TAR"),
        line("InZipInGz", "Intermediates:CL_TYPE_GZ>CL_TYPE_ZIP"),
    ];
    let archive = gzip(&zip(&[Member::deflated("a.txt", b"nothing"), Member::deflated("b.txt", &[b"bravo!", &[0; 100][..]].concat())]));
    let report = scanned_with(&[("a.ldb", lines.concat())], &archive);
    assert_eq!(found_by_clamdb(&report).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["InZip.UNOFFICIAL", "InZipInGz.UNOFFICIAL"]);
    let report = scanned_with(&[("a.ldb", lines.concat())], b"bravo!\0");
    assert_eq!(found_by_clamdb(&report), [("Outermost.UNOFFICIAL", "")]);
}

/// Of the object and of what is inside, never of its parents or siblings.
#[test]
fn an_allowed_file_clears_itself_and_what_it_holds() {
    use md5::{Digest as _, Md5};
    let allow = |content: &[u8]| {
        let digest: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digest}:{}:Ours", content.len())
    };
    let inner = zip(&[Member::deflated("b.txt", b"well, bravo!")]);
    let archive = zip(&[Member::stored("in.zip", &inner), Member::stored("c.txt", b"bravo! too")]);
    let signatures = ("a.ndb", BRAVO.to_owned());
    let report = scanned_with(&[signatures.clone(), ("a.fp", allow(&inner))], &archive);
    assert_eq!(found_by_clamdb(&report), [("Bravo.UNOFFICIAL", ""), ("Bravo.UNOFFICIAL", "c.txt")]);
    let report = scanned_with(&[signatures.clone(), ("a.fp", allow(&archive))], &archive);
    assert_eq!(found_by_clamdb(&report), []);
    let report = scanned_with(&[signatures, ("a.fp", allow(b"well, bravo!"))], &archive);
    assert_eq!(found_by_clamdb(&report).len(), 2);
}

#[test]
fn a_signature_that_cannot_be_told_leaves_its_object_unexamined() {
    let line = format!("Endless:0:*:{}(62|63)", "6161{1-200}".repeat(60));
    let archive = zip(&[Member::deflated("a.txt", &vec![b'a'; 1 << 20])]);
    let report = scanned_with(&[("a.ndb", line)], &archive);
    assert_eq!(hidden(&report), ["Heuristics.Limits.Matches"]);
    assert_eq!(report.coverage.unexamined[0].path, "a.txt");
}

#[test]
fn without_signatures_their_engine_is_not_heard() {
    let engine = engine(Limits::default());
    assert!(engine.clamdb.counts().is_empty() && !engine.required().contains(&EngineName::ClamDb));
    assert!(!scanned(b"abc").engines.iter().any(|report| report.engine == EngineName::ClamDb));
}
