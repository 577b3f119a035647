//! The master key, and what it wraps.

use std::{fmt, path::Path};

use crate::{Result, StoreError};

/// Wraps upload keys, signing secrets and webhook URLs (AES-256-GCM). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; 32]);

/// The text is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a master key: 32 bytes in base64")]
pub struct MasterKeyError;

impl MasterKey {
    pub const BYTES: usize = 32;

    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Standard base64 of 32 bytes; white space around it is ignored.
    pub fn parse(text: &str) -> std::result::Result<Self, MasterKeyError> {
        let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).map_err(|_| MasterKeyError)?;
        bytes.try_into().map(Self).map_err(|_| MasterKeyError)
    }

    /// Reads the key from the file, or makes the file, readable by its owner alone, with a fresh one. The folder is made if need be.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        let _ = path;
        todo!()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

impl From<MasterKeyError> for StoreError {
    fn from(error: MasterKeyError) -> Self {
        Self::Corrupt(error.to_string())
    }
}
