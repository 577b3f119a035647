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
mod magic;
mod members;
mod names;
mod offset;
mod passwords;
mod pattern;
mod picture;
mod program;
mod runs;
mod sources;
mod types;
mod views;
mod window;

use std::{
    collections::HashSet,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use filesafety_model::{Kind, Password};
use serde::{Deserialize, Serialize};

use crate::{LoadError, unpack::Member, yara::Hit};
use body::{Body, Touched};
use digests::{Digests, Sums};
use executable::{Executable, Sort};
use flat::{Block, Damaged};
use logical::{Facts, Logical};
use magic::Magics;
use members::Members;
use names::{NameId, Names};
use program::{Exhausted, Work};
use runs::Runs;

pub(crate) use load::Settings;
pub use load::Trust;
pub(crate) use members::Container;
pub(crate) use sources::RuleFile;
pub use sources::{Counts, Source};
pub(crate) use types::ClamType;

/// Where the sections of a program end; what stands behind them is no part of it.
pub(crate) fn end_of_program(content: &[u8]) -> Option<usize> {
    let program = Executable::parse(content)?;
    program.sections.iter().map(|section| section.start.saturating_add(section.length)).max()
}

pub(crate) use load::{check, extensions, is_signature_file, source_of_file};

/// What is to be told of signatures, compiled with them.
#[derive(Serialize, Deserialize)]
struct About {
    counts: Counts,
    sources: Vec<Source>,
    /// Names that are only possibly unwanted.
    unwanted: Runs,
    /// Names that somebody has signed.
    signed: Runs,
    small: Small,
    fingerprint: [u8; 32],
}

/// What there is little of: lines, as they were read.
#[derive(Default, Serialize, Deserialize)]
struct Small {
    members: Vec<(String, NameId)>,
    magics: Vec<String>,
    passwords: Vec<String>,
    /// The group, the target, and the pattern.
    macros: Vec<(u8, u8, String)>,
    rules: Vec<RuleFile>,
}

/// All signatures in force; shared by all threads, and by all processes that have its file.
pub(crate) struct Database {
    files: Digests,
    sections: Digests,
    imports: Digests,
    allowed: Digests,
    body: Body,
    logical: Logical,
    members: Members,
    magics: Magics,
    passwords: Vec<Password>,
    names: Names,
    about: About,
    block: Arc<Block>,
}

/// One object to scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a> {
    pub(crate) content: &'a [u8],
    /// The types of the containers that it is in, the outermost first.
    pub(crate) containers: &'a [ClamType],
}

