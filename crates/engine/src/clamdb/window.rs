//! Which bytes of a literal it is searched by: those that are rarest in files at large, and filters over such windows.
//!
//! Of a longer piece of a literal several windows are kept, each a byte further than the one before: one of them stands at a multiple of
//! their number wherever the piece stands, so that only such places of an object are looked at.
//!
//! Windows and objects are looked at with small letters, so that patterns with and without regard to case share one filter; which of
//! them a window belongs to, and whether for this object's target, is asked where the filter says that it may stand.

use std::io;

use super::flat::{Damaged, Flat, Reader, Writer};

/// For each pair of bytes, how often it occurs in mixed files: eight times the binary logarithm of its share in billionths.
/// Made by `bigrams.py`, which stands beside it.
const PAIRS: &[u8; 1 << 16] = include_bytes!("bigrams.bin");

/// The lengths of pieces, the best first: of four windows of 16 bytes, of two of 7, of one of 4, of one of 2.
const WIDTHS: [usize; 4] = [19, 8, 4, 2];
/// A piece of fewer bytes costs more than any of more.
const COSTS: [u64; 4] = [0, 1 << 16, 1 << 20, 1 << 24];

/// A piece of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// So many bytes stand before it.
    pub(super) before: usize,
    /// One of [`WIDTHS`].
    pub(super) width: usize,
    /// The more, the more often it occurs.
    pub(super) cost: u64,
}

/// The best piece of a literal of two bytes at least.
pub(super) fn choose(literal: &[u8]) -> Chosen {
    let width = WIDTHS.into_iter().find(|&width| width <= literal.len()).unwrap_or(2);
    let costs = literal.windows(width).map(cost).enumerate();
    let (before, cost) = costs.min_by_key(|&(_, cost)| cost).unwrap_or((0, u64::MAX));
    Chosen { before, width, cost }
}

/// The more, the more often the piece occurs.
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
    /// So many bytes of the piece stand before the window.
    ahead: u8,
    pattern: u32,
}

impl Lanes {
    /// `piece` has a length of [`WIDTHS`].
    pub(super) fn add(&mut self, piece: &[u8], target: u8, pattern: u32) {
        let small = piece.to_ascii_lowercase();
        let hashes: Vec<u64> = match small.len() {
            19 => small.array_windows().map(hash16).collect(),
            8 => [small.get(..7), small.get(1..)].into_iter().flatten().map(hash_short).collect(),
            _ => vec![hash_short(&small)],
        };
        let lane = WIDTHS.iter().position(|&width| width == small.len()).and_then(|lane| self.0.get_mut(lane));
        if let Some(lane) = lane {
            lane.extend(hashes.into_iter().zip(0..).map(|(hash, ahead)| Placed { hash, target, ahead, pattern }));
        }
    }
}

pub(super) fn write(lanes: Lanes, writer: &mut Writer<'_>) -> io::Result<()> {
    lanes.0.into_iter().try_for_each(|windows| write_filter(windows, writer))
}

/// All windows.
pub(super) struct Filters {
    sixteen: Filter,
    seven: Filter,
    four: Filter,
    two: Filter,
}

/// So much of an object is shown to one filter after the other.
pub(super) const STEP: usize = 1 << 14;
/// And so many bytes beyond, where a window that begins in the step may end; zeros behind the object's end.
const BEYOND: usize = 16;

impl Filters {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        let mut filter = || Filter::read(reader);
        Ok(Self { sixteen: filter()?, seven: filter()?, four: filter()?, two: filter()? })
    }

    /// Shows `visit` each place from `start` to [`STEP`] bytes behind it where a piece of these targets may stand, with its pattern, as
    /// long as it wishes. `small` is scratch.
    pub(super) fn scan<E>(
        &self,
        content: &[u8],
        start: usize,
        small: &mut Vec<u8>,
        targets: Targets,
        visit: &mut dyn FnMut(usize, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = STEP.min(content.len().saturating_sub(start));
        let step = content.get(start..(start + STEP + BEYOND).min(content.len())).unwrap_or_default();
        small.clear();
        small.extend(step.iter().map(u8::to_ascii_lowercase));
        small.resize(count + BEYOND, 0);
        let mut visit = |at: usize, ahead: usize, pattern: u32| match (start + at).checked_sub(ahead) {
            Some(at) => visit(at, pattern),
            None => Ok(()),
        };
        self.sixteen.scan::<16, 4, E>(small, count, hash16, targets, &mut visit)?;
        // Eight bytes are read at once; one is left out.
        self.seven.scan::<8, 2, E>(small, count, |window| mixed(u64::from_le_bytes(*window) & SEVEN), targets, &mut visit)?;
        self.four.scan::<4, 1, E>(small, count, |window| mixed(u32::from_le_bytes(*window).into()), targets, &mut visit)?;
        self.two.scan::<2, 1, E>(small, count, |window| mixed(u16::from_le_bytes(*window).into()), targets, &mut visit)
    }
}

