//! `((0|1)>2,2)&(3=0)`: which parts, and how often.

use crate::clamdb::{
    flat::{Cursor, Words},
    load::Refused,
};

/// An expression over the numbers of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    root: Node,
    subs: usize,
    needed: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Sub(usize),
    All(Vec<Node>),
    Any(Vec<Node>),
    Counted { of: Box<Node>, compare: Compare, matches: u32, parts: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    More,
    Less,
}

/// From the one to the other, both inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::clamdb) struct Range {
    pub(in crate::clamdb) least: u64,
    pub(in crate::clamdb) most: u64,
}

impl Range {
    /// `n-m`, or one number.
    pub(in crate::clamdb) fn parse(text: &str) -> Option<Self> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        Some(Self { least: least.parse().ok()?, most: most.parse().ok()? })
    }

    pub(in crate::clamdb) fn holds(self, value: u64) -> bool {
        self.least <= value && value <= self.most
    }
}

/// What a node counts.
struct Value {
    holds: bool,
    matches: u64,
    parts: u32,
}

impl Value {
    /// What does not hold counts for nothing further up. Seen of `clamscan`.
    fn unless_failed(self) -> Self {
        if self.holds { self } else { Self { holds: false, matches: 0, parts: 0 } }
    }
}

/// Parentheses inside each other beyond this are refused.
const MAX_DEPTH: usize = 32;
/// A longer expression is refused.
const MAX_LENGTH: usize = 2048;

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let (expression, named) = Self::read(text)?;
        if named.count_ones() as usize != expression.subs {
            return Err(Refused::Invalid("the expression leaves a part out"));
        }
        Ok(expression)
    }

    /// An expression over some of the parts before the one of that number.
    pub(super) fn parse_trigger(text: &str, number: usize) -> Result<Self, Refused> {
        let (expression, _) = Self::read(text)?;
        if expression.subs > number {
            return Err(Refused::Invalid("a trigger names parts that do not stand before it"));
        }
        Ok(expression)
    }

    /// With a bit for each part it names.
    fn read(text: &str) -> Result<(Self, u64), Refused> {
        if text.len() > MAX_LENGTH {
            return Err(Refused::Invalid("the expression is too long"));
        }
        let mut parser = Parser { rest: text.as_bytes(), named: 0, needed: 1, depth: 0 };
        let root = parser.chain()?;
        if !parser.rest.is_empty() {
            return Err(INVALID);
        }
        let subs = (u64::BITS - parser.named.leading_zeros()) as usize;
        Ok((Self { root, subs, needed: parser.needed }, parser.named))
    }

    /// How many parts it names.
    pub(super) fn subs(&self) -> usize {
        self.subs
    }

    /// So many matches of a part can matter.
    pub(super) fn needed(&self) -> u32 {
        self.needed
    }

    /// At least so many of the parts with a bit in `of` match wherever it holds.
    pub(super) fn least(&self, of: u64) -> u32 {
        self.root.least(of).0
    }

    /// As [`evaluate`] reads it.
    pub(super) fn put(&self, words: &mut Words) {
        self.root.put(words);
    }
}

/// The tags of nodes.
const PART: u32 = 0;
const ALL: u32 = 1;
const ANY: u32 = 2;
const EQUAL: u32 = 3;
const MORE: u32 = 4;
const LESS: u32 = 5;

impl Node {
    /// The fewest matching parts of `of`, and the parts it names.
    fn least(&self, of: u64) -> (u32, u64) {
        match self {
            Self::Sub(sub) => ((of >> sub & 1) as u32, 1 << sub),
            Self::All(nodes) => nodes.iter().map(|node| node.least(of)).fold((0, 0), |(sum, seen), (least, named)| {
                // What is named twice counts once.
                let least = if seen & named == 0 { sum + least } else { sum.max(least) };
                (least, seen | named)
            }),
            Self::Any(nodes) => {
                let each = nodes.iter().map(|node| node.least(of));
                let (least, named) = each.fold((u32::MAX, 0), |(least, seen), (other, named)| (least.min(other), seen | named));
                (if nodes.is_empty() { 0 } else { least }, named)
            }
            Self::Counted { of: node, compare, matches, parts: _ } => {
                let (least, named) = node.least(of);
                let needs_none = matches!((compare, matches), (Compare::Less, _) | (Compare::Equal, 0));
                (if needs_none { 0 } else { least }, named)
            }
        }
    }

