//! A body signature as it is written: hexadecimal digits and wildcards.
//!
//! Format: ClamAV's manual, *Body-based Signature Content Format*. What the manual leaves open (which bytes a word border has, what
//! a wide pattern does with wildcards) is as `clamscan` 1.4.6 was seen to do it.

use super::load::Refused;

/// Parts that follow each other with any number of bytes between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// At least so many bytes lie between the former part and this one.
    pub(super) distance: u32,
    pub(super) items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Byte(Masked),
    /// So many bytes, whatever they are.
    Skip(u32),
    /// Between so many and so many bytes.
    Gap {
        least: u32,
        most: u32,
    },
    /// One of the strings; negated, none of them, which all have one length.
    Choice {
        negated: bool,
        strings: Vec<Vec<Masked>>,
    },
    Border {
        negated: bool,
        border: Border,
    },
}

/// A byte fits whose bits under the mask are those of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    pub(super) value: u8,
    pub(super) mask: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// `(B)`
    Word,
    /// `(L)`
    Line,
    /// `(W)`
    NotAlphanumeric,
}

/// A pattern of more items is refused.
const MAX_ITEMS: usize = 1 << 16;
/// More alternatives of one choice are refused.
const MAX_STRINGS: usize = 4096;
/// Longer distances are refused.
const MAX_DISTANCE: u32 = 1 << 30;
/// The longest distance of `[n-m]`.
const MAX_ANCHOR: u32 = 32;

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut parser = Parser { rest: text.as_bytes(), parts: vec![Part::default()], items: 0 };
        while !parser.rest.is_empty() {
            parser.item()?;
        }
        let pattern = Self { parts: parser.parts };
        match pattern.parts.iter().all(|part| part.has_two_bytes()) {
            true => Ok(pattern),
            false => Err(Refused::Invalid("a part of the pattern has no two fixed bytes side by side")),
        }
    }

    /// With a zero after each byte, as UTF-16 has it for Latin letters. Distances stay as they are.
    pub(super) fn widened(&self) -> Self {
        let zero = Masked { value: 0, mask: 0xff };
        let widen = |item: &Item| match item {
            Item::Byte(byte) => vec![Item::Byte(*byte), Item::Byte(zero)],
            Item::Choice { negated, strings } => {
                let strings = strings.iter().map(|string| string.iter().flat_map(|byte| [*byte, zero]).collect()).collect();
                vec![Item::Choice { negated: *negated, strings }]
            }
            Item::Skip(_) | Item::Gap { .. } | Item::Border { .. } => vec![item.clone()],
        };
        let parts = self.parts.iter().map(|part| Part { distance: part.distance, items: part.items.iter().flat_map(widen).collect() });
        Self { parts: parts.collect() }
    }
}