/// What the signatures say of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Each once: the worst first, then those that match the furthest in front, then by name.
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
    /// A file that cannot be read, a database that is not what was made, a bad line in one that is signed. A bad line elsewhere is
    /// skipped and counted. Without a usable cache, all is compiled in memory.
    pub(crate) fn load(dir: Option<&Path>, cache: Option<&Path>, settings: &Settings) -> Result<Self, LoadError> {
        load::load(dir, cache, settings)
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
        let about: About = serde_json::from_slice(&reader.section::<u8>().map_err(damaged)?)?;
        let small = &about.small;
        // Lines that were read once are read again; none is refused now.
        let members = Members::of(&small.members);
        let magics = Magics::of(&small.magics);
        let passwords = small.passwords.iter().filter_map(|line| passwords::parse(line).ok()).map(|(_, password)| password).collect();
        let macros = logical::Macros::of(&small.macros);
        let tables = || {
            Ok(Self {
                files: Digests::read(reader)?,
                sections: Digests::read(reader)?,
                imports: Digests::read(reader)?,
                allowed: Digests::read(reader)?,
                names: Names::read(reader)?,
                logical: Logical::read(reader, macros)?,
                body: Body::read(reader)?,
                members,
                magics,
                passwords,
                about,
                block: block.clone(),
            })
        };
        tables().map_err(damaged)
    }

    /// Files that stand in memory, by name and text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_texts(files: &[(&str, &[u8])], settings: &Settings) -> Result<Self, LoadError> {
        load::of_texts(files, settings)
    }

    /// Whether any signature can match.
    pub(crate) fn is_in_force(&self) -> bool {
        self.about.counts.signatures() > 0
    }

    /// What was read.
    pub(crate) fn counts(&self) -> &Counts {
        &self.about.counts
    }

    /// The files that were read.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.about.sources
    }

    /// Rules for YARA-X that stood in databases.
    pub(crate) fn rules(&self) -> &[RuleFile] {
        &self.about.small.rules
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
        let mut found: Vec<_> = found.into_iter().map(|name| (name, 0)).collect();
        let complete = self.scan_bodies(object, executable.as_ref(), in_time, &mut found);
        let mut placed: Vec<_> = found.into_iter().map(|(name, place)| (self.hit(name), place)).collect();
        placed.sort_by(|(a, at), (b, bt)| (a.kind, at, &a.signature).cmp(&(b.kind, bt, &b.signature)));
        let mut told = HashSet::new();
        let hits = placed.into_iter().map(|(hit, _)| hit).filter(|hit| told.insert(hit.signature.clone())).collect();
        Findings { hits, allowed: false, incomplete: complete.is_err() }
    }

    /// What signatures take the content for.
    pub(crate) fn type_of(&self, content: &[u8]) -> ClamType {
        self.magics.refine(content, ClamType::of(content))
    }

    /// How many bytes [`Database::scan`] holds at most for the normalised forms of the content.
    pub(crate) fn held_by_views(&self, content: &[u8]) -> u64 {
        if self.body.is_empty() && self.logical.is_empty() { 0 } else { views::most_held(content, self.type_of(content)) }
    }

    /// What archives are to be tried with.
    pub(crate) fn passwords(&self) -> impl Iterator<Item = Password> {
        self.passwords.iter().cloned()
    }

    /// Signatures that match what a container says of a member.
    pub(crate) fn judge_member(&self, member: &Member<'_>, container: &Container) -> Vec<Hit> {
        let mut hits: Vec<_> = self.members.lookup(member, container).into_iter().map(|name| self.hit(name)).collect();
        hits.sort();
        hits.dedup();
        hits
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

    /// The object as it is, then its normalised forms, each on its own.
    fn scan_bodies(
        &self,
        object: Object<'_>,
        executable: Option<&Executable>,
        in_time: &dyn Fn() -> bool,
        found: &mut Vec<(NameId, u64)>,
    ) -> Result<(), Exhausted> {
        if self.body.is_empty() && self.logical.is_empty() {
            return Ok(());
        }
        let known = ClamType::known(object.content, executable.map(|executable| executable.sort));
        let kind = self.magics.refine(object.content, known);
        let target = kind.target().filter(|target| !views::is_normalised(*target));
        let mut complete = self.scan_view(object, object.content, target, executable, in_time, found);
        for view in views::of(object.content, kind) {
            // One that meets a bound must not keep the others from being matched.
            complete = complete.and(self.scan_view(object, &view.content, Some(view.target), None, in_time, found));
        }
        complete
    }

    fn scan_view(
        &self,
        object: Object<'_>,
        content: &[u8],
        target: Option<u8>,
        executable: Option<&Executable>,
        in_time: &dyn Fn() -> bool,
        found: &mut Vec<(NameId, u64)>,
    ) -> Result<(), Exhausted> {
        let amount = LEAST_WORK.saturating_add((content.len() as u64).saturating_mul(WORK_PER_BYTE));
        let mut work = Work::new(content, amount, in_time);
        let mut touched = Touched::default();
        let scanned = self.body.scan(executable, target, &mut work, &mut touched);
        found.extend(touched.signatures());
        // What was counted in full may hold; that too little was counted must not make a negation true.
        if scanned.is_ok() {
            let facts = Facts { length: object.content.len(), target, executable, containers: object.containers };
            self.logical.evaluate(facts, &touched, &mut work, found)?;
        }
        scanned
    }

    fn hit(&self, name: NameId) -> Hit {
        let kind = if self.about.unwanted.contains(name) { Kind::Pua } else { Kind::Malware };
        let suffix = if self.about.signed.contains(name) { "" } else { UNOFFICIAL };
        Hit { kind, signature: self.names.get(name) + suffix }
    }
}

#[cfg(test)]
mod tests;
