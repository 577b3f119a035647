use std::{collections::BTreeMap, fs};

mod differential;
mod matching;

use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::{executable::fixtures::pe, *};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn md5(content: &[u8]) -> String {
    hex(Md5::digest(content))
}

fn database(files: &[(&str, &str)]) -> Database {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    Database::of_texts(&files, &Settings::new(true)).unwrap()
}

fn scan(database: &Database, content: &[u8]) -> Findings {
    database.scan(Object { content, containers: &[] }, &|| true)
}

fn signatures(database: &Database, object: &[u8]) -> Vec<String> {
    scan(database, object).hits.into_iter().map(|hit| hit.signature.replace(UNOFFICIAL, "")).collect()
}

#[test]
fn no_folder_has_no_signatures() {
    let database = Database::load(None, None, &Settings::new(false)).unwrap();
    assert!(database.counts().is_empty());
    assert_eq!(scan(&database, b"abc"), Findings::default());
}

#[test]
fn another_process_has_the_same_of_the_file() {
    let line = format!("{}:3:One", md5(b"abc"));
    let made = database(&[("a.hdb", &line), ("b.ndu", "Two:0:*:616263"), ("c.cdb", "x\n")]);
    let again = Database::of_file(made.file().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!((again.fingerprint(), again.counts()), (made.fingerprint(), made.counts()));
    assert_eq!(scan(&again, b"abc"), scan(&made, b"abc"));
    assert_eq!(scan(&again, b"abc").hits.len(), 2);
    for foreign in [&b""[..], b"something else", &[0; 4096]] {
        assert!(Database::of_file(filesafety_mapped::seal("test", foreign).unwrap()).is_err());
    }
}

#[test]
fn no_time_leaves_matching_incomplete() {
    // All of the pattern but its end stands everywhere.
    let database = database(&[("a.ndb", "Slow:0:*:6161{1-9}6161{1-9}6161(62|63)"), ("b.hdb", &format!("{}:3:Digest", md5(b"abc")))]);
    let content = vec![b'a'; 1 << 20];
    let looks = std::cell::Cell::new(0);
    let in_time = || {
        looks.set(looks.get() + 1);
        looks.get() < 3
    };
    let findings = database.scan(Object { content: &content, containers: &[] }, &in_time);
    // The text's other view is looked at once more, and given up at once.
    assert!(findings.incomplete && (3..=4).contains(&looks.get()), "{findings:?} after {} looks", looks.get());
    // What is found before any work is told all the same.
    assert_eq!(database.scan(Object { content: b"abc", containers: &[] }, &|| false).hits.len(), 1);
}

#[test]
fn a_cache_gives_the_same() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("a.hdb"), format!("{}:3:One\nbad\n", md5(b"abc"))).unwrap();
    fs::write(dir.path().join("b.ldb"), "PUA.Two;Engine:51-255,Target:0;0&1;616263;0/abc/\n").unwrap();
    let load = |cache| Database::load(Some(dir.path()), cache, &Settings::new(false)).unwrap();
    let [plain, made, mapped] = [None, Some(cache.path()), Some(cache.path())].map(load);
    for other in [made, mapped] {
        assert_eq!((other.fingerprint(), other.counts()), (plain.fingerprint(), plain.counts()));
        assert_eq!(scan(&other, b"abc"), scan(&plain, b"abc"));
    }
    assert_eq!((scan(&plain, b"abc").hits.len(), plain.counts().invalid), (2, 1));
}

#[test]
fn a_bad_line_is_skipped_and_counted() {
    let good = format!("{}:3:Good", md5(b"abc"));
    for bad in [
        "hello",
        "900150983cd24fb0d6963f7d28e17f7:3:Name",
        "900150983cd24fb0d6963f7d28e17f72",
        "900150983cd24fb0d6963f7d28e17f72:3",
        "900150983cd24fb0d6963f7d28e17f72:3:",
        "900150983cd24fb0d6963f7d28e17f72:-3:Name",
        "900150983cd24fb0d6963f7d28e17f72:4294967295:Name",
        "900150983cd24fb0d6963f7d28e17f72:*:Name",
        "900150983cd24fb0d6963f7d28e17f72:*:Name:72",
        "900150983cd24fb0d6963f7d28e17f72:3:Name:x",
        "900150983cd24fb0d6963f7d28e17f72:3:Name:1:300:4",
        "900150983cd24fb0d6963f7d28e17f72:3:Na\u{7}me",
    ] {
        let database = database(&[("a.hdb", &format!("{bad}\n{good}\n"))]);
        assert_eq!((database.counts().invalid, database.counts().hashes), (1, 1), "{bad}");
        assert_eq!(signatures(&database, b"abc"), ["Good"], "{bad}");
    }
}

#[test]
fn an_endless_line_is_one_bad_line() {
    let text = format!("{}\n{}:3:Good\n{}", "a".repeat(1 << 19), md5(b"abc"), "b".repeat(1 << 18));
    let database = database(&[("a.hdb", &text)]);
    assert_eq!((database.counts().invalid, signatures(&database, b"abc")), (2, vec!["Good".to_owned()]));
}

#[test]
fn digests_of_files_match_with_their_size_alone() {
    for (file, digest) in [
        ("a.hdb", md5(b"abc")),
        ("a.HSB", hex(Sha256::digest(b"abc"))),
        ("a.hsb", hex(Sha1::digest(b"abc"))),
        ("a.hdb", md5(b"abc").to_uppercase()),
    ] {
        assert_eq!(signatures(&database(&[(file, &format!("{digest}:3:Name"))]), b"abc"), ["Name"], "{file}");
        assert_eq!(signatures(&database(&[(file, &format!("{digest}:4:Name"))]), b"abc"), [""; 0], "{file}");
        assert_eq!(signatures(&database(&[(file, &format!("{digest}:*:Name:73"))]), b"abc"), ["Name"], "{file}");
    }
}

