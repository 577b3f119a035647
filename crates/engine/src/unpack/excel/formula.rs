//! Formulas from their parsed form back to text (MS-XLS 2.5.198, MS-XLSB 2.5.97), well enough for rules to read.

use super::functions::{Functions, USER_DEFINED};
use crate::unpack::{u16_at, u32_at};

/// Which version wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Excel 5 and 95.
    Five,
    /// Excel 97 to 2003.
    Eight,
    /// Binary workbooks since 2007.
    Twelve,
}

/// What a formula refers to by number.
pub(super) struct Context<'a> {
    pub(super) dialect: Dialect,
    pub(super) functions: &'a Functions,
    /// The names of the workbook, from the first on.
    pub(super) names: &'a [String],
    /// The sheets that references to other sheets lead to.
    pub(super) sheets: &'a [String],
}

/// An operand longer than this is cut.
const LONGEST: usize = 32 << 10;
/// Excel takes no formula of more bytes.
const MOST_TOKENS: usize = 64 << 10;
/// Numbers of cells for which letters are made.
const MOST_COLUMNS: u32 = 16_384;

/// The text of a formula; of one that makes no sense, as far as it went.
pub(super) fn text(tokens: &[u8], context: &Context<'_>) -> String {
    let tokens = tokens.get(..MOST_TOKENS).unwrap_or(tokens);
    let mut decoder = Decoder { rest: tokens, stack: Vec::new(), context };
    while !decoder.rest.is_empty() {
        if decoder.token().is_none() {
            decoder.stack.push("?".to_owned());
            break;
        }
    }
    decoder.stack.join(" ")
}

struct Decoder<'a, 'c> {
    rest: &'a [u8],
    stack: Vec<String>,
    context: &'c Context<'c>,
}

