//! The signature files of a folder, read line by line.
//!
//! Formats: ClamAV's manual, *Signatures* (<https://docs.clamav.net/manual/Signatures.html>). A file that nobody signed may have bad
//! lines: each is skipped, counted, and the first few are told with file and line. What is not supported is counted by its kind.

mod check;
mod line;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::{
    About, Counts, Database,
    body::{self, Owner, Terms, Word},
    cache::{self, Origin},
    digests,
    flat::Writer,
    logical,
    names::{self, NameId},
};
use crate::{LoadError, yara::folder};

pub(crate) use check::check;
pub(super) use line::{Refused, check_level};
use line::{parse_body, parse_hash, parse_old_body, parse_section_hash};

/// Every signature file that stands in `dir` itself, compiled: by a former call, where the folder `cache` has what fits, or now.
pub(super) fn load(dir: Option<&Path>, cache: Option<&Path>) -> Result<Database, LoadError> {
    let Some(dir) = dir else { return Database::read(&cache::in_memory(&|writer| Reading::new().write(writer))?) };
    let paths = folder::files(dir, &FileKind::extensions())?;
    let compile = |writer: &mut Writer<'_>| read(&paths)?.write(writer);
    let origin = Origin { folder: dir, paths: &paths, settings: String::new() };
    let block = match cache.filter(|_| !paths.is_empty()) {
        Some(cache) => cache::load(cache, &origin, &compile)?,
        None => cache::in_memory(&compile)?,
    };
    Database::read(&block)
}

