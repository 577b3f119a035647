//! The only code of FileSafety that reads file content.
//!
//! [`Engine`] holds what is loaded once (rules, hash lists, the image model); a [`Worker`] is what one thread scans with.
//! Nothing here touches a disk after loading, and nothing but clamd, when configured, leaves the thread.

mod budget;
mod check;
mod clamd;
mod clamdb;
mod facts;
mod filetype;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hashes;
mod inventory;
mod names;
mod normalise;
mod nsfw;
mod pipeline;
mod search;
mod unpack;
mod yara;

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use filesafety_model::{EngineName, Password, Report, ScanTypes};
use sha2::{Digest, Sha256};

pub use budget::{Grant, Limits, Memory, Unlimited};
pub use check::{Problem, Weight, check, is_rule_file};
pub use clamd::{ClamdAddress, ClamdAddressError, ClamdConfig, Oversize};
pub use clamdb::Counts as ClamDbCounts;
pub use filetype::media_type;
pub use hashes::HashLists;
pub use inventory::{Family, RuleSource, inventory};
pub use names::name_class;
pub use pipeline::{Explained, ObjectMatches};
pub use yara::{RuleMatch, StringMatch};

use clamd::Clamd;
use clamdb::Database;
use nsfw::Classifier;
use yara::{Rules, Scanner};

/// What an [`Engine`] is made of.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// A folder of YARA rules, hash lists and ClamAV signature files that stand beside the built-in rules.
    pub rules_dir: Option<PathBuf>,
    /// A folder for what is compiled from signature files, so that it is compiled once; made where it is missing. Without one it is compiled
    /// in memory at each load.
    pub cache_dir: Option<PathBuf>,
    /// Ask this clamd as well; its answer is then required.
    pub clamd: Option<ClamdConfig>,
    pub limits: Limits,
    /// Tried on whatever is encrypted, after those that come with a file.
    pub passwords: Vec<Password>,
}

/// The engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Make the path readable, or name another.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Mend that line.
    #[error("{}:{line}: {reason}", path.display())]
    Invalid { path: PathBuf, line: usize, reason: String },
    /// The rules do not fit together.
    #[error("the rules do not compile: {message}")]
    Rules { message: String },
    /// Free some memory.
    #[error("the ClamAV signatures cannot be compiled: {message}")]
    Signatures { message: String },
    /// The build is damaged: the model is part of the program.
    #[error("the image model does not load: {message}")]
    Model { message: String },
}

/// Everything that is loaded once and shared by all threads.
pub struct Engine {
    rules: Rules,
    hashes: Arc<HashLists>,
    clamdb: Database,
    clamd: Option<ConfiguredClamd>,
    classifier: Classifier,
    limits: Limits,
    passwords: Vec<Password>,
    fingerprint: String,
}

/// The daemon, and what its size limit means.
struct ConfiguredClamd {
    daemon: Clamd,
    oversize: Oversize,
}

/// What is loaded, for a log line or a status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// YARA rules, the built-in ones with them.
    pub rules: usize,
    /// Entries of all hash lists.
    pub hashes: usize,
    /// Signatures of ClamAV's formats in force.
    pub signatures: usize,
    /// Whether a clamd is asked.
    pub clamd: bool,
}

/// One file to scan.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub content: &'a [u8],
    /// What the sender calls it. It never decides the type; it names what a gzip without a name of its own holds, and it can deceive
    /// ([`name_class`]).
    pub name: Option<&'a str>,
    pub types: ScanTypes,
    /// Tried first on whatever in it is encrypted.
    pub passwords: &'a [Password],
}

/// [`Grant::Short`] was given: nothing is held any more, and the scan is to be run again with more memory reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory left for scans does not suffice at the moment")]
pub struct MemoryShort;

/// What one thread scans with; made once for each thread, since making it costs more than a small scan.
pub struct Worker<'e> {
    engine: &'e Engine,
    scanner: Scanner<'e>,
}