#[test]
fn names_end_as_those_of_unsigned_files_do() {
    let database = database(&[("a.hdb", &format!("{}:3:Win.Trojan.Abc-1", md5(b"abc")))]);
    assert_eq!(scan(&database, b"abc").hits, [Hit { kind: Kind::Malware, signature: "Win.Trojan.Abc-1.UNOFFICIAL".into() }]);
}

#[test]
fn unwanted_applications_are_told_by_file_or_name() {
    let digest = md5(b"abc");
    let text = format!("{digest}:3:Plain\n{digest}:3:PUA.Win.Tool\n");
    let database = database(&[("a.hdb", &text), ("b.hdu", &format!("{digest}:3:Tool")), ("c.hdb", &format!("{digest}:3:Last"))]);
    let kinds: Vec<_> = scan(&database, b"abc").hits.into_iter().map(|hit| (hit.kind, hit.signature.replace(UNOFFICIAL, ""))).collect();
    let expected = [(Kind::Malware, "Last"), (Kind::Malware, "Plain"), (Kind::Pua, "PUA.Win.Tool"), (Kind::Pua, "Tool")];
    assert_eq!(kinds, expected.map(|(kind, name)| (kind, name.to_owned())));
}

#[test]
fn sections_and_imports_of_a_pe_are_compared() {
    let file = pe(&[(0x1000, 0x300, 0x400, 0x400), (0x2000, 0x200, 0x800, 0x200)], 0x1010, 0, 0xa00, b"some code ");
    let text = format!("512:{}:Section\n1024:{}:Other\n", md5(&file[0x800..]), md5(&file[0x800..]));
    assert_eq!(signatures(&database(&[("a.mdb", &text)]), &file), ["Section"]);
    let any = format!("*:{}:Any:73\n", hex(Sha256::digest(&file[0x400..0x800])));
    assert_eq!(signatures(&database(&[("a.msb", &any)]), &file), ["Any"]);
    assert_eq!(signatures(&database(&[("a.msb", &any)]), &file[0x400..0x800]), [""; 0]);
}

#[test]
fn an_allowed_file_has_no_detections() {
    let digest = md5(b"abc");
    let malware = format!("{digest}:3:Name");
    let allowing = database(&[("a.hdb", &malware), ("b.sfp", &format!("{}:3:Ours", hex(Sha1::digest(b"abc"))))]);
    assert_eq!(scan(&allowing, b"abc"), Findings { allowed: true, ..Findings::default() });
    let other = database(&[("a.hdb", &malware), ("b.fp", &format!("{digest}:4:Ours"))]);
    assert_eq!(signatures(&other, b"abc"), ["Name"]);
}

#[test]
fn ignored_signatures_are_not_loaded() {
    let line = format!("{}:3:Name", md5(b"abc"));
    for (file, ignored, left) in [
        ("z.ign2", "Name".to_owned(), 0),
        ("z.ign2", "Name.UNOFFICIAL".to_owned(), 0),
        ("z.ign2", "Nam".to_owned(), 1),
        ("z.ign2", format!("Name:{}", md5(line.as_bytes())), 0),
        ("z.ign2", format!("Name:{}", md5(b"another line")), 1),
        ("z.ign", "a.hdb:1:Name".to_owned(), 0),
        ("z.ign", "a.hdb:2:Name".to_owned(), 1),
    ] {
        let database = database(&[("a.hdb", &line), (file, &ignored)]);
        assert_eq!((database.counts().hashes, database.counts().ignored), (left, 1 - left), "{ignored}");
    }
    let database = database(&[("z.ign2", "a:b\na:b:c\na:1:b:c\n")]);
    assert_eq!(database.counts().invalid, 3);
}

#[test]
fn signatures_for_other_releases_are_counted() {
    let digest = md5(b"abc");
    let text = format!("{digest}:3:A:217\n{digest}:3:B:1:215\n{digest}:3:C:1:216\n{digest}:3:D:216\n");
    let database = database(&[("a.hdb", &text)]);
    assert_eq!((database.counts().other_level, signatures(&database, b"abc")), (2, vec!["C".to_owned(), "D".to_owned()]));
}

#[test]
fn what_is_not_supported_is_counted_by_kind() {
    let database = database(&[("a.crb", "# note\nx\n\ny\n"), ("b.cbc", "x\ny"), ("c.txt", "x")]);
    assert_eq!(database.counts().unsupported, BTreeMap::from([("crb".into(), 2), ("cbc".into(), 1)]));
    assert!(!database.counts().is_empty());
}

#[test]
fn a_folder_is_read_and_its_fingerprint_follows_the_content() {
    let dir = tempfile::tempdir().unwrap();
    let fingerprint = || Database::load(Some(dir.path()), None, &Settings::new(false)).unwrap().fingerprint();
    let empty = fingerprint();
    fs::write(dir.path().join("a.hdb"), format!("{}:3:Name\n", md5(b"abc"))).unwrap();
    let one = fingerprint();
    assert_eq!(one, fingerprint());
    fs::write(dir.path().join("b.cbc"), "a program").unwrap();
    let two = fingerprint();
    fs::write(dir.path().join("a.ign2"), "Name\n").unwrap();
    let three = fingerprint();
    assert!(empty != one && one != two && two != three);
    assert_eq!(Database::load(Some(dir.path()), None, &Settings::new(false)).unwrap().counts().ignored, 1);
    assert!(Database::load(Some(&dir.path().join("missing")), None, &Settings::new(false)).is_err());
}