impl Part {
    fn has_two_bytes(&self) -> bool {
        let fixed = |item: &Item| matches!(item, Item::Byte(Masked { mask: 0xff, .. }));
        self.items.windows(2).any(|pair| pair.iter().all(fixed))
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    parts: Vec<Part>,
    items: usize,
}

impl Parser<'_> {
    fn item(&mut self) -> Result<(), Refused> {
        match self.rest {
            [b'*', rest @ ..] => {
                self.rest = rest;
                self.part(0)
            }
            [b'{', ..] => {
                let written_once = !self.rest.iter().take_while(|&&byte| byte != b'}').any(|&byte| byte == b'-');
                let (least, most) = self.distance(b'}')?;
                match most {
                    None => self.part(least),
                    // Seen so: no distance at all is any distance.
                    Some(0) if written_once => self.part(0),
                    Some(most) if most == least => self.push(Item::Skip(least)),
                    Some(most) => self.push(Item::Gap { least, most }),
                }
            }
            [b'[', ..] => match self.distance(b']')? {
                (least, Some(most)) if most <= MAX_ANCHOR => self.push(Item::Gap { least, most }),
                _ => Err(Refused::Invalid("a distance in [] has two ends and at most 32 bytes")),
            },
            [b'(', ..] => self.choice(false),
            [b'!', b'(', ..] => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                self.choice(true)
            }
            [high, low, rest @ ..] => {
                let byte = masked(*high, *low)?;
                self.rest = rest;
                self.push(Item::Byte(byte))
            }
            _ => Err(Refused::Invalid("an odd digit at the end of the pattern")),
        }
    }

    fn push(&mut self, item: Item) -> Result<(), Refused> {
        self.items += match &item {
            Item::Choice { strings, .. } => strings.len(),
            Item::Byte(_) | Item::Skip(_) | Item::Gap { .. } | Item::Border { .. } => 1,
        };
        if self.items > MAX_ITEMS {
            return Err(Refused::Invalid("the pattern is too long"));
        }
        let part = self.parts.last_mut().ok_or(Refused::Invalid("no part"))?;
        part.items.push(item);
        Ok(())
    }

    fn part(&mut self, distance: u32) -> Result<(), Refused> {
        match self.parts.last() {
            Some(part) if !part.items.is_empty() => self.parts.push(Part { distance, items: Vec::new() }),
            _ => return Err(Refused::Invalid("nothing stands before a distance")),
        }
        Ok(())
    }

    /// `{n}`, `{n-m}`, `{-m}` and `{n-}`; no end where there is none.
    fn distance(&mut self, close: u8) -> Result<(u32, Option<u32>), Refused> {
        let invalid = Refused::Invalid("a distance that cannot be read");
        let end = memchr::memchr(close, self.rest).ok_or(invalid)?;
        let inside = self.rest.get(1..end).and_then(|inside| std::str::from_utf8(inside).ok()).ok_or(invalid)?;
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        let number = |digits: &str| digits.parse::<u32>().ok().filter(|&number| number <= MAX_DISTANCE).ok_or(invalid);
        match inside.split_once('-') {
            None => number(inside).map(|both| (both, Some(both))),
            Some(("", most)) => Ok((0, Some(number(most)?))),
            Some((least, "")) => Ok((number(least)?, None)),
            Some((least, most)) => {
                let (least, most) = (number(least)?, number(most)?);
                if least > most { Err(invalid) } else { Ok((least, Some(most))) }
            }
        }
    }

    fn choice(&mut self, negated: bool) -> Result<(), Refused> {
        let end = closing(self.rest).ok_or(Refused::Invalid("a parenthesis that is not closed"))?;
        let inside = self.rest.get(1..end).unwrap_or_default();
        let border = match inside {
            b"B" => Some(Border::Word),
            b"L" => Some(Border::Line),
            b"W" => Some(Border::NotAlphanumeric),
            _ => None,
        };
        let item = match border {
            Some(border) => Item::Border { negated, border },
            None => Item::Choice { negated, strings: strings(inside, negated)? },
        };
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.push(item)
    }
}

