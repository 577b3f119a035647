//! Which bytes of a literal it is searched by: those that are rarest in files at large, and filters over such windows.

/// For each pair of bytes, how often it occurs in mixed files: eight times the binary logarithm of its share in billionths.
/// Made by `bigrams.py`, which stands beside it.
const PAIRS: &[u8; 1 << 16] = include_bytes!("bigrams.bin");

/// A window of fewer bytes costs more than any of more.
const COST_OF_FOUR: u64 = 1 << 16;
const COST_OF_TWO: u64 = 1 << 20;

/// A window of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// So many bytes stand before it.
    pub(super) before: usize,
    /// 8, 4 or 2 bytes.
    pub(super) width: usize,
    /// The more, the more often it occurs.
    pub(super) cost: u64,
}

/// The best window of a literal of two bytes at least.
pub(super) fn choose(literal: &[u8]) -> Chosen {
    let (width, base) = match literal.len() {
        8.. => (8, 0),
        4.. => (4, COST_OF_FOUR),
        _ => (2, COST_OF_TWO),
    };
    let cost = |window: &[u8]| window.windows(2).map(pair_cost).sum::<u64>() + base;
    let costs = literal.windows(width).map(cost).enumerate();
    let (before, cost) = costs.min_by_key(|&(_, cost)| cost).unwrap_or((0, u64::MAX));
    Chosen { before, width, cost }
}

fn pair_cost(pair: &[u8]) -> u64 {
    let &[first, second] = pair else { return 0 };
    let often = PAIRS.get(usize::from(first) << 8 | usize::from(second)).copied().unwrap_or(0);
    // A run of one byte floods, however rare the byte is at large.
    u64::from(often) + if first == second { 64 } else { 0 }
}

/// Windows of one width with what is to be looked at where they occur.
///
/// A bitmap over a hash of the window answers for nearly every place of an object; it has 32 bits or more for each window, up to 512 KiB,
/// so that it stays in the caches. Behind it a table leads to the windows with that hash.
#[derive(Default)]
pub(super) struct Filter {
    bits: Vec<u64>,
    /// The hash's first bits that number the bits of the bitmap, and the buckets.
    bitmap_shift: u32,
    bucket_shift: u32,
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u32,
    pattern: u32,
}

const LEAST_BITS: u32 = 12;
const MOST_BITS: u32 = 22;

impl Filter {
    /// A window's bytes, least significant first, and the pattern it belongs to.
    pub(super) fn new(windows: &[(u64, u32)]) -> Self {
        if windows.is_empty() {
            return Self::default();
        }
        let log = windows.len().next_power_of_two().ilog2();
        let (bitmap_log, bucket_log) = ((log + 5).clamp(LEAST_BITS, MOST_BITS), log.clamp(1, 28));
        let (bitmap_shift, bucket_shift) = (64 - bitmap_log, 64 - bucket_log);
        let mut bits = vec![0u64; 1 << (bitmap_log - 6)];
        let mut hashed: Vec<_> = windows.iter().map(|&(window, pattern)| (hash(window), pattern)).collect();
        hashed.sort_unstable();
        let mut starts = vec![0u32; (1 << bucket_log) + 1];
        for &(hash, _) in &hashed {
            let bit = hash >> bitmap_shift;
            if let Some(word) = bits.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
            if let Some(count) = starts.get_mut((hash >> bucket_shift) as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let entries = hashed.iter().map(|&(hash, pattern)| Entry { tag: tag(hash), pattern }).collect();
        Self { bits, bitmap_shift, bucket_shift, starts, entries }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Shows `visit` each place of `view` where a window of `N` bytes may stand, before `count`, with its patterns, as long as it wishes.
    pub(super) fn scan<const N: usize, E>(
        &self,
        view: &[u8],
        count: usize,
        visit: &mut dyn FnMut(usize, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let (bits, shift) = (self.bits.as_slice(), self.bitmap_shift);
        for (at, window) in view.windows(N).take(count).enumerate() {
            let hash = hash(read::<N>(window));
            let bit = hash >> shift;
            if bits.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1) {
                self.visit(hash, at, visit)?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn visit<E>(&self, hash: u64, at: usize, visit: &mut dyn FnMut(usize, u32) -> Result<(), E>) -> Result<(), E> {
        let bucket = (hash >> self.bucket_shift) as usize;
        let bound = |bucket: usize| self.starts.get(bucket).map_or(0, |&at| at as usize);
        let entries = self.entries.get(bound(bucket)..bound(bucket + 1)).unwrap_or_default();
        entries.iter().filter(|entry| entry.tag == tag(hash)).try_for_each(|entry| visit(at, entry.pattern))
    }
}

/// Spreads every bit of the window into the first ones. Odd, so that two windows never share a hash.
fn hash(window: u64) -> u64 {
    let mixed = window.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

fn tag(hash: u64) -> u32 {
    (hash & u64::from(u32::MAX)) as u32
}

/// Up to eight bytes as a number, the first the least significant.
#[inline(always)]
fn read<const N: usize>(window: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    if let (Some(to), Some(from)) = (bytes.get_mut(..N), window.get(..N)) {
        to.copy_from_slice(from);
    }
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<const N: usize>(filter: &Filter, view: &[u8]) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        let visit: &mut dyn FnMut(usize, u32) -> Result<(), ()> = &mut |at, pattern| {
            found.push((at, pattern));
            Ok(())
        };
        filter.scan::<N, ()>(view, usize::MAX, visit).unwrap();
        found
    }

    #[test]
    fn the_rarest_bytes_are_chosen() {
        assert_eq!(choose(b"\0\0\0\0\0\0\0\0\0\0\xf3\x91\x07\xe2\x9a\x41\xb7\xd5").before, 10);
        let chosen = choose(b"http://www\x02\xfa\x91\xe7");
        assert_eq!((chosen.before, chosen.width), (6, 8));
        let [eight, four, two] = [&b"        "[..], b"\xf3\x91\x07\xe2", b"\xf3\x91"].map(|literal| choose(literal).cost);
        assert!(eight < four && four < two);
        assert_eq!((choose(b"abcdefg").width, choose(b"abc").width), (4, 2));
    }

    #[test]
    fn every_window_is_found_where_it_stands() {
        let bytes: Vec<u8> = (0..4_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let windows: Vec<_> = (0..1_000).map(|i| (read::<8>(&bytes[i * 13..]), i as u32)).collect();
        let filter = Filter::new(&windows);
        let expected: Vec<_> = (0..1_000).map(|i| (i * 13, i as u32)).collect();
        assert_eq!(found::<8>(&filter, &bytes), expected);
        let filter = Filter::new(&[(read::<2>(b"ab"), 7), (read::<2>(b"ab"), 8)]);
        assert_eq!(found::<2>(&filter, b"xabab"), [(1, 7), (1, 8), (3, 7), (3, 8)]);
        assert_eq!(found::<8>(&Filter::default(), b"short"), []);
    }
}
