//! The stream `dir` of a macro project (MS-OVBA 2.3.4.2): which modules there are, and where in their streams the source starts.

use std::io::Read;

use super::compression::Unpacked;
use crate::unpack::{u16_at, u32_at};

/// As much of it is read; honest ones have some kilobytes.
const MOST: u64 = 4 << 20;
const MOST_MODULES: usize = 10_000;

#[derive(Default)]
pub(super) struct Project {
    pub(super) modules: Vec<Module>,
    pub(super) is_damaged: bool,
}

#[derive(Clone, Default)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) stream: String,
    /// Where the source starts.
    pub(super) offset: u32,
}

impl Project {
    pub(super) fn read(stream: &[u8]) -> Self {
        let mut records = Vec::new();
        let unpacked = Unpacked::new(stream).map(|unpacked| unpacked.take(MOST).read_to_end(&mut records));
        let mut project = Self { modules: Vec::new(), is_damaged: !matches!(unpacked, Some(Ok(_))) };
        project.is_damaged |= !project.modules_of(&records);
        project
    }

    /// Reads record after record; whether they led to the end mark.
    fn modules_of(&mut self, records: &[u8]) -> bool {
        const VERSION: u16 = 0x0009;
        const NAME: u16 = 0x0019;
        const NAME_UNICODE: u16 = 0x0047;
        const STREAM: u16 = 0x001a;
        const STREAM_UNICODE: u16 = 0x0032;
        const OFFSET: u16 = 0x0031;
        const MODULE_END: u16 = 0x002b;
        const PROJECT_END: u16 = 0x0010;
        let (mut at, mut module) = (0, Module::default());
        while let (Some(id), Some(size)) = (u16_at(records, at), u32_at(records, at + 2)) {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let data = records.get(at + 6..).and_then(|rest| rest.get(..size)).unwrap_or_default();
            match id {
                NAME => module.name = String::from_utf8_lossy(data).into_owned(),
                NAME_UNICODE => module.name = utf16(data),
                STREAM => module.stream = String::from_utf8_lossy(data).into_owned(),
                STREAM_UNICODE => module.stream = utf16(data),
                OFFSET => module.offset = u32_at(data, 0).unwrap_or(0),
                MODULE_END if self.modules.len() < MOST_MODULES => self.modules.push(std::mem::take(&mut module)),
                PROJECT_END => return true,
                _ => {}
            }
            // The version has two bytes more than its size says.
            let more = if id == VERSION { 2 } else { 0 };
            let Some(next) = size.checked_add(at + 6 + more).filter(|next| *next <= records.len()) else { return false };
            at = next;
        }
        false
    }
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
