//! Regular expressions as parts of logical signatures, run once their trigger holds.
//!
//! `[offset:]trigger/expression/flags`, by ClamAV's manual, *PCRE subsignatures*. Matching is PCRE2's, over bytes, without its compiler
//! of machine code, and under limits.

use std::sync::OnceLock;

use pcre2::bytes::{Regex, RegexBuilder};

use super::{
    expression::{self, Expression},
    is_executable,
};
use crate::clamdb::{
    executable::Executable,
    flat::{Cursor, Words},
    load::Refused,
    offset::Offset,
    program::{Exhausted, Work},
};

pub(super) struct Pcre {
    trigger: Expression,
    run: Run,
}

/// What is run, once the trigger holds.
struct Run {
    source: String,
    flags: Flags,
    offset: Offset,
}

/// Compiled when first triggered: most never are.
pub(super) type Compiled = OnceLock<Option<Regex>>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    caseless: bool,
    dotall: bool,
    multi_line: bool,
    extended: bool,
    /// Every match counts, not the first alone.
    global: bool,
    /// A match may begin after the offset.
    rolling: bool,
    /// Nothing outside the offset and its shift is seen.
    encompass: bool,
    anchored: bool,
    ungreedy: bool,
}

/// Longer expressions are refused.
const MAX_SOURCE: usize = 1 << 15;
/// What PCRE2 may do for one match, and the memory it may take, in KiB.
pub(super) const LIMITS: &str = "(*LIMIT_MATCH=1000000)(*LIMIT_DEPTH=100000)(*LIMIT_HEAP=16384)";
/// Work that one run counts as, beside the bytes it sees.
const ONE_RUN: usize = 100_000;

impl Pcre {
    /// `number` is the part's own: a trigger names only parts before it.
    pub(super) fn parse(text: &str, number: usize, target: u8) -> Result<Self, Refused> {
        let (head, rest) = text.split_once('/').ok_or(Refused::Invalid("no expression between slashes"))?;
        let (source, flags) = rest.rsplit_once('/').ok_or(Refused::Invalid("no expression between slashes"))?;
        let (offset, trigger) = head.split_once(':').unwrap_or(("*", head));
        let trigger = Expression::parse_trigger(trigger, number)?;
        let offset = Offset::parse(offset, is_executable(target))?;
        let flags = Flags::parse(flags)?;
        if source.is_empty() || source.len() > MAX_SOURCE {
            return Err(Refused::Invalid("a regular expression has 1 to 32768 bytes"));
        }
        // The manual forbids the one; the others would lift the limits.
        if source.starts_with("(*") {
            return Err(Refused::Unsupported("ldb PCRE with control verbs"));
        }
        let run = Run { source: source.replace("\\/", "/"), flags, offset };
        match run.compile() {
            Some(_) => Ok(Self { trigger, run }),
            None => Err(Refused::Invalid("the regular expression does not compile")),
        }
    }

    /// So many matches of a part can matter to the trigger.
    pub(super) fn needed(&self) -> u32 {
        self.trigger.needed()
    }

    /// As [`count`] reads it.
    pub(super) fn put(&self, words: &mut Words) {
        self.trigger.put(words);
        words.put(self.run.flags.pack());
        self.run.offset.pack().into_iter().for_each(|word| words.put(word));
        words.put_bytes(self.run.source.as_bytes());
    }
}

/// How often the expression that is next matches, up to `needed`, if its trigger holds; `None` if it does not.
pub(super) fn count(
    words: &mut Cursor<'_>,
    compiled: &Compiled,
    so_far: &dyn Fn(usize) -> u32,
    needed: u32,
    executable: Option<&Executable>,
    work: &mut Work<'_>,
) -> Result<Option<u32>, Exhausted> {
    let triggered = expression::evaluate(words, so_far);
    let flags = Flags::unpack(words.word());
    let offset = Offset::unpack(std::array::from_fn(|_| words.word()));
    let source = words.bytes();
    if !triggered {
        return Ok(None);
    }
    let run = Run { source: String::from_utf8(source).unwrap_or_default(), flags, offset };
    run.count(compiled, needed, executable, work).map(Some)
}

