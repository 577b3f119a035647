//! What is loaded, in a form that other processes of this same program take over: read and compiled once, whoever scans with it.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::SystemTime,
};

use filesafety_mapped::{Mapped, Sealing};
use filesafety_model::{EngineName, Password};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    AskClamd, ClamDbCounts, ClamDbSource, Clamd, Config, ConfiguredClamd, Engine, HashLists, Limits, LoadError, Oversize, Summary,
    budget::CpuClock,
    clamdb::{Database, Settings},
    nsfw::{Classifier, ModelPart, Models},
    yara::Rules,
};

/// Everything loaded, and what is to be told of it. It scans nothing itself: [`Engine::assemble`] makes an engine of its parts.
pub struct Blueprint {
    rules: OwnedFd,
    hashes: Arc<HashLists>,
    clamdb: Database,
    /// The bytes of the operator's own models, one after the other.
    models: OwnedFd,
    clamd: Option<Clamd>,
    summary: Summary,
    required: Vec<EngineName>,
    limits: Limits,
    fingerprint: String,
    description: Vec<u8>,
}

/// What goes with the files, from one process of a program to another.
#[derive(Serialize, Deserialize)]
struct Description {
    limits: Limits,
    /// The largest object that clamd is asked for, and what becomes of larger ones.
    clamd: Option<(u64, Oversize)>,
    rules: [u8; 32],
    passwords: Vec<Vec<u8>>,
    models: Vec<ModelPart>,
}

impl Blueprint {
    /// Loads rules, lists and signatures.
    ///
    /// # Errors
    /// The first thing that does not load, by what mends it.
    pub fn load(config: Config) -> Result<Self, LoadError> {
        let settings = Settings::new(config.clamdb_pua);
        let clamdb = Database::load(config.rules_dir.as_deref(), config.cache_dir.as_deref(), &settings)?;
        let rules = Rules::load_with(config.rules_dir.as_deref(), clamdb.rules())?;
        let hashes = HashLists::load(config.rules_dir.as_deref())?;
        let models = Models::read(&config.picture_models)?;
        let required = crate::required(&clamdb, config.clamd.is_some());
        let summary = Summary {
            signatures: clamdb.counts().signatures(),
            rules: rules.count(),
            hashes: hashes.count(),
            clamd: config.clamd.is_some(),
        };
        let prints = [rules.fingerprint(), hashes.fingerprint(), clamdb.fingerprint(), models.fingerprint()];
        let fingerprint = fingerprint(&prints, &config);
        let description = Description {
            limits: config.limits,
            clamd: config.clamd.as_ref().map(|clamd| (clamd.max_bytes, clamd.oversize)),
            rules: rules.fingerprint(),
            passwords: config.passwords.iter().cloned().chain(clamdb.passwords()).map(|password| password.reveal().to_vec()).collect(),
            models: models.parts(),
        };
        Ok(Self {
            rules: sealed("rules", |file| rules.write_to(file))?,
            models: sealed("models", |file| models.write_to(file).map_err(share))?,
            hashes: Arc::new(hashes),
            clamd: config.clamd.map(Clamd::new),
            clamdb,
            summary,
            required,
            limits: config.limits,
            fingerprint,
            description: serde_json::to_vec(&description).map_err(|error| parts(&error))?,
        })
    }

    /// What [`Engine::assemble`] takes beside the files.
    pub fn description(&self) -> &[u8] {
        &self.description
    }

    /// The files that [`Engine::assemble`] takes, in its order: each can only be read.
    pub fn files(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.rules.as_fd(), self.hashes.file(), self.clamdb.file(), self.models.as_fd()]
    }

    /// The bounds of each scan.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The engines without whose answer a scan for malware has no verdict.
    pub fn required(&self) -> &[EngineName] {
        &self.required
    }

    /// Hexadecimal; it changes with anything that can change a report: rules, lists, model, limits, clamd settings, version.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The clamd that is configured.
    pub fn clamd(&self) -> Option<&Clamd> {
        self.clamd.as_ref()
    }

    /// What was read from ClamAV signature files; `None` where there are none.
    pub fn clamdb(&self) -> Option<&ClamDbCounts> {
        Some(self.clamdb.counts()).filter(|counts| !counts.is_empty())
    }

    /// When the newest of ClamAV's databases was built; `None` where none is used. Plain signature files are no databases: they are as
    /// new as their author left them.
    pub fn newest_database(&self) -> Option<SystemTime> {
        self.clamdb.sources().iter().filter(|source| source.version.is_some()).filter_map(|source| source.built).max()
    }

    /// The ClamAV signature files and databases that were read.
    pub fn clamdb_sources(&self) -> &[ClamDbSource] {
        self.clamdb.sources()
    }

    /// The lists of digests in force.
    pub fn hash_lists(&self) -> &Arc<HashLists> {
        &self.hashes
    }

    pub fn summary(&self) -> Summary {
        self.summary
    }
}

/// See [`Engine::assemble`].
pub(crate) fn assemble(description: &[u8], files: Vec<OwnedFd>, clamd: Option<Box<dyn AskClamd>>) -> Result<Engine, LoadError> {
    let Description { limits, clamd: terms, rules: rules_print, passwords, models: parts_of_models } =
        serde_json::from_slice(description).map_err(|error| parts(&error))?;
    let Ok([rules, hashes, clamdb, models]) = <[OwnedFd; 4]>::try_from(files) else { return Err(parts(&"another number of files")) };
    let models = Models::of_parts(parts_of_models, &Mapped::sealed(models)?).ok_or_else(|| parts(&"models of another size"))?;
    let clamd = match (terms, clamd) {
        (None, _) => None,
        (Some((max_bytes, oversize)), Some(daemon)) => Some(ConfiguredClamd { daemon, max_bytes, oversize }),
        (Some(_), None) => return Err(parts(&"clamd is part of it, and nobody asks it")),
    };
    Ok(Engine {
        rules: Rules::of_bytes(&Mapped::sealed(rules)?, rules_print)?,
        hashes: HashLists::shared(hashes)?,
        clamdb: Database::of_file(clamdb)?,
        clamd,
        classifier: Classifier::load(models)?,
        limits,
        passwords: passwords.into_iter().map(Password::new).collect::<Result<_, _>>().map_err(|error| parts(&error))?,
        clock: CpuClock::Process,
    })
}

fn sealed(name: &str, write: impl FnOnce(&mut Sealing) -> Result<(), LoadError>) -> Result<OwnedFd, LoadError> {
    let mut file = Sealing::new(name).map_err(share)?;
    write(&mut file)?;
    file.finish().map_err(share)
}

fn fingerprint(parts: &[[u8; 32]], config: &Config) -> String {
    let mut digest = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    for part in parts {
        digest.update(part);
    }
    // The debug form names every field, so that a new setting cannot be forgotten here.
    digest.update(format!("{:?} {:?} {:?}", config.limits, config.clamd, config.clamdb_pua));
    for password in &config.passwords {
        digest.update(Sha256::digest(password.reveal()));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn share(error: std::io::Error) -> LoadError {
    LoadError::Share(error.into())
}

fn parts(problem: &dyn std::fmt::Display) -> LoadError {
    LoadError::Parts { message: problem.to_string() }
}
