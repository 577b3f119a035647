//! The workbook stream of Excel 5 to 2003 (MS-XLS): one record after another.

use super::{
    formula::{Context, Dialect, address, latin, text, wide},
    functions::Functions,
    macros::{Sheet, judge_name},
};
use crate::unpack::{Sink, Stop, field, ole, u16_at, u32_at};

const FORMULA: u16 = 0x0006;
const EXTERN_SHEET: u16 = 0x0017;
const NAME: u16 = 0x0018;
const FILE_PASS: u16 = 0x002f;
const CONTINUE: u16 = 0x003c;
const BOUND_SHEET: u16 = 0x0085;
const DRAWING_GROUP: u16 = 0x00eb;
const SUP_BOOK: u16 = 0x01ae;
const BOF: u16 = 0x0809;
/// Formulas of Excel 3 and 4.
const OLD_FORMULAS: [u16; 2] = [0x0206, 0x0406];

/// So many names and sheets are remembered.
const MOST: usize = 65_536;
/// A sheet may have millions of records.
const BETWEEN_TICKS: usize = 256;

/// Whether a stream is the one in the file, which may be encrypted, or what that was decrypted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    AsStored,
    Decrypted,
}

/// What the record holds that says how all others are encrypted; it stands among the first.
pub(crate) fn encryption_header(stream: &[u8]) -> Option<&[u8]> {
    const AMONG_FIRST: usize = 64;
    records(stream).take(AMONG_FIRST).find(|record| record.kind == FILE_PASS).map(|record| record.data)
}

/// Examines the macro sheets and the drawings of a workbook stream.
pub(crate) fn open(stream: &[u8], state: Records, sink: &mut dyn Sink) -> Result<(), Stop> {
    if state == Records::AsStored && encryption_header(stream).is_some() {
        return Ok(());
    }
    let mut book = Book {
        sheet: None,
        sheets: Vec::new(),
        linked: Vec::new(),
        names: Vec::new(),
        dialect: Dialect::Eight,
        functions: Functions::new(),
    };
    let (mut drawings, mut last) = (Vec::new(), 0);
    for (index, record) in records(stream).enumerate() {
        if index.is_multiple_of(BETWEEN_TICKS) {
            sink.tick()?;
        }
        if record.kind == DRAWING_GROUP || record.kind == CONTINUE && last == DRAWING_GROUP {
            sink.hold(record.data.len() as u64)?;
            drawings.extend_from_slice(record.data);
        } else {
            book.record(&record, sink)?;
        }
        last = if record.kind == CONTINUE { last } else { record.kind };
    }
    book.finish_sheet(sink)?;
    ole::pictures("drawings", &drawings, sink)?;
    sink.release(drawings.len() as u64);
    Ok(())
}

pub(super) struct Record<'a> {
    pub(super) at: usize,
    pub(super) kind: u16,
    pub(super) data: &'a [u8],
}

/// The last one may be cut.
pub(super) fn records(stream: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(stream, at)?, usize::from(u16_at(stream, at + 2)?));
        let rest = stream.get(at + 4..)?;
        let record = Record { at, kind, data: rest.get(..length).unwrap_or(rest) };
        at += 4 + length;
        Some(record)
    })
}

struct Book {
    sheet: Option<Sheet>,
    /// Where each sheet starts, what it is called, whether it is one of macros.
    sheets: Vec<(u32, String, bool)>,
    /// The sheets that formulas refer to, by number.
    linked: Vec<String>,
    names: Vec<String>,
    dialect: Dialect,
    functions: Functions,
}

