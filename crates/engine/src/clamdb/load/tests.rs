use std::{fs, process::Command};

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::*;
use crate::{
    clamdb::{Object, load::seal::tests as seal},
    unpack::fixtures,
};

const BODY: (&str, &[u8]) = ("test.ndb", b"Name.Body:0:*:6162636465666768\n");
const FILE: &[u8] = b"xxabcdefghxx";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn settings() -> Settings {
    Settings { unwanted: false, key: seal::own_key() }
}

fn listed(members: &[(&str, &[u8])]) -> String {
    let lines = members.iter().map(|(name, text)| format!("{name}:{}:{}\n", text.len(), hex(Sha256::digest(text))));
    format!("ClamAV-VDB:25 Nov 2026 11-24 +0000:7:2:216:X:X:builder:1795605865\n{}", lines.collect::<String>())
}

/// The tar of a database with a list of its members.
fn archive(list: &str, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all: Vec<(&str, &[u8])> = vec![("COPYING", b"Free for all"), ("test.info", list.as_bytes())];
    all.extend(members);
    fixtures::tar(&all)
}

fn sealed(version: u32, rest: &[u8]) -> Vec<u8> {
    let digest: [u8; 16] = Md5::digest(rest).into();
    let header = format!("ClamAV-VDB:25 Nov 2026 11-24 +0000:{version}:1:216:{}:{}:builder:1795605865", hex(digest), seal::sign(digest));
    let mut database = header.into_bytes();
    database.resize(512, b' ');
    database.extend(rest);
    database
}

fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    sealed(7, &fixtures::gzip(&archive(&listed(members), members)))
}

fn read(name: &str, content: &[u8]) -> Result<Database, LoadError> {
    of_texts(&[(name, content)], &settings())
}

fn refusal(name: &str, content: &[u8]) -> String {
    read(name, content).err().map(|error| error.to_string()).unwrap_or_default()
}

fn found(database: &Database, content: &[u8]) -> Vec<String> {
    database.scan(Object { content, containers: &[] }, &|| true).hits.into_iter().map(|hit| hit.signature).collect()
}

#[test]
fn a_signed_database_is_verified() {
    let good = packed(&[BODY]);
    assert_eq!(found(&read("a.cvd", &good).unwrap(), FILE), ["Name.Body"]);
    let other = of_texts(&[("a.cvd", &good)], &Settings::new(false)).err().unwrap().to_string();
    assert!(other.contains("does not verify"), "{other}");
    let mut changed = good.clone();
    let at = changed.len() - 1;
    changed[at] ^= 1;
    assert_ne!(refusal("a.cvd", &changed), "");
    let mut longer = good.clone();
    longer.push(0);
    assert!(refusal("a.cvd", &longer).contains("MD5"), "{}", refusal("a.cvd", &longer));
    let unsigned = String::from_utf8_lossy(&good[..512]).replace(&seal::sign(Md5::digest(&good[512..]).into()), "X");
    let mut unsigned = unsigned.into_bytes();
    unsigned.resize(512, b' ');
    unsigned.extend(&good[512..]);
    assert!(refusal("a.cvd", &unsigned).contains("does not verify"));
    assert_eq!(found(&read("a.cud", &unsigned).unwrap(), FILE), ["Name.Body.UNOFFICIAL"]);
}

#[test]
fn what_was_patched_or_is_plain_is_read_as_unsigned() {
    for rest in [archive(&listed(&[BODY]), &[BODY]), fixtures::gzip(&archive(&listed(&[BODY]), &[BODY]))] {
        for name in ["a.cld", "a.cud"] {
            assert_eq!(found(&read(name, &sealed(1, &rest)).unwrap(), FILE), ["Name.Body.UNOFFICIAL"], "{name}");
        }
    }
}

#[test]
fn a_bad_line_refuses_a_signed_database_and_only_that() {
    let bad: (&str, &[u8]) = ("test.hdb", b"44d88612fea8a8f36de82e1278abb02f:68:Eicar\nnonsense\n");
    let database = packed(&[BODY, bad]);
    assert_eq!(refusal("a.cvd", &database), "a.cvd/test.hdb:2: no digest of 32, 40 or 64 hex digits");
    for name in ["a.cld", "a.cud"] {
        let read = read(name, &database).unwrap();
        assert_eq!((read.counts().invalid, read.counts().hashes, read.counts().bodies), (1, 1, 1), "{name}");
    }
}

