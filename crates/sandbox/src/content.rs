//! The bytes of one file, in a form that a sandbox can be shown.

use std::{
    io::{self, Write},
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use bytes::Bytes;
use filesafety_mapped::{MapError, Mapped, Sealing};

use crate::wire::INLINE;

/// What a file holds. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct FileContent(Form);

#[derive(Clone, Debug)]
enum Form {
    Held(Bytes),
    Sealed(Arc<Sealed>),
}

/// A sealed memory file and its map: what a sandbox maps is the same memory.
#[derive(Debug)]
struct Sealed {
    file: OwnedFd,
    map: Mapped,
}

/// Content that is being written, straight into the memory that sandboxes see.
#[derive(Debug)]
pub struct FileWriter(Sealing);

impl FileContent {
    /// Begins content of any length.
    ///
    /// # Errors
    /// The system gives no memory file.
    pub fn writer() -> io::Result<FileWriter> {
        Sealing::new("content").map(FileWriter)
    }

    /// The file to show a sandbox where the bytes are too many to be told.
    pub(crate) fn file(&self) -> io::Result<Option<Self>> {
        match &self.0 {
            Form::Held(bytes) if bytes.len() <= INLINE => Ok(None),
            Form::Held(bytes) => {
                let mut writer = Self::writer()?;
                writer.write_all(bytes)?;
                writer.finish().map(Some)
            }
            Form::Sealed(_) => Ok(Some(self.clone())),
        }
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Form::Held(_) => None,
            Form::Sealed(sealed) => Some(sealed.file.as_fd()),
        }
    }
}

impl FileWriter {
    /// From here on nobody can change it.
    ///
    /// # Errors
    /// It cannot be sealed or mapped.
    pub fn finish(self) -> io::Result<FileContent> {
        let file = self.0.finish()?;
        let map = Mapped::sealed(&file).map_err(|error| match error {
            MapError::Io(error) => error,
            other @ (MapError::NotRegular | MapError::NotOurs | MapError::NotPrivate(_) | MapError::NotSealed) => io::Error::other(other),
        })?;
        Ok(FileContent(Form::Sealed(Arc::new(Sealed { file, map }))))
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl From<Bytes> for FileContent {
    fn from(bytes: Bytes) -> Self {
        Self(Form::Held(bytes))
    }
}

impl Deref for FileContent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Held(bytes) => bytes,
            Form::Sealed(sealed) => &sealed.map,
        }
    }
}
