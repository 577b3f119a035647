//! Uploads in flight: encrypted files, each with a key of its own that lives only in its scan's row.
//!
//! A file is a row of chunks: AES-256-GCM of [`CHUNK`] bytes (the last may be shorter, or empty), each with its tag. The nonce is the
//! chunk's number and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so that no chunk
//! can be moved, left out or cut off unseen.

use std::{
    collections::HashSet,
    fmt, fs,
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use tokio::task::JoinHandle;

use crate::{
    Lease, Result, Store, StoreError,
    secrets::{Purpose, cipher, create_private_folder, fill_random},
    sqlite,
};

const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// So many chunks go to the disk at once: enough to make handing them over cheap, few enough for hundreds of slow uploads.
const BATCH: usize = 4 * CHUNK;

/// An upload being written. Dropping it unfinished deletes what was written.
///
/// It takes a blocking thread only for as long as the disk takes for a batch, never while it waits for the network.
pub struct BlobWriter {
    /// The batch being filled; it stays until it is known not to be the last.
    batch: Vec<u8>,
    size: u64,
    /// The newest write, perhaps under way; `None` once one failed.
    disk: Option<JoinHandle<Result<SealedFile>>>,
}

/// An upload that is durable, and has no row yet. Dropping it deletes it.
pub struct Blob {
    name: String,
    size: u64,
    key: [u8; 32],
    file: PartialFile,
}

/// The folder of uploads in flight.
#[derive(Clone, Debug)]
pub(crate) struct BlobFolder {
    path: Arc<Path>,
    removals: mpsc::Sender<Removal>,
}

/// Where a scan's bytes are, in its row.
#[derive(Clone, Debug)]
pub(crate) struct BlobRow {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sealed_key: Vec<u8>,
}

/// The file behind a [`BlobWriter`].
struct SealedFile {
    file: fs::File,
    folder: Arc<Path>,
    name: String,
    key: [u8; 32],
    cipher: LessSafeKey,
    /// Chunks written so far.
    chunks: u64,
    partial: PartialFile,
}

/// Whether anything follows a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Batch {
    Full,
    Last,
}

struct Removal {
    path: PathBuf,
    then: Box<dyn FnOnce() + Send>,
}

/// Deletes its file when dropped, unless it was kept.
struct PartialFile {
    path: PathBuf,
    kept: bool,
}

impl Store {
    /// Begins an upload.
    pub async fn blob_writer(&self) -> Result<BlobWriter> {
        let folder = Arc::clone(&self.blobs().path);
        let disk = tokio::task::spawn_blocking(move || SealedFile::create(folder));
        Ok(BlobWriter { batch: Vec::new(), size: 0, disk: Some(disk) })
    }

    /// Writes the bytes of a claimed scan to `into`, and gives that back: so the only decrypted copy is where its reader wants it.
    /// `Corrupt` when they are gone, cut or not what was written: they will not come back.
    pub async fn read_blob<W: Write + Send + 'static>(&self, lease: &Lease, into: W) -> Result<W> {
        let lease = *lease;
        let row = self.read(move |conn| sqlite::queue::blob_of(conn, lease)).await?;
        let key = self.sealer().open(Purpose::UploadKey, &lease.scan.to_string(), &row.sealed_key)?;
        let key: [u8; 32] = key.try_into().map_err(|_| StoreError::Corrupt("an upload's key has another length".into()))?;
        let path = self.blobs().path.join(&row.name);
        let read = tokio::task::spawn_blocking(move || read_file(&path, &row.name, row.size, &cipher(&key), into));
        read.await.map_err(StoreError::unavailable)?
    }
}

impl BlobWriter {
    /// Takes at most 512 KiB of memory, whatever the length; waits for the disk. `Unavailable` when the disk is full: nothing stays on it.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.batch.len() == BATCH {
                let mut file = self.file().await?;
                let full = std::mem::take(&mut self.batch);
                self.disk = Some(tokio::task::spawn_blocking(move || file.append(&full, Batch::Full).map(|()| file)));
            }
            let (now, later) = bytes.split_at(bytes.len().min(BATCH - self.batch.len()));
            self.batch.extend_from_slice(now);
            self.size = self.size.saturating_add(now.len() as u64);
            bytes = later;
        }
        Ok(())
    }

    /// How many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes it durable.
    pub async fn finish(mut self) -> Result<Blob> {
        let mut file = self.file().await?;
        let (last, size) = (std::mem::take(&mut self.batch), self.size);
        let finished = tokio::task::spawn_blocking(move || file.append(&last, Batch::Last).and_then(|()| file.finish(size)));
        finished.await.map_err(StoreError::unavailable)?
    }

    /// The file, once the write before is done.
    async fn file(&mut self) -> Result<SealedFile> {
        let disk = self.disk.as_mut().ok_or_else(|| StoreError::unavailable("the upload broke off earlier"))?;
        let written = disk.await;
        self.disk = None;
        written.map_err(StoreError::unavailable)?
    }
}

impl SealedFile {
    fn create(folder: Arc<Path>) -> Result<Self> {
        let (mut name, mut key) = ([0; 16], [0; 32]);
        fill_random(&mut name)?;
        fill_random(&mut key)?;
        let name = data_encoding::HEXLOWER.encode(&name);
        let path = folder.join(&name);
        let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(StoreError::unavailable)?;
        let partial = PartialFile { path, kept: false };
        Ok(Self { file, folder, name, key, cipher: cipher(&key), chunks: 0, partial })
    }