#[test]
fn members_are_those_of_the_list() {
    let longer: (&str, &[u8]) = ("test.ndb", b"Name.Body:0:*:616263646566676869\n");
    let other: (&str, &[u8]) = ("test.ndb", b"Name.Body:0:*:6162636465666769\n");
    let more: (&str, &[u8]) = ("more.ndb", b"Name.More:0:*:6162636465666768\n");
    for (members, expected) in
        [(vec![longer], "length"), (vec![other], "SHA-256"), (vec![BODY, more], "not in the list"), (vec![], ""), (vec![BODY], "")]
    {
        let database = sealed(7, &archive(&listed(&[BODY]), &members));
        for name in ["a.cvd", "a.cld", "a.cud"] {
            let refusal = refusal(name, &database);
            assert!(refusal.contains(expected) && refusal.is_empty() == expected.is_empty(), "{name}: {refusal}");
        }
    }
    let database = sealed(7, &archive("nonsense\n", &[BODY]));
    assert!(refusal("a.cud", &database).contains("cannot be read"));
    let without = sealed(7, &fixtures::tar(&[BODY]));
    assert_eq!(found(&read("a.cvd", &without).unwrap(), FILE), ["Name.Body"]);
}

#[test]
fn damaged_databases_are_refused() {
    let good = packed(&[BODY]);
    assert!(refusal("a.cvd", &good[..511]).contains("cut within its header"));
    assert!(refusal("a.cvd", &[b' '; 600]).contains("not a ClamAV database"));
    let plain = sealed(7, &archive(&listed(&[BODY]), &[BODY]));
    for end in [512, 600, 1024, 1030, 2000, 2600] {
        assert_ne!(refusal("a.cud", &plain[..end]), "", "{end}");
    }
    for end in (512..good.len() - 1).step_by(7) {
        assert_ne!(refusal("a.cvd", &good[..end]), "", "{end}");
    }
    for name in ["../a.ndb", "sub/a.ndb", "/etc/a.ndb"] {
        let outside: (&str, &[u8]) = (name, BODY.1);
        assert!(refusal("a.cvd", &packed(&[outside])).contains("no file of the database"), "{name}");
    }
    let folder = sealed(7, &[fixtures::tar_member("test.ndb", b'5', b""), vec![0; 1024]].concat());
    assert!(refusal("a.cud", &folder).contains("no file of the database"));
    for header in ["ClamAV-VDB:t:x:1:216:X:X:b:1", "ClamAV-VDB:t:1:x:216:X:X:b:1", "ClamAV-VDB:t:1:1:x:X:X:b:1", "ClamAV-VDB:t:1:1", "x"] {
        let mut database = header.as_bytes().to_vec();
        database.resize(512, b' ');
        assert_ne!(refusal("a.cud", &database), "", "{header}");
    }
}

#[test]
fn every_kind_of_member_is_read_or_counted() {
    let database = packed(&[
        ("test.cfg", b"DOCUMENT:0x1:0:255\n"),
        ("test.ign2", b"Name.Ignored\n"),
        ("test.ndb", b"Name.Ignored:0:*:6162636465666768\nName.Kept:0:*:6162636465666768\n"),
        ("test.ndu", b"PUA.Name:0:*:6162636465666768\n"),
        ("test.cbc", b"anything"),
        ("test.yara", b"rule one { condition: true }"),
        ("test.odd", b"anything"),
    ]);
    let read = read("a.cvd", &database).unwrap();
    assert_eq!(found(&read, FILE), ["Name.Kept"]);
    let counts = read.counts();
    assert_eq!((counts.bodies, counts.ignored, counts.unwanted), (1, 1, 1));
    assert_eq!(counts.unsupported.iter().map(|(kind, count)| (kind.as_ref(), *count)).collect::<Vec<_>>(), [("cbc", 1), ("cfg", 1)]);
    assert_eq!(read.rules().iter().map(|file| file.path.to_string_lossy().into_owned()).collect::<Vec<_>>(), ["a.cvd/test.yara"]);
    let asked = of_texts(&[("a.cvd", &database)], &Settings { unwanted: true, ..settings() }).unwrap();
    assert_eq!(found(&asked, FILE), ["Name.Kept", "PUA.Name"]);
}

