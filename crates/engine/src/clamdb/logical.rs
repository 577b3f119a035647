//! Logical signatures: expressions over body patterns, with conditions on the object.
//!
//! Format: ClamAV's manual, *Logical signatures*. Evaluated are those of which a part matched, and those that hold when none does.

mod expression;
mod pcre;

use super::{
    body::{Builder, Owner, Terms, Touched, Word},
    executable::Executable,
    load::{Refused, check_level},
    names::NameId,
    offset::Offset,
    pattern::Pattern,
    program::{Exhausted, Work},
};
use expression::{Expression, Range};
use pcre::Pcre;

/// All logical signatures.
#[derive(Default)]
pub(super) struct Logical {
    signatures: Vec<Signature>,
    /// Which hold when no part matched.
    unprovoked: Vec<u32>,
    /// How many parts they have.
    subs: u32,
}

struct Signature {
    name: NameId,
    target: u8,
    conditions: Option<Box<Conditions>>,
    first_sub: u32,
    expression: Expression,
    /// Regular expressions, by the number of the part.
    regexes: Vec<(usize, Pcre)>,
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

impl Logical {
    pub(super) fn len(&self) -> usize {
        self.signatures.len()
    }

    /// Adds the signature, and its parts to the matcher.
    pub(super) fn add(&mut self, line: Line<'_>, name: NameId, body: &mut Builder) -> Result<(), Refused> {
        let first_sub = self.subs;
        let count = u32::try_from(line.subs.len()).unwrap_or(u32::MAX);
        self.subs = first_sub.checked_add(count).ok_or(Refused::Invalid("more signatures than can be held"))?;
        let mut regexes = Vec::new();
        let triggers = line.subs.iter().map(|sub| match sub {
            Sub::Pattern { .. } => 1,
            Sub::Regex(regex) => regex.needed(),
        });
        let needed = triggers.fold(line.expression.needed(), u32::max);
        for (number, sub) in line.subs.into_iter().enumerate() {
            let owner = Owner::Sub(first_sub + number as u32, needed);
            match sub {
                Sub::Pattern { pattern, plain, wide } => {
                    if let Some(terms) = plain {
                        body.add(&pattern, terms, owner);
                    }
                    if let Some(terms) = wide {
                        body.add(&pattern.widened(), terms, owner);
                    }
                }
                Sub::Regex(regex) => regexes.push((number, regex)),
            }
        }
        let number = u32::try_from(self.signatures.len()).unwrap_or(u32::MAX);
        if line.expression.holds(&|_| 0) || regexes.iter().any(|(_, regex)| regex.is_triggered(&|_| 0)) {
            self.unprovoked.push(number);
        }
        let conditions = (line.conditions != Conditions::default()).then(|| Box::new(line.conditions));
        self.signatures.push(Signature { name, target: line.target, conditions, first_sub, expression: line.expression, regexes });
        Ok(())
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
        let of = |sub: &u32| self.signatures.partition_point(|signature| signature.first_sub <= *sub).saturating_sub(1) as u32;
        let mut candidates: Vec<u32> = touched.subs.keys().map(of).chain(self.unprovoked.iter().copied()).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut complete = Ok(());
        for signature in candidates.into_iter().filter_map(|number| self.signatures.get(number as usize)) {
            let meant = signature.target == 0 || facts.target == Some(signature.target);
            if !meant || !signature.conditions.as_ref().is_none_or(|conditions| conditions.hold(facts)) {
                continue;
            }
            // One that meets a limit must not keep the others from being told.
            match signature.holds(facts, touched, work) {
                Ok(true) => found.push(signature.name),
                Ok(false) => {}
                Err(exhausted) => complete = Err(exhausted),
            }
        }
        complete
    }
}

impl Signature {
    fn holds(&self, facts: Facts<'_>, touched: &Touched, work: &mut Work<'_>) -> Result<bool, Exhausted> {
        let mut counts = [0u32; MAX_SUBS];
        for (sub, count) in counts.iter_mut().take(self.expression.subs()).enumerate() {
            *count = touched.subs.get(&(self.first_sub + sub as u32)).copied().unwrap_or(0);
        }
        for (number, regex) in &self.regexes {
            let so_far = counts;
            if regex.is_triggered(&|sub| so_far.get(sub).copied().unwrap_or(0)) {
                let matches = regex.count(self.expression.needed(), facts.executable, work)?;
                counts.get_mut(*number).into_iter().for_each(|count| *count = matches);
            }
        }
        Ok(self.expression.holds(&|sub| counts.get(sub).copied().unwrap_or(0)))
    }
}

impl Conditions {
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