impl Decoder<'_, '_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        u16_at(self.take(2)?, 0)
    }

    fn push(&mut self, mut operand: String) {
        if operand.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|end| operand.is_char_boundary(*end)).unwrap_or(0);
            operand.truncate(end);
        }
        self.stack.push(operand);
    }

    fn pop(&mut self) -> String {
        self.stack.pop().unwrap_or_default()
    }

    fn binary(&mut self, operator: &str) {
        let (right, left) = (self.pop(), self.pop());
        self.push(left + operator + &right);
    }

    /// One token; nothing where it is unknown or cut.
    fn token(&mut self) -> Option<()> {
        let token = self.byte()?;
        // Operands come in three classes, which differ in nothing that matters here.
        let kind = if token < 0x40 { token } else { token & 0x1f | 0x20 };
        match kind {
            0x01 | 0x02 => self.take(4).map(drop)?,
            0x03..=0x11 => {
                const OPERATORS: [&str; 15] = ["+", "-", "*", "/", "^", "&", "<", "<=", "=", ">=", ">", "<>", " ", ",", ":"];
                self.binary(OPERATORS.get(usize::from(kind - 3))?);
            }
            0x12 => {}
            0x13 => {
                let operand = self.pop();
                self.push(format!("-{operand}"));
            }
            0x14 => {
                let operand = self.pop();
                self.push(format!("{operand}%"));
            }
            0x15 => {
                let operand = self.pop();
                self.push(format!("({operand})"));
            }
            0x16 => self.push(String::new()),
            0x17 => self.string()?,
            0x18 => self.take(5).map(drop)?,
            0x19 => self.attribute()?,
            0x1c => {
                let code = self.byte()?;
                self.push(format!("#ERROR{code}"));
            }
            0x1d => {
                let value = self.byte()?;
                self.push(if value == 0 { "FALSE" } else { "TRUE" }.to_owned());
            }
            0x1e => {
                let value = self.number()?;
                self.push(value.to_string());
            }
            0x1f => {
                let value = f64::from_le_bytes(*self.take(8)?.first_chunk()?);
                self.push(value.to_string());
            }
            0x20..=0x3f => self.operand(kind)?,
            _ => return None,
        }
        Some(())
    }

    fn operand(&mut self, kind: u8) -> Option<()> {
        let dialect = self.context.dialect;
        let by = |five, eight, twelve| match dialect {
            Dialect::Five => five,
            Dialect::Eight => eight,
            Dialect::Twelve => twelve,
        };
        match kind {
            0x20 => {
                self.take(by(7, 7, 14))?;
                self.push("{}".to_owned());
            }
            0x21 => {
                let function = self.number()? & 0x7fff;
                self.call(function, self.context.functions.arguments(function));
            }
            0x22 => {
                let count = usize::from(self.byte()? & 0x7f);
                let function = self.number()?;
                if function & 0x8000 == 0 { self.call(function, count) } else { self.command(function & 0x7fff, count) }
            }
            0x23 => {
                let index = self.number()?;
                self.take(by(12, 2, 2))?;
                let name = usize::from(index).checked_sub(1).and_then(|index| self.context.names.get(index)).cloned();
                self.push(name.unwrap_or_else(|| format!("name{index}")));
            }
            0x24 | 0x2c => {
                let cell = self.cell()?;
                self.push(cell);
            }
            0x25 | 0x2d => {
                let area = self.area()?;
                self.push(area);
            }
            0x26..=0x28 => self.take(6).map(drop)?,
            0x29 => self.take(2).map(drop)?,
            0x2a | 0x2b => {
                self.take(if kind == 0x2a { by(3, 4, 6) } else { by(6, 8, 12) })?;
                self.push("#REF!".to_owned());
            }
            0x39 => {
                let sheet = self.number()?;
                let index = self.number()?;
                self.take(by(20, 2, 2))?;
                self.push(format!("external{sheet}.{index}"));
            }
            0x3a | 0x3b => {
                let sheet = self.sheet()?;
                let place = if kind == 0x3a { self.cell()? } else { self.area()? };
                self.push(format!("{sheet}!{place}"));
            }
            0x3c | 0x3d => {
                self.take(if kind == 0x3c { by(17, 6, 8) } else { by(20, 10, 14) })?;
                self.push("#REF!".to_owned());
            }
            _ => return None,
        }
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        const WIDE: u8 = 1;
        let text = match self.context.dialect {
            Dialect::Five => {
                let length = self.byte()?;
                latin(self.take(usize::from(length))?)
            }
            Dialect::Eight => {
                let (length, flags) = (usize::from(self.byte()?), self.byte()?);
                if flags & WIDE == 0 { latin(self.take(length)?) } else { wide(self.take(length * 2)?) }
            }
            Dialect::Twelve => {
                let length = self.number()?;
                wide(self.take(usize::from(length) * 2)?)
            }
        };
        self.push(format!("\"{text}\""));
        Some(())
    }

    /// Jumps and spaces; a sum of one argument is written as one as well.
    fn attribute(&mut self) -> Option<()> {
        const CHOOSE: u8 = 0x04;
        const SUM: u8 = 0x10;
        let (flags, data) = (self.byte()?, self.number()?);
        if flags & CHOOSE != 0 {
            self.take((usize::from(data) + 1) * 2)?;
        } else if flags & SUM != 0 {
            let operand = self.pop();
            self.push(format!("SUM({operand})"));
        }
        Some(())
    }

    fn call(&mut self, function: u16, count: usize) {
        let mut arguments = self.arguments(count);
        let name =
            if function == USER_DEFINED && !arguments.is_empty() { arguments.remove(0) } else { self.context.functions.name(function) };
        self.push(format!("{name}({})", arguments.join(",")));
    }

    /// Commands of the menus, which have no names here.
    fn command(&mut self, number: u16, count: usize) {
        let arguments = self.arguments(count);
        self.push(format!("COMMAND{number}({})", arguments.join(",")));
    }

    fn arguments(&mut self, count: usize) -> Vec<String> {
        self.stack.split_off(self.stack.len().saturating_sub(count))
    }

    fn sheet(&mut self) -> Option<String> {
        let index = self.number()?;
        if self.context.dialect == Dialect::Five {
            // Behind it, eight bytes of nothing, and the first and last sheet.
            self.take(8)?;
            let first = self.number()?;
            self.take(2)?;
            return Some(self.context.sheets.get(usize::from(first)).cloned().unwrap_or_else(|| format!("sheet{first}")));
        }
        Some(self.context.sheets.get(usize::from(index)).cloned().unwrap_or_else(|| format!("sheet{index}")))
    }

    fn cell(&mut self) -> Option<String> {
        let (row, column) = match self.context.dialect {
            Dialect::Five => {
                let row = self.number()? & 0x3fff;
                (u32::from(row), u32::from(self.byte()?))
            }
            Dialect::Eight => (u32::from(self.number()?), u32::from(self.number()? & 0xff)),
            Dialect::Twelve => {
                let row = u32_at(self.take(4)?, 0)?;
                (row, u32::from(self.number()? & 0x3fff))
            }
        };
        Some(address(row, column))
    }

    fn area(&mut self) -> Option<String> {
        let (rows, columns) = match self.context.dialect {
            Dialect::Five => {
                let rows = [u32::from(self.number()? & 0x3fff), u32::from(self.number()? & 0x3fff)];
                (rows, [u32::from(self.byte()?), u32::from(self.byte()?)])
            }
            Dialect::Eight => {
                let rows = [u32::from(self.number()?), u32::from(self.number()?)];
                (rows, [u32::from(self.number()? & 0xff), u32::from(self.number()? & 0xff)])
            }
            Dialect::Twelve => {
                let rows = self.take(8)?;
                let rows = [u32_at(rows, 0)?, u32_at(rows, 4)?];
                (rows, [u32::from(self.number()? & 0x3fff), u32::from(self.number()? & 0x3fff)])
            }
        };
        let [top, bottom] = rows;
        let [left, right] = columns;
        Some(format!("{}:{}", address(top, left), address(bottom, right)))
    }
}

/// `B12`, from numbers that start at zero.
pub(super) fn address(row: u32, column: u32) -> String {
    let (mut letters, mut left) = (Vec::new(), column.min(MOST_COLUMNS) + 1);
    while left > 0 {
        letters.push(char::from(b'A' + u8::try_from((left - 1) % 26).unwrap_or(0)));
        left = (left - 1) / 26;
    }
    letters.into_iter().rev().chain(u64::from(row).saturating_add(1).to_string().chars()).collect()
}

pub(super) fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

pub(super) fn wide(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
