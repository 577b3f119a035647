//! The signature files of a folder, and the databases that hold such files.
//!
//! Formats: ClamAV's manual, *Signatures* (<https://docs.clamav.net/manual/Signatures.html>). A file that nobody signed may have bad
//! lines: each is skipped, counted, and the first few are told with file and line. What is not supported is counted by its kind.

mod check;
mod container;
mod ignored;
mod kind;
mod line;
mod reading;
mod seal;

use std::{
    collections::HashMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    Database, Source,
    cache::{self, Origin},
    digests,
    flat::Writer,
};
use crate::{LoadError, yara::folder};

use container::{Header, Members};
use kind::FileKind;
use reading::{Reading, Strictness};

pub(crate) use check::check;
pub use kind::Trust;
pub(crate) use kind::extensions;
pub(super) use line::{Refused, check_level};
pub(super) use seal::PublicKey;

/// The functionality level of the ClamAV release whose signatures are understood: 1.4.
const LEVEL: u32 = 216;

/// How signature files are read.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Load what names applications that are only possibly unwanted.
    pub(crate) unwanted: bool,
    /// Who may sign databases.
    pub(super) key: PublicKey,
}

impl Settings {
    /// With the key of ClamAV's own databases.
    pub(crate) fn new(unwanted: bool) -> Self {
        Self { unwanted, key: PublicKey::published() }
    }
}

/// A file of the folder that is to be read.
struct Found {
    extension: &'static str,
    kind: FileKind,
    path: PathBuf,
}

/// Every signature file that stands in `dir` itself, compiled: by a former call, where the folder `cache` has what fits, or now.
pub(super) fn load(dir: Option<&Path>, cache: Option<&Path>, settings: &Settings) -> Result<Database, LoadError> {
    let Some(dir) = dir else {
        return Database::read(&cache::in_memory(&|writer| Reading::new(settings.clone()).write(writer))?);
    };
    let paths = folder::files(dir, &kind::extensions())?;
    let compile = |writer: &mut Writer<'_>| read_all(&paths, settings)?.write(writer);
    let origin = Origin { folder: dir, paths: &paths, settings: format!("{settings:?}") };
    let block = match cache.filter(|_| !paths.is_empty()) {
        Some(cache) => cache::load(cache, &origin, &compile)?,
        None => cache::in_memory(&compile)?,
    };
    Database::read(&block)
}

fn read_all(paths: &[PathBuf], settings: &Settings) -> Result<Reading, LoadError> {
    let mut reading = Reading::new(settings.clone());
    let found = paths.iter().filter_map(|path| kind::of(path).map(|(extension, kind)| Found { extension, kind, path: path.clone() }));
    let mut files = newest(found.collect())?;
    // What is to be ignored is known before what it ignores.
    files.sort_by_key(|found| found.kind != FileKind::Ignored);
    for found in &files {
        if let FileKind::Database(trust) = found.kind {
            reading.begin(&found.path, trust);
            container::read(&mut reading, &found.path, open(&found.path)?, trust, &settings.key, Members::Ignored)?;
        }
    }
    for found in &files {
        read(&mut reading, found, settings)?;
    }
    Ok(reading)
}

/// What one signature file, or a database, holds.
pub(crate) fn source_of_file(path: &Path, settings: &Settings) -> Result<Source, LoadError> {
    let mut reading = Reading::new(settings.clone());
    if let Some((extension, kind)) = kind::of(path) {
        read(&mut reading, &Found { extension, kind, path: path.to_owned() }, settings)?;
    }
    Ok(reading.into_source())
}

pub(crate) fn is_signature_file(path: &Path) -> bool {
    kind::of(path).is_some()
}

fn read(reading: &mut Reading, found: &Found, settings: &Settings) -> Result<(), LoadError> {
    let file = open(&found.path)?;
    let FileKind::Database(trust) = found.kind else {
        let changed = file.metadata().and_then(|metadata| metadata.modified()).ok();
        reading.begin(&found.path, Trust::Unsigned);
        reading.read(found.extension, found.kind, &found.path, Strictness::Skip, BufReader::with_capacity(1 << 16, file))?;
        reading.end(|source| source.built = changed);
        return Ok(());
    };
    reading.begin(&found.path, trust);
    let header = container::read(reading, &found.path, file, trust, &settings.key, Members::All)?;
    if header.level > LEVEL {
        tracing::warn!(file = %found.path.display(), level = header.level, "a database for a newer release; what only that one understands is left out");
    }
    reading.end(|source| {
        source.version = Some(header.version);
        source.announced = Some(header.signatures);
        source.built = header.built.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    });
    Ok(())
}

fn open(path: &Path) -> Result<File, LoadError> {
    File::open(path).map_err(|cause| LoadError::Read { path: path.to_owned(), cause })
}

/// Without the older of `X.cvd` and `X.cld`; of two equals the signed one stays.
fn newest(mut files: Vec<Found>) -> Result<Vec<Found>, LoadError> {
    let mut best: HashMap<PathBuf, (u32, bool)> = HashMap::new();
    let mut ranks = Vec::new();
    for found in &files {
        let rank = match found.kind {
            FileKind::Database(Trust::Signed) => Some((Header::read(&found.path)?.version, true)),
            FileKind::Database(Trust::Patched) => Some((Header::read(&found.path)?.version, false)),
            _ => None,
        };
        if let Some(rank) = rank {
            let best = best.entry(found.path.with_extension("")).or_insert(rank);
            *best = rank.max(*best);
        }
        ranks.push(rank);
    }
    let mut ranks = ranks.into_iter();
    files.retain(|found| ranks.next().flatten().is_none_or(|rank| best.get(&found.path.with_extension("")) == Some(&rank)));
    Ok(files)
}

/// Signature files that stand in memory, by name and text.
#[cfg(any(test, fuzzing))]
pub(super) fn of_texts(files: &[(&str, &[u8])], settings: &Settings) -> Result<Database, LoadError> {
    Database::read(&cache::in_memory(&|writer| read_texts(files, settings)?.write(writer))?)
}

#[cfg(any(test, fuzzing))]
fn read_texts(files: &[(&str, &[u8])], settings: &Settings) -> Result<Reading, LoadError> {
    let mut reading = Reading::new(settings.clone());
    for ignored in [true, false] {
        for (name, text) in files {
            let path = Path::new(name);
            match kind::of(path) {
                Some((_, kind)) if (kind == FileKind::Ignored) != ignored => {}
                Some((_, FileKind::Database(trust))) => {
                    reading.begin(path, trust);
                    container::read(&mut reading, path, *text, trust, &settings.key, Members::All)?;
                    reading.end(|_| {});
                }
                Some((extension, kind)) => {
                    reading.begin(path, Trust::Unsigned);
                    reading.read(extension, kind, path, Strictness::Skip, *text)?;
                    reading.end(|_| {});
                }
                None => {}
            }
        }
    }
    Ok(reading)
}

#[cfg(test)]
mod tests;
