//! Objects inside object streams (ISO 32000-2, 7.5.7), for the rare stream whose dictionary refers to one.

use std::collections::HashMap;
use std::io::Read;

use super::lexer::{Value, is_white, parse};

/// Bytes of object streams that are kept, in all and of one.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_ONE: u64 = 4 * 1024 * 1024;
const MAX_OBJECTS: usize = 262_144;

/// What was kept of the object streams.
#[derive(Debug, Default)]
pub(super) struct Packed {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    places: HashMap<u32, (usize, usize)>,
    /// Some were left out, so an object that is not here may be in the document.
    pub(super) incomplete: bool,
}

impl Packed {
    /// Takes in one object stream, decoded: `count` pairs of number and offset, then the objects from `first` on. Gives the bytes that were
    /// read, kept or not.
    pub(super) fn add(&mut self, decoded: &mut dyn Read, count: i64, first: i64) -> usize {
        let mut buffer = Vec::new();
        let outcome = decoded.take(MAX_ONE + 1).read_to_end(&mut buffer);
        let too_much = buffer.len() as u64 > MAX_ONE || self.bytes.saturating_add(buffer.len()) > MAX_BYTES;
        self.incomplete |= outcome.is_err() || too_much;
        let read = buffer.len();
        let Ok(first) = usize::try_from(first) else { return read };
        if too_much {
            return read;
        }
        let place = self.buffers.len();
        let mut numbers = buffer
            .get(..first)
            .unwrap_or(&buffer)
            .split(|byte| is_white(*byte))
            .filter_map(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
        for _ in 0..count {
            let (Some(number), Some(offset)) = (numbers.next(), numbers.next()) else { break };
            if self.places.len() >= MAX_OBJECTS {
                self.incomplete = true;
                break;
            }
            if let Some(at) = usize::try_from(offset).ok().and_then(|offset| first.checked_add(offset)) {
                self.places.insert(number, (place, at));
            }
        }
        self.bytes += read;
        self.buffers.push(buffer);
        read
    }

    /// The object and how many bytes were read for it.
    pub(super) fn get(&self, number: u32) -> Option<(Value, usize)> {
        let (buffer, at) = self.places.get(&number)?;
        let parsed = parse(self.buffers.get(*buffer)?, *at);
        Some((parsed.value, parsed.end.saturating_sub(*at)))
    }

    /// Every object that was kept, by its number, and the text and the place where it stands.
    pub(super) fn in_order(&self) -> Vec<(u32, &[u8], usize)> {
        let place = |(number, (buffer, at)): (&u32, &(usize, usize))| Some((*number, self.buffers.get(*buffer)?.as_slice(), *at));
        let mut places: Vec<_> = self.places.iter().filter_map(place).collect();
        places.sort_unstable_by_key(|(number, _, _)| *number);
        places
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.places.keys().copied()
    }
}
