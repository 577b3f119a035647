//! Which bytes of a literal it is searched by: those that are rarest in files at large, and filters over such windows.
//!
//! Windows and objects are looked at with small letters, so that patterns with and without regard to case share one filter; which of
//! them a window belongs to, and whether for this object's target, is asked where the filter says that it may stand.

use std::io;

use super::flat::{Damaged, Flat, Reader, Writer};

/// For each pair of bytes, how often it occurs in mixed files: eight times the binary logarithm of its share in billionths.
/// Made by `bigrams.py`, which stands beside it.
const PAIRS: &[u8; 1 << 16] = include_bytes!("bigrams.bin");

/// The lengths of windows, the best first.
const WIDTHS: [usize; 4] = [16, 8, 4, 2];
/// A window of fewer bytes costs more than any of more.
const COSTS: [u64; 4] = [0, 1 << 16, 1 << 20, 1 << 24];

/// A window of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// So many bytes stand before it.
    pub(super) before: usize,
    /// One of [`WIDTHS`].
    pub(super) width: usize,
    /// The more, the more often it occurs.
    pub(super) cost: u64,
}

/// The best window of a literal of two bytes at least.
pub(super) fn choose(literal: &[u8]) -> Chosen {
    let width = WIDTHS.into_iter().find(|&width| width <= literal.len()).unwrap_or(2);
    let costs = literal.windows(width).map(cost).enumerate();
    let (before, cost) = costs.min_by_key(|&(_, cost)| cost).unwrap_or((0, u64::MAX));
    Chosen { before, width, cost }
}

/// The more, the more often the window occurs.
pub(super) fn cost(window: &[u8]) -> u64 {
    let base = WIDTHS.iter().zip(COSTS).find(|(width, _)| **width <= window.len()).map_or(u64::MAX / 2, |(_, cost)| cost);
    window.windows(2).map(pair_cost).sum::<u64>() + base
}

/// Of the pair in whichever case of letters it is most frequent.
fn pair_cost(pair: &[u8]) -> u64 {
    let &[first, second] = pair else { return 0 };
    let both = |byte: u8| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
    let often = |first: u8, second: u8| PAIRS.get(usize::from(first) << 8 | usize::from(second)).copied().unwrap_or(0);
    let most = both(first).into_iter().flat_map(|first| both(second).map(|second| often(first, second))).max().unwrap_or(0);
    // A run of one byte floods, however rare the byte is at large.
    u64::from(most) + if first == second { 64 } else { 0 }
}

/// The targets that an object is of: any, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Targets(u32);

impl Targets {
    pub(super) fn of(target: Option<u8>) -> Self {
        Self(1 | target.map_or(0, |target| 1 << (target & 15)))
    }
}

/// Windows as they are found, by width.
#[derive(Default)]
pub(super) struct Lanes([Vec<Placed>; 4]);

struct Placed {
    hash: u64,
    target: u8,
    pattern: u32,
}

impl Lanes {
    /// `window` has a length of [`WIDTHS`].
    pub(super) fn add(&mut self, window: &[u8], target: u8, pattern: u32) {
        let small = window.to_ascii_lowercase();
        let hash = match small.len() {
            16 => small.first_chunk().map(hash::<16>),
            8 => small.first_chunk().map(hash::<8>),
            4 => small.first_chunk().map(hash::<4>),
            _ => small.first_chunk().map(hash::<2>),
        };
        let lane = WIDTHS.iter().position(|&width| width == small.len()).and_then(|lane| self.0.get_mut(lane));
        if let (Some(lane), Some(hash)) = (lane, hash) {
            lane.push(Placed { hash, target, pattern });
        }
    }
}

pub(super) fn write(lanes: Lanes, writer: &mut Writer<'_>) -> io::Result<()> {
    lanes.0.into_iter().try_for_each(|windows| write_filter(windows, writer))
}

/// All windows.
pub(super) struct Filters {
    sixteen: Filter,
    eight: Filter,
    four: Filter,
    two: Filter,
}

/// So much of an object is shown to one filter after the other.
pub(super) const STEP: usize = 1 << 14;
/// And so many bytes beyond, where a window that begins in the step may end.
const BEYOND: usize = 15;

