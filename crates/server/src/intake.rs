//! Taking a file in: bounded, hashed and counted as the bytes pass, in memory while it is small, else in the store's uploads.

mod body;
mod drain;
mod fields;
mod multipart;

use bytes::Bytes;
use filesafety_model::Sha256;
use filesafety_store::{Blob, BlobWriter, FileFacts, Store, StoreError};
use sha2::Digest as _;

pub(crate) use body::{BodyFault, PacedBody};
pub(crate) use drain::drain_when_dropped;
pub(crate) use fields::{FieldError, Fields, JsonSubmission, Wishes};
#[cfg(fuzzing)]
pub(crate) use multipart::Source;
pub(crate) use multipart::{Multipart, MultipartError};

/// A file on its way in.
pub(crate) struct Intake {
    store: Store,
    limit: u64,
    in_memory: usize,
    digest: sha2::Sha256,
    size: u64,
    held: Vec<u8>,
    writer: Option<BlobWriter>,
}

/// A file that is in, whole.
pub(crate) struct Received {
    pub(crate) facts: FileFacts,
    pub(crate) content: ReceivedContent,
}

pub(crate) enum ReceivedContent {
    Memory(Bytes),
    /// Durable, and deleted unless a scan takes it.
    Stored(Blob),
}

/// Why a file is not taken in.
#[derive(Debug)]
pub(crate) enum IntakeFault {
    TooLarge,
    Store(StoreError),
}

impl From<StoreError> for IntakeFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The type of a stored file is told by so much of its head.
const HEAD: usize = 64 * 1024;

/// File names are cut to so many characters.
const NAME_MAX: usize = 255;

/// Puts a small file into the store's uploads.
pub(crate) async fn store(store: &Store, content: &[u8]) -> Result<Blob, StoreError> {
    let mut writer = store.blob_writer().await?;
    writer.write(content).await?;
    writer.finish().await
}

impl Intake {
    /// A file of at most `limit` bytes; up to `in_memory` of them stay off the disk.
    pub(crate) fn new(store: Store, limit: u64, in_memory: usize) -> Self {
        Self { store, limit, in_memory, digest: sha2::Sha256::new(), size: 0, held: Vec::new(), writer: None }
    }

    pub(crate) async fn push(&mut self, chunk: &[u8]) -> Result<(), IntakeFault> {
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(IntakeFault::TooLarge);
        }
        self.digest.update(chunk);
        if let Some(writer) = &mut self.writer {
            if self.held.len() < HEAD {
                self.held.extend_from_slice(&chunk[..chunk.len().min(HEAD - self.held.len())]);
            }
            return Ok(writer.write(chunk).await?);
        }
        self.held.extend_from_slice(chunk);
        if self.held.len() > self.in_memory {
            let mut writer = self.store.blob_writer().await?;
            writer.write(&self.held).await?;
            self.writer = Some(writer);
            self.held.truncate(HEAD);
            self.held.shrink_to_fit();
        }
        Ok(())
    }

    /// `stored` asks for the bytes on disk however few they are.
    pub(crate) async fn finish(self, name: Option<String>, stored: bool) -> Result<Received, IntakeFault> {
        let facts = FileFacts {
            name: name.map(|name| name.chars().take(NAME_MAX).collect()),
            size: self.size,
            sha256: Sha256::new(self.digest.finalize().into()),
            media_type: filesafety_engine::media_type(&self.held).to_owned(),
        };
        let content = match self.writer {
            Some(writer) => ReceivedContent::Stored(writer.finish().await?),
            None if stored => ReceivedContent::Stored(store(&self.store, &self.held).await?),
            None => ReceivedContent::Memory(self.held.into()),
        };
        Ok(Received { facts, content })
    }
}
