//! Logical signatures: expressions over body patterns, with conditions on the object.
//!
//! Format: ClamAV's manual, *Logical signatures*. Evaluated are those of which a part matched, and those that hold when none does.

mod compare;
mod description;
mod expression;
mod late;
mod locate;
mod pcre;

use std::collections::HashMap;

use super::{
    body::{Builder, Owner, Terms, Touched, Word},
    executable::Executable,
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
pub(super) use late::parse_group;

/// All logical signatures.
#[derive(Default)]
pub(super) struct Logical {
    signatures: Vec<Signature>,
    /// Which hold when no part matched.
    unprovoked: Vec<u32>,
    /// How many parts they have.
    subs: u32,
    macros: Macros,
    /// Which ask for a picture of that hash.
    pictures: HashMap<u64, Vec<u32>>,
}

/// Patterns that parts of signatures speak of by the number of their group.
#[derive(Default)]
struct Macros {
    groups: HashMap<u8, Vec<(u8, Locator)>>,
}

impl Macros {
    /// With their targets.
    fn group(&self, group: u8) -> &[(u8, Locator)] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }
}

struct Signature {
    name: NameId,
    target: u8,
    conditions: Option<Box<Conditions>>,
    first_sub: u32,
    expression: Expression,
    /// By the number of the part.
    late: Vec<(usize, Late)>,
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

impl Logical {
    pub(super) fn len(&self) -> usize {
        self.signatures.len()
    }

    /// Adds a pattern to a group that macros speak of.
    pub(super) fn add_macro(&mut self, group: u8, target: u8, pattern: &Pattern) -> Result<(), Refused> {
        let terms = Terms { target, offset: Offset::Any, fold: false, word: Word::Any };
        self.macros.groups.entry(group).or_default().push((target, Locator::new(pattern, terms)?));
        Ok(())
    }

    /// Adds the signature, and its parts to the matcher.
    pub(super) fn add(&mut self, line: Line<'_>, name: NameId, body: &mut Builder) -> Result<(), Refused> {
        let first_sub = self.subs;
        let count = u32::try_from(line.subs.len()).unwrap_or(u32::MAX);
        self.subs = first_sub.checked_add(count).ok_or(Refused::Invalid("more signatures than can be held"))?;
        let mut late = Vec::new();
        let triggers = line.subs.iter().map(|sub| match sub {
            Sub::Pattern { .. } | Sub::Compare(_) | Sub::Macro(_) | Sub::Picture(_) => 1,
            Sub::Regex(regex) => regex.needed(),
        });
        let needed = triggers.fold(line.expression.needed(), u32::max);
        for (number, sub) in line.subs.iter().enumerate() {
            match sub {
                Sub::Compare(compare) => late.push((number, Late::Compare(compare.clone(), locators(&line.subs, Some(compare.trigger))?))),
                Sub::Macro(asked) => late.push((number, Late::Macro(*asked, locators(&line.subs, number.checked_sub(1))?))),
                Sub::Picture(hash) => late.push((number, Late::Picture(*hash))),
                Sub::Pattern { .. } | Sub::Regex(_) => {}
            }
        }
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
                Sub::Regex(regex) => late.push((number, Late::Regex(regex))),
                Sub::Compare(_) | Sub::Macro(_) | Sub::Picture(_) => {}
            }
        }
        // Those that regular expressions may be triggered by come first.
        late.sort_by_key(|(number, late)| (matches!(late, Late::Regex(_)), *number));
        let number = u32::try_from(self.signatures.len()).unwrap_or(u32::MAX);
        for (_, late) in &late {
            if let Late::Picture(hash) = late {
                self.pictures.entry(*hash).or_default().push(number);
            }
        }
        let triggered = late.iter().any(|(_, late)| matches!(late, Late::Regex(regex) if regex.is_triggered(&|_| 0)));
        if line.expression.holds(&|_| 0) || triggered {
            self.unprovoked.push(number);
        }
        let conditions = (line.conditions != Conditions::default()).then(|| Box::new(line.conditions));
        self.signatures.push(Signature { name, target: line.target, conditions, first_sub, expression: line.expression, late });
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
        let picture = if self.pictures.is_empty() { None } else { picture::hash(work.content) };
        let pictured = picture.and_then(|hash| self.pictures.get(&hash)).into_iter().flatten().copied();
        let mut candidates: Vec<u32> = touched.subs.keys().map(of).chain(self.unprovoked.iter().copied()).chain(pictured).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut complete = Ok(());
        for signature in candidates.into_iter().filter_map(|number| self.signatures.get(number as usize)) {
            let meant = signature.target == 0 || facts.target == Some(signature.target);
            if !meant || !signature.conditions.as_ref().is_none_or(|conditions| conditions.hold(&facts)) {
                continue;
            }
            // One that meets a limit must not keep the others from being told.
            match signature.holds(facts, touched, (&self.macros, picture), work) {
                Ok(true) => found.push(signature.name),
                Ok(false) => {}
                Err(exhausted) => complete = Err(exhausted),
            }
        }
        complete
    }
}

impl Signature {
    fn holds(
        &self,
        facts: Facts<'_>,
        touched: &Touched,
        (macros, picture): (&Macros, Option<u64>),
        work: &mut Work<'_>,
    ) -> Result<bool, Exhausted> {
        let mut counts = [0u32; MAX_SUBS];
        for (sub, count) in counts.iter_mut().take(self.expression.subs()).enumerate() {
            *count = touched.subs.get(&(self.first_sub + sub as u32)).copied().unwrap_or(0);
        }
        for (number, late) in &self.late {
            let so_far = counts;
            let count = |sub: usize| so_far.get(sub).copied().unwrap_or(0);
            let so = So { facts, target: self.target, needed: self.expression.needed(), counts: &count, macros, picture };
            let matches = late.count(*number, &so, work)?;
            counts.get_mut(*number).into_iter().for_each(|count| *count = matches);
        }
        Ok(self.expression.holds(&|sub| counts.get(sub).copied().unwrap_or(0)))
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
    if text.starts_with("fuzzy_img#") {
        return parse_picture(text.strip_prefix("fuzzy_img#").unwrap_or_default()).map(Sub::Picture);
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
