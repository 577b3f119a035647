//! ClamAV's signature files, matched in process.
//!
//! What is read, and what is only counted, is listed in docs/rules.md. Emulated is functionality level 216 (ClamAV 1.4). Names from
//! files that nobody signed end in `.UNOFFICIAL`, as ClamAV shows them.

mod body;
mod digests;
mod executable;
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
mod window;

use std::path::Path;

use filesafety_model::Kind;

use crate::{LoadError, unpack::Member, yara::Hit};
use body::{Body, Touched};
use digests::Digests;
use executable::{Executable, Sort};
use logical::{Facts, Logical};
use magic::Magics;
use members::Members;
use names::{NameId, Names};
use program::{Exhausted, Work};
use runs::Runs;

pub(crate) use load::Settings;
pub use load::Trust;
pub(crate) use members::Container;
pub(crate) use passwords::Password;
pub(crate) use sources::RuleFile;
pub use sources::{Counts, Source};
pub(crate) use types::ClamType;

/// All signatures in force; shared by all threads.
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
    /// Names that are only possibly unwanted.
    unwanted: Runs,
    /// Names that somebody has signed.
    signed: Runs,
    rules: Vec<RuleFile>,
    counts: Counts,
    sources: Vec<Source>,
    fingerprint: [u8; 32],
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
    /// Reads every signature file of `dir`.
    ///
    /// # Errors
    /// A file that cannot be read, a database that is not what was made, a bad line in one that is signed. A bad line elsewhere is
    /// skipped and counted.
    pub(crate) fn load(dir: Option<&Path>, settings: &Settings) -> Result<Self, LoadError> {
        load::load(dir, settings)
    }

    /// Files that stand in memory, by name and text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_texts(files: &[(&str, &[u8])], settings: &Settings) -> Result<Self, LoadError> {
        load::of_texts(files, settings)
    }

    /// Whether any signature can match.
    pub(crate) fn is_in_force(&self) -> bool {
        self.counts.signatures() > 0
    }

    /// What was read.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The files that were read.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Rules for YARA-X that stood in databases.
    pub(crate) fn rules(&self) -> &[RuleFile] {
        &self.rules
    }

    /// Changes with whatever can change a result.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// All signatures that match the object itself, or that it is allowed.
    pub(crate) fn scan(&self, object: Object<'_>) -> Findings {
        let content = object.content;
        let mut found = Vec::new();
        self.allowed.lookup(content, &mut found);
        if !found.is_empty() {
            return Findings { allowed: true, ..Findings::default() };
        }
        self.files.lookup(content, &mut found);
        let executable = Executable::parse(content);
        if let Some(executable) = executable.as_ref().filter(|executable| executable.sort == Sort::Pe) {
            self.scan_pe(content, executable, &mut found);
        }
        let complete = self.scan_bodies(object, executable.as_ref(), &mut found);
        let mut hits: Vec<_> = found.into_iter().map(|name| self.hit(name)).collect();
        hits.sort();
        hits.dedup();
        Findings { hits, allowed: false, incomplete: complete.is_err() }
    }

    /// What signatures take the content for.
    pub(crate) fn type_of(&self, content: &[u8]) -> ClamType {
        self.magics.refine(content, ClamType::of(content))
    }

    /// What archives are to be tried with.
    pub(crate) fn passwords(&self) -> &[Password] {
        &self.passwords
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
                self.sections.lookup(content.get(section.start..section.start + section.length).unwrap_or_default(), found);
            }
        }
        if let Some((digest, size)) = (!self.imports.is_empty()).then(|| executable::import_hash(content, executable)).flatten() {
            self.imports.lookup_md5(digest, size, found);
        }
    }

    fn scan_bodies(&self, object: Object<'_>, executable: Option<&Executable>, found: &mut Vec<NameId>) -> Result<(), Exhausted> {
        if self.body.is_empty() && self.logical.len() == 0 {
            return Ok(());
        }
        let content = object.content;
        let known = ClamType::known(content, executable.map(|executable| executable.sort));
        let target = self.magics.refine(content, known).target();
        let mut work = Work { content, left: LEAST_WORK.saturating_add((content.len() as u64).saturating_mul(WORK_PER_BYTE)) };
        let mut touched = Touched::default();
        let scanned = self.body.scan(executable, target, &mut work, &mut touched);
        found.extend(&touched.signatures);
        // What was counted in full may hold; that too little was counted must not make a negation true.
        if scanned.is_ok() {
            let facts = Facts { length: content.len(), target, executable, containers: object.containers };
            self.logical.evaluate(facts, &touched, &mut work, found)?;
        }
        scanned
    }

    fn hit(&self, name: NameId) -> Hit {
        let kind = if self.unwanted.contains(name) { Kind::Pua } else { Kind::Malware };
        let suffix = if self.signed.contains(name) { "" } else { UNOFFICIAL };
        Hit { kind, signature: self.names.get(name) + suffix }
    }
}

#[cfg(test)]
mod tests;