impl Filters {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        let mut filter = || Filter::read(reader);
        Ok(Self { sixteen: filter()?, eight: filter()?, four: filter()?, two: filter()? })
    }

    /// Shows `visit` each place from `start` to [`STEP`] bytes behind it where a window of these targets may stand, with its pattern, as
    /// long as it wishes. `small` is scratch.
    pub(super) fn scan<E>(
        &self,
        content: &[u8],
        start: usize,
        small: &mut Vec<u8>,
        targets: Targets,
        visit: &mut dyn FnMut(usize, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let step = content.get(start..(start + STEP + BEYOND).min(content.len())).unwrap_or_default();
        small.clear();
        small.extend(step.iter().map(u8::to_ascii_lowercase));
        let mut visit = |at: usize, pattern: u32| visit(start + at, pattern);
        self.sixteen.scan::<16, E>(small, targets, &mut visit)?;
        self.eight.scan::<8, E>(small, targets, &mut visit)?;
        self.four.scan::<4, E>(small, targets, &mut visit)?;
        self.two.scan::<2, E>(small, targets, &mut visit)
    }
}

/// Windows of one width with what is to be looked at where they occur.
///
/// Two bits in one word of a bitmap, both told by a hash of the window, answer for nearly every place of an object; the bitmap has 16
/// bits or more for each window, and stays in the caches. Behind it a table leads to the windows with that hash.
struct Filter {
    bits: Flat<u64>,
    /// The hash's first bits number the words of the bitmap, and the buckets.
    word_shift: u32,
    bucket_shift: u32,
    starts: Flat<u32>,
    /// A piece of the hash with the target in the last four bits, and the pattern.
    entries: Flat<[u32; 2]>,
}

const LEAST_BITS: u32 = 12;
const MOST_BITS: u32 = 24;

