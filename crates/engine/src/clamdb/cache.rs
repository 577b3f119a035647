//! Compiled signatures kept on disk, so that a start maps them in place of reading millions of lines.
//!
//! One file for each folder of signatures, replaced as a whole. It is used only if it belongs to this user alone, ends in its digest, was
//! compiled by this very code with these settings, and from files that are still the same; else it is made again. Whatever is wrong with
//! the cache itself costs time, never a signature: without one, signatures are compiled in memory.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::flat::{Block, Damaged, Reader, Writer, is_whole};
use crate::LoadError;

/// What signatures are compiled from, and how.
pub(super) struct Origin<'a> {
    /// The folder.
    pub(super) folder: &'a Path,
    /// The files that are read.
    pub(super) paths: &'a [PathBuf],
    /// Whatever else decides what they are compiled to.
    pub(super) settings: String,
}

/// Writes what is compiled; may be called again where what was written is lost.
pub(super) type Compile<'a> = dyn Fn(&mut Writer<'_>) -> Result<(), LoadError> + 'a;

/// Compiles in memory.
pub(super) fn in_memory(compile: &Compile<'_>) -> Result<Arc<Block>, LoadError> {
    let mut failed = None;
    let block = Block::in_memory(|writer| {
        // No manifest: nobody will ask whether it still fits.
        writer.section::<u8>(&[])?;
        compile(writer).map_err(|error| {
            failed = Some(error);
            io::Error::other("not compiled")
        })
    });
    match failed {
        Some(error) => Err(error),
        None => block.map_err(|error| LoadError::Signatures { message: error.to_string() }),
    }
}

/// From the cache in `dir`, where it fits; else compiled into it.
///
/// # Errors
/// Those of compiling alone.
pub(super) fn load(dir: &Path, origin: &Origin<'_>, compile: &Compile<'_>) -> Result<Arc<Block>, LoadError> {
    let cache = match Cache::open(dir, origin) {
        Ok(cache) => cache,
        Err(error) => {
            tell(dir, &error);
            return in_memory(compile);
        }
    };
    if let Some(block) = cache.read(origin) {
        return Ok(block);
    }
    // One process compiles; who waited for it finds what it made.
    let _lock = cache.lock().inspect_err(|error| tell(dir, error));
    if let Some(block) = cache.read(origin) {
        return Ok(block);
    }
    match cache.write(origin, compile) {
        Ok(block) => Ok(block),
        Err(Unwritten::Compile(error)) => Err(error),
        Err(Unwritten::Cache(error)) => {
            tell(dir, &error);
            in_memory(compile)
        }
    }
}

fn tell(dir: &Path, error: &io::Error) {
    tracing::warn!(folder = %dir.display(), %error, "compiled signatures cannot be kept: every start and process compiles them again");
}

/// What stands in the first section.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// The code that compiled.
    code: String,
    settings: String,
    sources: Vec<Source>,
    /// Seconds of the file system's clock, before anything was read.
    begun: i64,
}

/// A file that was read.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    name: Vec<u8>,
    stamp: Stamp,
    sha256: [u8; 32],
}

/// What changes when a file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The code of this module's folder, as the build script saw it.
const CODE: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("FILESAFETY_CLAMDB_CODE"));
/// A file that changed less than so many seconds before it was read may have changed again without showing it.
const UNSURE: i64 = 2;

/// Where a compiled folder is kept.
struct Cache {
    file: PathBuf,
}

enum Unwritten {
    Compile(LoadError),
    Cache(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Cache(error)
    }
}

