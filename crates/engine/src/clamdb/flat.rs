//! Compiled signatures as flat arrays in one block of bytes, so that they can lie in a file, be mapped, and be used where they stand.
//!
//! A [`Writer`] puts sections one after the other, each aligned and without a pointer; a [`Reader`] takes them in the same order. What is
//! read is a [`Flat`], a slice that keeps the block alive. Numbers have the order of bytes of the machine: a block is for the machine
//! that made it, and its trailer says so.

use std::{
    fs::File,
    io::{self, Write},
    marker::PhantomData,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use bytemuck::{AnyBitPattern, NoUninit};
use filesafety_mapped::{MapError, Mapped, Sealing};
use sha2::{Digest as _, Sha256};

/// The block is not what was written: it is to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compiled signatures are damaged or of another version")]
pub(super) struct Damaged;

/// Changes with the layout of any section.
const VERSION: u64 = 1;
/// Tells blocks from other files, and machines of another order of bytes from this one.
const MAGIC: u64 = u64::from_be_bytes(*b"FSclamdb");
/// Sections begin at multiples of this: the length of a line of the caches.
const ALIGNMENT: usize = 64;
/// Where the table of sections begins, how many there are, the version, the magic number.
const TRAILER: usize = 4 * size_of::<u64>();
/// A digest of all that stands before it.
const DIGEST: usize = 32;
/// More sections than any block has.
const MAX_SECTIONS: u64 = 4096;

/// Writes sections.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
    at: u64,
    failed: bool,
    /// Where each section begins, and its length in bytes.
    table: Vec<[u64; 2]>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, digest: Sha256::new(), at: 0, failed: false, table: Vec::new() }
    }

    /// One section.
    pub(super) fn section<T: NoUninit>(&mut self, items: &[T]) -> io::Result<()> {
        self.pieces(std::iter::once(bytemuck::cast_slice::<T, u8>(items)))
    }

    /// One section, its bytes in pieces.
    pub(super) fn pieces<P: AsRef<[u8]>>(&mut self, pieces: impl Iterator<Item = P>) -> io::Result<()> {
        let padding = self.at.next_multiple_of(ALIGNMENT as u64) - self.at;
        self.put([0; ALIGNMENT].get(..padding as usize).unwrap_or_default())?;
        let start = self.at;
        for piece in pieces {
            self.put(piece.as_ref())?;
        }
        self.table.push([start, self.at - start]);
        Ok(())
    }

    /// The table of sections, the trailer and the digest.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let table = std::mem::take(&mut self.table);
        self.section(&table)?;
        let start = self.table.first().map_or(0, |[start, _]| *start);
        self.put(bytemuck::cast_slice(&[start, table.len() as u64, VERSION, MAGIC]))?;
        let digest: [u8; DIGEST] = self.digest.finalize().into();
        self.out.write_all(&digest)?;
        self.out.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).inspect_err(|_| self.failed = true)
    }

    /// Whether what was to be written could not be.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}

/// A block of sections, in a file that can be given to other processes.
pub(super) struct Block {
    file: OwnedFd,
    bytes: Mapped,
    table: Vec<[u64; 2]>,
}

