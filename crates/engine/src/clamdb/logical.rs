//! Logical signatures: expressions over body patterns, with conditions on the object.
//!
//! Format: ClamAV's manual, *Logical signatures*. Evaluated are those of which a part matched, and those that hold when none does.

mod expression;
mod pcre;

use std::io;

use super::{
    body::{self, Owner, Terms, Touched, Word},
    executable::Executable,
    flat::{Cursor, Damaged, Flat, Reader, Words, Writer},
    load::{Refused, check_level},
    names::NameId,
    offset::Offset,
    pattern::Pattern,
    program::{Exhausted, Work},
};
use expression::{Expression, Range};
use pcre::Pcre;

/// All logical signatures.
pub(super) struct Logical {
    /// See [`Record`].
    signatures: Flat<[u32; 4]>,
    /// Of each signature the conditions, the parts that are no patterns, and the expression.
    words: Flat<u32>,
    /// Which are evaluated even when no part matched.
    unprovoked: Flat<u32>,
    /// By their numbers.
    regexes: Vec<pcre::Compiled>,
}

/// Logical signatures as they are read.
#[derive(Default)]
pub(super) struct Builder {
    signatures: Vec<[u32; 4]>,
    words: Words,
    unprovoked: Vec<u32>,
    regexes: u32,
}

/// What of a signature is asked of each that is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    name: NameId,
    target: u8,
    /// Where fewer patterns matched, it does not hold.
    least: u32,
    /// So many matches of a part can matter.
    needed: u32,
    /// Where its words begin.
    at: u32,
}

impl Record {
    fn pack(self) -> [u32; 4] {
        [self.name, u32::from(self.target) | self.least << 8, self.needed, self.at]
    }

    fn unpack([name, target, needed, at]: [u32; 4]) -> Self {
        Self { name, target: target as u8, least: target >> 8, needed, at }
    }
}

/// What the description block asks of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    size: Option<Range>,
    entry: Option<Range>,
    sections: Option<Range>,
    /// The object is not inside another.
    outermost: bool,
}

/// A line that was read, not yet added.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    target: u8,
    conditions: Conditions,
    expression: Expression,
    subs: Vec<Sub>,
}

enum Sub {
    /// And how its plain and its wide form are matched.
    Pattern {
        pattern: Pattern,
        plain: Option<Terms>,
        wide: Option<Terms>,
    },
    Regex(Pcre),
}

/// What an object is, as far as signatures ask.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) length: usize,
    pub(super) target: Option<u8>,
    pub(super) executable: Option<&'a Executable>,
    pub(super) outermost: bool,
}

const MAX_SUBS: usize = 64;

/// `name;description;expression;part;part…`
pub(super) fn parse(line: &str) -> Result<Line<'_>, Refused> {
    let mut fields = line.split(';');
    let (name, description) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let expression = fields.next().ok_or(Refused::Invalid("fewer fields than a logical signature has"))?;
    let (target, conditions) = parse_description(description)?;
    let expression = Expression::parse(expression)?;
    let texts: Vec<_> = fields.collect();
    if texts.len() > MAX_SUBS || texts.len() != expression.subs() {
        return Err(Refused::Invalid("the parts are not those that the expression names"));
    }
    let subs = texts.into_iter().enumerate().map(|(number, text)| parse_sub(text, number, target)).collect::<Result<_, _>>()?;
    Ok(Line { name, target, conditions, expression, subs })
}

impl Builder {
    /// Adds the signature, and its patterns to the matcher.
    pub(super) fn add(&mut self, line: Line<'_>, name: NameId, body: &mut body::Builder) -> Result<(), Refused> {
        let signature = u32::try_from(self.signatures.len()).map_err(|_| Refused::Invalid("more signatures than can be held"))?;
        let at = self.words.at();
        line.conditions.put(&mut self.words);
        let needed = line.needed();
        let mut patterns = 0u64;
        let regexes = line.subs.iter().filter(|sub| matches!(sub, Sub::Regex(_))).count();
        self.words.put(regexes as u32);
        for (part, sub) in line.subs.iter().enumerate() {
            match sub {
                Sub::Pattern { pattern, plain, wide } => {
                    patterns |= 1 << part;
                    let owner = Owner::Part { signature, part: part as u8, needed };
                    if let Some(terms) = plain {
                        body.add(pattern, *terms, owner);
                    }
                    if let Some(terms) = wide {
                        body.add(&pattern.widened(), *terms, owner);
                    }
                }
                Sub::Regex(regex) => {
                    self.words.put(part as u32);
                    self.words.put(self.regexes);
                    self.regexes += 1;
                    regex.put(&mut self.words);
                }
            }
        }
        line.expression.put(&mut self.words);
        // Regular expressions may be triggered by what does not match.
        let least = line.expression.least(patterns);
        if least == 0 {
            self.unprovoked.push(signature);
        }
        self.signatures.push(Record { name, target: line.target, least, needed, at }.pack());
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.signatures.len()
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(&[u64::from(self.regexes)])?;
        writer.section(&self.signatures)?;
        writer.section(&self.unprovoked)?;
        self.words.write(writer)
    }
}

