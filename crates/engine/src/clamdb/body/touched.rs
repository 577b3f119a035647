//! What the patterns found in one object: state only for what was touched.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use super::Owner;
use crate::clamdb::{names::NameId, program::Exhausted};

/// What the patterns found in one object.
#[derive(Default)]
pub(in crate::clamdb) struct Touched {
    /// Names of signatures that matched, and where the first match that was found ends.
    signatures: Map<NameId, u64>,
    /// Of each logical signature of which a part matched, a bit for each such part.
    parts: Map<u32, u64>,
    /// And where the first match of any of its parts ends.
    firsts: Map<u32, u64>,
    /// Matches of a part, up to what can matter, where more than one can.
    counts: Map<u64, u32>,
    /// Where counted matches ended.
    ends: Set<(u64, u64)>,
    /// Of patterns in several parts: what was searched once.
    memo: Map<u32, Memo>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Memo {
    /// Where the parts before the window's part can end at the earliest, once known.
    pub(super) prefix: Option<Option<usize>>,
    /// From here on, the parts after it do not follow.
    pub(super) fails_from: Option<usize>,
}

/// More ends of counted matches are not kept.
pub(super) const MAX_ENDS: usize = 1 << 18;

impl Touched {
    /// Signatures of one pattern that matched, and where.
    pub(in crate::clamdb) fn signatures(&self) -> impl Iterator<Item = (NameId, u64)> {
        self.signatures.iter().map(|(name, place)| (*name, *place))
    }

    /// Where the first match of a part of that logical signature ends; at the start, if none matched.
    pub(in crate::clamdb) fn first(&self, signature: u32) -> u64 {
        self.firsts.get(&signature).copied().unwrap_or(0)
    }

    /// Logical signatures of which a part matched, with a bit for each such part.
    pub(in crate::clamdb) fn logical(&self) -> impl Iterator<Item = (u32, u64)> {
        self.parts.iter().map(|(signature, parts)| (*signature, *parts))
    }

    /// How often that part of a logical signature matched, up to what can matter.
    pub(in crate::clamdb) fn count(&self, signature: u32, parts: u64, part: u8) -> u32 {
        if parts >> part & 1 == 0 {
            return 0;
        }
        self.counts.get(&key(signature, part)).copied().unwrap_or(1)
    }

    /// Whether another match changes something.
    pub(super) fn is_open(&self, owner: Owner) -> bool {
        match owner {
            Owner::Signature(name) => !self.signatures.contains_key(&name),
            Owner::Part { signature, part, needed: 1 } => self.parts.get(&signature).is_none_or(|parts| parts >> part & 1 == 0),
            Owner::Part { signature, part, needed } => self.counts.get(&key(signature, part)).is_none_or(|&count| count < needed),
        }
    }

    /// Counts matches that end at these places.
    ///
    /// # Errors
    /// More of them than can be told apart.
    pub(super) fn add(&mut self, owner: Owner, ends: impl Iterator<Item = usize>) -> Result<(), Exhausted> {
        let mut ends = ends.peekable();
        let first = ends.peek().map_or(0, |end| *end as u64);
        let (signature, part, needed) = match owner {
            Owner::Signature(name) => {
                self.signatures.entry(name).and_modify(|place| *place = first.min(*place)).or_insert(first);
                return Ok(());
            }
            Owner::Part { signature, part, needed } => (signature, part, needed),
        };
        self.firsts.entry(signature).and_modify(|place| *place = first.min(*place)).or_insert(first);
        *self.parts.entry(signature).or_default() |= 1 << part;
        if needed == 1 {
            return Ok(());
        }
        let key = key(signature, part);
        let count = self.counts.entry(key).or_default();
        for end in ends {
            if *count >= needed {
                break;
            }
            if self.ends.len() >= MAX_ENDS {
                return Err(Exhausted);
            }
            // A match is told from others by where it ends.
            if self.ends.insert((key, end as u64)) {
                *count += 1;
            }
        }
        Ok(())
    }

    pub(super) fn memo(&self, pattern: u32) -> Memo {
        self.memo.get(&pattern).copied().unwrap_or_default()
    }

    pub(super) fn remember(&mut self, pattern: u32, memo: Memo) {
        self.memo.insert(pattern, memo);
    }
}

fn key(signature: u32, part: u8) -> u64 {
    u64::from(signature) << 8 | u64::from(part)
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;
type Set<K> = HashSet<K, BuildHasherDefault<Spread>>;

/// Spreads numbers that this program gives out. Who makes an object chooses among them, not their values.
#[derive(Clone, Copy, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 29;
    }
}