impl Block {
    /// What `write` writes, in memory.
    pub(super) fn in_memory(write: impl FnOnce(&mut Writer<'_>) -> io::Result<()>) -> io::Result<Arc<Self>> {
        let mut sealing = io::BufWriter::with_capacity(1 << 18, Sealing::new("clamdb")?);
        let mut writer = Writer::new(&mut sealing);
        write(&mut writer)?;
        writer.finish()?;
        let sealed = sealing.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Self::open(sealed)
    }

    /// A block that was written before, in a memory file that is sealed or a file that belongs to this user alone. That its bytes have
    /// their digest is not checked: see [`is_whole`].
    ///
    /// # Errors
    /// Of the kind `InvalidData` where it is no block of this version.
    pub(super) fn open(file: OwnedFd) -> io::Result<Arc<Self>> {
        let file = File::from(file);
        let bytes = match Mapped::sealed(&file) {
            Err(MapError::NotSealed) => Mapped::private_file(&file),
            other => other,
        };
        let bytes = bytes.map_err(io::Error::other)?;
        let table = Self::table(&bytes).map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))?;
        Ok(Arc::new(Self { file: file.into(), bytes, table }))
    }

    /// What [`Block::open`] opens, for another process.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn table(bytes: &[u8]) -> Result<Vec<[u64; 2]>, Damaged> {
        let (rest, _) = bytes.split_last_chunk::<DIGEST>().ok_or(Damaged)?;
        let (rest, trailer) = rest.split_last_chunk::<TRAILER>().ok_or(Damaged)?;
        let [start, count, version, magic] = bytemuck::pod_read_unaligned::<[u64; 4]>(trailer);
        if magic != MAGIC || version != VERSION || count > MAX_SECTIONS {
            return Err(Damaged);
        }
        let table = rest.get(usize::try_from(start).map_err(|_| Damaged)?..).ok_or(Damaged)?;
        let table: Vec<[u64; 2]> = table.chunks_exact(16).map(bytemuck::pod_read_unaligned).collect();
        if table.len() as u64 != count {
            return Err(Damaged);
        }
        Ok(table)
    }

    /// Takes the sections in the order in which they were written.
    pub(super) fn reader(self: &Arc<Self>) -> Reader {
        Reader { block: self.clone(), next: 0 }
    }
}

/// Whether the bytes of a block end in their digest.
pub(super) fn is_whole(mut bytes: impl io::Read, length: u64) -> io::Result<bool> {
    let Some(mut left) = length.checked_sub(DIGEST as u64) else { return Ok(false) };
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..most).unwrap_or_default();
        bytes.read_exact(piece)?;
        digest.update(piece);
        left -= most as u64;
    }
    let mut expected = [0; DIGEST];
    bytes.read_exact(&mut expected)?;
    Ok(<[u8; DIGEST]>::from(digest.finalize()) == expected)
}

/// The sections of a block, in order.
pub(super) struct Reader {
    block: Arc<Block>,
    next: usize,
}

impl Reader {
    pub(super) fn section<T: AnyBitPattern>(&mut self) -> Result<Flat<T>, Damaged> {
        let &[start, length] = self.block.table.get(self.next).ok_or(Damaged)?;
        self.next += 1;
        let (start, length) = (usize::try_from(start).map_err(|_| Damaged)?, usize::try_from(length).map_err(|_| Damaged)?);
        let end = start.checked_add(length).ok_or(Damaged)?;
        let bytes = self.block.bytes.get(start..end).ok_or(Damaged)?;
        bytemuck::try_cast_slice::<u8, T>(bytes).map_err(|_| Damaged)?;
        Ok(Flat { block: self.block.clone(), start, end, items: PhantomData })
    }

    /// A section of a few numbers.
    pub(super) fn numbers<const N: usize>(&mut self) -> Result<[u64; N], Damaged> {
        self.section::<u64>()?.first_chunk().copied().ok_or(Damaged)
    }
}

/// A section, as a slice of what was written.
pub(super) struct Flat<T> {
    block: Arc<Block>,
    start: usize,
    end: usize,
    items: PhantomData<T>,
}

impl<T: AnyBitPattern> Deref for Flat<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        let bytes = self.block.bytes.get(self.start..self.end).unwrap_or_default();
        // It was cast once when it was taken.
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }
}

/// Records of differing length, as numbers that follow each other.
#[derive(Default)]
pub(super) struct Words {
    words: Vec<u32>,
}

