//! Tables of digests, packed: millions of entries, one place in memory touched for a lookup.
//!
//! An entry is the digest without the bytes that its bucket tells, the size and the number of the name, without padding. An index over
//! the digest's first bits leads to the few entries that can match. A bitmap of sizes says whether a digest is worth computing at all.

use std::{cell::OnceCell, io};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{
    flat::{Damaged, Flat, Reader, Writer},
    names::NameId,
};

/// A digest, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AnyDigest {
    Md5([u8; 16]),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl AnyDigest {
    /// Hexadecimal digits, told apart by their number.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        match hex.len() {
            32 => unhex(hex).map(Self::Md5),
            40 => unhex(hex).map(Self::Sha1),
            64 => unhex(hex).map(Self::Sha256),
            _ => None,
        }
    }
}

/// The digests of one content, each computed once at most.
pub(super) struct Sums<'a> {
    content: &'a [u8],
    md5: OnceCell<[u8; 16]>,
    sha1: OnceCell<[u8; 20]>,
    sha256: OnceCell<[u8; 32]>,
}

/// Kinds of digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    md5: bool,
    sha1: bool,
    sha256: bool,
}

/// So much of a content is shown to one digest after the other.
const STEP: usize = 1 << 15;

impl<'a> Sums<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self { content, md5: OnceCell::new(), sha1: OnceCell::new(), sha256: OnceCell::new() }
    }

    /// Computes those that are wanted in one pass over the content.
    pub(super) fn compute(&self, wanted: Kinds) {
        let mut md5 = (wanted.md5 && self.md5.get().is_none()).then(Md5::new);
        let mut sha1 = (wanted.sha1 && self.sha1.get().is_none()).then(Sha1::new);
        let mut sha256 = (wanted.sha256 && self.sha256.get().is_none()).then(Sha256::new);
        if md5.is_none() && sha1.is_none() && sha256.is_none() {
            return;
        }
        for step in self.content.chunks(STEP) {
            md5.iter_mut().for_each(|digest| digest.update(step));
            sha1.iter_mut().for_each(|digest| digest.update(step));
            sha256.iter_mut().for_each(|digest| digest.update(step));
        }
        md5.into_iter().for_each(|digest| _ = self.md5.set(digest.finalize().into()));
        sha1.into_iter().for_each(|digest| _ = self.sha1.set(digest.finalize().into()));
        sha256.into_iter().for_each(|digest| _ = self.sha256.set(digest.finalize().into()));
    }

    fn md5(&self) -> [u8; 16] {
        *self.md5.get_or_init(|| Md5::digest(self.content).into())
    }

    fn sha1(&self) -> [u8; 20] {
        *self.sha1.get_or_init(|| Sha1::digest(self.content).into())
    }

    fn sha256(&self) -> [u8; 32] {
        *self.sha256.get_or_init(|| Sha256::digest(self.content).into())
    }
}

impl Kinds {
    pub(super) fn or(self, other: Self) -> Self {
        Self { md5: self.md5 || other.md5, sha1: self.sha1 || other.sha1, sha256: self.sha256 || other.sha256 }
    }
}

/// Digests of one sort of object (files, sections, allowed files), of all three kinds.
pub(super) struct Digests {
    md5: Table<16>,
    sha1: Table<20>,
    sha256: Table<32>,
}

/// As they are read.
#[derive(Default)]
pub(super) struct Reading {
    md5: Vec<Entry<16>>,
    sha1: Vec<Entry<20>>,
    sha256: Vec<Entry<32>>,
}

impl Reading {
    /// `size` is `None` for any.
    pub(super) fn add(&mut self, digest: AnyDigest, size: Option<u32>, name: NameId) {
        let size = size.unwrap_or(ANY);
        match digest {
            AnyDigest::Md5(digest) => self.md5.push(Entry { digest, size, name }),
            AnyDigest::Sha1(digest) => self.sha1.push(Entry { digest, size, name }),
            AnyDigest::Sha256(digest) => self.sha256.push(Entry { digest, size, name }),
        }
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) -> io::Result<()> {
        write_table(self.md5, writer)?;
        write_table(self.sha1, writer)?;
        write_table(self.sha256, writer)
    }
}