#[test]
fn of_a_signed_and_a_patched_database_the_newer_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, version: u32, signature: &str| {
        let text = format!("{signature}:0:*:6162636465666768\n");
        let members: [(&str, &[u8]); 1] = [("test.ndb", text.as_bytes())];
        fs::write(dir.path().join(name), sealed(version, &archive(&listed(&members), &members))).unwrap();
    };
    write("daily.cvd", 7, "Signed");
    write("daily.cld", 7, "Patched");
    let names = || found(&load(Some(dir.path()), None, &settings()).unwrap(), FILE);
    assert_eq!(names(), ["Signed"]);
    write("daily.cld", 8, "Patched");
    assert_eq!(names(), ["Patched.UNOFFICIAL"]);
    write("daily.cvd", 9, "Signed");
    write("main.cvd", 1, "Main");
    write("other.cud", 1, "Other");
    assert_eq!(names(), ["Main", "Other.UNOFFICIAL", "Signed"]);
    fs::write(dir.path().join("daily.cld"), "nonsense").unwrap();
    assert!(load(Some(dir.path()), None, &settings()).is_err());
}

#[test]
fn what_one_database_ignores_holds_for_all() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.ndb"), BODY.1).unwrap();
    fs::write(dir.path().join("z.cvd"), packed(&[("test.ign2", b"Name.Body\n")])).unwrap();
    let database = load(Some(dir.path()), None, &settings()).unwrap();
    assert_eq!((database.counts().bodies, database.counts().ignored), (0, 1));
}

#[test]
fn each_source_tells_what_it_brought() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("daily.cvd"), packed(&[BODY, ("test.fp", b"44d88612fea8a8f36de82e1278abb02f:68:Ours\n")])).unwrap();
    fs::write(dir.path().join("own.hdb"), "44d88612fea8a8f36de82e1278abb02f:68:Eicar\nbad\n").unwrap();
    let database = load(Some(dir.path()), None, &settings()).unwrap();
    let [daily, own] = database.sources() else { panic!("{:?}", database.sources()) };
    assert_eq!((daily.file.as_str(), daily.trust, daily.version, daily.announced), ("daily.cvd", Trust::Signed, Some(7), Some(1)));
    assert_eq!(daily.built, UNIX_EPOCH.checked_add(Duration::from_secs(1_795_605_865)));
    assert_eq!(daily.kinds.iter().map(|(kind, count)| (kind.as_ref(), *count)).collect::<Vec<_>>(), [("fp", 1), ("ndb", 1)]);
    assert_eq!((own.trust, own.version, own.kinds.get("hdb"), own.counts.invalid), (Trust::Unsigned, None, Some(&1), 1));
    assert!(own.built.is_some());
    assert_eq!((database.counts().signatures(), database.counts().invalid), (2, 1));
}

#[test]
fn what_sigtool_builds_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("COPYING"), "Free for all").unwrap();
    fs::write(dir.path().join(BODY.0), BODY.1).unwrap();
    let built = Command::new("sh")
        .args(["-c", "echo someone | sigtool --build=test.cud --unsigned --cvd-version=7"])
        .current_dir(dir.path())
        .output();
    if !built.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no sigtool on this machine");
        return;
    }
    fs::remove_file(dir.path().join(BODY.0)).unwrap();
    let database = load(Some(dir.path()), None, &settings()).unwrap();
    assert_eq!(found(&database, FILE), ["Name.Body.UNOFFICIAL"]);
    let [source] = database.sources() else { panic!("{:?}", database.sources()) };
    assert_eq!((source.trust, source.version, source.announced), (Trust::Unsigned, Some(7), Some(1)));
}