    fn append(&mut self, bytes: &[u8], batch: Batch) -> Result<()> {
        let mut rest = bytes;
        loop {
            let (chunk, later) = rest.split_at(rest.len().min(CHUNK));
            let last = batch == Batch::Last && later.is_empty();
            let mut sealed = Vec::with_capacity(chunk.len() + TAG);
            sealed.extend_from_slice(chunk);
            let done = self.cipher.seal_in_place_append_tag(nonce(self.chunks, last), Aad::from(self.name.as_bytes()), &mut sealed);
            done.map_err(|_| StoreError::Corrupt("a chunk could not be sealed".into()))?;
            self.file.write_all(&sealed).map_err(StoreError::unavailable)?;
            self.chunks += 1;
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    fn finish(self, size: u64) -> Result<Blob> {
        self.file.sync_all().map_err(StoreError::unavailable)?;
        fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(StoreError::unavailable)?;
        Ok(Blob { name: self.name, size, key: self.key, file: self.partial })
    }
}

impl Blob {
    /// Of the bytes that were written, not of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What its scan's row holds. The file stays in danger until [`Blob::keep`].
    pub(crate) fn row(&self, sealer: &crate::secrets::Sealer, scan: &str) -> Result<BlobRow> {
        let sealed_key = sealer.seal(Purpose::UploadKey, scan, &self.key)?;
        Ok(BlobRow { name: self.name.clone(), size: self.size, sealed_key })
    }

    /// A row names it now.
    pub(crate) fn keep(mut self) {
        self.file.kept = true;
    }
}

impl BlobFolder {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        create_private_folder(&path)?;
        let (removals, inbox) = mpsc::channel::<Removal>();
        // Its own thread: freeing a large file takes longer than the writer may wait.
        let remove = move || {
            for removal in inbox {
                remove_file(&removal.path);
                (removal.then)();
            }
        };
        thread::Builder::new().name("store-remover".into()).spawn(remove).map_err(StoreError::unavailable)?;
        Ok(Self { path: path.into(), removals })
    }

    /// Deletes an upload, then calls `then`.
    pub(crate) fn remove(&self, name: &str, then: impl FnOnce() + Send + 'static) {
        let removal = Removal { path: self.path.join(name), then: Box::new(then) };
        if let Err(mpsc::SendError(removal)) = self.removals.send(removal) {
            remove_file(&removal.path);
            (removal.then)();
        }
    }

    /// Answers once the blob of a transaction, if there is one, is deleted.
    pub(crate) fn remove_then_reply(&self, removed: Result<Option<String>>, reply: sqlite::Reply<()>) {
        match removed {
            Ok(Some(name)) => self.remove(&name, move || drop(reply.send(Ok(())))),
            Ok(None) => drop(reply.send(Ok(()))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Deletes what no row names. Only with exclusive access: an upload under way has no row yet.
    pub(crate) fn sweep(&self, named: &HashSet<String>) -> Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.path).map_err(StoreError::unavailable)? {
            let entry = entry.map_err(StoreError::unavailable)?;
            if !entry.file_name().to_str().is_some_and(|name| named.contains(name)) {
                remove_file(&entry.path());
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.kept {
            remove_file(&self.path);
        }
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter").field("size", &self.size).finish_non_exhaustive()
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("name", &self.name).field("size", &self.size).field("key", &"[redacted]").finish_non_exhaustive()
    }
}

fn read_file<W: Write>(path: &Path, name: &str, size: u64, cipher: &LessSafeKey, mut into: W) -> Result<W> {
    let damaged = |what: &str| StoreError::Corrupt(format!("the upload {name} {what}"));
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("is gone")),
        Err(error) => return Err(StoreError::unavailable(error)),
    };
    let chunks = size.div_ceil(CHUNK as u64).max(1);
    let length = file.metadata().map_err(StoreError::unavailable)?.len();
    // Before anything is read.
    if chunks.checked_mul(TAG as u64).and_then(|tags| tags.checked_add(size)) != Some(length) {
        return Err(damaged("has another length"));
    }
    let mut left = usize::try_from(size).map_err(StoreError::unavailable)?;
    let mut buffer = vec![0; CHUNK + TAG];
    for number in 0..chunks {
        let sealed = left.min(CHUNK) + TAG;
        let chunk = buffer.get_mut(..sealed).ok_or_else(|| damaged("has another length"))?;
        file.read_exact(chunk).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged("was cut"),
            _ => StoreError::unavailable(error),
        })?;
        let last = number + 1 == chunks;
        let opened = cipher.open_in_place(nonce(number, last), Aad::from(name.as_bytes()), chunk);
        let opened = opened.map_err(|_| damaged("is not what was written"))?;
        left = left.saturating_sub(opened.len());
        into.write_all(opened).map_err(StoreError::unavailable)?;
    }
    Ok(into)
}

/// Unique for a key, which has one file.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[0] = u8::from(last);
    nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn remove_file(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // Its key goes with its row; the file goes at the next start.
        Err(error) => tracing::warn!(%error, "an upload could not be deleted"),
    }
}
