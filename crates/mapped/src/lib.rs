//! Content mapped into memory, read-only, as plain bytes.
//!
//! A map cannot be made without `unsafe` code, which is why this is a crate of its own. What makes a map a sound `&[u8]` is that
//! its bytes neither change nor go away while it stands. Each constructor asks for what proves it: seals of the kernel, or a file that
//! nobody but this user can open. Vector instructions in `filesafety-network` aside, all else in FileSafety forbids `unsafe`.

mod seal;

use std::{
    fs::File,
    io,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
};

use rustix::{
    fs::{FileType, SealFlags, Stat, fcntl_get_seals, fstat},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
    process::geteuid,
};

pub use seal::{Sealing, seal};

/// Why content is not mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Not a regular file.
    #[error("not a regular file")]
    NotRegular,
    /// Another user owns the file.
    #[error("owned by another user")]
    NotOurs,
    /// The file's mode lets others than its owner in.
    #[error("open to others than its owner (mode {0:o})")]
    NotPrivate(u32),
    /// The memory file can still be changed.
    #[error("not sealed against every change")]
    NotSealed,
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for MapError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Bytes of a file, mapped; unmapped when dropped. The file may be closed, renamed or removed meanwhile.
pub struct Mapped {
    /// Dangling where nothing is mapped.
    start: NonNull<u8>,
    length: usize,
}

/// The seals that together let nobody change anything, ever.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

impl Mapped {
    /// Maps a memory file that is sealed against writing, growing, shrinking and further seals: the kernel itself keeps it as it is,
    /// whoever else has it open.
    ///
    /// # Errors
    /// [`MapError::NotSealed`] where a seal is missing or the file cannot have any, else what the system says.
    pub fn sealed(file: impl AsFd) -> Result<Self, MapError> {
        let seals = fcntl_get_seals(&file).map_err(|_| MapError::NotSealed)?;
        if !seals.contains(SEALS) {
            return Err(MapError::NotSealed);
        }
        let stat = fstat(&file)?;
        Self::map(file.as_fd(), &stat)
    }

    /// Maps a regular file that this user owns and that gives nobody else any right.
    ///
    /// The rest is a promise of ours: such files are replaced by renaming another over them, never written or cut in place. Only a
    /// program of this same user, or an administrator, could break it; either could as well write into this process.
    ///
    /// # Errors
    /// What the file lacks, else what the system says.
    pub fn private_file(file: &File) -> Result<Self, MapError> {
        let stat = fstat(file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(MapError::NotRegular);
        }
        if stat.st_uid != geteuid().as_raw() {
            return Err(MapError::NotOurs);
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(MapError::NotPrivate(stat.st_mode & 0o7777));
        }
        Self::map(file.as_fd(), &stat)
    }

    /// Asks the system to have the bytes at hand soon.
    pub fn will_need(&self) {
        if self.length > 0 {
            // Only advice: without it the bytes come when they are touched.
            // SAFETY: the range is this map, and the advice changes no byte of it.
            let _: Result<(), _> = unsafe { madvise(self.start.as_ptr().cast(), self.length, Advice::WillNeed) };
        }
    }

    fn map(file: BorrowedFd<'_>, stat: &Stat) -> Result<Self, MapError> {
        let length = usize::try_from(stat.st_size).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        // The system maps no empty file.
        if length == 0 {
            return Ok(Self { start: NonNull::dangling(), length });
        }
        // SAFETY: a new map at a place that the system chooses touches no memory of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::Other))?;
        Ok(Self { start, length })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` bytes at `start` are mapped for reading as long as `self` stands (none at a dangling, aligned `start`), a map
        // is never longer than half the address space, and by the proof asked of each constructor nobody changes or cuts them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: the range was mapped by `map`, is unmapped only here, and no borrow of it outlives `self`.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
            debug_assert!(unmapped.is_ok(), "unmapping a map of ours fails only if it is none");
        }
    }
}

// SAFETY: the map belongs to the process, not to a thread: any may unmap it.
unsafe impl Send for Mapped {}

// SAFETY: the bytes are only ever read, so that any number of threads may do so at once.
unsafe impl Sync for Mapped {}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