impl Words {
    /// Where the next word will stand.
    pub(super) fn at(&self) -> u32 {
        u32::try_from(self.words.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn put(&mut self, word: u32) {
        self.words.push(word);
    }

    pub(super) fn put_u64(&mut self, number: u64) {
        self.words.extend([number as u32, (number >> 32) as u32]);
    }

    /// A length, and the bytes, the last word filled up with zeros.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.put(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        for chunk in bytes.chunks(4) {
            let mut word = [0; 4];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.put(u32::from_le_bytes(word));
        }
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        &self.words
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(self.as_slice())
    }
}

/// Reads what [`Words`] took in.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    words: &'a [u32],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(words: &'a [u32], at: u32) -> Self {
        Self { words: words.get(at as usize..).unwrap_or_default() }
    }

    /// Zero where nothing is left: a block that is whole is never read past its end.
    pub(super) fn word(&mut self) -> u32 {
        match self.words.split_first() {
            Some((first, rest)) => {
                self.words = rest;
                *first
            }
            None => 0,
        }
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }

    pub(super) fn bytes(&mut self) -> Vec<u8> {
        let length = self.word() as usize;
        let (words, rest) = self.words.split_at_checked(length.div_ceil(4)).unwrap_or_default();
        self.words = rest;
        words.iter().flat_map(|word| word.to_le_bytes()).take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        write(&mut writer);
        writer.finish().unwrap();
        bytes
    }

    fn open(bytes: &[u8]) -> io::Result<Arc<Block>> {
        Block::open(filesafety_mapped::seal("test", bytes).unwrap())
    }

    #[test]
    fn sections_are_read_as_they_were_written() {
        let bytes = written(|writer| {
            writer.section(b"abc").unwrap();
            writer.section(&[1u64, 2, 3]).unwrap();
            writer.section::<u32>(&[]).unwrap();
            writer.section(&[[1u32, 2], [3, 4]]).unwrap();
        });
        let mut reader = open(&bytes).unwrap().reader();
        assert_eq!(&*reader.section::<u8>().unwrap(), b"abc");
        assert_eq!(reader.numbers::<2>().unwrap(), [1, 2]);
        assert_eq!(reader.section::<u32>().unwrap().len(), 0);
        assert_eq!(&*reader.section::<[u32; 2]>().unwrap(), [[1, 2], [3, 4]]);
        assert!(reader.section::<u8>().is_err());
    }

    #[test]
    fn damaged_blocks_are_told() {
        let bytes = written(|writer| writer.section(&[1u64, 2]).unwrap());
        assert!(is_whole(&*bytes, bytes.len() as u64).unwrap());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(!is_whole(&*damaged, bytes.len() as u64).unwrap(), "byte {at}");
            // Whatever is damaged, opening and reading ends in an error or in some numbers.
            let _: Option<usize> = open(&damaged).ok().and_then(|block| Some(block.reader().section::<u64>().ok()?.len()));
            let cut = &bytes[..at];
            assert!(at < DIGEST || !is_whole(cut, cut.len() as u64).unwrap());
            let _: Option<usize> = open(cut).ok().and_then(|block| Some(block.reader().section::<u64>().ok()?.len()));
        }
        assert!(open(&[]).is_err() && open(&[0; 100]).is_err());
    }

    #[test]
    fn a_section_is_no_other_type() {
        let bytes = written(|writer| writer.section(&[1u8, 2, 3]).unwrap());
        assert!(open(&bytes).unwrap().reader().section::<u16>().is_err());
    }

    #[test]
    fn words_are_read_back() {
        let mut words = Words::default();
        words.put(7);
        let at = words.at();
        words.put_u64(u64::MAX - 1);
        words.put_bytes(b"hello");
        words.put_bytes(b"");
        words.put(9);
        let mut cursor = Cursor::new(words.as_slice(), at);
        assert_eq!((cursor.u64(), cursor.bytes(), cursor.bytes(), cursor.word()), (u64::MAX - 1, b"hello".to_vec(), vec![], 9));
        assert_eq!((cursor.word(), cursor.bytes(), cursor.u64()), (0, vec![], 0));
    }
}
