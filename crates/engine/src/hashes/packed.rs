//! Lists of digests as one sealed memory file, which any process maps that looks digests up: it exists once, whoever uses it.
//!
//! Numbers are little-endian: for each list its count (u64), the count of names (u64), the fingerprint; then for each list its entries,
//! ascending (digest, number of the name as u32); then where each name ends (u32), then the names.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use filesafety_mapped::{MapError, Mapped, Sealing};

use super::UNNAMED;

/// What is written: entries sorted by digest, one for each digest.
pub(super) struct Unpacked<'a> {
    pub(super) allowed: Vec<([u8; 32], u32)>,
    pub(super) sha256: Vec<([u8; 32], u32)>,
    pub(super) sha1: Vec<([u8; 20], u32)>,
    pub(super) md5: Vec<([u8; 16], u32)>,
    pub(super) names: &'a [Box<str>],
    pub(super) fingerprint: [u8; 32],
}

/// The file, mapped.
pub(super) struct Packed {
    file: OwnedFd,
    map: Mapped,
    names: Names,
    pub(super) allowed: List<32>,
    pub(super) sha256: List<32>,
    pub(super) sha1: List<20>,
    pub(super) md5: List<16>,
    pub(super) fingerprint: [u8; 32],
}

/// Where a list stands.
#[derive(Clone, Copy)]
pub(super) struct List<const N: usize> {
    start: usize,
    count: usize,
}

#[derive(Clone, Copy)]
struct Names {
    ends: usize,
    text: usize,
    count: usize,
}

const FINGERPRINT: usize = 5 * 8;
const HEADER: usize = FINGERPRINT + 32;

impl Unpacked<'_> {
    pub(super) fn pack(self) -> Result<Packed, MapError> {
        let mut file = io::BufWriter::with_capacity(1 << 20, Sealing::new("digests")?);
        let counts = [self.allowed.len(), self.sha256.len(), self.sha1.len(), self.md5.len(), self.names.len()];
        for count in counts {
            file.write_all(&(count as u64).to_le_bytes())?;
        }
        file.write_all(&self.fingerprint)?;
        write_list(&mut file, self.allowed)?;
        write_list(&mut file, self.sha256)?;
        write_list(&mut file, self.sha1)?;
        write_list(&mut file, self.md5)?;
        let mut end = 0u32;
        for name in self.names {
            end = u32::try_from(name.len())
                .ok()
                .and_then(|length| end.checked_add(length))
                .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
            file.write_all(&end.to_le_bytes())?;
        }
        for name in self.names {
            file.write_all(name.as_bytes())?;
        }
        Packed::map(file.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?)
    }
}

fn write_list<const N: usize>(file: &mut impl Write, entries: Vec<([u8; N], u32)>) -> io::Result<()> {
    for (digest, name) in entries {
        file.write_all(&digest)?;
        file.write_all(&name.to_le_bytes())?;
    }
    Ok(())
}

impl Packed {
    pub(super) fn map(file: OwnedFd) -> Result<Self, MapError> {
        let map = Mapped::sealed(&file)?;
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let count = |index: usize| number::<8>(&map, index * 8).and_then(|bytes| usize::try_from(u64::from_le_bytes(bytes)).ok());
        let [allowed, sha256, sha1, md5, names] = [0, 1, 2, 3, 4].map(|index| count(index).unwrap_or(usize::MAX));
        let fingerprint = number::<32>(&map, FINGERPRINT).ok_or_else(damaged)?;
        let mut place = Some(HEADER);
        let allowed = List::place(allowed, &mut place);
        let sha256 = List::place(sha256, &mut place);
        let sha1 = List::place(sha1, &mut place);
        let md5 = List::place(md5, &mut place);
        let ends = place.ok_or_else(damaged)?;
        let text = names.checked_mul(4).and_then(|bytes| ends.checked_add(bytes)).filter(|&text| text <= map.len()).ok_or_else(damaged)?;
        let names = Names { ends, text, count: names };
        Ok(Self { file, map, names, allowed, sha256, sha1, md5, fingerprint })
    }

    /// For other processes.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The number of the name that goes with `digest`, if it is on `list`.
    pub(super) fn find<const N: usize>(&self, list: List<N>, digest: &[u8; N]) -> Option<u32> {
        let (mut low, mut high) = (0, list.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = list.start + middle * List::<N>::ENTRY;
            match number::<N>(&self.map, at)?.cmp(digest) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return number::<4>(&self.map, at + N).map(u32::from_le_bytes),
            }
        }
        None
    }

    /// `None` for a digest without a name.
    pub(super) fn name(&self, number: u32) -> Option<String> {
        let number = usize::try_from(number).ok().filter(|&place| number != UNNAMED && place < self.names.count)?;
        let end = |place: usize| self::number::<4>(&self.map, self.names.ends + place * 4).map(|bytes| u32::from_le_bytes(bytes) as usize);
        let start = number.checked_sub(1).map_or(Some(0), end)?;
        let text = self.map.get(self.names.text + start..self.names.text + end(number)?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

impl<const N: usize> List<N> {
    const ENTRY: usize = N + 4;

    fn place(count: usize, place: &mut Option<usize>) -> Self {
        let start = place.unwrap_or_default();
        *place = count.checked_mul(Self::ENTRY).and_then(|bytes| start.checked_add(bytes)).filter(|_| place.is_some());
        Self { start, count }
    }

    pub(super) fn len(self) -> usize {
        self.count
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