    fn put(&self, words: &mut Words) {
        match self {
            Self::Sub(sub) => [PART, *sub as u32].into_iter().for_each(|word| words.put(word)),
            Self::All(nodes) | Self::Any(nodes) => {
                words.put(if matches!(self, Self::All(_)) { ALL } else { ANY });
                words.put(nodes.len() as u32);
                nodes.iter().for_each(|node| node.put(words));
            }
            Self::Counted { of, compare, matches, parts } => {
                let tag = match compare {
                    Compare::Equal => EQUAL,
                    Compare::More => MORE,
                    Compare::Less => LESS,
                };
                [tag, *matches, *parts].into_iter().for_each(|word| words.put(word));
                of.put(words);
            }
        }
    }
}

/// Whether the expression that is next holds, by how often each part matched.
pub(super) fn evaluate(words: &mut Cursor<'_>, count: &dyn Fn(usize) -> u32) -> bool {
    value(words, count).holds
}

fn value(words: &mut Cursor<'_>, count: &dyn Fn(usize) -> u32) -> Value {
    let tag = words.word();
    match tag {
        PART => {
            let matches = count(words.word() as usize);
            Value { holds: matches > 0, matches: u64::from(matches), parts: u32::from(matches > 0) }
        }
        ALL | ANY => {
            let mut sum = Value { holds: tag == ALL, matches: 0, parts: 0 };
            for _ in 0..words.word() {
                let each = value(words, count);
                sum.holds = if tag == ALL { sum.holds && each.holds } else { sum.holds || each.holds };
                sum.matches += each.matches;
                sum.parts += each.parts;
            }
            sum.unless_failed()
        }
        compare => {
            let (matches, parts) = (u64::from(words.word()), words.word());
            let value = value(words, count);
            let holds = match compare {
                EQUAL => value.matches == matches,
                MORE => value.matches > matches,
                _ => value.matches < matches,
            };
            Value { holds: holds && value.parts >= parts, ..value }.unless_failed()
        }
    }
}

const INVALID: Refused = Refused::Invalid("the expression cannot be read");

struct Parser<'a> {
    rest: &'a [u8],
    /// A bit for each part that was named.
    named: u64,
    needed: u32,
    depth: usize,
}

impl Parser<'_> {
    /// Operators bind from the right, neither more than the other: `0&1|2` is `0&(1|2)`. Seen of `clamscan`.
    fn chain(&mut self) -> Result<Node, Refused> {
        let (mut nodes, mut operators) = (vec![self.counted()?], Vec::new());
        while let Some(&operator @ (b'&' | b'|')) = self.rest.first() {
            self.take(operator);
            operators.push(operator);
            nodes.push(self.counted()?);
        }
        let mut right = nodes.pop().ok_or(INVALID)?;
        for (left, operator) in nodes.into_iter().zip(operators).rev() {
            right = match (operator, right) {
                (b'&', Node::All(mut nodes)) => {
                    nodes.push(left);
                    Node::All(nodes)
                }
                (b'&', right) => Node::All(vec![right, left]),
                (_, Node::Any(mut nodes)) => {
                    nodes.push(left);
                    Node::Any(nodes)
                }
                (_, right) => Node::Any(vec![right, left]),
            };
        }
        Ok(right)
    }

    fn counted(&mut self) -> Result<Node, Refused> {
        let mut node = self.single()?;
        loop {
            let compare = match self.rest.first() {
                Some(b'=') => Compare::Equal,
                Some(b'>') => Compare::More,
                Some(b'<') => Compare::Less,
                _ => return Ok(node),
            };
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(INVALID);
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
            let matches = self.number()?;
            let parts = if self.take(b',') { self.number()? } else { 0 };
            // One more tells that there are too many.
            self.needed = self.needed.max(matches.saturating_add(1));
            node = Node::Counted { of: Box::new(node), compare, matches, parts };
        }
    }

    fn single(&mut self) -> Result<Node, Refused> {
        if !self.take(b'(') {
            let sub = self.number()?;
            self.named |= 1u64.checked_shl(sub).ok_or(Refused::Invalid("a logical signature has at most 64 parts"))?;
            return Ok(Node::Sub(sub as usize));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(INVALID);
        }
        let node = self.chain()?;
        self.depth -= 1;
        if self.take(b')') { Ok(node) } else { Err(INVALID) }
    }

    fn number(&mut self) -> Result<u32, Refused> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at_checked(digits).unwrap_or_default();
        self.rest = rest;
        std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()).ok_or(INVALID)
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.rest.first() == Some(&byte);
        if taken {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        taken
    }
}
