//! `((0|1)>2,2)&(3=0)`: which parts, and how often.

use crate::clamdb::load::Refused;

/// Expressions over the numbers of parts.
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

    pub(super) fn holds(&self, count: &dyn Fn(usize) -> u32) -> bool {
        self.root.value(count).holds
    }
}

impl Node {
    fn value(&self, count: &dyn Fn(usize) -> u32) -> Value {
        match self {
            Self::Sub(sub) => {
                let matches = count(*sub);
                Value { holds: matches > 0, matches: u64::from(matches), parts: u32::from(matches > 0) }
            }
            Self::All(nodes) | Self::Any(nodes) => {
                let mut value = Value { holds: matches!(self, Self::All(_)), matches: 0, parts: 0 };
                for each in nodes.iter().map(|node| node.value(count)) {
                    value.holds = if matches!(self, Self::All(_)) { value.holds && each.holds } else { value.holds || each.holds };
                    value.matches += each.matches;
                    value.parts += each.parts;
                }
                value.unless_failed()
            }
            Self::Counted { of, compare, matches, parts } => {
                let value = of.value(count);
                let holds = match compare {
                    Compare::Equal => value.matches == u64::from(*matches),
                    Compare::More => value.matches > u64::from(*matches),
                    Compare::Less => value.matches < u64::from(*matches),
                };
                Value { holds: holds && value.parts >= *parts, ..value }.unless_failed()
            }
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