impl Engine {
    /// Loads rules, lists and model.
    ///
    /// # Errors
    /// The first thing that does not load, by what mends it.
    pub fn load(config: Config) -> Result<Self, LoadError> {
        let rules = Rules::load(config.rules_dir.as_deref())?;
        let hashes = HashLists::load(config.rules_dir.as_deref())?;
        let clamdb = Database::load(config.rules_dir.as_deref(), config.cache_dir.as_deref())?;
        let classifier = Classifier::load()?;
        let mut digest = Sha256::new();
        digest.update(env!("CARGO_PKG_VERSION"));
        for part in [rules.fingerprint(), hashes.fingerprint(), clamdb.fingerprint(), classifier.fingerprint()] {
            digest.update(part);
        }
        // The debug form names every field, so that a new setting cannot be forgotten here.
        digest.update(format!("{:?} {:?}", config.limits, config.clamd));
        for password in &config.passwords {
            digest.update(Sha256::digest(password.reveal()));
        }
        Ok(Self {
            rules,
            hashes: Arc::new(hashes),
            clamdb,
            clamd: config.clamd.map(|config| ConfiguredClamd { oversize: config.oversize, daemon: Clamd::new(config) }),
            classifier,
            limits: config.limits,
            passwords: config.passwords,
            fingerprint: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// What a thread scans with.
    pub fn worker(&self) -> Worker<'_> {
        Worker { engine: self, scanner: self.rules.scanner() }
    }

    /// As [`Worker::scan`], and which rules match which object, for the people who write rules. It takes more time, and as much memory
    /// as it likes.
    pub fn explain(&self, input: &Input<'_>) -> Explained {
        pipeline::explain(self, &mut self.rules.scanner(), input)
    }

    /// The engines without whose answer a scan for malware has no verdict.
    pub fn required(&self) -> Vec<EngineName> {
        let mut required = vec![EngineName::YaraX, EngineName::Hashes];
        required.extend(self.clamdb.is_in_force().then_some(EngineName::ClamDb));
        required.extend(self.clamd.as_ref().map(|_| EngineName::Clamd));
        required
    }

    /// Hexadecimal; it changes with anything that can change a report: rules, lists, model, limits, clamd settings, version.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// Whether the clamd that is configured answers; blocks for some seconds at most.
    ///
    /// # Errors
    /// What keeps it from answering.
    pub fn ping_clamd(&self) -> Result<(), String> {
        self.clamd.as_ref().map_or(Ok(()), |clamd| clamd.daemon.ping())
    }

    /// What was read from ClamAV signature files; `None` where there are none.
    pub fn clamdb(&self) -> Option<&ClamDbCounts> {
        Some(self.clamdb.counts()).filter(|counts| !counts.is_empty())
    }

    /// When the newest of ClamAV's databases was built; `None` where none is used. Plain signature files are no databases: they are as
    /// new as their author left them.
    pub fn newest_database(&self) -> Option<SystemTime> {
        None
    }

    /// The lists of digests in force.
    pub fn hash_lists(&self) -> Arc<HashLists> {
        self.hashes.clone()
    }

    pub fn summary(&self) -> Summary {
        Summary {
            signatures: self.clamdb.counts().signatures(),
            rules: self.rules.count(),
            hashes: self.hashes.count(),
            clamd: self.clamd.is_some(),
        }
    }
}

impl Worker<'_> {
    /// Scans one file with everything inside it. A fault of the file is part of the report.
    ///
    /// The caller has reserved the file's size and [`Limits::FREE_MEMORY`]; what unpacking holds beyond that is asked of `memory`
    /// as it grows, and all of it is given back before this returns.
    ///
    /// # Errors
    /// [`MemoryShort`] once `memory` answers [`Grant::Short`].
    pub fn scan(&mut self, input: &Input<'_>, memory: &dyn Memory) -> Result<Report, MemoryShort> {
        pipeline::scan(self.engine, &mut self.scanner, input, memory)
    }
}
