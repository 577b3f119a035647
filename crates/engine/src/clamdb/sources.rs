//! What was read from which file.

use std::{borrow::Cow, collections::BTreeMap, path::PathBuf, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::Trust;

/// A signature file, or a database of them, that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name in the folder.
    pub file: String,
    /// Who vouches for it.
    pub trust: Trust,
    /// Of a database.
    pub version: Option<u32>,
    /// When a database was built; when a plain file was last changed.
    pub built: Option<SystemTime>,
    /// How many signatures the header of a database speaks of.
    pub announced: Option<usize>,
    /// Signatures in force, by the extension of the file they stood in; with what detects nothing by itself.
    pub kinds: BTreeMap<Cow<'static, str>, usize>,
    /// What was read, and what was not.
    pub counts: Counts,
}

impl Source {
    pub(super) fn new(file: String, trust: Trust) -> Self {
        let (kinds, counts) = (BTreeMap::new(), Counts::default());
        Self { file, trust, version: None, built: None, announced: None, kinds, counts }
    }
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
    /// Signatures of members of containers in force.
    pub members: usize,
    /// Passwords that archives are tried with.
    pub passwords: usize,
    /// Bytes that tell a type, in force.
    pub magics: usize,
    /// Digests of allowed files in force.
    pub allowed: usize,
    /// Left out because a list names them.
    pub ignored: usize,
    /// Left out because they are meant for other releases of ClamAV.
    pub other_level: usize,
    /// Left out because they name what is only possibly unwanted, and nobody asked for that.
    pub unwanted: usize,
    /// Lines that are no signature; the log names the first.
    pub invalid: usize,
    /// Signatures of a kind that is not supported, by kind.
    pub unsupported: BTreeMap<Cow<'static, str>, usize>,
}

impl Counts {
    /// Signatures in force.
    pub fn signatures(&self) -> usize {
        self.hashes + self.bodies + self.logical + self.members
    }

    /// Whether a signature file was read at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// With what detects nothing by itself.
    pub(super) fn in_force(&self) -> usize {
        self.signatures() + self.allowed + self.passwords + self.magics
    }

    pub(super) fn add_unsupported(&mut self, what: &'static str) {
        *self.unsupported.entry(Cow::Borrowed(what)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { hashes, bodies, logical, members, passwords, magics, allowed, ignored, other_level, unwanted, invalid, unsupported } =
            other;
        self.hashes += hashes;
        self.bodies += bodies;
        self.logical += logical;
        self.members += members;
        self.passwords += passwords;
        self.magics += magics;
        self.allowed += allowed;
        self.ignored += ignored;
        self.other_level += other_level;
        self.unwanted += unwanted;
        self.invalid += invalid;
        for (what, count) in unsupported {
            *self.unsupported.entry(what.clone()).or_default() += count;
        }
    }
}

/// A file of rules for YARA-X that stood in a database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RuleFile {
    /// The database's path and the member's name.
    pub(crate) path: PathBuf,
    pub(crate) text: Vec<u8>,
}