impl Book {
    fn record(&mut self, record: &Record<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
        match record.kind {
            BOF => self.begin(record, sink)?,
            BOUND_SHEET => self.bound_sheet(record.data, sink),
            EXTERN_SHEET if self.dialect == Dialect::Eight => self.extern_sheet(record.data),
            SUP_BOOK => linked_book(record.data, sink),
            NAME => self.name(record.data, sink),
            FORMULA => self.formula(record.data, 20, sink)?,
            kind if OLD_FORMULAS.contains(&kind) => self.formula(record.data, 16, sink)?,
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, record: &Record<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
        const MACRO_SHEET: u16 = 0x0040;
        const GLOBALS: u16 = 0x0005;
        const EIGHT: u16 = 0x0600;
        self.finish_sheet(sink)?;
        self.dialect = if u16_at(record.data, 0) == Some(EIGHT) { Dialect::Eight } else { Dialect::Five };
        let kind = u16_at(record.data, 2);
        if kind == Some(GLOBALS) {
            return Ok(());
        }
        let known = self.sheets.iter().find(|(at, _, _)| *at as usize == record.at);
        let name = known.map_or_else(|| format!("sheet-at-{}", record.at), |(_, name, _)| name.clone());
        let is_macro = kind == Some(MACRO_SHEET) || known.is_some_and(|(_, _, is_macro)| *is_macro);
        self.sheet = Some(Sheet::new(name, is_macro));
        Ok(())
    }

    fn finish_sheet(&mut self, sink: &mut dyn Sink) -> Result<(), Stop> {
        self.sheet.take().map_or(Ok(()), |sheet| sheet.finish(sink))
    }

    fn bound_sheet(&mut self, data: &[u8], sink: &mut dyn Sink) {
        const VERY_HIDDEN: u8 = 2;
        const MACRO: u8 = 1;
        let (Some(at), Some(visibility), Some(kind)) = (u32_at(data, 0), data.get(4), data.get(5)) else { return };
        let name = self.short_text(data.get(6..).unwrap_or_default());
        if visibility & 3 != 0 && *kind == MACRO {
            let how = if visibility & 3 == VERY_HIDDEN { "very hidden" } else { "hidden" };
            sink.note(&format!("the macro sheet {name} is {how}"));
        }
        if self.sheets.len() < MOST {
            self.sheets.push((at, name, *kind == MACRO));
        }
    }

    /// Which sheets of which book the numbers in formulas mean; those of other books have no name here.
    fn extern_sheet(&mut self, data: &[u8]) {
        const ENTRY: usize = 6;
        for entry in data.get(2..).unwrap_or_default().chunks_exact(ENTRY).take(MOST.saturating_sub(self.linked.len())) {
            let name = u16_at(entry, 2).and_then(|first| self.sheets.get(usize::from(first))).map(|(_, name, _)| name.clone());
            self.linked.push(name.unwrap_or_else(|| "other".to_owned()));
        }
    }

    fn name(&mut self, data: &[u8], sink: &mut dyn Sink) {
        const BUILT_IN: u16 = 0x0020;
        const HEADER: usize = 14;
        let (Some(flags), Some(length)) = (u16_at(data, 0), data.get(3)) else { return };
        let counted = [&[*length], data.get(HEADER..).unwrap_or_default()].concat();
        let mut name = self.short_text(&counted);
        if flags & BUILT_IN != 0 {
            name = built_in(&name);
        }
        judge_name(&name, sink);
        if self.names.len() < MOST {
            self.names.push(name);
        }
    }

    /// `length_at` is where the length of the tokens stands; they follow it.
    fn formula(&mut self, data: &[u8], length_at: usize, sink: &mut dyn Sink) -> Result<(), Stop> {
        let Some(sheet) = self.sheet.as_mut() else { return Ok(()) };
        let (Some(row), Some(column), Some(length)) = (u16_at(data, 0), u16_at(data, 2), u16_at(data, length_at)) else { return Ok(()) };
        let tokens = data.get(length_at + 2..).unwrap_or_default();
        let tokens = tokens.get(..usize::from(length)).unwrap_or(tokens);
        let sheets = &self.linked;
        let context = Context { dialect: self.dialect, functions: &self.functions, names: &self.names, sheets };
        sheet.add(&address(u32::from(row), u32::from(column)), &text(tokens, &context), sink)
    }

    /// A text behind a length of one byte; since Excel 97, a byte of flags stands between.
    fn short_text(&self, data: &[u8]) -> String {
        let length = data.first().copied().map_or(0, usize::from);
        let rest = data.get(1..).unwrap_or_default();
        let part = |rest: &[u8], length: usize| rest.get(..length).unwrap_or(rest).to_vec();
        match (self.dialect, rest.split_first()) {
            (Dialect::Five, _) | (_, None) => latin(&part(rest, length)),
            (Dialect::Eight | Dialect::Twelve, Some((flags, rest))) => {
                if flags & 1 == 0 {
                    latin(&part(rest, length))
                } else {
                    wide(&part(rest, length * 2))
                }
            }
        }
    }
}

/// What another book is: one exchanged with by DDE has a program and a topic for a path.
fn linked_book(data: &[u8], sink: &mut dyn Sink) {
    const BETWEEN: char = '\u{3}';
    let (Some(length), Some(flags)) = (u16_at(data, 2).map(usize::from), data.get(4)) else { return };
    let rest = data.get(5..).unwrap_or_default();
    let path = if flags & 1 == 0 { latin(rest.get(..length).unwrap_or(rest)) } else { wide(rest.get(..length * 2).unwrap_or(rest)) };
    if let Some((program, topic)) = path.split_once(BETWEEN) {
        field::exchange(&format!("{program} {topic}"), sink);
    }
}

fn built_in(code: &str) -> String {
    const NAMES: [&str; 14] = [
        "Consolidate_Area",
        "Auto_Open",
        "Auto_Close",
        "Extract",
        "Database",
        "Criteria",
        "Print_Area",
        "Print_Titles",
        "Recorder",
        "Data_Form",
        "Auto_Activate",
        "Auto_Deactivate",
        "Sheet_Title",
        "_FilterDatabase",
    ];
    let known = code.chars().next().and_then(|code| NAMES.get(code as usize));
    // What follows the code is part of the name to Excel as well.
    known.map_or_else(|| code.to_owned(), |name| format!("{name}{}", code.chars().skip(1).collect::<String>()))
}
