//! The names of signatures, millions of them, touched only on a hit.
//!
//! Names come in the order of the files, where neighbours share most of their letters: each is stored as the length of what it shares
//! with the one before and its own rest, and every sixteenth stands whole, so that one is read without the others.

use std::io;

use super::flat::{Damaged, Flat, Reader, Writer};

/// The number of a name.
pub(super) type NameId = u32;

/// Longer names are refused.
pub(super) const MAX_NAME: usize = 255;

/// So many names follow each other without one that stands whole.
const BLOCK: usize = 16;

/// All names, by number.
pub(super) struct Names {
    /// For each name: the length it shares, the length of the rest, the rest.
    packed: Flat<u8>,
    /// Where each block begins.
    blocks: Flat<u64>,
}

/// Names as they are read.
#[derive(Default)]
pub(super) struct Builder {
    packed: Vec<u8>,
    blocks: Vec<u64>,
    count: u32,
    last: Vec<u8>,
}

impl Builder {
    /// `None` once no number is left. The name has at most [`MAX_NAME`] bytes.
    pub(super) fn add(&mut self, name: &str) -> Option<NameId> {
        let number = self.count;
        let name = name.as_bytes().get(..MAX_NAME).unwrap_or(name.as_bytes());
        self.count = number.checked_add(1).filter(|&count| count < NameId::MAX)?;
        let shared = if (number as usize).is_multiple_of(BLOCK) {
            self.blocks.push(self.packed.len() as u64);
            0
        } else {
            name.iter().zip(&self.last).take_while(|(a, b)| a == b).count()
        };
        let rest = name.get(shared..).unwrap_or_default();
        self.packed.extend([u8::try_from(shared).unwrap_or(0), u8::try_from(rest.len()).unwrap_or(u8::MAX)]);
        self.packed.extend_from_slice(rest);
        self.last.clear();
        self.last.extend_from_slice(name);
        Some(number)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(&self.packed)?;
        writer.section(&self.blocks)
    }
}

impl Names {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        Ok(Self { packed: reader.section()?, blocks: reader.section()? })
    }

    pub(super) fn get(&self, number: NameId) -> String {
        let number = number as usize;
        let mut at = self.blocks.get(number / BLOCK).map_or(usize::MAX, |&at| usize::try_from(at).unwrap_or(usize::MAX));
        let mut name = Vec::new();
        for _ in 0..=number % BLOCK {
            let Some(&[shared, rest]) = self.packed.get(at..at.saturating_add(2)) else { break };
            at += 2;
            name.truncate(usize::from(shared));
            name.extend_from_slice(self.packed.get(at..at + usize::from(rest)).unwrap_or_default());
            at += usize::from(rest);
        }
        String::from_utf8_lossy(&name).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::flat::Block, *};

    #[test]
    fn every_name_is_read_back() {
        let mut names = Builder::default();
        let given: Vec<String> =
            (0..100).map(|i| format!("Win.Trojan.Agent-{i}")).chain(["".into(), "\u{e9}\u{e8}".into(), "x".repeat(255)]).collect();
        for (number, name) in given.iter().enumerate() {
            assert_eq!(names.add(name), Some(number as u32));
        }
        let block = Block::in_memory(|writer| names.write(writer)).unwrap();
        let names = Names::read(&mut block.reader()).unwrap();
        for (number, name) in given.iter().enumerate() {
            assert_eq!(names.get(number as u32), *name);
        }
        assert_eq!(names.get(5_000), "");
    }

    #[test]
    fn neighbours_that_share_letters_take_a_few_bytes() {
        let mut names = Builder::default();
        (0..1_000).for_each(|i| assert!(names.add(&format!("Syn.Mal.HDB-{i}")).is_some()));
        assert!(names.packed.len() < 6_000, "{} bytes", names.packed.len());
    }
}
