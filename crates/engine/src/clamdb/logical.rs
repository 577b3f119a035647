//! Logical signatures: expressions over body patterns, with conditions on the object.
//!
//! Format: ClamAV's manual, *Logical signatures*. Evaluated are those of which a part matched, and those that hold when none does.

mod compare;
mod description;
mod expression;
mod late;
mod locate;
mod pcre;

use std::{collections::HashMap, io};

use super::{
    body::{self, Owner, Terms, Touched, Word},
    executable::Executable,
    flat::{Cursor, Damaged, Flat, Reader, Words, Writer},
    load::Refused,
    names::NameId,
    offset::Offset,
    pattern::Pattern,
    picture,
    program::{Exhausted, Work},
    types::ClamType,
};
use compare::Compare;
use description::{Conditions, parse_description};
use expression::Expression;
use late::{Late, Macro, So, parse_picture};
use locate::Locator;
use pcre::Pcre;

pub(super) use description::{is_executable, parse_target};
pub(super) use expression::Range;
pub(super) use late::{Macros, check_macro, parse_group};

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
    macros: Macros,
    /// Which ask for a picture of that hash.
    pictures: HashMap<u64, Vec<u32>>,
}

/// Logical signatures as they are read.
#[derive(Default)]
pub(super) struct Builder {
    signatures: Vec<[u32; 4]>,
    words: Words,
    unprovoked: Vec<u32>,
    regexes: u32,
    /// The hash of a picture, and the signature that asks for it.
    pictures: Vec<[u64; 2]>,
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
    Compare(Compare),
    Macro(Macro),
    Picture(u64),
}

/// What an object is, as far as signatures ask.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) length: usize,
    pub(super) target: Option<u8>,
    pub(super) executable: Option<&'a Executable>,
    /// The types of the containers around it, the outermost first.
    pub(super) containers: &'a [ClamType],
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
        let late = line.late()?;
        let at = self.words.at();
        line.conditions.put(&mut self.words);
        let needed = line.needed();
        let mut patterns = 0u64;
        self.words.put(late.len() as u32);
        for (part, late) in &late {
            self.words.put(*part as u32);
            late.put(&mut self.regexes, &mut self.words);
            if let Late::Picture(hash) = late {
                self.pictures.push([*hash, u64::from(signature)]);
            }
        }
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
                Sub::Regex(_) | Sub::Compare(_) | Sub::Macro(_) | Sub::Picture(_) => {}
            }
        }
        line.expression.put(&mut self.words);
        // Regular expressions may be triggered by what does not match.
        let least = line.expression.least(patterns);
        let pictures = late.iter().filter(|(_, late)| matches!(late, Late::Picture(_))).fold(0, |bits, (part, _)| bits | 1 << part);
        if line.expression.least(patterns | pictures) == 0 {
            self.unprovoked.push(signature);
        }
        self.signatures.push(Record { name, target: line.target, least, needed, at }.pack());
        Ok(())
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(&[u64::from(self.regexes)])?;
        writer.section(&self.signatures)?;
        writer.section(&self.unprovoked)?;
        writer.section(&self.pictures)?;
        self.words.write(writer)
    }
}

impl Line<'_> {
    /// So many matches of a part can matter.
    fn needed(&self) -> u32 {
        let of = |sub: &Sub| match sub {
            Sub::Pattern { .. } | Sub::Compare(_) | Sub::Macro(_) | Sub::Picture(_) => 1,
            Sub::Regex(regex) => regex.needed(),
        };
        self.subs.iter().map(of).fold(self.expression.needed(), u32::max)
    }

    /// The parts that are no patterns, by their numbers; regular expressions last, which the others may trigger.
    fn late(&self) -> Result<Vec<(usize, Late<'_>)>, Refused> {
        let mut late = Vec::new();
        for (part, sub) in self.subs.iter().enumerate() {
            late.push((
                part,
                match sub {
                    Sub::Pattern { .. } => continue,
                    Sub::Regex(regex) => Late::Regex(regex),
                    Sub::Compare(compare) => Late::Compare(compare, locators(&self.subs, Some(compare.trigger))?),
                    Sub::Macro(asked) => Late::Macro(*asked, locators(&self.subs, part.checked_sub(1))?),
                    Sub::Picture(hash) => Late::Picture(*hash),
                },
            ));
        }
        late.sort_by_key(|(part, late)| (matches!(late, Late::Regex(_)), *part));
        Ok(late)
    }
}

