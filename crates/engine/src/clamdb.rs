//! ClamAV's signature files, matched in process.
//!
//! What is read, and what is only counted, is listed in docs/rules.md. Emulated is functionality level 216 (ClamAV 1.4). Names from
//! files that nobody signed end in `.UNOFFICIAL`, as ClamAV shows them.

mod body;
mod cache;
mod digests;
mod executable;
mod flat;
mod load;
mod logical;
mod names;
mod offset;
mod pattern;
mod program;
mod target;
mod window;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use filesafety_model::Kind;
use serde::{Deserialize, Serialize};

use crate::{LoadError, yara::Hit};
use body::{Body, Touched};
use digests::{Digests, Sums};
use executable::{Executable, Sort};
use flat::{Block, Damaged};
use logical::{Facts, Logical};
use names::{NameId, Names};
use program::{Exhausted, Work};

/// Where the sections of a program end; what stands behind them is no part of it.
pub(crate) fn end_of_program(content: &[u8]) -> Option<usize> {
    let program = Executable::parse(content)?;
    program.sections.iter().map(|section| section.start.saturating_add(section.length)).max()
}

/// What was read from signature files, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Digests of files, sections and imports in force.
    pub hashes: usize,
    /// Patterns in force.
    pub bodies: usize,
    /// Expressions over patterns in force.
    pub logical: usize,
    /// Digests of allowed files in force.
    pub allowed: usize,
    /// Left out because a list names them.
    pub ignored: usize,
    /// Left out because they are meant for other releases of ClamAV.
    pub other_level: usize,
    /// Lines that are no signature; the log names the first.
    pub invalid: usize,
    /// Signatures of a kind that is not supported, by kind.
    pub unsupported: BTreeMap<Cow<'static, str>, usize>,
}

impl Counts {
    /// Signatures in force.
    pub fn signatures(&self) -> usize {
        self.hashes + self.bodies + self.logical
    }

    /// Whether a signature file was read at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) use load::{check, counts_of_file, extensions, is_signature_file};

/// What is to be told of signatures, compiled with them.
#[derive(Serialize, Deserialize)]
struct About {
    counts: Counts,
    /// Runs of names that are only possibly unwanted, ascending: the first, and the one after the last.
    unwanted: Vec<(NameId, NameId)>,
    fingerprint: [u8; 32],
}

/// All signatures in force; shared by all threads, and by all processes that have its file.
pub(crate) struct Database {
    files: Digests,
    sections: Digests,
    imports: Digests,
    allowed: Digests,
    body: Body,
    logical: Logical,
    names: Names,
    about: About,
    block: Arc<Block>,
}

/// One object to scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a> {
    pub(crate) content: &'a [u8],
    /// It is the file itself, not a member of one.
    pub(crate) outermost: bool,
}

/// What the signatures say of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The worst first, each once.
    pub(crate) hits: Vec<Hit>,
    /// The object, and what is inside, is on a list of allowed files.
    pub(crate) allowed: bool,
    /// Matching met its bound: what was found stands, that nothing else is there does not.
    pub(crate) incomplete: bool,
}

/// Steps of verification that any object may cost.
const LEAST_WORK: u64 = 20_000_000;
/// And so many more for each of its bytes.
const WORK_PER_BYTE: u64 = 32;

/// Ends the names of signatures that nobody signed.
const UNOFFICIAL: &str = ".UNOFFICIAL";

impl Database {
    /// All signature files of `dir`, read and compiled, or mapped from the folder `cache` where a former call compiled the same ones.
    ///
    /// # Errors
    /// A file that cannot be read. A bad line is skipped and counted. Without a usable cache, all is compiled in memory.
    pub(crate) fn load(dir: Option<&Path>, cache: Option<&Path>) -> Result<Self, LoadError> {
        load::load(dir, cache)
    }

