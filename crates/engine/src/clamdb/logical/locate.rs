//! Where a part of a logical signature matches, for the few that ask: comparisons of bytes and macros.
//!
//! The matcher counts matches and keeps no places. What needs one asks again, by a regular expression that says the same as the pattern.

use std::fmt::Write as _;

use pcre2::bytes::{Regex, RegexBuilder};

use super::pcre::{Compiled, LIMITS};
use crate::clamdb::{
    body::{Terms, Word},
    executable::Executable,
    flat::{Cursor, Words},
    load::Refused,
    offset::Offset,
    pattern::{Item, Masked, Pattern},
    program::{Exhausted, Work},
};

/// An expression that says the same as a pattern, and where its matches may begin.
pub(super) struct Locator {
    source: String,
    fold: bool,
    offset: Offset,
}

/// Longer distances are not put into an expression.
const MAX_REPEAT: u32 = 60_000;
/// Work that a search counts as, beside the bytes it sees.
const ONE_SEARCH: usize = 10_000;

impl Locator {
    pub(super) fn new(pattern: &Pattern, terms: Terms) -> Result<Self, Refused> {
        let unsupported = Refused::Unsupported("ldb comparison with such a pattern");
        let source = source_of(pattern, terms).ok_or(unsupported)?;
        let locator = Self { source, fold: terms.fold, offset: terms.offset };
        if locator.compile().is_some() { Ok(locator) } else { Err(unsupported) }
    }

    /// As [`Locator::take`] reads it.
    pub(super) fn put(&self, words: &mut Words) {
        words.put(u32::from(self.fold));
        self.offset.pack().into_iter().for_each(|word| words.put(word));
        words.put_bytes(self.source.as_bytes());
    }

    pub(super) fn take(words: &mut Cursor<'_>) -> Self {
        let fold = words.word() == 1;
        let offset = Offset::unpack(std::array::from_fn(|_| words.word()));
        Self { source: String::from_utf8(words.bytes()).unwrap_or_default(), fold, offset }
    }

    fn compile(&self) -> Option<Regex> {
        RegexBuilder::new().caseless(self.fold).dotall(true).build(&format!("{LIMITS}{}", self.source)).ok()
    }

    /// Where matches may begin in an object.
    pub(super) fn range(&self, executable: Option<&Executable>, work: &Work<'_>) -> Option<(usize, usize)> {
        self.offset.resolve(work.content.len(), executable)
    }

    /// Where the last match begins that begins in that range, both ends inside.
    pub(super) fn last(&self, compiled: &Compiled, (first, last): (usize, usize), work: &mut Work<'_>) -> Result<Option<usize>, Exhausted> {
        let (mut from, mut found) = (first, None);
        while let Some(at) = self.next(compiled, (from, last), work)? {
            found = Some(at);
            from = at + 1;
        }
        Ok(found)
    }

    /// Where the first match begins that begins in that range, both ends inside.
    pub(super) fn next(&self, compiled: &Compiled, (from, last): (usize, usize), work: &mut Work<'_>) -> Result<Option<usize>, Exhausted> {
        let Some(regex) = compiled.get_or_init(|| self.compile()).as_ref().filter(|_| from <= work.content.len()) else { return Ok(None) };
        let found = regex.find_at(work.content, from).map_err(|_| Exhausted)?.map(|found| found.start());
        work.spend(ONE_SEARCH + found.unwrap_or(work.content.len()).saturating_sub(from))?;
        Ok(found.filter(|at| *at <= last))
    }
}

/// `None` where an expression cannot say it.
fn source_of(pattern: &Pattern, terms: Terms) -> Option<String> {
    let mut source = String::new();
    if terms.word != Word::Any {
        source += if terms.word == Word::Whole { "(?<![0-9A-Za-z])" } else { "(?<![0-9A-Za-z]\\x00)" };
    }
    for (index, part) in pattern.parts.iter().enumerate() {
        if index > 0 {
            repeat(&mut source, part.distance, None)?;
        }
        for item in &part.items {
            match item {
                Item::Byte(byte) => push(&mut source, *byte),
                Item::Skip(length) => repeat(&mut source, *length, Some(*length))?,
                Item::Gap { least, most } => repeat(&mut source, *least, Some(*most))?,
                Item::Choice { negated, strings } => choice(&mut source, *negated, strings),
                Item::Border { .. } => return None,
            }
        }
    }
    if terms.word != Word::Any {
        source += if terms.word == Word::Whole { "(?![0-9A-Za-z])" } else { "(?![0-9A-Za-z]\\x00)" };
    }
    Some(source)
}

