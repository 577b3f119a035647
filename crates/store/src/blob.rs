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
use tokio::{sync::mpsc as channel, task::JoinHandle};

use crate::{
    Lease, Result, Store, StoreError,
    secrets::{Purpose, cipher, create_private_folder, fill_random},
    sqlite,
};

const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// Chunks on their way to the disk.
const CHUNKS_WAITING: usize = 8;

/// An upload being written. Dropping it unfinished deletes what was written.
pub struct BlobWriter {
    /// The chunk being filled; it stays until it is known not to be the last.
    chunk: Vec<u8>,
    size: u64,
    chunks: channel::Sender<Chunk>,
    /// `None` once its outcome was taken.
    disk: Option<JoinHandle<Result<Blob>>>,
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

enum Chunk {
    Full(Vec<u8>),
    Last(Vec<u8>, u64),
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
        let (chunks, inbox) = channel::channel(CHUNKS_WAITING);
        let disk = tokio::task::spawn_blocking(move || write_file(&folder, inbox));
        Ok(BlobWriter { chunk: Vec::new(), size: 0, chunks, disk: Some(disk) })
    }

    /// The bytes of a claimed scan. `Corrupt` when they are gone, cut or not what was written: they will not come back.
    pub async fn read_blob(&self, lease: &Lease) -> Result<Vec<u8>> {
        let lease = *lease;
        let row = self.read(move |conn| sqlite::queue::blob_of(conn, lease)).await?;
        let key = self.sealer().open(Purpose::UploadKey, &lease.scan.to_string(), &row.sealed_key)?;
        let key: [u8; 32] = key.try_into().map_err(|_| StoreError::Corrupt("an upload's key has another length".into()))?;
        let path = self.blobs().path.join(&row.name);
        let read = tokio::task::spawn_blocking(move || read_file(&path, &row.name, row.size, &cipher(&key)));
        read.await.map_err(StoreError::unavailable)?
    }
}

impl BlobWriter {
    /// Takes some KiB of memory, whatever the length; waits for the disk. `Unavailable` when the disk is full: nothing stays on it.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        while !bytes.is_empty() {
            if self.chunk.len() == CHUNK {
                let full = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + TAG));
                self.send(Chunk::Full(full)).await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
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
        let last = Chunk::Last(std::mem::take(&mut self.chunk), self.size);
        self.send(last).await?;
        self.outcome().await
    }

    async fn send(&mut self, chunk: Chunk) -> Result<()> {
        match self.chunks.send(chunk).await {
            Ok(()) => Ok(()),
            Err(channel::error::SendError(_)) => match self.outcome().await {
                Ok(_) => Err(StoreError::unavailable("the upload ended early")),
                Err(error) => Err(error),
            },
        }
    }

    async fn outcome(&mut self) -> Result<Blob> {
        let disk = self.disk.take().ok_or_else(|| StoreError::unavailable("the upload broke off earlier"))?;
        disk.await.map_err(StoreError::unavailable)?
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

/// The disk's half of a [`BlobWriter`]: until the last chunk, or until the other half is gone.
fn write_file(folder: &Path, mut inbox: channel::Receiver<Chunk>) -> Result<Blob> {
    let (mut name, mut key) = ([0; 16], [0; 32]);
    fill_random(&mut name)?;
    fill_random(&mut key)?;
    let name = data_encoding::HEXLOWER.encode(&name);
    let cipher = cipher(&key);
    let path = folder.join(&name);
    let opened = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
    let mut file = opened.map_err(StoreError::unavailable)?;
    let partial = PartialFile { path, kept: false };
    let mut number = 0_u64;
    loop {
        let (mut chunk, size) = match inbox.blocking_recv() {
            Some(Chunk::Full(chunk)) => (chunk, None),
            Some(Chunk::Last(chunk, size)) => (chunk, Some(size)),
            None => return Err(StoreError::unavailable("the upload broke off")),
        };
        let sealed = cipher.seal_in_place_append_tag(nonce(number, size.is_some()), Aad::from(name.as_bytes()), &mut chunk);
        sealed.map_err(|_| StoreError::Corrupt("a chunk could not be sealed".into()))?;
        file.write_all(&chunk).map_err(StoreError::unavailable)?;
        number += 1;
        if let Some(size) = size {
            file.sync_all().map_err(StoreError::unavailable)?;
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::unavailable)?;
            return Ok(Blob { name, size, key, file: partial });
        }
    }
}

fn read_file(path: &Path, name: &str, size: u64, cipher: &LessSafeKey) -> Result<Vec<u8>> {
    let damaged = |what: &str| StoreError::Corrupt(format!("the upload {name} {what}"));
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged("is gone")),
        Err(error) => return Err(StoreError::unavailable(error)),
    };
    let chunks = size.div_ceil(CHUNK as u64).max(1);
    let length = file.metadata().map_err(StoreError::unavailable)?.len();
    // Before the memory for it is taken.
    if chunks.checked_mul(TAG as u64).and_then(|tags| tags.checked_add(size)) != Some(length) {
        return Err(damaged("has another length"));
    }
    let mut bytes = Vec::new();
    let exact = usize::try_from(size).map_err(StoreError::unavailable)?;
    bytes.try_reserve_exact(exact).map_err(StoreError::unavailable)?;
    let mut buffer = vec![0; CHUNK + TAG];
    for number in 0..chunks {
        let sealed = exact.saturating_sub(bytes.len()).min(CHUNK) + TAG;
        let chunk = buffer.get_mut(..sealed).ok_or_else(|| damaged("has another length"))?;
        file.read_exact(chunk).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged("was cut"),
            _ => StoreError::unavailable(error),
        })?;
        let last = number + 1 == chunks;
        let opened = cipher.open_in_place(nonce(number, last), Aad::from(name.as_bytes()), chunk);
        bytes.extend_from_slice(opened.map_err(|_| damaged("is not what was written"))?);
    }
    Ok(bytes)
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
