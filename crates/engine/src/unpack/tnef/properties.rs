//! Lists of MAPI properties inside an attribute ([MS-OXTNEF] 2.1.3.4).

use super::{
    super::{Sink, Stop, u16_at, u32_at},
    MAX_NAME,
};

/// One value of a property.
#[derive(Debug)]
pub(super) struct Property<'a> {
    pub(super) id: u16,
    kind: u16,
    pub(super) value: &'a [u8],
}

/// Those of a list that can hold something; others are stepped over.
pub(super) struct Properties<'a> {
    pub(super) list: Vec<Property<'a>>,
    /// All that the list says to have is there.
    pub(super) complete: bool,
}

const STRING: u16 = 0x001e;
const WIDE_STRING: u16 = 0x001f;
const OBJECT: u16 = 0x000d;
const BINARY: u16 = 0x0102;
const IS_LIST: u16 = 0x1000;

impl Property<'_> {
    pub(super) fn is_object(&self) -> bool {
        self.kind == OBJECT
    }

    pub(super) fn text(&self) -> String {
        if self.kind != WIDE_STRING {
            return super::text(self.value);
        }
        let units = self.value.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
        String::from_utf16_lossy(&units.take(MAX_NAME).collect::<Vec<_>>())
    }
}

pub(super) fn read<'a>(data: &'a [u8], sink: &mut dyn Sink) -> Result<Properties<'a>, Stop> {
    let mut properties = Properties { list: Vec::new(), complete: true };
    let mut cursor = Cursor { data, at: 4 };
    for _ in 0..u32_at(data, 0).unwrap_or(u32::MAX) {
        sink.tick()?;
        if cursor.property(&mut properties.list).is_none() {
            properties.complete = false;
            break;
        }
    }
    Ok(properties)
}

struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn property(&mut self, list: &mut Vec<Property<'a>>) -> Option<()> {
        let (kind, id) = (u16_at(self.data, self.at)?, u16_at(self.data, self.at + 2)?);
        self.at += 4;
        if id >= 0x8000 {
            self.name()?;
        }
        let single = kind & !IS_LIST;
        let is_variable = matches!(single, STRING | WIDE_STRING | OBJECT | BINARY);
        let count = if is_variable || kind & IS_LIST != 0 { self.number()? } else { 1 };
        for _ in 0..count {
            if is_variable {
                let length = self.number()?;
                let value = self.take(length)?;
                list.push(Property { id, kind: single, value });
            } else {
                self.take(fixed_size(single)?)?;
            }
        }
        Some(())
    }

    /// Of a property that is known by name: a GUID, then a number or a text.
    fn name(&mut self) -> Option<()> {
        self.take(16)?;
        if self.number()? == 0 {
            self.take(4)?;
        } else {
            let length = self.number()?;
            self.take(length)?;
        }
        Some(())
    }

    fn number(&mut self) -> Option<u32> {
        let number = u32_at(self.data, self.at)?;
        self.at += 4;
        Some(number)
    }

    /// So many bytes, and what fills up the last four.
    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let length = usize::try_from(length).ok()?;
        let value = self.data.get(self.at..self.at.checked_add(length)?)?;
        self.at = self.at.checked_add(length.checked_next_multiple_of(4)?)?;
        Some(value)
    }
}

fn fixed_size(kind: u16) -> Option<u32> {
    match kind {
        0x0001..=0x0004 | 0x000a | 0x000b => Some(4),
        0x0005..=0x0007 | 0x0014 | 0x0040 => Some(8),
        0x0048 => Some(16),
        _ => None,
    }
}
