//! The parts of a binary workbook (MS-XLSB): sheets and the workbook itself, one record after another.

use super::{
    formula::{Context, Dialect, address, text, wide},
    functions::Functions,
    macros::{Sheet, judge_name},
};
use crate::unpack::{Sink, Stop, u32_at};

const ROW: u16 = 0;
const FORMULA_STRING: u16 = 8;
const FORMULA_NUMBER: u16 = 9;
const FORMULA_BOOL: u16 = 10;
const FORMULA_ERROR: u16 = 11;
const NAME: u16 = 39;
/// A sheet may have millions of records.
const BETWEEN_TICKS: usize = 256;

/// Whether content starts like a sheet or a workbook: both begin with a record that is empty.
pub(crate) fn starts(content: &[u8]) -> bool {
    content.starts_with(&[0x81, 0x01, 0x00]) || content.starts_with(&[0x83, 0x01, 0x00])
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let functions = Functions::new();
    let mut sheet = Sheet::new("sheet".to_owned(), false);
    let (mut rest, mut row) = (content, 0);
    let mut count = 0usize;
    while let Some((kind, data)) = record(&mut rest) {
        count += 1;
        if count.is_multiple_of(BETWEEN_TICKS) {
            sink.tick()?;
        }
        let value = match kind {
            ROW => {
                row = u32_at(data, 0).unwrap_or(row);
                continue;
            }
            NAME => {
                const HEADER: usize = 9;
                judge_name(&counted(data.get(HEADER..).unwrap_or_default()), sink);
                continue;
            }
            FORMULA_STRING => {
                u32_at(data, 8).and_then(|length| usize::try_from(length).ok()).map(|length| length.saturating_mul(2).saturating_add(4))
            }
            FORMULA_NUMBER => Some(8),
            FORMULA_BOOL | FORMULA_ERROR => Some(1),
            _ => continue,
        };
        let context = Context { dialect: Dialect::Twelve, functions: &functions, names: &[], sheets: &[] };
        let formula = value.and_then(|value| tokens(data, value)).map(|tokens| text(tokens, &context));
        if let (Some(formula), Some(column)) = (formula, u32_at(data, 0)) {
            sheet.add(&address(row, column), &formula, sink)?;
        }
    }
    sheet.finish(sink)
}

/// What follows a cell's place and value, each formula's flags and length.
fn tokens(data: &[u8], value: usize) -> Option<&[u8]> {
    let at = value.checked_add(8 + 2)?;
    let length = usize::try_from(u32_at(data, at)?).ok()?;
    let rest = data.get(at + 4..)?;
    Some(rest.get(..length).unwrap_or(rest))
}

/// The kind in one or two bytes, the length in one to four, seven bits each.
fn record<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    const LONGEST_KIND: usize = 2;
    const LONGEST_LENGTH: usize = 4;
    let kind = number(rest, LONGEST_KIND)?;
    let length = usize::try_from(number(rest, LONGEST_LENGTH)?).ok()?;
    let (data, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    *rest = after;
    Some((u16::try_from(kind).ok()?, data))
}

fn number(rest: &mut &[u8], longest: usize) -> Option<u32> {
    let mut value = 0;
    for index in 0..longest {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

fn counted(data: &[u8]) -> String {
    let length = u32_at(data, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(0).min(1_024);
    let rest = data.get(4..).unwrap_or_default();
    wide(rest.get(..length * 2).unwrap_or(rest))
}
