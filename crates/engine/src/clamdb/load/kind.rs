//! What a file holds, by the extension of its name.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Signature files in one: signed, patched or unsigned.
    Database(Trust),
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
    /// What containers say of their members.
    Members,
    /// Bytes that tell a type.
    Magics,
    /// Passwords of archives.
    Passwords,
    /// Names of signatures not to use.
    Ignored,
    /// Something whose lines are counted under this name.
    UnsupportedLines(&'static str),
    /// Something that counts as one under this name.
    Unsupported(&'static str),
}

/// Who vouches for what a signature file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trust {
    /// A `.cvd` whose signature was verified.
    Signed,
    /// A `.cld`: a signed database as freshclam has patched it on this machine.
    Patched,
    /// Nobody: a `.cud`, or a plain file.
    Unsigned,
}

impl Trust {
    /// `signed`, `locally patched` or `unsigned`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Patched => "locally patched",
            Self::Unsigned => "unsigned",
        }
    }
}

const ALL: [(&str, FileKind); 40] = [
    ("cvd", FileKind::Database(Trust::Signed)),
    ("cld", FileKind::Database(Trust::Patched)),
    ("cud", FileKind::Database(Trust::Unsigned)),
    ("hdb", FileKind::Hashes),
    ("hsb", FileKind::Hashes),
    ("hdu", FileKind::Hashes),
    ("hsu", FileKind::Hashes),
    ("mdb", FileKind::SectionHashes),
    ("msb", FileKind::SectionHashes),
    ("mdu", FileKind::SectionHashes),
    ("msu", FileKind::SectionHashes),
    ("imp", FileKind::ImportHashes),
    ("fp", FileKind::Allowed),
    ("sfp", FileKind::Allowed),
    ("ign", FileKind::Ignored),
    ("ign2", FileKind::Ignored),
    ("db", FileKind::OldBodies),
    ("ndb", FileKind::Bodies),
    ("ndu", FileKind::Bodies),
    ("sdb", FileKind::Bodies),
    ("ldb", FileKind::Logical),
    ("ldu", FileKind::Logical),
    ("cdb", FileKind::Members),
    ("cat", FileKind::UnsupportedLines("cat")),
    ("crb", FileKind::UnsupportedLines("crb")),
    ("ftm", FileKind::Magics),
    ("gdb", FileKind::UnsupportedLines("gdb")),
    ("idb", FileKind::UnsupportedLines("idb")),
    ("pdb", FileKind::UnsupportedLines("pdb")),
    ("pwdb", FileKind::Passwords),
    ("rmd", FileKind::UnsupportedLines("rmd")),
    ("wdb", FileKind::UnsupportedLines("wdb")),
    ("zmd", FileKind::UnsupportedLines("zmd")),
    ("cbc", FileKind::Unsupported("cbc")),
    ("cfg", FileKind::Unsupported("cfg")),
    ("ioc", FileKind::Unsupported("ioc")),
    ("hw", FileKind::Unsupported("hw")),
    ("mdw", FileKind::Unsupported("mdw")),
    ("ndw", FileKind::Unsupported("ndw")),
    ("imu", FileKind::Unsupported("imu")),
];

/// Every extension that means something.
pub(crate) fn extensions() -> Vec<&'static str> {
    ALL.iter().map(|(extension, _)| *extension).collect()
}

/// What the file of that name holds, and its extension.
pub(super) fn of(path: &Path) -> Option<(&'static str, FileKind)> {
    let found = path.extension()?;
    ALL.into_iter().find(|(extension, _)| found.eq_ignore_ascii_case(extension))
}

/// Whether signatures of that extension are of applications that are only possibly unwanted.
pub(super) fn is_unwanted(extension: &str) -> bool {
    ["hdu", "hsu", "mdu", "msu", "ndu", "ldu"].contains(&extension)
}
