//! ClamAV's signature files, matched in process.
//!
//! What is read, and what is only counted, is listed in docs/rules.md. Emulated is functionality level 216 (ClamAV 1.4). Names from
//! files that nobody signed end in `.UNOFFICIAL`, as ClamAV shows them.

mod digests;
mod executable;
mod load;
mod names;

use std::{collections::BTreeMap, path::Path};

use filesafety_model::Kind;

use crate::{LoadError, yara::Hit};
use digests::Digests;
use executable::Executable;
use names::{NameId, Names};

/// What was read from signature files, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Digests of files, sections and imports in force.
    pub hashes: usize,
    /// Digests of allowed files in force.
    pub allowed: usize,
    /// Left out because a list names them.
    pub ignored: usize,
    /// Left out because they are meant for other releases of ClamAV.
    pub other_level: usize,
    /// Lines that are no signature; the log names the first.
    pub invalid: usize,
    /// Signatures of a kind that is not supported, by kind.
    pub unsupported: BTreeMap<&'static str, usize>,
}

impl Counts {
    /// Signatures in force.
    pub fn signatures(&self) -> usize {
        self.hashes
    }

    /// Whether a signature file was read at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All signatures in force; shared by all threads.
pub(crate) struct Database {
    files: Digests,
    sections: Digests,
    imports: Digests,
    allowed: Digests,
    names: Names,
    /// Runs of names that are only possibly unwanted, ascending: the first, and the one after the last.
    unwanted: Vec<(NameId, NameId)>,
    counts: Counts,
    fingerprint: [u8; 32],
}

/// What the signatures say of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The worst first, each once.
    pub(crate) hits: Vec<Hit>,
    /// The object, and what is inside, is on a list of allowed files.
    pub(crate) allowed: bool,
}

/// Ends the names of signatures that nobody signed.
const UNOFFICIAL: &str = ".UNOFFICIAL";

impl Database {
    /// Reads every signature file of `dir`.
    ///
    /// # Errors
    /// A file that cannot be read. A bad line is skipped and counted.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, LoadError> {
        load::load(dir)
    }

    /// Files that stand in memory, by name and text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_texts(files: &[(&str, &[u8])]) -> Self {
        load::of_texts(files)
    }

    /// Whether any signature can match.
    pub(crate) fn is_in_force(&self) -> bool {
        self.counts.signatures() > 0
    }

    /// What was read.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Changes with whatever can change a result.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// All signatures that match the object itself, or that it is allowed.
    pub(crate) fn scan(&self, object: &[u8]) -> Findings {
        let mut found = Vec::new();
        self.allowed.lookup(object, &mut found);
        if !found.is_empty() {
            return Findings { hits: Vec::new(), allowed: true };
        }
        self.files.lookup(object, &mut found);
        if !self.sections.is_empty() || !self.imports.is_empty() {
            self.scan_executable(object, &mut found);
        }
        let mut hits: Vec<_> = found.into_iter().map(|name| self.hit(name)).collect();
        hits.sort();
        hits.dedup();
        Findings { hits, allowed: false }
    }

    fn scan_executable(&self, object: &[u8], found: &mut Vec<NameId>) {
        let Some(executable) = Executable::parse(object).filter(|executable| executable.sort == executable::Sort::Pe) else { return };
        for section in executable.sections.iter().filter(|section| section.length > 0) {
            let content = object.get(section.start..section.start + section.length).unwrap_or_default();
            self.sections.lookup(content, found);
        }
        if let Some((digest, size)) = (!self.imports.is_empty()).then(|| executable::import_hash(object, &executable)).flatten() {
            self.imports.lookup_md5(digest, size, found);
        }
    }

    fn hit(&self, name: NameId) -> Hit {
        let after = self.unwanted.partition_point(|&(_, end)| end <= name);
        let unwanted = self.unwanted.get(after).is_some_and(|&(start, _)| start <= name);
        Hit { kind: if unwanted { Kind::Pua } else { Kind::Malware }, signature: self.names.get(name) + UNOFFICIAL }
    }
}

#[cfg(test)]
mod tests;