impl Run {
    /// How often it matches, up to `needed`.
    fn count(&self, compiled: &Compiled, needed: u32, executable: Option<&Executable>, work: &mut Work<'_>) -> Result<u32, Exhausted> {
        let Some(regex) = compiled.get_or_init(|| self.compile()) else { return Ok(0) };
        let Some((first, last)) = self.offset.resolve(work.content.len(), executable) else { return Ok(0) };
        // Rolling without a shift has no end; with one, only the exact place is given up. Seen of `clamscan`.
        let is_open = self.flags.rolling && matches!(self.offset, Offset::At { shift: 0, .. });
        let encompassed = if self.flags.encompass && !is_open { work.content.get(..last) } else { None };
        let subject = encompassed.unwrap_or(work.content);
        let last = if self.offset == Offset::Any || is_open { usize::MAX } else { last };
        let (mut from, mut count) = (first, 0);
        while from <= subject.len() && count < needed {
            work.spend(ONE_RUN + (subject.len() - from))?;
            // An error is a limit that was met: that nothing matches is not known.
            let Some(found) = regex.find_at(subject, from).map_err(|_| Exhausted)?.filter(|found| found.start() <= last) else { break };
            count += 1;
            if !self.flags.global {
                break;
            }
            from = found.end().max(found.start() + 1);
        }
        Ok(count)
    }

    fn compile(&self) -> Option<Regex> {
        // One place, and no rolling: the match begins there.
        let fixed = matches!(self.offset, Offset::At { shift: 0, .. }) && !self.flags.rolling;
        let anchor = if fixed || self.flags.anchored { "\\G" } else { "" };
        let greed = if self.flags.ungreedy { "(?U)" } else { "" };
        let source = format!("{LIMITS}{anchor}(?:{greed}{}\n)", self.source);
        let plain = format!("{LIMITS}{anchor}(?:{greed}{})", self.source);
        let mut builder = RegexBuilder::new();
        builder.caseless(self.flags.caseless).dotall(self.flags.dotall).multi_line(self.flags.multi_line).extended(self.flags.extended);
        // A comment of an extended expression ends with its line.
        builder.build(if self.flags.extended { &source } else { &plain }).ok()
    }
}

impl Flags {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut flags = Self::default();
        for letter in text.chars() {
            match letter {
                'i' => flags.caseless = true,
                's' => flags.dotall = true,
                'm' => flags.multi_line = true,
                'x' => flags.extended = true,
                'g' => flags.global = true,
                'r' => flags.rolling = true,
                'e' => flags.encompass = true,
                'A' => flags.anchored = true,
                'U' => flags.ungreedy = true,
                'E' => return Err(Refused::Unsupported("ldb PCRE with flag E")),
                _ => return Err(Refused::Invalid("a flag that the manual does not know")),
            }
        }
        Ok(flags)
    }

    fn pack(self) -> u32 {
        let Self { caseless, dotall, multi_line, extended, global, rolling, encompass, anchored, ungreedy } = self;
        let each = [caseless, dotall, multi_line, extended, global, rolling, encompass, anchored, ungreedy];
        each.into_iter().rev().fold(0, |bits, flag| bits << 1 | u32::from(flag))
    }

    fn unpack(bits: u32) -> Self {
        let [caseless, dotall, multi_line, extended, global, rolling, encompass, anchored, ungreedy] =
            std::array::from_fn(|bit| bits >> bit & 1 == 1);
        Self { caseless, dotall, multi_line, extended, global, rolling, encompass, anchored, ungreedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_flags_are_read_back() {
        for text in ["", "i", "s", "m", "x", "g", "r", "e", "A", "U", "ismxgreAU", "gU"] {
            let flags = Flags::parse(text).unwrap();
            assert_eq!(Flags::unpack(flags.pack()), flags, "{text}");
        }
    }
}