fn read(paths: &[PathBuf]) -> Result<Reading, LoadError> {
    let mut reading = Reading::new();
    let mut files: Vec<_> = paths.iter().filter_map(|path| Some((FileKind::of(path)?, path))).collect();
    // What is to be ignored is known before what it ignores.
    files.sort_by_key(|(kind, _)| *kind != FileKind::Ignored);
    for (kind, path) in files {
        let file = File::open(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        reading.read(kind, path, BufReader::with_capacity(1 << 16, file))?;
    }
    Ok(reading)
}

/// What one signature file holds.
pub(crate) fn counts_of_file(path: &Path) -> Result<Counts, LoadError> {
    let reading = read(&[path.to_owned()])?;
    Ok(Counts { logical: reading.logical.len(), ..reading.counts })
}

/// One signature file that stands in memory, as if it were called `name`.
#[cfg(any(test, fuzzing))]
pub(super) fn of_texts(files: &[(&str, &[u8])]) -> Database {
    let read = || {
        let mut reading = Reading::new();
        for ignored in [true, false] {
            for (name, text) in files {
                if let Some(kind) = FileKind::of(Path::new(name)).filter(|kind| (*kind == FileKind::Ignored) == ignored) {
                    reading.read(kind, Path::new(name), *text)?;
                }
            }
        }
        Ok::<_, LoadError>(reading)
    };
    let block = cache::in_memory(&|writer| read()?.write(writer));
    Database::read(&block.expect("memory is read without an error")).expect("what was compiled in memory is whole")
}

/// The functionality level of the ClamAV release whose signatures are understood: 1.4.
const LEVEL: u32 = 216;
/// Longer lines are refused.
const MAX_LINE: usize = 1 << 17;
/// So many bad lines of one load are told, each with file and line; the rest only counted.
const MAX_TOLD: usize = 20;

/// What a file holds, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    /// Digests of files.
    Hashes,
    /// Digests of sections of PE files.
    SectionHashes,
    /// Digests of the imports of PE files.
    ImportHashes,
    /// Digests of files that are allowed.
    Allowed,
    /// Patterns.
    Bodies,
    /// Patterns for any file, in the oldest form.
    OldBodies,
    /// Expressions over patterns.
    Logical,
    /// Names of signatures not to use.
    Ignored,
    /// Something whose lines are counted under this name.
    UnsupportedLines(&'static str),
    /// Something that counts as one under this name.
    Unsupported(&'static str),
}

/// What signature files end in.
pub(crate) fn extensions() -> Vec<&'static str> {
    FileKind::extensions()
}

pub(crate) fn is_signature_file(path: &Path) -> bool {
    FileKind::of(path).is_some()
}

impl FileKind {
    const ALL: [(&'static str, Self); 39] = [
        ("hdb", Self::Hashes),
        ("hsb", Self::Hashes),
        ("hdu", Self::Hashes),
        ("hsu", Self::Hashes),
        ("mdb", Self::SectionHashes),
        ("msb", Self::SectionHashes),
        ("mdu", Self::SectionHashes),
        ("msu", Self::SectionHashes),
        ("imp", Self::ImportHashes),
        ("fp", Self::Allowed),
        ("sfp", Self::Allowed),
        ("ign", Self::Ignored),
        ("ign2", Self::Ignored),
        ("db", Self::OldBodies),
        ("ndb", Self::Bodies),
        ("ndu", Self::Bodies),
        ("sdb", Self::Bodies),
        ("ldb", Self::Logical),
        ("ldu", Self::Logical),
        ("cdb", Self::UnsupportedLines("cdb")),
        ("cat", Self::UnsupportedLines("cat")),
        ("crb", Self::UnsupportedLines("crb")),
        ("ftm", Self::UnsupportedLines("ftm")),
        ("gdb", Self::UnsupportedLines("gdb")),
        ("idb", Self::UnsupportedLines("idb")),
        ("pdb", Self::UnsupportedLines("pdb")),
        ("pwdb", Self::UnsupportedLines("pwdb")),
        ("rmd", Self::UnsupportedLines("rmd")),
        ("wdb", Self::UnsupportedLines("wdb")),
        ("zmd", Self::UnsupportedLines("zmd")),
        ("cbc", Self::Unsupported("cbc")),
        ("cld", Self::Unsupported("cld")),
        ("cud", Self::Unsupported("cud")),
        ("cvd", Self::Unsupported("cvd")),
        ("ioc", Self::Unsupported("ioc")),
        ("hw", Self::Unsupported("hw")),
        ("mdw", Self::Unsupported("mdw")),
        ("ndw", Self::Unsupported("ndw")),
        ("imu", Self::Unsupported("imu")),
    ];

    fn extensions() -> Vec<&'static str> {
        Self::ALL.iter().map(|(extension, _)| *extension).collect()
    }

    fn of(path: &Path) -> Option<Self> {
        let found = path.extension()?;
        Self::ALL.iter().find(|(extension, _)| found.eq_ignore_ascii_case(extension)).map(|(_, kind)| *kind)
    }
}

/// Whether a file's extension says that its signatures are of applications that are only possibly unwanted.
fn is_unwanted(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["hdu", "hsu", "mdu", "msu", "ndu", "ldu"].iter().any(|unwanted| extension == *unwanted)
}

/// Where a line stands.
struct Place<'a> {
    path: &'a Path,
    number: u64,
    unwanted: bool,
}

/// Signatures as they are read.
struct Reading {
    names: names::Builder,
    /// The number of the first name, and of the first beyond, of each run that is only possibly unwanted.
    unwanted: Vec<(NameId, NameId)>,
    files: digests::Reading,
    sections: digests::Reading,
    imports: digests::Reading,
    allowed: digests::Reading,
    body: body::Builder,
    logical: logical::Builder,
    ignored: Ignored,
    counts: Counts,
    told: usize,
    fingerprint: Sha256,
}

/// The signatures not to use.
#[derive(Default)]
struct Ignored {
    /// By name; with the MD5 of the line where only that one is meant.
    names: HashMap<String, Vec<Option<[u8; 16]>>>,
    /// By the file's name without extension, the line and the name.
    places: HashMap<(String, u64), String>,
}

impl Reading {
    fn new() -> Self {
        Self {
            names: names::Builder::default(),
            unwanted: Vec::new(),
            files: digests::Reading::default(),
            sections: digests::Reading::default(),
            imports: digests::Reading::default(),
            allowed: digests::Reading::default(),
            body: body::Builder::default(),
            logical: logical::Builder::default(),
            ignored: Ignored::default(),
            counts: Counts::default(),
            told: 0,
            fingerprint: Sha256::new(),
        }
    }