impl Digests {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        Ok(Self { md5: Table::read(reader)?, sha1: Table::read(reader)?, sha256: Table::read(reader)? })
    }

    /// Digests that an entry of this size could have.
    pub(super) fn wanted(&self, size: usize) -> Kinds {
        Kinds { md5: self.md5.may_hold(size), sha1: self.sha1.may_hold(size), sha256: self.sha256.may_hold(size) }
    }

    /// The names of all entries with this content's digest and size. A digest is computed only where an entry could have it.
    pub(super) fn lookup(&self, sums: &Sums<'_>, found: &mut Vec<NameId>) {
        let size = sums.content.len();
        self.md5.lookup(size, || sums.md5(), found);
        self.sha1.lookup(size, || sums.sha1(), found);
        self.sha256.lookup(size, || sums.sha256(), found);
    }

    /// As [`Digests::lookup`], for an MD5 that is known.
    pub(super) fn lookup_md5(&self, digest: [u8; 16], size: usize, found: &mut Vec<NameId>) {
        self.md5.lookup(size, || digest, found);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.md5.is_empty() && self.sha1.is_empty() && self.sha256.is_empty()
    }
}

/// The size of an entry that counts for every size; no object is as large.
const ANY: u32 = u32::MAX;

/// The largest size an entry can have.
pub(super) const MAX_SIZE: u32 = ANY - 1;

/// As it is sorted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<const N: usize> {
    digest: [u8; N],
    size: u32,
    name: NameId,
}

/// The size and the number of the name.
const BEHIND: usize = 2 * size_of::<u32>();

struct Table<const N: usize> {
    /// How many bits of the digest number the buckets.
    bits: u32,
    /// Sorted by digest; of each the bytes of the digest that the bucket does not tell, the size, the name.
    entries: Flat<u8>,
    /// Where the entries of each bucket begin; one more at the end. Empty where there are no entries.
    starts: Flat<u32>,
    sizes: Sizes,
}

/// So many entries a bucket should have.
const FILL: usize = 4;
const MOST_BITS: u32 = 24;
/// So many entries are written at once.
const PIECE: usize = 4096;

fn write_table<const N: usize>(mut entries: Vec<Entry<N>>, writer: &mut Writer<'_>) -> io::Result<()> {
    entries.sort_unstable();
    let bits = (entries.len() / FILL).max(1).ilog2().min(MOST_BITS);
    let mut starts: Vec<u32> = Vec::new();
    if !entries.is_empty() {
        let mut at = 0;
        for bucket in 0..1usize << bits {
            starts.push(at);
            let rest = entries.get(at as usize..).unwrap_or_default();
            at += rest.iter().take_while(|entry| bucket_of(&entry.digest, bits) == bucket).count() as u32;
        }
        starts.push(at);
    }
    writer.section(&[u64::from(bits)])?;
    writer.section(&starts)?;
    let told = (bits / 8) as usize;
    let packed = |entries: &[Entry<N>]| -> Vec<u8> {
        let one = |entry: &Entry<N>| {
            let rest = entry.digest.into_iter().skip(told);
            rest.chain(entry.size.to_le_bytes()).chain(entry.name.to_le_bytes()).collect::<Vec<_>>()
        };
        entries.iter().flat_map(one).collect()
    };
    writer.pieces(entries.chunks(PIECE).map(packed))?;
    write_sizes(entries.iter().map(|entry| entry.size), writer)
}

impl<const N: usize> Table<N> {
    fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        let [bits] = reader.numbers()?;
        let bits = u32::try_from(bits).ok().filter(|&bits| bits <= MOST_BITS).ok_or(Damaged)?;
        Ok(Self { bits, starts: reader.section()?, entries: reader.section()?, sizes: Sizes::read(reader)? })
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn may_hold(&self, size: usize) -> bool {
        self.sizes.may_hold(size)
    }

    fn lookup(&self, size: usize, digest: impl FnOnce() -> [u8; N], found: &mut Vec<NameId>) {
        if !self.may_hold(size) {
            return;
        }
        let digest = digest();
        let rest = digest.get((self.bits / 8) as usize..).unwrap_or_default();
        let bucket = bucket_of(&digest, self.bits);
        let Some(&[first, end]) = self.starts.get(bucket..bucket + 2) else { return };
        let length = rest.len() + BEHIND;
        let entries = self.entries.get(first as usize * length..end as usize * length).unwrap_or_default();
        for entry in entries.chunks_exact(length) {
            let Some(behind) = entry.strip_prefix(rest) else { continue };
            let (&[entry_size, name], _) = behind.as_chunks::<4>() else { continue };
            let (entry_size, name) = (u32::from_le_bytes(entry_size), u32::from_le_bytes(name));
            if entry_size == ANY || entry_size as usize == size {
                found.push(name);
            }
        }
    }
}

/// The digest's first bits.
fn bucket_of(digest: &[u8], bits: u32) -> usize {
    let first = digest.first_chunk().map_or(0, |first| u32::from_be_bytes(*first));
    (u64::from(first) >> (u32::BITS - bits)) as usize
}

/// Which sizes occur; folded beyond its length, so that it may say yes for one that does not.
struct Sizes {
    any: bool,
    /// One more than the largest.
    end: u64,
    words: Flat<u64>,
}

