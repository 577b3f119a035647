//! Memory files that are written once and then sealed.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
};

use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

use crate::SEALS;

/// A memory file that is being written; it has no name in any folder and goes away with its last descriptor and map.
#[derive(Debug)]
pub struct Sealing {
    file: File,
}

impl Sealing {
    /// An empty one. `name` is only shown by the system, where it lists what is open.
    ///
    /// # Errors
    /// No memory file is to be had.
    pub fn new(name: &str) -> io::Result<Self> {
        let file = memfd_create(name, MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
        Ok(Self { file: file.into() })
    }

    /// Seals what was written against every change, also ours. The descriptor can be given to other processes, and mapped by each.
    ///
    /// # Errors
    /// The system refuses, as it does while a writable map of it stands.
    pub fn finish(self) -> io::Result<OwnedFd> {
        fcntl_add_seals(&self.file, SEALS)?;
        Ok(self.file.into())
    }
}

impl Write for Sealing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A sealed memory file with these bytes.
///
/// # Errors
/// As [`Sealing::new`], and no memory is left for them.
pub fn seal(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut sealing = Sealing::new(name)?;
    sealing.write_all(bytes)?;
    sealing.finish()
}
