//! What the fuzzers call; compiled for them alone (`--cfg fuzzing`).
//!
//! Each function checks what must hold whatever the bytes are: no panic, all memory given back, none taken beyond what was granted.

use std::{cell::Cell, sync::OnceLock};

use filesafety_model::{EngineOutcome, ScanTypes};

use crate::{
    Config, Engine, Grant, Input, Limits, Memory,
    clamdb::{Container, Database, Object, Settings},
    hashes::HashLists,
    nsfw::{self, PictureLimits},
    pipeline,
    unpack::Member,
};

/// Small bounds, so that the fuzzer meets them.
const LIMITS: Limits = Limits {
    depth: 6,
    objects: 300,
    unpacked_bytes: 8 << 20,
    cpu: std::time::Duration::from_secs(4),
    ratio_exempt_bytes: 1 << 20,
    ratio: 250,
    picture_bytes: 1 << 20,
    picture_pixels: 1 << 20,
};
/// What a scan may hold beside its file.
const MEMORY: u64 = 64 << 20;

/// Opens the file and everything inside it.
pub fn unpack(content: &[u8]) {
    let (engine, granted) = (engine(), Granted::default());
    let input = Input { content, name: None, types: ScanTypes::ALL };
    let report = pipeline::unpack_only(engine, &mut engine.rules.scanner(), &input, &granted);
    granted.assert_returned();
    let report = report.expect("memory is granted or beyond, never short");
    assert!(report.coverage.objects <= LIMITS.objects, "{} objects", report.coverage.objects);
}

/// The whole of a scan: every engine, everything inside.
pub fn scan(content: &[u8]) {
    let (engine, granted) = (engine(), Granted::default());
    let input = Input { content, name: Some("a.bin"), types: ScanTypes::ALL };
    let report = engine.worker().scan(&input, &granted).expect("memory is granted or beyond, never short");
    granted.assert_returned();
    assert!(report.engines.iter().all(|report| report.outcome == EngineOutcome::Examined), "an engine without an answer");
}

/// Decodes the picture.
pub fn picture(content: &[u8]) {
    let limits = PictureLimits { bytes: LIMITS.picture_bytes, pixels: LIMITS.picture_pixels };
    let mut held = 0u64;
    nsfw::decode_only(content, &limits, &mut |bytes| {
        held = held.saturating_add(bytes);
        held <= MEMORY
    });
}

/// Reads the text as a hash list of each kind.
pub fn hash_list(text: &[u8]) {
    for name in ["a.sha256", "a.sha1", "a.md5", "a.hashes"] {
        if let Ok(lists) = HashLists::of_bytes(name, text) {
            lists.lookup(text);
        }
    }
}

/// Reads the text before the first zero byte as a signature file of each kind, and matches what follows with it.
pub fn clamdb(input: &[u8]) {
    let end = memchr::memchr(0, input).unwrap_or(input.len());
    let (text, content) = input.split_at(end);
    let names = ["a.hdb", "a.mdb", "a.imp", "a.fp", "a.ndb", "a.db", "a.ldb", "a.cdb", "a.ftm", "a.pwdb", "a.ign2", "a.ign"];
    let files = names.map(|name| (name, text));
    let database = Database::of_texts(&files, &Settings::new(true)).expect("plain files are never refused");
    database.scan(Object { content, containers: &[database.type_of(content)] }, &|| true);
    let name = String::from_utf8_lossy(content.get(..64).unwrap_or(content));
    let member = Member { name: &name, packed: Some(1), unpacked: None, encrypted: false, crc32: Some(7) };
    database.judge_member(&member, &Container { kind: database.type_of(content), size: content.len() as u64, position: 1 });
}

/// Opens the bytes as a database that is signed, patched or unsigned: the first never verifies.
pub fn clamdb_database(content: &[u8]) {
    for (name, may_load) in [("a.cvd", false), ("a.cld", true), ("a.cud", true)] {
        let loaded = Database::of_texts(&[(name, content)], &Settings::new(true));
        assert!(may_load || loaded.is_err(), "a signature was guessed");
    }
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::load(Config { limits: LIMITS, ..Config::default() }).expect("the built-in rules load"))
}

/// Grants [`MEMORY`] and counts.
#[derive(Default)]
struct Granted(Cell<u64>);

impl Granted {
    fn assert_returned(&self) {
        assert_eq!(self.0.get(), 0, "memory that was not given back");
    }
}

impl Memory for Granted {
    fn grow(&self, bytes: u64) -> Grant {
        let held = self.0.get().saturating_add(bytes);
        if held > MEMORY {
            return Grant::Beyond;
        }
        self.0.set(held);
        Grant::Granted
    }

    fn shrink(&self, bytes: u64) {
        self.0.set(self.0.get().checked_sub(bytes).expect("no more is given back than was granted"));
    }
}