/// Sizes up to 16 MiB are told exactly; a bitmap takes at most 2 MiB.
const MAX_BITS: usize = 1 << 24;

fn write_sizes(sizes: impl Iterator<Item = u32> + Clone, writer: &mut Writer<'_>) -> io::Result<()> {
    let known = sizes.clone().filter(|&size| size != ANY);
    let end = known.clone().max().map_or(0, |largest| u64::from(largest) + 1);
    let bits = if end == 0 { 0 } else { (end as usize).next_power_of_two().clamp(64, MAX_BITS) };
    let mut words = vec![0u64; bits / 64];
    for size in known {
        if let Some(word) = words.get_mut(size as usize % bits / 64) {
            *word |= 1 << (size % 64);
        }
    }
    writer.section(&[u64::from(sizes.clone().any(|size| size == ANY)), end])?;
    writer.section(&words)
}

impl Sizes {
    fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        let [any, end] = reader.numbers()?;
        let words = reader.section::<u64>()?;
        // Places in it are found by a mask.
        let sound = words.is_empty() || words.len().is_power_of_two();
        if sound { Ok(Self { any: any != 0, end, words }) } else { Err(Damaged) }
    }

    fn may_hold(&self, size: usize) -> bool {
        let place = (size / 64) & self.words.len().wrapping_sub(1);
        self.any || (size as u64) < self.end && self.words.get(place).is_some_and(|word| word >> (size % 64) & 1 == 1)
    }
}

fn unhex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::flat::Block, *};

    fn finish(reading: Reading) -> Digests {
        let block = Block::in_memory(|writer| reading.write(writer)).unwrap();
        Digests::read(&mut block.reader()).unwrap()
    }

    fn lookup(digests: &Digests, content: &[u8]) -> Vec<NameId> {
        let mut found = Vec::new();
        let sums = Sums::new(content);
        sums.compute(digests.wanted(content.len()));
        digests.lookup(&sums, &mut found);
        found
    }

    fn sizes(sizes: &[u32]) -> Sizes {
        let block = Block::in_memory(|writer| write_sizes(sizes.iter().copied(), writer)).unwrap();
        Sizes::read(&mut block.reader()).unwrap()
    }

    #[test]
    fn an_entry_takes_what_its_bucket_does_not_tell_and_eight_bytes() {
        let mut reading = Reading::default();
        for number in 0..4096u32 {
            reading.add(AnyDigest::Md5(Md5::digest(number.to_le_bytes()).into()), Some(4), number);
        }
        // 1,024 buckets: one byte is told.
        assert_eq!(finish(reading).md5.entries.len(), 4096 * (15 + 8));
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let digests = finish(Reading::default());
        assert!(digests.is_empty() && lookup(&digests, b"").is_empty() && lookup(&digests, b"abc").is_empty());
    }

    #[test]
    fn digest_and_size_must_both_fit() {
        let mut reading = Reading::default();
        reading.add(AnyDigest::Md5(Md5::digest(b"abc").into()), Some(3), 0);
        reading.add(AnyDigest::Md5(Md5::digest(b"abcd").into()), Some(3), 1);
        reading.add(AnyDigest::Sha1(Sha1::digest(b"abc").into()), Some(3), 2);
        reading.add(AnyDigest::Sha256(Sha256::digest(b"abc").into()), None, 3);
        reading.add(AnyDigest::Sha256(Sha256::digest(b"").into()), Some(0), 4);
        // The same digest twice: both names are told.
        reading.add(AnyDigest::Md5(Md5::digest(b"abc").into()), Some(3), 5);
        let digests = finish(reading);
        assert_eq!(lookup(&digests, b"abc"), [0, 5, 2, 3]);
        assert_eq!(lookup(&digests, b"abcd"), [0; 0]);
        assert_eq!(lookup(&digests, b""), [4]);
    }

    #[test]
    fn every_entry_of_many_is_found_and_no_other() {
        let mut reading = Reading::default();
        for number in 0..5_000u32 {
            reading.add(AnyDigest::Md5(Md5::digest(number.to_le_bytes()).into()), Some(4), number);
        }
        let digests = finish(reading);
        for number in 0..10_000u32 {
            let expected: &[NameId] = if number < 5_000 { &[number] } else { &[] };
            assert_eq!(lookup(&digests, &number.to_le_bytes()), expected);
        }
    }

    #[test]
    fn sizes_beyond_the_bitmap_fold_and_never_deny() {
        let some = sizes(&[5, 70_000_000]);
        assert!(some.may_hold(5) && some.may_hold(70_000_000) && !some.may_hold(6));
        assert!(!some.may_hold(70_000_000 + MAX_BITS), "beyond the largest there is none");
        assert!(sizes(&[ANY]).may_hold(77) && !sizes(&[]).may_hold(0));
    }
}