impl Logical {
    pub(super) fn read(reader: &mut Reader, macros: Macros) -> Result<Self, Damaged> {
        let [regexes] = reader.numbers()?;
        let regexes = u32::try_from(regexes).map_err(|_| Damaged)?;
        let (signatures, unprovoked) = (reader.section()?, reader.section()?);
        let mut pictures: HashMap<u64, Vec<u32>> = HashMap::new();
        for &[hash, signature] in reader.section::<[u64; 2]>()?.iter() {
            pictures.entry(hash).or_default().push(u32::try_from(signature).map_err(|_| Damaged)?);
        }
        Ok(Self {
            signatures,
            unprovoked,
            macros,
            pictures,
            words: reader.section()?,
            regexes: (0..regexes).map(|_| pcre::Compiled::new()).collect(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Adds the names of those that hold, and where the first match of a part ends.
    ///
    /// # Errors
    /// The work ended, or a regular expression met its limit, before all were evaluated; what is added holds all the same.
    pub(super) fn evaluate(
        &self,
        facts: Facts<'_>,
        touched: &Touched,
        work: &mut Work<'_>,
        found: &mut Vec<(NameId, u64)>,
    ) -> Result<(), Exhausted> {
        let signatures: &[[u32; 4]] = &self.signatures;
        let unprovoked = self.unprovoked.iter().map(|signature| (*signature, 0));
        let picture = if self.pictures.is_empty() { None } else { picture::hash(work.content) };
        let pictured = picture.and_then(|hash| self.pictures.get(&hash)).into_iter().flatten().map(|signature| (*signature, 0));
        let mut candidates: Vec<(u32, u64)> = touched.logical().chain(unprovoked).chain(pictured).collect();
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
            match self.holds(record, facts, picture, &matches, work) {
                Ok(true) => found.push((record.name, touched.first(signature))),
                Ok(false) => {}
                Err(exhausted) => complete = Err(exhausted),
            }
        }
        complete
    }

    fn holds(
        &self,
        record: Record,
        facts: Facts<'_>,
        picture: Option<u64>,
        matches: &dyn Fn(u8) -> u32,
        work: &mut Work<'_>,
    ) -> Result<bool, Exhausted> {
        let mut words = Cursor::new(&self.words, record.at);
        if !Conditions::take(&mut words).hold(&facts) {
            return Ok(false);
        }
        let late = words.word();
        // Of parts that are no patterns, what they came to.
        let mut computed = [0u32; MAX_SUBS];
        let mut is_computed = 0u64;
        for _ in 0..late {
            let part = words.word() as usize;
            let count = |part: usize| {
                computed.get(part).copied().filter(|_| is_computed >> (part & 63) & 1 == 1).unwrap_or_else(|| matches(part as u8))
            };
            let so = So { facts, target: record.target, needed: record.needed, counts: &count, picture };
            let counted = late::count(&mut words, part, &so, &self.regexes, &self.macros, work)?;
            computed.get_mut(part).into_iter().for_each(|count| *count = counted);
            is_computed |= 1 << (part & 63);
        }
        let count = |part: usize| {
            computed.get(part).copied().filter(|_| is_computed >> (part & 63) & 1 == 1).unwrap_or_else(|| matches(part as u8))
        };
        Ok(expression::evaluate(&mut words, &count))
    }
}

/// Where that part matches; empty where it has no places to tell.
fn locators(subs: &[Sub], number: Option<usize>) -> Result<Vec<Locator>, Refused> {
    match number.and_then(|number| subs.get(number)) {
        Some(Sub::Pattern { pattern, plain, wide }) => {
            let plain = plain.iter().map(|terms| Locator::new(pattern, *terms));
            plain.chain(wide.iter().map(|terms| Locator::new(&pattern.widened(), *terms))).collect()
        }
        Some(Sub::Regex(_)) => Err(Refused::Unsupported("ldb comparison behind a PCRE")),
        Some(Sub::Compare(_) | Sub::Macro(_) | Sub::Picture(_)) => Ok(Vec::new()),
        None => Err(Refused::Invalid("a part refers to one that is not there")),
    }
}

fn parse_sub(text: &str, number: usize, target: u8) -> Result<Sub, Refused> {
    if text.contains('/') {
        return Pcre::parse(text, number, target).map(Sub::Regex);
    }
    if text.starts_with("${") {
        return Macro::parse(text).map(Sub::Macro);
    }
    if let Some(hash) = text.strip_prefix("fuzzy_img#") {
        return parse_picture(hash).map(Sub::Picture);
    }
    if text.contains('#') {
        return Compare::parse(text).map(Sub::Compare);
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
