use std::fs;

use super::*;

const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ABC_SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
const ABC_MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

fn load(files: &[(&str, &str)]) -> Result<HashLists, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    HashLists::load(Some(dir.path()))
}

fn digest(object: &[u8]) -> filesafety_model::Sha256 {
    filesafety_model::Sha256::new(Sha256::digest(object).into())
}

fn signatures(lists: &HashLists, object: &[u8]) -> Vec<String> {
    lists.lookup(object).into_iter().map(|hit| hit.signature).collect()
}

#[test]
fn refuses_a_bad_line_with_file_and_number() {
    let long_name = format!("{ABC_MD5} {}", "n".repeat(256));
    let long_line = format!("{ABC_MD5} {}", "n".repeat(5000));
    for (line, reason) in [
        ("hello", "no digest"),
        ("900150983cd24fb0d6963f7d28e17f7", "no digest"),
        ("900150983cd24fb0d6963f7d28e17f72x", "after the digest"),
        ("900150983cd24fb0d6963f7d28e17f72:3:Name", "after the digest"),
        ("900150983cd24fb0d6963f7d28e17f72 a\u{7}b", "control character"),
        (&long_name, "longer than 255"),
        (&long_line, "longer than 4096"),
    ] {
        match load(&[("a.hashes", &format!("# fine\n\n{line}\n"))]) {
            Err(LoadError::Invalid { path, line: 3, reason: found }) => {
                assert!(path.ends_with("a.hashes") && found.contains(reason), "{line}: {found}");
            }
            other => panic!("{line}: {:?}", other.map(|lists| lists.count())),
        }
    }
    assert!(matches!(load(&[("a.sha1", ABC_MD5)]), Err(LoadError::Invalid { line: 1, .. })));
}

#[test]
fn a_line_that_is_no_text_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.md5"), b"\xff\xfe\n").unwrap();
    assert!(matches!(HashLists::load(Some(dir.path())), Err(LoadError::Invalid { line: 1, .. })));
}

#[test]
fn what_is_allowed_is_told_by_sha256_alone() {
    for (name, text) in [
        ("allow.md5", ABC_MD5),
        ("vendor.allow.sha1", ABC_SHA1),
        ("allow.hashes", ABC_SHA256),
        ("ALLOW.MD5", ABC_MD5),
        ("allow.sha256", ABC_MD5),
    ] {
        assert!(matches!(load(&[(name, text)]), Err(LoadError::Invalid { line: 1, .. })), "{name}");
    }
}

#[test]
fn an_allowance_outranks_a_list_and_says_so() {
    for name in ["allow.sha256", "vendor.allow.sha256", "Vendor.Allow.SHA256"] {
        let lists = load(&[(name, &format!("{ABC_SHA256}  ours")), ("bad.sha256", ABC_SHA256)]).unwrap();
        assert_eq!(lists.listing(&digest(b"abc")), Listing::Allowed, "{name}");
        assert!(lists.allows(b"abc") && !lists.allows(b"abd"));
        // Who counts the lists counts malware.
        assert_eq!((lists.count(), lists.can_look_back()), (1, true));
    }
    let malware = load(&[("disallow.sha256", ABC_SHA256), ("allow.d.sha256", "")]).unwrap();
    assert_eq!(malware.listing(&digest(b"abc")), Listing::Malware { signature: "Hash.Sha256.ba7816bf8f01cfea".into() });
    assert_eq!(malware.listing(&digest(b"abd")), Listing::Unlisted);
    assert!(!malware.allows(b"abc"));
    let weak = load(&[("a.md5", ABC_MD5), ("a.sha1", ABC_SHA1)]).unwrap();
    assert_eq!((weak.listing(&digest(b"abc")), weak.can_look_back()), (Listing::Unlisted, false));
}

#[test]
fn the_fingerprint_tells_an_allowance_from_a_condemnation() {
    let of = |name: &str| load(&[(name, ABC_SHA256)]).unwrap().fingerprint();
    assert_ne!(of("a.sha256"), of("a.allow.sha256"));
}

#[test]
fn no_list_finds_nothing() {
    let lists = HashLists::load(None).unwrap();
    assert_eq!((lists.count(), lists.lookup(b"abc")), (0, Vec::new()));
}

#[test]
fn each_kind_of_digest_is_found() {
    for (file, digest) in [("a.sha256", ABC_SHA256), ("a.SHA1", ABC_SHA1), ("a.md5", ABC_MD5), ("a.hashes", ABC_SHA1)] {
        let lists = load(&[(file, &format!("{}  Trojan.Abc\n", digest.to_uppercase()))]).unwrap();
        assert_eq!(lists.lookup(b"abc"), [Hit { kind: Kind::Malware, signature: "Trojan.Abc".into() }], "{file}");
        assert_eq!(lists.lookup(b"abd"), []);
    }
}

#[test]
fn reads_all_forms_of_a_line() {
    for (line, name) in [
        (ABC_SHA256.to_owned(), "Hash.Sha256.ba7816bf8f01cfea"),
        (ABC_SHA1.to_owned(), "Hash.Sha1.a9993e364706816a"),
        (ABC_MD5.to_owned(), "Hash.Md5.900150983cd24fb0"),
        (format!("{ABC_MD5},"), "Hash.Md5.900150983cd24fb0"),
        (format!("{ABC_SHA256} *setup.exe"), "setup.exe"),
        (format!("\\{ABC_SHA256}  odd\\nname"), "odd\\nname"),
        (format!("{ABC_SHA256}\tBy tab"), "By tab"),
        (format!("  {ABC_SHA1}, Worm.Abc , \r"), "Worm.Abc ,"),
    ] {
        assert_eq!(signatures(&load(&[("a.hashes", &line)]).unwrap(), b"abc"), [name], "{line}");
    }
}

#[test]
fn one_digest_counts_once_and_keeps_its_first_name() {
    let lists = load(&[("a.md5", &format!("{ABC_MD5} First\n{ABC_MD5} Second\n")), ("b.md5", &format!("{ABC_MD5} Third"))]).unwrap();
    assert_eq!((lists.count(), signatures(&lists, b"abc")), (1, vec!["First".to_owned()]));
}

#[test]
fn the_fingerprint_follows_the_entries() {
    let one = load(&[("a.md5", ABC_MD5)]).unwrap().fingerprint();
    assert_eq!(one, load(&[("a.md5", ABC_MD5)]).unwrap().fingerprint());
    assert_ne!(one, load(&[("a.md5", &format!("{ABC_MD5} Name"))]).unwrap().fingerprint());
    assert_ne!(one, HashLists::load(None).unwrap().fingerprint());
}
