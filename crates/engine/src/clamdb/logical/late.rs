//! Parts of logical signatures that are looked at once the matcher is through: regular expressions, comparisons, macros.

use std::collections::HashMap;

use super::{
    Facts,
    compare::Compare,
    locate::Locator,
    pcre::{self, Compiled, Pcre},
};
use crate::clamdb::{
    body::{Terms, Word},
    flat::{Cursor, Words},
    load::Refused,
    offset::Offset,
    pattern::Pattern,
    program::{Exhausted, Work},
};

pub(super) enum Late<'a> {
    Regex(&'a Pcre),
    /// And where the part it refers to matches.
    Compare(&'a Compare, Vec<Locator>),
    /// And where the part before it matches.
    Macro(Macro, Vec<Locator>),
    /// The object is a picture of this hash.
    Picture(u64),
}

/// The tags of such parts.
const REGEX: u32 = 0;
const COMPARE: u32 = 1;
const MACRO: u32 = 2;
const PICTURE: u32 = 3;

impl Late<'_> {
    /// As [`count`] reads it. Whatever compiles an expression has a number of its own, the next of `numbers`.
    pub(super) fn put(&self, numbers: &mut u32, words: &mut Words) {
        match self {
            Self::Regex(regex) => {
                words.put(REGEX);
                words.put(next(numbers));
                regex.put(words);
            }
            Self::Compare(compare, locators) => {
                words.put(COMPARE);
                words.put_bytes(compare.text().as_bytes());
                put_locators(locators, numbers, words);
            }
            Self::Macro(asked, locators) => {
                words.put(MACRO);
                [asked.least as u32, asked.most as u32, u32::from(asked.group)].into_iter().for_each(|word| words.put(word));
                put_locators(locators, numbers, words);
            }
            Self::Picture(hash) => {
                words.put(PICTURE);
                words.put_u64(*hash);
            }
        }
    }
}

fn next(numbers: &mut u32) -> u32 {
    let number = *numbers;
    *numbers += 1;
    number
}

fn put_locators(locators: &[Locator], numbers: &mut u32, words: &mut Words) {
    words.put(locators.len() as u32);
    for locator in locators {
        words.put(next(numbers));
        locator.put(words);
    }
}

/// A part has at most a plain and a wide form.
const MAX_LOCATORS: usize = 2;

fn take_locators<'a>(words: &mut Cursor<'_>, compiled: &'a [Compiled]) -> Vec<(Locator, &'a Compiled)> {
    let of = (0..words.word()).take(MAX_LOCATORS).map(|_| (words.word() as usize, Locator::take(words)));
    of.filter_map(|(number, locator)| Some((locator, compiled.get(number)?))).collect()
}

/// `${least-most}group$`: a pattern of the group at such a distance from a match of the part before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Macro {
    least: usize,
    most: usize,
    group: u8,
}

/// `fuzzy_img#hash#0`; other distances than 0 are no signatures of this level.
pub(super) fn parse_picture(text: &str) -> Result<u64, Refused> {
    let invalid = Refused::Invalid("after fuzzy_img# come 16 hexadecimal digits, and no distance but 0");
    let (digits, distance) = text.split_once('#').unwrap_or((text, "0"));
    let is_hash = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if distance == "0" && is_hash { u64::from_str_radix(digits, 16).map_err(|_| invalid) } else { Err(invalid) }
}

/// The number of a group is below this.
pub(super) const MAX_GROUPS: u8 = 32;

const INVALID: Refused = Refused::Invalid("a macro that cannot be read");

impl Macro {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('$')).ok_or(INVALID)?;
        let (range, group) = inside.split_once('}').ok_or(INVALID)?;
        let (least, most) = range.split_once('-').ok_or(INVALID)?;
        let number = |digits: &str| digits.parse::<u32>().map(|number| number as usize).map_err(|_| INVALID);
        Ok(Self { least: number(least)?, most: number(most)?, group: parse_group(group)? })
    }
}

/// The number of a group of patterns.
pub(in crate::clamdb) fn parse_group(digits: &str) -> Result<u8, Refused> {
    digits.parse().ok().filter(|group| *group < MAX_GROUPS).ok_or(Refused::Invalid("the number of a group of macros is below 32"))
}

