//! Uploads in flight: encrypted files, each with a key of its own that lives only in its scan's row.

use crate::{Lease, Result, Store};

/// An upload being written. Dropping it unfinished deletes what was written.
#[derive(Debug)]
pub struct BlobWriter {}

/// An upload that is durable, and has no row yet. Dropping it deletes it.
#[derive(Debug)]
pub struct Blob {
    size: u64,
}

impl Store {
    /// Begins an upload.
    pub async fn blob_writer(&self) -> Result<BlobWriter> {
        todo!()
    }

    /// The bytes of a claimed scan. `Corrupt` when they are gone, cut or not what was written: they will not come back.
    pub async fn read_blob(&self, lease: &Lease) -> Result<Vec<u8>> {
        let _ = lease;
        todo!()
    }
}

impl BlobWriter {
    /// Takes some KiB of memory, whatever the length; waits for the disk. `Unavailable` when the disk is full: nothing stays on it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        todo!()
    }

    /// Makes it durable.
    pub async fn finish(self) -> Result<Blob> {
        todo!()
    }
}

impl Blob {
    /// Of the bytes that were written, not of the file.
    pub fn size(&self) -> u64 {
        self.size
    }
}
