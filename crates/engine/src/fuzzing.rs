//! What the fuzzers call; compiled for them alone (`--cfg fuzzing`).
//!
//! Each function checks what must hold whatever the bytes are: no panic, all memory given back, none taken beyond what was granted.

use std::{cell::Cell, sync::OnceLock};

use filesafety_model::{EngineOutcome, Password, Reason, ScanTypes};

use crate::{
    Config, Engine, Grant, Input, Limits, Memory,
    clamdb::{Container, Database, Object, Settings},
    filetype::Format,
    hashes::HashLists,
    normalise,
    nsfw::{self, PictureLimits},
    pipeline, search,
    unpack::{self, Decoded, Member, Sink, Stop},
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
    let input = Input { content, name: None, types: ScanTypes::ALL, passwords: &[] };
    let report = pipeline::unpack_only(engine, &mut engine.rules.scanner(), &input, &granted);
    granted.assert_returned();
    let report = report.expect("memory is granted or beyond, never short");
    assert!(report.coverage.objects <= LIMITS.objects, "{} objects", report.coverage.objects);
}

/// Gives the bytes behind the first, which chooses, to one opener of archives.
pub fn archive(input: &[u8]) {
    const FORMATS: [Format; 13] = [
        Format::Zip,
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
        Format::Tar,
        Format::Chm,
    ];
    let Some((choice, content)) = input.split_first() else { return };
    let mut sink = Discarding { left: 20_000, passwords: [Password::new("sesame").expect("a password")].into() };
    match FORMATS.get(usize::from(*choice)) {
        Some(format) => drop(unpack::open(*format, content, Some("a.bin"), &mut sink)),
        None => drop(search::embedded(content, &mut sink)),
    }
}

/// Takes the bytes for a program that may be packed.
pub fn program(content: &[u8]) {
    let mut sink = Discarding { left: 20_000, passwords: [].into() };
    let _ = unpack::look(content, &mut sink);
}

/// Decodes to nothing, in so many steps.
struct Discarding {
    left: u32,
    passwords: std::rc::Rc<[Password]>,
}

impl Sink for Discarding {
    fn child(&mut self, _: &str, content: &mut dyn std::io::Read) -> Result<Decoded, Stop> {
        self.probe(content)
    }

    fn unexamined(&mut self, _: Reason, _: &str) {}

    fn member_unexamined(&mut self, _: &str, _: Reason, _: &str) {}

    fn note(&mut self, _: &str) {}

    fn tick(&mut self) -> Result<(), Stop> {
        self.left = self.left.checked_sub(1).ok_or(Stop)?;
        Ok(())
    }

    fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        if bytes > MEMORY { Err(Stop) } else { Ok(()) }
    }

    fn room(&self) -> u64 {
        MEMORY
    }

    fn passwords(&self) -> std::rc::Rc<[Password]> {
        self.passwords.clone()
    }
}

/// The whole of a scan: every engine, everything inside.
pub fn scan(content: &[u8]) {
    let (engine, granted) = (engine(), Granted::default());
    let input = Input { content, name: Some("a.bin"), types: ScanTypes::ALL, passwords: &[] };
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

/// Makes the views of a text and of a page.
pub fn normalise(content: &[u8]) {
    assert!(normalise::text(content).len() <= content.len());
    let page = normalise::html(content);
    assert!(page.without_comments.len().max(page.without_tags.len()) <= 3 * content.len() + 16);
    let script = normalise::decode_script(content);
    assert!(script.is_none_or(|script| script.len() <= content.len()));
    if let Some(endian) = normalise::Endian::of(content) {
        normalise::to_utf8(content, endian);
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