    /// A file from which [`Database::of_file`] makes the same, also in another process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.block.file()
    }

    /// What [`Database::file`] of a process of this same program gave.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn of_file(file: OwnedFd) -> Result<Self, LoadError> {
        Self::read(&Block::open(file).map_err(|error| LoadError::Signatures { message: error.to_string() })?)
    }

    /// All tables, in the order in which they are compiled.
    fn read(block: &Arc<Block>) -> Result<Self, LoadError> {
        Self::read_tables(block).map_err(|error| LoadError::Signatures { message: error.to_string() })
    }

    fn read_tables(block: &Arc<Block>) -> io::Result<Self> {
        let reader = &mut block.reader();
        let damaged = io::Error::other::<Damaged>;
        cache::skip_manifest(reader).map_err(damaged)?;
        let about = serde_json::from_slice(&reader.section::<u8>().map_err(damaged)?)?;
        let tables = || {
            Ok(Self {
                files: Digests::read(reader)?,
                sections: Digests::read(reader)?,
                imports: Digests::read(reader)?,
                allowed: Digests::read(reader)?,
                names: Names::read(reader)?,
                logical: Logical::read(reader)?,
                body: Body::read(reader)?,
                about,
                block: block.clone(),
            })
        };
        tables().map_err(damaged)
    }

    /// Files that stand in memory, by name and text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_texts(files: &[(&str, &[u8])]) -> Self {
        load::of_texts(files)
    }

    /// Whether any signature can match.
    pub(crate) fn is_in_force(&self) -> bool {
        self.about.counts.signatures() > 0
    }

    /// What was read.
    pub(crate) fn counts(&self) -> &Counts {
        &self.about.counts
    }

    /// Changes with whatever can change a result.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.about.fingerprint
    }

    /// All signatures that match the object itself, or that it is allowed. Matching ends once `in_time` says that no time is left.
    pub(crate) fn scan(&self, object: Object<'_>, in_time: &dyn Fn() -> bool) -> Findings {
        let content = object.content;
        let mut found = Vec::new();
        let sums = Sums::new(content);
        sums.compute(self.allowed.wanted(content.len()).or(self.files.wanted(content.len())));
        self.allowed.lookup(&sums, &mut found);
        if !found.is_empty() {
            return Findings { allowed: true, ..Findings::default() };
        }
        self.files.lookup(&sums, &mut found);
        let executable = Executable::parse(content);
        if let Some(executable) = executable.as_ref().filter(|executable| executable.sort == Sort::Pe) {
            self.scan_pe(content, executable, &mut found);
        }
        let amount = LEAST_WORK.saturating_add((content.len() as u64).saturating_mul(WORK_PER_BYTE));
        let mut work = Work::new(content, amount, in_time);
        let complete = self.scan_bodies(object, executable.as_ref(), &mut work, &mut found);
        let mut hits: Vec<_> = found.into_iter().map(|name| self.hit(name)).collect();
        hits.sort();
        hits.dedup();
        Findings { hits, allowed: false, incomplete: complete.is_err() }
    }

    fn scan_pe(&self, content: &[u8], executable: &Executable, found: &mut Vec<NameId>) {
        if !self.sections.is_empty() {
            for section in executable.sections.iter().filter(|section| section.length > 0) {
                let section = content.get(section.start..section.start + section.length).unwrap_or_default();
                self.sections.lookup(&Sums::new(section), found);
            }
        }
        if let Some((digest, size)) = (!self.imports.is_empty()).then(|| executable::import_hash(content, executable)).flatten() {
            self.imports.lookup_md5(digest, size, found);
        }
    }

    fn scan_bodies(
        &self,
        object: Object<'_>,
        executable: Option<&Executable>,
        work: &mut Work<'_>,
        found: &mut Vec<NameId>,
    ) -> Result<(), Exhausted> {
        if self.body.is_empty() && self.logical.is_empty() {
            return Ok(());
        }
        let content = object.content;
        let target = target::of(content, executable);
        let mut touched = Touched::default();
        let scanned = self.body.scan(executable, target, work, &mut touched);
        found.extend(touched.signatures());
        // What was counted in full may hold; that too little was counted must not make a negation true.
        if scanned.is_ok() {
            let facts = Facts { length: content.len(), target, executable, outermost: object.outermost };
            self.logical.evaluate(facts, &touched, work, found)?;
        }
        scanned
    }

    fn hit(&self, name: NameId) -> Hit {
        let after = self.about.unwanted.partition_point(|&(_, end)| end <= name);
        let unwanted = self.about.unwanted.get(after).is_some_and(|&(start, _)| start <= name);
        Hit { kind: if unwanted { Kind::Pua } else { Kind::Malware }, signature: self.names.get(name) + UNOFFICIAL }
    }
}

#[cfg(test)]
mod tests;