    /// Compiles all to flat tables, in the order in which [`Database::read`] takes them.
    fn write(mut self, writer: &mut Writer<'_>) -> Result<(), LoadError> {
        self.counts.logical = self.logical.len();
        if self.told > MAX_TOLD {
            tracing::warn!(lines = self.counts.invalid, "more lines of signature files were skipped; /readyz counts them");
        }
        self.write_tables(writer).map_err(|error| LoadError::Signatures { message: error.to_string() })
    }

    fn write_tables(self, writer: &mut Writer<'_>) -> io::Result<()> {
        let about = About { counts: self.counts, unwanted: self.unwanted, fingerprint: self.fingerprint.finalize().into() };
        writer.section(&serde_json::to_vec(&about)?)?;
        // Each is given back before the next is laid out.
        self.files.write(writer)?;
        self.sections.write(writer)?;
        self.imports.write(writer)?;
        self.allowed.write(writer)?;
        self.names.write(writer)?;
        self.logical.write(writer)?;
        self.body.write(writer)
    }

    fn read(&mut self, kind: FileKind, path: &Path, mut lines: impl BufRead) -> Result<(), LoadError> {
        self.fingerprint.update(path.extension().unwrap_or_default().as_encoded_bytes());
        if let FileKind::Unsupported(what) = kind {
            self.counts.add_unsupported(what);
            return Ok(());
        }
        let refused = |source| LoadError::Read { path: path.to_owned(), source };
        let mut place = Place { path, number: 0, unwanted: is_unwanted(path) };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line).map_err(refused)?;
            if read == 0 {
                return Ok(());
            }
            self.fingerprint.update(&line);
            place.number += 1;
            let whole = line.ends_with(b"\n") || read < MAX_LINE;
            let added = if whole { self.add(kind, &place, &line) } else { Err(Refused::Invalid("the line is longer than 128 KiB")) };
            if !whole {
                self.skip_rest(&mut lines).map_err(refused)?;
            }
            if let Err(refused) = added {
                self.count(refused, &place);
            }
        }
    }

    fn skip_rest(&mut self, lines: &mut impl BufRead) -> std::io::Result<()> {
        loop {
            let buffer = lines.fill_buf()?;
            let end = memchr::memchr(b'\n', buffer);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.fingerprint.update(buffer.get(..used).unwrap_or_default());
            lines.consume(used);
            if end.is_some() || used == 0 {
                return Ok(());
            }
        }
    }

    fn count(&mut self, refused: Refused, place: &Place<'_>) {
        match refused {
            Refused::Unsupported(what) => self.counts.add_unsupported(what),
            Refused::Level => self.counts.other_level += 1,
            Refused::Ignored => self.counts.ignored += 1,
            Refused::Invalid(reason) => {
                self.counts.invalid += 1;
                self.told += 1;
                if self.told <= MAX_TOLD {
                    tracing::warn!(file = %place.path.display(), line = place.number, "a signature is skipped: {reason}");
                }
            }
        }
    }

    fn add(&mut self, kind: FileKind, place: &Place<'_>, line: &[u8]) -> Result<(), Refused> {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(());
        }
        let text = std::str::from_utf8(line).map_err(|_| Refused::Invalid("not UTF-8"))?;
        match kind {
            FileKind::Hashes => {
                let entry = parse_hash(text)?;
                let name = self.name(entry.name, text, place)?;
                self.files.add(entry.digest, entry.size, name);
                self.counts.hashes += 1;
            }
            FileKind::SectionHashes => {
                let entry = parse_section_hash(text)?;
                let name = self.name(entry.name, text, place)?;
                self.sections.add(entry.digest, entry.size, name);
                self.counts.hashes += 1;
            }
            FileKind::ImportHashes => {
                let entry = parse_hash(text)?;
                if !matches!(entry.digest, digests::AnyDigest::Md5(_)) {
                    return Err(Refused::Invalid("the hash of imports is an MD5"));
                }
                let name = self.name(entry.name, text, place)?;
                self.imports.add(entry.digest, entry.size, name);
                self.counts.hashes += 1;
            }
            FileKind::Allowed => {
                let entry = parse_hash(text)?;
                let name = self.name(entry.name, text, place)?;
                self.allowed.add(entry.digest, entry.size, name);
                self.counts.allowed += 1;
            }
            FileKind::Bodies => self.add_body(parse_body(text)?, text, place)?,
            FileKind::OldBodies => self.add_body(parse_old_body(text)?, text, place)?,
            FileKind::Logical => {
                let signature = logical::parse(text)?;
                let name = self.name(signature.name, text, place)?;
                self.logical.add(signature, name, &mut self.body)?;
            }
            FileKind::Ignored => self.ignored.add(text)?,
            FileKind::UnsupportedLines(what) | FileKind::Unsupported(what) => return Err(Refused::Unsupported(what)),
        }
        Ok(())
    }

    fn add_body(&mut self, signature: line::Body<'_>, text: &str, place: &Place<'_>) -> Result<(), Refused> {
        let name = self.name(signature.name, text, place)?;
        let terms = Terms { target: signature.target, offset: signature.offset, fold: false, word: Word::Any };
        self.body.add(&signature.pattern, terms, Owner::Signature(name));
        self.counts.bodies += 1;
        Ok(())
    }

    /// The number of a new signature's name, unless it is to be ignored.
    fn name(&mut self, name: &str, line: &str, place: &Place<'_>) -> Result<NameId, Refused> {
        line::check_name(name)?;
        if self.ignored.holds(name, line, place) {
            return Err(Refused::Ignored);
        }
        let number = self.names.add(name).ok_or(Refused::Invalid("more signatures than can be held"))?;
        if place.unwanted || name.starts_with("PUA.") {
            match self.unwanted.last_mut() {
                Some((_, end)) if *end == number => *end = number + 1,
                _ => self.unwanted.push((number, number + 1)),
            }
        }
        Ok(number)
    }
}