fn write_filter(mut windows: Vec<Placed>, writer: &mut Writer<'_>) -> io::Result<()> {
    let log = windows.len().max(1).next_power_of_two().ilog2();
    let (bits_log, bucket_log) = ((log + 4).clamp(LEAST_BITS, MOST_BITS), log.clamp(1, 28));
    let (word_shift, bucket_shift) = (u64::BITS - (bits_log - 6), u64::BITS - bucket_log);
    let mut bits = vec![0u64; if windows.is_empty() { 0 } else { 1 << (bits_log - 6) }];
    let mut starts = vec![0u32; if windows.is_empty() { 0 } else { (1 << bucket_log) + 1 }];
    windows.sort_unstable_by_key(|window| (window.hash, window.pattern));
    for window in &windows {
        if let Some(word) = bits.get_mut((window.hash >> word_shift) as usize) {
            *word |= mask(window.hash, word_shift);
        }
        if let Some(count) = starts.get_mut((window.hash >> bucket_shift) as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    writer.section(&[u64::from(word_shift), u64::from(bucket_shift)])?;
    writer.section(&bits)?;
    writer.section(&starts)?;
    let entry = |window: &Placed| [tag(window.hash) | u32::from(window.target & 15), window.pattern];
    writer.section(&windows.iter().map(entry).collect::<Vec<_>>())
}

impl Filter {
    fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        let shifts: [u64; 2] = reader.numbers()?;
        // Two places in a word are told by the twelve bits behind those that number the words.
        let shift = |number: u64| u32::try_from(number).ok().filter(|shift| (12..u64::BITS).contains(shift)).ok_or(Damaged);
        let [word_shift, bucket_shift] = [shift(shifts[0])?, shift(shifts[1])?];
        Ok(Self { word_shift, bucket_shift, bits: reader.section()?, starts: reader.section()?, entries: reader.section()? })
    }

    /// Shows `visit` each place of `view` where a window of `N` bytes of these targets may stand, up to [`STEP`], with its patterns.
    fn scan<const N: usize, E>(&self, view: &[u8], targets: Targets, visit: &mut dyn FnMut(usize, u32) -> Result<(), E>) -> Result<(), E> {
        let (bits, shift): (&[u64], u32) = (&self.bits, self.word_shift);
        if bits.is_empty() {
            return Ok(());
        }
        for (at, window) in view.array_windows::<N>().take(STEP).enumerate() {
            let hash = hash(window);
            let mask = mask(hash, shift);
            if bits.get((hash >> shift) as usize).is_some_and(|word| word & mask == mask) {
                self.visit(hash, targets, at, visit)?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn visit<E>(&self, hash: u64, targets: Targets, at: usize, visit: &mut dyn FnMut(usize, u32) -> Result<(), E>) -> Result<(), E> {
        let bucket = (hash >> self.bucket_shift) as usize;
        let Some(&[first, end]) = self.starts.get(bucket..bucket + 2) else { return Ok(()) };
        let entries = self.entries.get(first as usize..end as usize).unwrap_or_default();
        let tag = tag(hash);
        let meant = |found: u32| found & !15 == tag && targets.0 >> (found & 15) & 1 == 1;
        entries.iter().filter(|[found, _]| meant(*found)).try_for_each(|&[_, pattern]| visit(at, pattern))
    }
}

/// Spreads every bit of the window into the first ones.
#[inline(always)]
fn hash<const N: usize>(window: &[u8; N]) -> u64 {
    let number = |from: usize| {
        let mut bytes = [0; 8];
        let length = (N - from).min(8);
        if let (Some(to), Some(from)) = (bytes.get_mut(..length), window.get(from..from + length)) {
            to.copy_from_slice(from);
        }
        u64::from_le_bytes(bytes)
    };
    let first = number(0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let second = if N > 8 { number(8).wrapping_mul(0xc2b2_ae3d_27d4_eb4f) } else { 0 };
    let mixed = first.wrapping_add(second);
    mixed ^ mixed >> 32
}

/// Two bits of a word of the bitmap.
#[inline(always)]
fn mask(hash: u64, word_shift: u32) -> u64 {
    1 << (hash >> (word_shift - 6) & 63) | 1 << (hash >> (word_shift - 12) & 63)
}

/// The hash's last bits, but for four that are left free.
fn tag(hash: u64) -> u32 {
    (hash as u32) << 4
}

#[cfg(test)]
mod tests {
    use super::{super::flat::Block, *};

    fn filters(windows: &[(&[u8], u8, u32)]) -> Filters {
        let mut lanes = Lanes::default();
        windows.iter().for_each(|(window, target, pattern)| lanes.add(window, *target, *pattern));
        let block = Block::in_memory(|writer| write(lanes, writer)).unwrap();
        Filters::read(&mut block.reader()).unwrap()
    }

    fn found(filters: &Filters, content: &[u8], target: Option<u8>) -> Vec<(usize, u32)> {
        let mut found = Vec::new();
        let visit: &mut dyn FnMut(usize, u32) -> Result<(), ()> = &mut |at, pattern| {
            found.push((at, pattern));
            Ok(())
        };
        for start in (0..content.len()).step_by(STEP) {
            filters.scan(content, start, &mut Vec::new(), Targets::of(target), visit).unwrap();
        }
        found
    }

    #[test]
    fn the_rarest_bytes_are_chosen() {
        assert_eq!(choose(b"\0\0\0\0\0\0\0\0\0\0\xf3\x91\x07\xe2\x9a\x41\xb7\xd5\xf3\x91\x07\xe2\x9a\x41\xb7\xd5").before, 10);
        let chosen = choose(b"http://www\x02\xfa\x91\xe7");
        assert_eq!((chosen.before, chosen.width), (6, 8));
        let literals = [&b"                "[..], b"\xf3\x91\x07\xe2\x9a\x41\xb7\xd5", b"\xf3\x91\x07\xe2", b"\xf3\x91"];
        let costs = literals.map(|literal| choose(literal).cost);
        assert!(costs.is_sorted(), "{costs:?}");
        assert_eq!(literals.map(|literal| choose(literal).width), WIDTHS);
        assert_eq!((choose(b"abcdefg").width, choose(b"abc").width), (4, 2));
    }

    #[test]
    fn every_window_is_found_where_it_stands() {
        let bytes: Vec<u8> = (0..20_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for width in [16, 8] {
            let windows: Vec<_> = (0..1_000).map(|i| (&bytes[i * 73..][..width], 0, i as u32)).collect();
            let expected: Vec<_> = (0..1_000).map(|i| (i * 73, i as u32)).collect();
            assert_eq!(found(&filters(&windows), &bytes, None), expected);
        }
        let two = filters(&[(b"ab", 0, 7), (b"ab", 0, 8)]);
        assert_eq!(found(&two, b"xabab", None), [(1, 7), (1, 8), (3, 7), (3, 8)]);
        assert_eq!(found(&filters(&[]), b"short", None), []);
    }

    #[test]
    fn windows_at_the_borders_of_steps_are_found() {
        for width in WIDTHS {
            let window = &b"0123456789abcdef"[..width];
            let filters = filters(&[(window, 0, 1)]);
            for at in STEP - 20..STEP + 5 {
                let mut content = vec![b'.'; at];
                content.extend_from_slice(window);
                assert_eq!(found(&filters, &content, None), [(at, 1)], "{width} bytes at {at}");
            }
        }
    }

    #[test]
    fn case_does_not_count_and_targets_do() {
        let filters = filters(&[(b"AbCd", 0, 1), (b"abcd", 1, 2), (b"ABCD", 15, 3)]);
        assert_eq!(found(&filters, b"aBcD", None), [(0, 1)]);
        assert_eq!(found(&filters, b"ABCD", Some(1)), [(0, 1), (0, 2)]);
        assert_eq!(found(&filters, b"ABCD", Some(15)), [(0, 1), (0, 3)]);
    }
}