fn repeat(source: &mut String, least: u32, most: Option<u32>) -> Option<()> {
    if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT) {
        return None;
    }
    let most = most.map_or_else(String::new, |most| most.to_string());
    write!(source, ".{{{least},{most}}}?").ok()
}

fn push(source: &mut String, byte: Masked) {
    let written = match byte.mask {
        0xff => write!(source, "\\x{:02x}", byte.value),
        0 => write!(source, "."),
        0xf0 => write!(source, "[\\x{:02x}-\\x{:02x}]", byte.value, byte.value | 0x0f),
        _ => {
            source.push('[');
            (0..16u8).for_each(|high| push(source, Masked { value: high << 4 | byte.value, mask: 0xff }));
            write!(source, "]")
        }
    };
    written.expect("a string takes all");
}

fn choice(source: &mut String, negated: bool, strings: &[Vec<Masked>]) {
    *source += if negated { "(?!" } else { "(?:" };
    for (index, string) in strings.iter().enumerate() {
        *source += if index > 0 { "|" } else { "" };
        string.iter().for_each(|byte| push(source, *byte));
    }
    *source += ")";
    if negated {
        // All of one length.
        (0..strings.first().map_or(0, Vec::len)).for_each(|_| source.push('.'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str, word: Word, fold: bool, content: &[u8]) -> (Option<usize>, Option<usize>) {
        let terms = Terms { target: 0, offset: Offset::Any, fold, word };
        let locator = Locator::new(&Pattern::parse(text).unwrap(), terms).unwrap();
        let (mut work, compiled) = (Work::new(content, 1 << 30, &|| true), Compiled::new());
        let range = locator.range(None, &work).unwrap();
        (locator.next(&compiled, range, &mut work).unwrap(), locator.last(&compiled, range, &mut work).unwrap())
    }

    #[test]
    fn first_and_last_places_are_found() {
        let content = b"..ab-ab.AB\nabab";
        assert_eq!(places("6162", Word::Any, false, content), (Some(2), Some(13)));
        assert_eq!(places("6162", Word::Any, true, content), (Some(2), Some(13)));
        assert_eq!(places("6162", Word::Whole, true, content), (Some(2), Some(8)));
        assert_eq!(places("6162??6162", Word::Any, false, content), (Some(2), Some(2)));
        assert_eq!(places("6162*6162", Word::Any, false, content), (Some(2), Some(11)));
        assert_eq!(places("6162{1-2}4142", Word::Any, false, content), (Some(5), Some(5)));
        assert_eq!(places("6162(2e|0a)4142", Word::Any, false, content), (Some(5), Some(5)));
        assert_eq!(places("6162!(2d|0a)", Word::Any, false, content), (Some(5), Some(11)));
        assert_eq!(places("6?622?6162", Word::Any, false, content), (Some(2), Some(2)));
        assert_eq!(places("7a7a", Word::Any, false, content), (None, None));
    }

    #[test]
    fn what_an_expression_cannot_say_is_not_supported() {
        let terms = Terms { target: 0, offset: Offset::Any, fold: false, word: Word::Any };
        for text in ["6162(B)", "6162{70000}6162"] {
            assert!(matches!(Locator::new(&Pattern::parse(text).unwrap(), terms), Err(Refused::Unsupported(_))), "{text}");
        }
    }

    #[test]
    fn work_is_bounded() {
        let terms = Terms { target: 0, offset: Offset::Any, fold: false, word: Word::Any };
        let locator = Locator::new(&Pattern::parse("6161").unwrap(), terms).unwrap();
        let content = vec![b'a'; 100_000];
        let mut work = Work::new(&content, 1_000_000, &|| true);
        assert_eq!(locator.last(&Compiled::new(), (0, content.len()), &mut work), Err(Exhausted));
    }
}