/// Where the parenthesis at the start is closed.
fn closing(text: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Parentheses inside each other beyond this are refused.
const MAX_DEPTH: usize = 8;

const TOO_MANY: Refused = Refused::Invalid("too many alternatives");

/// The strings that alternatives stand for; groups inside them are multiplied out.
fn alternatives(inside: &[u8], depth: usize) -> Result<Vec<Vec<Masked>>, Refused> {
    if depth > MAX_DEPTH {
        return Err(Refused::Invalid("too many parentheses inside each other"));
    }
    let (mut all, mut current) = (Vec::new(), vec![Vec::new()]);
    let mut rest = inside;
    while let Some(&first) = rest.first() {
        match first {
            b'|' => {
                all.append(&mut std::mem::replace(&mut current, vec![Vec::new()]));
                rest = rest.get(1..).unwrap_or_default();
            }
            b'(' => {
                let end = closing(rest).ok_or(Refused::Invalid("a parenthesis that is not closed"))?;
                let group = alternatives(rest.get(1..end).unwrap_or_default(), depth + 1)?;
                let bytes = |strings: &[Vec<Masked>]| strings.iter().map(Vec::len).sum::<usize>();
                if bytes(&current) * group.len() + bytes(&group) * current.len() > MAX_ITEMS {
                    return Err(TOO_MANY);
                }
                current = current.iter().flat_map(|start| group.iter().map(move |end| [start.as_slice(), end].concat())).collect();
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            _ => {
                let end = rest.iter().position(|byte| matches!(byte, b'|' | b'(')).unwrap_or(rest.len());
                let plain = string(rest.get(..end).unwrap_or_default())?;
                current.iter_mut().for_each(|string| string.extend_from_slice(&plain));
                rest = rest.get(end..).unwrap_or_default();
            }
        }
        if all.len() + current.len() > MAX_STRINGS {
            return Err(TOO_MANY);
        }
    }
    all.append(&mut current);
    if all.iter().any(Vec::is_empty) { Err(Refused::Invalid("an empty alternative")) } else { Ok(all) }
}

fn strings(inside: &[u8], negated: bool) -> Result<Vec<Vec<Masked>>, Refused> {
    if negated && inside.contains(&b'(') {
        return Err(Refused::Invalid("negated alternatives hold no others"));
    }
    let strings = alternatives(inside, 0)?;
    let length = strings.first().map_or(0, Vec::len);
    let exact = strings.iter().all(|string| string.len() == length && string.iter().all(|byte| byte.mask == 0xff));
    if negated && !exact {
        return Err(Refused::Invalid("negated alternatives have one length and no wildcards"));
    }
    Ok(strings)
}

/// Digits, `?` and `{n}`.
fn string(mut digits: &[u8]) -> Result<Vec<Masked>, Refused> {
    let mut string = Vec::new();
    while let Some(&first) = digits.first() {
        if first == b'{' {
            let end = memchr::memchr(b'}', digits).ok_or(Refused::Invalid("a distance that is not closed"))?;
            let inside = digits.get(1..end).and_then(|inside| std::str::from_utf8(inside).ok());
            let count = inside.and_then(|inside| inside.parse::<usize>().ok()).filter(|&count| count < 128);
            let count = count.ok_or(Refused::Invalid("in an alternative, a distance is one number below 128"))?;
            string.extend(std::iter::repeat_n(Masked { value: 0, mask: 0 }, count));
            digits = digits.get(end + 1..).unwrap_or_default();
        } else {
            let &[high, low, ref rest @ ..] = digits else { return Err(Refused::Invalid("an odd digit in an alternative")) };
            string.push(masked(high, low)?);
            digits = rest;
        }
    }
    Ok(string)
}

fn masked(high: u8, low: u8) -> Result<Masked, Refused> {
    let nibble = |digit: u8| match digit {
        b'?' => Ok((0, 0)),
        _ => match char::from(digit).to_digit(16) {
            Some(value) => Ok((u8::try_from(value).unwrap_or(0), 15)),
            None => Err(Refused::Invalid("neither a hexadecimal digit nor a wildcard")),
        },
    };
    let ((high, high_mask), (low, low_mask)) = (nibble(high)?, nibble(low)?);
    Ok(Masked { value: high << 4 | low, mask: high_mask << 4 | low_mask })
}

impl Border {
    /// By its number.
    pub(super) fn of(number: u32) -> Self {
        match number {
            0 => Self::Word,
            1 => Self::Line,
            _ => Self::NotAlphanumeric,
        }
    }

    /// Whether one byte of the border fits, by where in its pattern it stands. Seen of `clamscan`.
    pub(super) fn holds(self, byte: u8, place: Place) -> bool {
        let always = matches!(byte, b'\t'..=b'\r' | b' ' | b'-' | b'/' | b'_');
        match self {
            Self::Word => match place {
                Place::First => always || matches!(byte, b'.' | b'<' | b'@'),
                Place::Last => always || matches!(byte, b'"' | b'\'' | b'=' | b'>'),
                Place::Between => always || matches!(byte, b'.' | b'<' | b'@' | b'"' | b'\'' | b'=' | b'>'),
            },
            Self::Line => byte == b'\n',
            Self::NotAlphanumeric => !byte.is_ascii_alphanumeric(),
        }
    }

    pub(super) fn fails(self, byte: u8, place: Place) -> bool {
        match self {
            // Seen so: these three count as both.
            Self::Word => !self.holds(byte, place) || matches!(byte, b'\t' | 0x0b | 0x0c),
            Self::Line => true,
            Self::NotAlphanumeric => byte.is_ascii_alphanumeric(),
        }
    }
}

/// Where in its pattern a border stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Between,
    Last,
}

impl Place {
    /// By its number.
    pub(super) fn of(number: u32) -> Self {
        match number {
            0 => Self::First,
            1 => Self::Between,
            _ => Self::Last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manual_does_not_describe_is_refused() {
        for text in [
            "",
            "6",
            "6x",
            "68*",
            "*6865",
            "6865*",
            "68656*6865",
            "6865{",
            "6865{a}6865",
            "6865{5-2}6865",
            "6865{4294967295}6865",
            "6865[1-40]68",
            "6865[2-]68",
            "6865(",
            "6865()",
            "6865(61|)",
            "6865!(61|6262)",
            "6865!(6?)",
            "6865(61{1-2})",
            "6865!61",
            "68??65",
            "686\u{e9}",
            "??????",
            "6865{1-}{2-}",
        ] {
            assert!(matches!(Pattern::parse(text), Err(Refused::Invalid(_))), "{text}: {:?}", Pattern::parse(text));
        }
        for text in ["6865(61|(62|63)", "6865!(61|(62|63))", "6865(61|(62|))", &format!("6865{}61{}", "(".repeat(10), ")".repeat(10))] {
            assert!(matches!(Pattern::parse(text), Err(Refused::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn alternatives_inside_alternatives_are_multiplied_out() {
        for (nested, flat) in [
            ("6865(61|(62|63))", "6865(61|62|63)"),
            ("6865((61|62)(63|64)|65)", "6865(6163|6263|6164|6264|65)"),
            ("6865(61(62|6?63)64)", "6865(616264|616?6364)"),
            ("6865(((61)))", "6865(61)"),
        ] {
            let (nested, flat) = (Pattern::parse(nested).unwrap(), Pattern::parse(flat).unwrap());
            let sorted = |pattern: &Pattern| match &pattern.parts[0].items[2] {
                Item::Choice { strings, .. } => {
                    strings.iter().map(|string| format!("{string:?}")).collect::<std::collections::BTreeSet<_>>()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(sorted(&nested), sorted(&flat));
        }
        let bomb = format!("6865({})", "(61|62|63|64)".repeat(7));
        assert!(matches!(Pattern::parse(&bomb), Err(Refused::Invalid(_))));
    }

    #[test]
    fn every_wildcard_is_read() {
        let parsed = Pattern::parse("68656?{4}{-2}{1-3}[0-2](B)!(61|62)(6?61|62{1})*6865{3-}6865").unwrap();
        let byte = |value, mask| Item::Byte(Masked { value, mask });
        assert_eq!(parsed.parts.iter().map(|part| part.distance).collect::<Vec<_>>(), [0, 0, 3]);
        assert_eq!(
            parsed.parts[0].items[..7],
            [
                byte(0x68, 0xff),
                byte(0x65, 0xff),
                byte(0x60, 0xf0),
                Item::Skip(4),
                Item::Gap { least: 0, most: 2 },
                Item::Gap { least: 1, most: 3 },
                Item::Gap { least: 0, most: 2 }
            ]
        );
        assert_eq!(parsed.parts[0].items[7], Item::Border { negated: false, border: Border::Word });
        assert!(matches!(&parsed.parts[0].items[8], Item::Choice { negated: true, strings } if strings.len() == 2));
        assert!(matches!(&parsed.parts[0].items[9], Item::Choice { negated: false, strings } if strings[1].len() == 2));
    }
}
