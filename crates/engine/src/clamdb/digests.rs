//! Tables of digests, packed: millions of entries, one place in memory touched for a lookup.
//!
//! An entry is the digest, the size and the number of the name, without padding. Entries are sorted by digest; an index over the first
//! two bytes leads to the few that can match. A bitmap of sizes says whether a digest is worth computing at all.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::names::NameId;

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

    pub(super) fn finish(self) -> Digests {
        Digests { md5: Table::new(self.md5), sha1: Table::new(self.sha1), sha256: Table::new(self.sha256) }
    }
}

impl Digests {
    /// The names of all entries with this content's digest and size. A digest is computed only where an entry could have it.
    pub(super) fn lookup(&self, content: &[u8], found: &mut Vec<NameId>) {
        self.md5.lookup(content.len(), || Md5::digest(content).into(), found);
        self.sha1.lookup(content.len(), || Sha1::digest(content).into(), found);
        self.sha256.lookup(content.len(), || Sha256::digest(content).into(), found);
    }

    /// As [`Digests::lookup`], for an MD5 that is known.
    pub(super) fn lookup_md5(&self, digest: [u8; 16], size: usize, found: &mut Vec<NameId>) {
        self.md5.lookup(size, || digest, found);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.md5.entries.len() + self.sha1.entries.len() + self.sha256.entries.len()
    }
}

/// The size of an entry that counts for every size; no object is as large.
const ANY: u32 = u32::MAX;

/// The largest size an entry can have.
pub(super) const MAX_SIZE: u32 = ANY - 1;

/// `N` + 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<const N: usize> {
    digest: [u8; N],
    size: u32,
    name: NameId,
}

struct Table<const N: usize> {
    /// Sorted.
    entries: Vec<Entry<N>>,
    /// Where the entries begin whose digests start with these two bytes; one more at the end. Empty where there are no entries.
    starts: Vec<u32>,
    sizes: Sizes,
}

impl<const N: usize> Table<N> {
    fn new(mut entries: Vec<Entry<N>>) -> Self {
        entries.shrink_to_fit();
        entries.sort_unstable();
        let sizes = Sizes::new(entries.iter().map(|entry| entry.size));
        let mut starts = Vec::new();
        if !entries.is_empty() {
            starts.reserve_exact(BUCKETS + 1);
            let mut at = 0usize;
            for bucket in 0..BUCKETS {
                starts.push(u32::try_from(at).expect("names, and so entries, are numbered in 32 bits"));
                at += entries.get(at..).unwrap_or_default().iter().take_while(|entry| bucket_of(&entry.digest) == bucket).count();
            }
            starts.push(u32::try_from(at).expect("names, and so entries, are numbered in 32 bits"));
        }
        Self { entries, starts, sizes }
    }

    fn lookup(&self, size: usize, digest: impl FnOnce() -> [u8; N], found: &mut Vec<NameId>) {
        if !self.sizes.may_hold(size) {
            return;
        }
        let digest = digest();
        let bucket = bucket_of(&digest);
        let bound = |at: usize| self.starts.get(at).map_or(0, |&at| at as usize);
        let entries = self.entries.get(bound(bucket)..bound(bucket + 1)).unwrap_or_default();
        let first = entries.partition_point(|entry| entry.digest < digest);
        let same = entries.get(first..).unwrap_or_default().iter().take_while(|entry| entry.digest == digest);
        found.extend(same.filter(|entry| entry.size == ANY || entry.size as usize == size).map(|entry| entry.name));
    }
}

const BUCKETS: usize = 1 << 16;

fn bucket_of(digest: &[u8]) -> usize {
    digest.iter().take(2).fold(0, |bucket, &byte| bucket << 8 | usize::from(byte))
}

/// Which sizes occur; folded beyond its length, so that it may say yes for one that does not.
struct Sizes {
    any: bool,
    words: Vec<u64>,
}

/// Sizes up to 16 MiB are told exactly; a bitmap takes at most 2 MiB.
const MAX_BITS: usize = 1 << 24;

impl Sizes {
    fn new(sizes: impl Iterator<Item = u32> + Clone) -> Self {
        let largest = sizes.clone().filter(|&size| size != ANY).max();
        let bits = largest.map_or(0, |largest| (largest as usize + 1).next_power_of_two().clamp(64, MAX_BITS));
        let mut this = Self { any: false, words: vec![0; bits / 64] };
        for size in sizes {
            if size == ANY {
                this.any = true;
            } else if let Some(word) = this.words.get_mut(size as usize % bits.max(1) / 64) {
                *word |= 1 << (size % 64);
            }
        }
        this
    }

    fn may_hold(&self, size: usize) -> bool {
        let bits = self.words.len() * 64;
        self.any || bits > 0 && self.words.get(size % bits / 64).is_some_and(|word| word >> (size % 64) & 1 == 1)
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
    use super::*;

    fn lookup(digests: &Digests, content: &[u8]) -> Vec<NameId> {
        let mut found = Vec::new();
        digests.lookup(content, &mut found);
        found
    }

    #[test]
    fn an_entry_takes_its_digest_and_eight_bytes() {
        assert_eq!((size_of::<Entry<16>>(), size_of::<Entry<20>>(), size_of::<Entry<32>>()), (24, 28, 40));
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let digests = Reading::default().finish();
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
        let digests = reading.finish();
        assert_eq!(lookup(&digests, b"abc"), [0, 5, 2, 3]);
        assert_eq!(lookup(&digests, b"abcd"), [0; 0]);
        assert_eq!(lookup(&digests, b""), [4]);
        assert_eq!(digests.len(), 6);
    }

    #[test]
    fn every_entry_of_many_is_found_and_no_other() {
        let mut reading = Reading::default();
        for number in 0..5_000u32 {
            reading.add(AnyDigest::Md5(Md5::digest(number.to_le_bytes()).into()), Some(4), number);
        }
        let digests = reading.finish();
        for number in 0..10_000u32 {
            let expected: &[NameId] = if number < 5_000 { &[number] } else { &[] };
            assert_eq!(lookup(&digests, &number.to_le_bytes()), expected);
        }
    }

    #[test]
    fn sizes_beyond_the_bitmap_fold_and_never_deny() {
        let sizes = Sizes::new([5, 70_000_000].into_iter());
        assert!(sizes.may_hold(5) && sizes.may_hold(70_000_000) && !sizes.may_hold(6));
        assert!(Sizes::new([ANY].into_iter()).may_hold(77) && !Sizes::new(std::iter::empty()).may_hold(0));
    }
}