/// What is known so far of a signature that is evaluated.
pub(super) struct So<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) target: u8,
    /// So many matches of a part can matter.
    pub(super) needed: u32,
    pub(super) counts: &'a dyn Fn(usize) -> u32,
    pub(super) picture: Option<u64>,
}

/// How often the part that is next matches as things stand; `part` is its number.
pub(super) fn count(
    words: &mut Cursor<'_>,
    part: usize,
    so: &So<'_>,
    compiled: &[Compiled],
    macros: &Macros,
    work: &mut Work<'_>,
) -> Result<u32, Exhausted> {
    match words.word() {
        REGEX => {
            let Some(compiled) = compiled.get(words.word() as usize) else { return Ok(0) };
            Ok(pcre::count(words, compiled, so.counts, so.needed, so.facts.executable, work)?.unwrap_or(0))
        }
        COMPARE => {
            let text = words.bytes();
            let locators = take_locators(words, compiled);
            let compare = std::str::from_utf8(&text).ok().and_then(|text| Compare::parse(text).ok());
            let Some(compare) = compare.filter(|compare| (so.counts)(compare.trigger) > 0) else { return Ok(0) };
            let mut last = None;
            for (locator, compiled) in &locators {
                if let Some(range) = locator.range(so.facts.executable, work) {
                    last = locator.last(compiled, range, work)?.max(last);
                }
            }
            Ok(u32::from(last.is_some_and(|place| compare.holds(work.content, place))))
        }
        MACRO => {
            let [least, most, group] = std::array::from_fn(|_| words.word());
            let asked = Macro { least: least as usize, most: most as usize, group: group as u8 };
            let locators = take_locators(words, compiled);
            if part.checked_sub(1).is_none_or(|before| (so.counts)(before) == 0) {
                return Ok(0);
            }
            asked.is_met(&locators, so, macros, work).map(u32::from)
        }
        _ => Ok(u32::from(so.picture == Some(words.u64()))),
    }
}

impl Macro {
    fn is_met(self, before: &[(Locator, &Compiled)], so: &So<'_>, macros: &Macros, work: &mut Work<'_>) -> Result<bool, Exhausted> {
        for (locator, compiled) in before {
            let mut range = locator.range(so.facts.executable, work);
            while let Some((first, last)) = range {
                let Some(place) = locator.next(compiled, (first, last), work)? else { break };
                let behind = (place.saturating_add(self.least), place.saturating_add(self.most));
                for (target, pattern, compiled) in macros.group(self.group) {
                    if *target == so.target && pattern.next(compiled, behind, work)?.is_some() {
                        return Ok(true);
                    }
                }
                range = Some((place + 1, last));
            }
        }
        Ok(false)
    }
}

/// Patterns that parts of signatures speak of by the number of their group.
#[derive(Default)]
pub(in crate::clamdb) struct Macros {
    groups: HashMap<u8, Vec<(u8, Locator, Compiled)>>,
}

impl Macros {
    /// Of groups, targets and patterns that were read before.
    pub(in crate::clamdb) fn of(patterns: &[(u8, u8, String)]) -> Self {
        let mut macros = Self::default();
        for (group, target, text) in patterns {
            if let Ok(locator) = Pattern::parse(text).and_then(|pattern| locator_of(&pattern)) {
                macros.groups.entry(*group).or_default().push((*target, locator, Compiled::new()));
            }
        }
        macros
    }

    /// With their targets.
    fn group(&self, group: u8) -> &[(u8, Locator, Compiled)] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }
}

/// Whether the pattern can be one of a group.
pub(in crate::clamdb) fn check_macro(pattern: &Pattern) -> Result<(), Refused> {
    locator_of(pattern).map(drop)
}

fn locator_of(pattern: &Pattern) -> Result<Locator, Refused> {
    Locator::new(pattern, Terms { target: 0, offset: Offset::Any, fold: false, word: Word::Any })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_macro_is_refused() {
        assert_eq!(Macro::parse("${6-7}12$"), Ok(Macro { least: 6, most: 7, group: 12 }));
        for text in ["", "${6-7}12", "${6}12$", "${6-7}32$", "${-7}1$", "${6-7}$", "$6-7}1$", "${a-7}1$"] {
            assert!(matches!(Macro::parse(text), Err(Refused::Invalid(_))), "{text}");
        }
    }
}