impl Cache {
    /// Makes the folder, or sees that nobody else can write in it.
    fn open(dir: &Path, origin: &Origin<'_>) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let metadata = fs::metadata(dir)?;
        if metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder is open to other users"));
        }
        let folder = fs::canonicalize(origin.folder)?;
        let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { file: dir.join(format!("clamdb-{name}")) })
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.file.with_extension(extension)
    }

    fn lock(&self) -> io::Result<File> {
        let file = private().create(true).truncate(false).open(self.beside("lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// What is kept, if it can be used.
    fn read(&self, origin: &Origin<'_>) -> Option<Arc<Block>> {
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&self.file).ok()?;
        let read = || -> io::Result<Option<Arc<Block>>> {
            let (length, block) = (file.metadata()?.len(), Block::open(file.try_clone()?.into())?);
            let fits = match manifest(&block) {
                Some(manifest) => manifest.is_of(origin)? && is_whole(&file, length)?,
                None => false,
            };
            Ok(fits.then_some(block))
        };
        match read() {
            Ok(block) => block,
            // Of another version, or cut short.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => {
                tracing::warn!(file = %self.file.display(), %error, "compiled signatures are not used");
                None
            }
        }
    }

    /// Compiles into the cache. Held by one process at a time, so that the file that is written has one name.
    fn write(&self, origin: &Origin<'_>, compile: &Compile<'_>) -> Result<Arc<Block>, Unwritten> {
        let new = self.beside("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let file = private().create_new(true).open(&new)?;
        let written = self.fill(&file, origin, compile);
        let moved = written.and_then(|()| {
            // Not synced: after a crash what is not whole is made again.
            file.set_permissions(Permissions::from_mode(0o400))?;
            Ok(fs::rename(&new, &self.file)?)
        });
        if let Err(error) = moved {
            _ = fs::remove_file(&new);
            return Err(error);
        }
        // Opened anew, so that whom the block is given to cannot write.
        Ok(Block::open(File::open(&self.file)?.into())?)
    }

    fn fill(&self, file: &File, origin: &Origin<'_>, compile: &Compile<'_>) -> Result<(), Unwritten> {
        let manifest = Manifest::of(origin, file.metadata()?.ctime())?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Writer::new(&mut out);
        writer.section(&serde_json::to_vec(&manifest).map_err(io::Error::other)?)?;
        compile(&mut writer).map_err(|error| match writer.has_failed() {
            true => Unwritten::Cache(io::Error::other(error.to_string())),
            false => Unwritten::Compile(error),
        })?;
        writer.finish()?;
        out.flush()?;
        drop(out);
        // Else what was compiled is not what the manifest tells.
        match manifest.still_holds(origin)? {
            true => Ok(()),
            false => Err(io::Error::other("the signature files changed while they were read").into()),
        }
    }
}

/// Files that only this user reads and writes, and no link to another.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

/// Passes over the section that only the cache reads.
pub(super) fn skip_manifest(reader: &mut Reader) -> Result<(), Damaged> {
    reader.section::<u8>().map(drop)
}

fn manifest(block: &Arc<Block>) -> Option<Manifest> {
    serde_json::from_slice(&block.reader().section::<u8>().ok()?).ok()
}

impl Manifest {
    fn of(origin: &Origin<'_>, begun: i64) -> io::Result<Self> {
        let source = |path: &PathBuf| {
            let mut file = File::open(path)?;
            let stamp = Stamp::of(&file.metadata()?);
            Ok(Source { name: name(path), stamp, sha256: digest(&mut file)? })
        };
        let sources = origin.paths.iter().map(source).collect::<io::Result<_>>()?;
        Ok(Self { code: CODE.to_owned(), settings: origin.settings.clone(), sources, begun })
    }

    /// Whether these files, unchanged, would be compiled to the same.
    fn is_of(&self, origin: &Origin<'_>) -> io::Result<bool> {
        let same = self.code == CODE && self.settings == origin.settings && self.sources.len() == origin.paths.len();
        if !same || self.sources.iter().zip(origin.paths).any(|(source, path)| source.name != name(path)) {
            return Ok(false);
        }
        for (source, path) in self.sources.iter().zip(origin.paths) {
            let mut file = File::open(path)?;
            let stamp = Stamp::of(&file.metadata()?);
            let untouched = stamp == source.stamp && stamp.changed.0.saturating_add(UNSURE) < self.begun;
            if !untouched && (stamp.size != source.stamp.size || digest(&mut file)? != source.sha256) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn still_holds(&self, origin: &Origin<'_>) -> io::Result<bool> {
        for (source, path) in self.sources.iter().zip(origin.paths) {
            if Stamp::of(&fs::metadata(path)?) != source.stamp {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn name(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_encoded_bytes().to_vec()
}

fn digest(file: &mut File) -> io::Result<[u8; 32]> {
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(read) => digest.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
