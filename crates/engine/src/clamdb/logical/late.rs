//! Parts of logical signatures that are looked at once the matcher is through: regular expressions, comparisons, macros.

use super::{Facts, Macros, compare::Compare, locate::Locator, pcre::Pcre};
use crate::clamdb::{
    body::Terms,
    load::Refused,
    program::{Exhausted, Work},
};

pub(super) enum Late {
    Regex(Pcre),
    /// And where the part it refers to matches.
    Compare(Compare, Vec<Locator>),
    /// And where the part before it matches.
    Macro(Macro, Vec<Locator>),
    /// The object is a picture of this hash.
    Picture(u64),
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

impl Macro {
    fn is_met(self, place: usize, so: &So<'_>, work: &mut Work<'_>) -> Result<bool, Exhausted> {
        let (first, last) = (place.saturating_add(self.least), place.saturating_add(self.most));
        for (target, pattern) in so.macros.group(self.group) {
            if *target == so.target && pattern.next(first, last, work)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is known so far of a signature that is evaluated.
pub(super) struct So<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) target: u8,
    /// So many matches of a part can matter.
    pub(super) needed: u32,
    pub(super) counts: &'a dyn Fn(usize) -> u32,
    pub(super) macros: &'a Macros,
    pub(super) picture: Option<u64>,
}

impl Late {
    /// How often it matches as things stand; `number` is its own.
    pub(super) fn count(&self, number: usize, so: &So<'_>, work: &mut Work<'_>) -> Result<u32, Exhausted> {
        match self {
            Self::Regex(regex) if !regex.is_triggered(so.counts) => Ok(0),
            Self::Regex(regex) => regex.count(so.needed, so.facts.executable, work),
            Self::Picture(hash) => Ok(u32::from(so.picture == Some(*hash))),
            Self::Compare(compare, locators) => {
                if (so.counts)(compare.trigger) == 0 {
                    return Ok(0);
                }
                let place = last_place(locators, so, work)?;
                Ok(u32::from(place.is_some_and(|place| compare.holds(work.content, place))))
            }
            Self::Macro(asked, locators) => {
                if number.checked_sub(1).is_none_or(|before| (so.counts)(before) == 0) {
                    return Ok(0);
                }
                for locator in locators {
                    let resolve = |terms: &Terms| terms.offset.resolve(work.content.len(), so.facts.executable);
                    let mut next = resolve(&locator.terms());
                    while let Some((first, last)) = next {
                        let Some(place) = locator.next(first, last, work)? else { break };
                        if asked.is_met(place, so, work)? {
                            return Ok(1);
                        }
                        next = Some((place + 1, last));
                    }
                }
                Ok(0)
            }
        }
    }
}

fn last_place(locators: &[Locator], so: &So<'_>, work: &mut Work<'_>) -> Result<Option<usize>, Exhausted> {
    let mut last = None;
    for locator in locators {
        if let Some(range) = locator.terms().offset.resolve(work.content.len(), so.facts.executable) {
            last = locator.last(range, work)?.max(last);
        }
    }
    Ok(last)
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