impl Line<'_> {
    /// So many matches of a part can matter.
    fn needed(&self) -> u32 {
        let of = |sub: &Sub| match sub {
            Sub::Pattern { .. } => 1,
            Sub::Regex(regex) => regex.needed(),
        };
        self.subs.iter().map(of).fold(self.expression.needed(), u32::max)
    }
}

impl Logical {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Damaged> {
        let [regexes] = reader.numbers()?;
        let regexes = u32::try_from(regexes).map_err(|_| Damaged)?;
        Ok(Self {
            signatures: reader.section()?,
            unprovoked: reader.section()?,
            words: reader.section()?,
            regexes: (0..regexes).map(|_| pcre::Compiled::new()).collect(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Adds the names of those that hold.
    ///
    /// # Errors
    /// The work ended, or a regular expression met its limit, before all were evaluated; what is added holds all the same.
    pub(super) fn evaluate(
        &self,
        facts: Facts<'_>,
        touched: &Touched,
        work: &mut Work<'_>,
        found: &mut Vec<NameId>,
    ) -> Result<(), Exhausted> {
        let signatures: &[[u32; 4]] = &self.signatures;
        let unprovoked = self.unprovoked.iter().map(|signature| (*signature, 0));
        let mut candidates: Vec<(u32, u64)> = touched.logical().chain(unprovoked).collect();
        // Of one that is in both, that with matches stays.
        candidates.sort_unstable_by_key(|&(signature, parts)| (signature, std::cmp::Reverse(parts)));
        candidates.dedup_by_key(|(signature, _)| *signature);
        let mut complete = Ok(());
        for (signature, parts) in candidates {
            let Some(record) = signatures.get(signature as usize).copied().map(Record::unpack) else { continue };
            let meant = record.target == 0 || facts.target == Some(record.target);
            if !meant || parts.count_ones() < record.least {
                continue;
            }
            let matches = |part: u8| touched.count(signature, parts, part);
            // One that meets a limit must not keep the others from being told.
            match self.holds(record, facts, &matches, work) {
                Ok(true) => found.push(record.name),
                Ok(false) => {}
                Err(exhausted) => complete = Err(exhausted),
            }
        }
        complete
    }

    fn holds(&self, record: Record, facts: Facts<'_>, matches: &dyn Fn(u8) -> u32, work: &mut Work<'_>) -> Result<bool, Exhausted> {
        let mut words = Cursor::new(&self.words, record.at);
        if !Conditions::take(&mut words).hold(facts) {
            return Ok(false);
        }
        let regexes = words.word();
        // Of parts that are no patterns, what they came to.
        let mut computed = [0u32; MAX_SUBS];
        let mut is_computed = 0u64;
        for _ in 0..regexes {
            let (part, number) = (words.word() as usize, words.word() as usize);
            let count = |part: usize| {
                computed.get(part).copied().filter(|_| is_computed >> (part & 63) & 1 == 1).unwrap_or_else(|| matches(part as u8))
            };
            let Some(compiled) = self.regexes.get(number) else { return Ok(false) };
            let counted = pcre::count(&mut words, compiled, &count, record.needed, facts.executable, work)?.unwrap_or(0);
            computed.get_mut(part).into_iter().for_each(|count| *count = counted);
            is_computed |= 1 << (part & 63);
        }
        let count = |part: usize| {
            computed.get(part).copied().filter(|_| is_computed >> (part & 63) & 1 == 1).unwrap_or_else(|| matches(part as u8))
        };
        Ok(expression::evaluate(&mut words, &count))
    }
}

impl Conditions {
    fn put(&self, words: &mut Words) {
        let ranges = [self.size, self.entry, self.sections];
        let asked = ranges.iter().rev().fold(u32::from(self.outermost), |bits, range| bits << 1 | u32::from(range.is_some()));
        words.put(asked);
        for range in ranges.into_iter().flatten() {
            words.put_u64(range.least);
            words.put_u64(range.most);
        }
    }

    fn take(words: &mut Cursor<'_>) -> Self {
        let asked = words.word();
        let [size, entry, sections] = [0, 1, 2].map(|bit| (asked >> bit & 1 == 1).then(|| Range { least: words.u64(), most: words.u64() }));
        Self { size, entry, sections, outermost: asked >> 3 & 1 == 1 }
    }

    fn hold(&self, facts: Facts<'_>) -> bool {
        let within = |range: Option<Range>, value: Option<u64>| range.is_none_or(|range| value.is_some_and(|value| range.holds(value)));
        let entry = facts.executable.and_then(|executable| executable.entry).map(|entry| entry as u64);
        let sections = facts.executable.map(|executable| executable.sections.len() as u64);
        within(self.size, Some(facts.length as u64))
            && within(self.entry, entry)
            && within(self.sections, sections)
            && (!self.outermost || facts.outermost)
    }
}

fn parse_description(text: &str) -> Result<(u8, Conditions), Refused> {
    let (mut target, mut conditions) = (None, Conditions::default());
    for field in text.split(',') {
        let (key, value) = field.split_once(':').ok_or(Refused::Invalid("a description without a value"))?;
        let range = || Range::parse(value).ok_or(Refused::Invalid("a description whose range cannot be read"));
        match key {
            "Target" => target = Some(parse_target(value)?),
            "Engine" => {
                let range = range()?;
                let (least, most) = (range.least.to_string(), range.most.to_string());
                check_level(Some(&least), Some(&most))?;
            }
            "FileSize" => conditions.size = Some(range()?),
            "EntryPoint" => conditions.entry = Some(range()?),
            "NumberOfSections" => conditions.sections = Some(range()?),
            "Container" if value == "CL_TYPE_ANY" => conditions.outermost = true,
            "Container" => return Err(Refused::Unsupported("ldb Container")),
            "Intermediates" => return Err(Refused::Unsupported("ldb Intermediates")),
            "IconGroup1" | "IconGroup2" => return Err(Refused::Unsupported("ldb icons")),
            "HandlerType" => return Err(Refused::Unsupported("ldb HandlerType")),
            _ => return Err(Refused::Invalid("a description that the manual does not know")),
        }
    }
    Ok((target.ok_or(Refused::Invalid("no target"))?, conditions))
}

/// A target whose objects are matched as they are.
pub(super) fn parse_target(text: &str) -> Result<u8, Refused> {
    match text.parse() {
        Ok(3) => Err(Refused::Unsupported("target 3 (normalised HTML)")),
        Ok(7) => Err(Refused::Unsupported("target 7 (normalised text)")),
        Ok(target @ (0..=2 | 4..=6 | 9..=12)) => Ok(target),
        Ok(13 | 14) => Err(Refused::Unsupported("targets 13 and 14")),
        Ok(_) | Err(_) => Err(Refused::Invalid("a target that the manual does not know")),
    }
}

/// Whether objects of that target have an entry point and sections.
pub(super) fn is_executable(target: u8) -> bool {
    matches!(target, 1 | 6 | 9)
}

fn parse_sub(text: &str, number: usize, target: u8) -> Result<Sub, Refused> {
    if text.contains('/') {
        return Pcre::parse(text, number, target).map(Sub::Regex);
    }
    if text.starts_with("${") {
        return Err(Refused::Unsupported("ldb macro"));
    }
    if text.starts_with("fuzzy_img#") {
        return Err(Refused::Unsupported("ldb fuzzy_img"));
    }
    if text.contains('#') {
        return Err(Refused::Unsupported("ldb byte compare"));
    }
    let (text, modifiers) = text.split_once("::").unwrap_or((text, ""));
    let (offset, text) = text.split_once(':').unwrap_or(("*", text));
    if modifiers.chars().any(|modifier| !"iwfa".contains(modifier)) {
        return Err(Refused::Invalid("a modifier that the manual does not know"));
    }
    let offset = Offset::parse(offset, is_executable(target))?;
    let pattern = Pattern::parse(text)?;
    let has = |modifier: char| modifiers.contains(modifier);
    let terms = |whole: Word| Terms { target, offset, fold: has('i'), word: if has('f') { whole } else { Word::Any } };
    let plain = (has('a') || !has('w')).then(|| terms(Word::Whole));
    Ok(Sub::Pattern { pattern, plain, wide: has('w').then(|| terms(Word::WideWhole)) })
}

#[cfg(test)]
mod tests;