/// The first seven bytes of eight.
const SEVEN: u64 = u64::MAX >> 8;

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
    /// A part of the hash, in the last six bits how many bytes of the piece are ahead and the target; and the pattern.
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
    let entry = |window: &Placed| [tag(window.hash) | u32::from(window.ahead & 3) << 4 | u32::from(window.target & 15), window.pattern];
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

    /// Shows `visit` each of the first `count` places of `view` that is a multiple of `STRIDE` and where a window of these targets may
    /// stand, with how many bytes of its piece are ahead of it, and its pattern.
    #[inline(always)]
    fn scan<const N: usize, const STRIDE: usize, E>(
        &self,
        view: &[u8],
        count: usize,
        hash: impl Fn(&[u8; N]) -> u64,
        targets: Targets,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let (bits, shift): (&[u64], u32) = (&self.bits, self.word_shift);
        if bits.is_empty() {
            return Ok(());
        }
        for (at, window) in view.array_windows::<N>().take(count).enumerate().step_by(STRIDE) {
            let hash = hash(window);
            let mask = mask(hash, shift);
            if bits.get((hash >> shift) as usize).is_some_and(|word| word & mask == mask) {
                self.visit(hash, targets, at, visit)?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn visit<E>(&self, hash: u64, targets: Targets, at: usize, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let bucket = (hash >> self.bucket_shift) as usize;
        let Some(&[first, end]) = self.starts.get(bucket..bucket + 2) else { return Ok(()) };
        let entries = self.entries.get(first as usize..end as usize).unwrap_or_default();
        let tag = tag(hash);
        let meant = |found: u32| found & !63 == tag && targets.0 >> (found & 15) & 1 == 1;
        entries.iter().filter(|[found, _]| meant(*found)).try_for_each(|&[found, pattern]| visit(at, (found >> 4 & 3) as usize, pattern))
    }
}

/// Takes a place, how many bytes of the piece stand before it, and a pattern.
type Visit<'a, E> = dyn FnMut(usize, usize, u32) -> Result<(), E> + 'a;

/// Spreads every bit of the window into the first ones.
#[inline(always)]
fn hash16(window: &[u8; 16]) -> u64 {
    let number = u128::from_le_bytes(*window);
    let second = ((number >> 64) as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let sum = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(second);
    sum ^ sum >> 32
}

/// Of up to eight bytes: two windows never share a hash.
fn hash_short(window: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(window).for_each(|(to, from)| *to = *from);
    mixed(u64::from_le_bytes(bytes))
}

#[inline(always)]
fn mixed(number: u64) -> u64 {
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// Two bits of a word of the bitmap.
#[inline(always)]
fn mask(hash: u64, word_shift: u32) -> u64 {
    1 << (hash >> (word_shift - 6) & 63) | 1 << (hash >> (word_shift - 12) & 63)
}

/// The hash's last bits, but for six that are left free.
fn tag(hash: u64) -> u32 {
    (hash as u32) << 6
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
        assert_eq!(choose(b"\0\0\0\0\0\0\0\0\0\0\xf3\x91\x07\xe2\x9a\x41\xb7\xd5\xf3\x91\x07\xe2\x9a\x41\xb7\xd5").before, 7);
        let chosen = choose(b"http://www\x02\xfa\x91\xe7");
        assert_eq!((chosen.before, chosen.width), (6, 8));
        let literals = [&b"                   "[..], b"\xf3\x91\x07\xe2\x9a\x41\xb7\xd5", b"\xf3\x91\x07\xe2", b"\xf3\x91"];
        let costs = literals.map(|literal| choose(literal).cost);
        assert!(costs.is_sorted(), "{costs:?}");
        assert_eq!(literals.map(|literal| choose(literal).width), WIDTHS);
        assert_eq!((choose(b"abcdefg").width, choose(b"abc").width), (4, 2));
    }

    #[test]
    fn every_window_is_found_where_it_stands() {
        let bytes: Vec<u8> = (0..20_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for width in [19, 8] {
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
            let window = &b"0123456789abcdefghi"[..width];
            let filters = filters(&[(window, 0, 1)]);
            for at in (0..5).chain(STEP - 20..STEP + 5) {
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