impl Ignored {
    fn add(&mut self, line: &str) -> Result<(), Refused> {
        let fields: Vec<_> = line.split(':').collect();
        match fields.as_slice() {
            [name] => self.names.entry(plain(name)).or_default().push(None),
            [name, digest] => match digests::AnyDigest::parse(digest) {
                Some(digests::AnyDigest::Md5(digest)) => self.names.entry(plain(name)).or_default().push(Some(digest)),
                _ => return Err(Refused::Invalid("after the name comes no MD5")),
            },
            [database, line, name] => {
                let line = line.parse().map_err(|_| Refused::Invalid("the second field is no line number"))?;
                self.places.insert((stem(database).to_owned(), line), plain(name));
            }
            _ => return Err(Refused::Invalid("neither a name, nor a name and an MD5, nor a database, a line and a name")),
        }
        Ok(())
    }

    fn holds(&self, name: &str, line: &str, place: &Place<'_>) -> bool {
        let by_name = self
            .names
            .get(name)
            .is_some_and(|only| only.iter().any(|digest| digest.is_none_or(|digest| <[u8; 16]>::from(Md5::digest(line)) == digest)));
        let by_place = || {
            let file = place.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.places.get(&(file, place.number)).is_some_and(|ignored| ignored == name)
        };
        by_name || !self.places.is_empty() && by_place()
    }
}

/// Names are written as reports show them, too.
fn plain(name: &str) -> String {
    name.strip_suffix(super::UNOFFICIAL).unwrap_or(name).to_owned()
}

fn stem(database: &str) -> &str {
    database.rsplit_once('.').map_or(database, |(stem, _)| stem)
}

/// Counts by kind, made so that a kind cannot be forgotten.
impl Counts {
    fn add_unsupported(&mut self, what: &'static str) {
        let unsupported: &mut BTreeMap<Cow<'static, str>, usize> = &mut self.unsupported;
        *unsupported.entry(Cow::Borrowed(what)).or_default() += 1;
    }
}
