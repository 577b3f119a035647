//! The only code of FileSafety that reads file content.
//!
//! [`Engine`] holds what is loaded once (rules, hash lists, the image model); a [`Worker`] is what one thread scans with.
//! Nothing here touches a disk after loading, and nothing but clamd, when configured, leaves the thread.

mod blueprint;
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
mod watcher;
mod yara;

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use filesafety_model::{EngineName, Password, Report, ScanTypes};

pub use blueprint::Blueprint;
pub use budget::{Grant, Limits, Memory, Unlimited};
pub use check::{Problem, Weight, check, is_rule_file};
pub use clamd::{AskClamd, Clamd, ClamdAddress, ClamdAddressError, ClamdAnswer, ClamdConfig, Oversize};
pub use clamdb::{Counts as ClamDbCounts, Source as ClamDbSource, Trust as ClamDbTrust};
pub use filetype::media_type;
pub use hashes::HashLists;
pub use inventory::{Family, RuleSource, inventory};
pub use names::name_class;
pub use nsfw::PictureModel;
pub use pipeline::{Explained, ObjectMatches};
pub use watcher::Watcher;
pub use yara::{RuleMatch, StringMatch};

use budget::CpuClock;
use clamdb::Database;
use nsfw::{Classifier, Models};
use watcher::Unwatched;
use yara::{Rules, Scanner};

/// What an [`Engine`] is made of.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// A folder of YARA rules, hash lists and ClamAV signature files that stand beside the built-in rules.
    pub rules_dir: Option<PathBuf>,
    /// Of ClamAV signatures, load those too that name applications that are only possibly unwanted.
    pub clamdb_pua: bool,
    /// A folder for what is compiled from signature files, so that it is compiled once; made where it is missing. Without one it is compiled
    /// in memory at each load.
    pub cache_dir: Option<PathBuf>,
    /// Ask this clamd as well; its answer is then required.
    pub clamd: Option<ClamdConfig>,
    pub limits: Limits,
    /// Tried on whatever is encrypted, after those that come with a file.
    pub passwords: Vec<Password>,
    /// What judges pictures; empty means the built-in model. The scores that are told are those of the first.
    pub picture_models: Vec<PictureModel>,
}

/// The engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Make the path readable, or name another.
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    /// Fetch the database anew.
    #[error("{}: {reason}", path.display())]
    Database { path: PathBuf, reason: String },
    /// Mend that line.
    #[error("{}:{line}: {reason}", path.display())]
    Invalid { path: PathBuf, line: usize, reason: String },
    /// The rules do not fit together.
    #[error("the rules do not compile: {message}")]
    Rules { message: String },
    /// Mend the file that describes the model, or the model.
    #[error("{}: {reason}", path.display())]
    PictureModel { path: PathBuf, reason: String },
    /// Free some memory.
    #[error("the ClamAV signatures cannot be compiled: {message}")]
    Signatures { message: String },
    /// The build is damaged: the model is part of the program.
    #[error("the image model does not load: {message}")]
    Model { message: String },
    /// Leave the service more memory, or more open files.
    #[error("what was loaded cannot be shared: {0}")]
    Share(#[from] filesafety_mapped::MapError),
    /// What one process made another does not understand: the rules changed meanwhile, or a defect.
    #[error("what was loaded does not fit together: {message}")]
    Parts { message: String },
}

/// Everything that is loaded once and shared by all threads.
pub struct Engine {
    rules: Rules,
    hashes: HashLists,
    clamdb: Database,
    clamd: Option<ConfiguredClamd>,
    classifier: Classifier,
    limits: Limits,
    passwords: Vec<Password>,
    clock: CpuClock,
}

/// The daemon, and what its size limit means.
struct ConfiguredClamd {
    daemon: Box<dyn AskClamd>,
    max_bytes: u64,
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
        let clamdb = Database::load(config.rules_dir.as_deref(), config.cache_dir.as_deref(), &clamdb::Settings::new(config.clamdb_pua))?;
        let rules = Rules::load_with(config.rules_dir.as_deref(), clamdb.rules())?;
        let hashes = HashLists::load(config.rules_dir.as_deref())?;
        let clamd = config.clamd.map(|config| ConfiguredClamd {
            max_bytes: config.max_bytes,
            oversize: config.oversize,
            daemon: Box::new(Clamd::new(config)),
        });
        let passwords = config.passwords.into_iter().chain(clamdb.passwords()).collect();
        let (limits, clock) = (config.limits, CpuClock::Thread);
        let classifier = Classifier::load(Models::read(&config.picture_models)?)?;
        Ok(Self { rules, hashes, clamdb, clamd, classifier, limits, passwords, clock })
    }

    /// Puts together in this process what a [`Blueprint`] gave: its description and its files. Where clamd is part of it, `clamd` is
    /// asked. All of the process works for one scan at a time.
    ///
    /// # Errors
    /// The parts are not of one blueprint of this same program.
    pub fn assemble(description: &[u8], files: Vec<OwnedFd>, clamd: Option<Box<dyn AskClamd>>) -> Result<Self, LoadError> {
        blueprint::assemble(description, files, clamd)
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
        required(&self.clamdb, self.clamd.is_some())
    }
}

fn required(clamdb: &Database, clamd: bool) -> Vec<EngineName> {
    let mut required = vec![EngineName::YaraX, EngineName::Hashes];
    required.extend(clamdb.is_in_force().then_some(EngineName::ClamDb));
    required.extend(clamd.then_some(EngineName::Clamd));
    required
}

impl Worker<'_> {
    /// Scans nothing, so that every thread and every map that a scan needs is there: a process that scans may then give up making any.
    pub fn warm_up(&mut self) {
        // A timed scan starts the matcher's clock.
        let _ = self.scanner.scan(b"", Duration::from_secs(1));
        self.engine.classifier.warm_up();
    }

    /// Scans one file with everything inside it. A fault of the file is part of the report.
    ///
    /// The caller has reserved the file's size and [`Limits::FREE_MEMORY`]; what unpacking holds beyond that is asked of `memory`
    /// as it grows, and all of it is given back before this returns.
    ///
    /// # Errors
    /// [`MemoryShort`] once `memory` answers [`Grant::Short`].
    pub fn scan(&mut self, input: &Input<'_>, memory: &dyn Memory) -> Result<Report, MemoryShort> {
        self.scan_watched(input, memory, &Unwatched)
    }

    /// As [`Worker::scan`], and `watcher` hears at once of what will count in the report: should this process be ended before there
    /// is one, what it found is not lost.
    ///
    /// # Errors
    /// As [`Worker::scan`].
    pub fn scan_watched(&mut self, input: &Input<'_>, memory: &dyn Memory, watcher: &dyn Watcher) -> Result<Report, MemoryShort> {
        pipeline::scan(self.engine, &mut self.scanner, input, memory, watcher)
    }
}
