//! Comparison of bytes at a distance from a match with numbers, as a part of a logical signature.
//!
//! `trigger(offset#options#comparisons)`, by ClamAV's manual, *Byte compare subsignatures*. Where the manual is silent (which match
//! counts, how digits end) it is as `clamscan` 1.4.6 was seen to do it: the last match counts, digits end at what is none.

use crate::clamdb::load::Refused;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compare {
    /// The part whose last match the offset is counted from.
    pub(super) trigger: usize,
    text: String,
    offset: i64,
    form: Form,
    length: usize,
    comparisons: Vec<(Order, i64)>,
}

/// How the bytes tell a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Digits; `exact` if all bytes must be some.
    Hexadecimal {
        big: bool,
        exact: bool,
    },
    Decimal {
        exact: bool,
    },
    /// Hexadecimal after `0x`, else decimal.
    Either {
        exact: bool,
    },
    Raw {
        big: bool,
    },
    /// Seen so: where no order of bytes is named, it never holds.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    More,
}

/// Digits beyond this do not fit a number.
const MAX_LENGTH: usize = 255;
const MAX_HEX_DIGITS: usize = 18;

const INVALID: Refused = Refused::Invalid("a comparison of bytes that cannot be read");

impl Compare {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let (trigger, rest) = text.split_once('(').ok_or(INVALID)?;
        let inside = rest.strip_suffix(')').ok_or(INVALID)?;
        let [offset, options, comparisons] = inside.split('#').collect::<Vec<_>>()[..] else { return Err(INVALID) };
        let (sign, distance) = match offset.split_at_checked(2) {
            Some((">>", distance)) => (1, distance),
            Some(("<<", distance)) => (-1, distance),
            _ => return Err(INVALID),
        };
        let distance = number(distance).filter(|distance| (0..1 << 31).contains(distance)).ok_or(INVALID)?;
        let (form, length) = options_of(options)?;
        let comparisons: Vec<_> = comparisons.split(',').map(comparison).collect::<Result<_, _>>()?;
        if comparisons.len() > 2 {
            return Err(INVALID);
        }
        Ok(Self {
            text: text.to_owned(),
            trigger: trigger.parse().map_err(|_| INVALID)?,
            offset: sign * distance,
            form,
            length,
            comparisons,
        })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds, where the trigger's last match begins at `place`.
    pub(super) fn holds(&self, content: &[u8], place: usize) -> bool {
        let bytes = i64::try_from(place)
            .ok()
            .and_then(|place| usize::try_from(place.checked_add(self.offset)?).ok())
            .and_then(|from| content.get(from..from.checked_add(self.length)?));
        let Some(value) = bytes.and_then(|bytes| self.form.value(bytes)) else { return false };
        self.comparisons.iter().all(|(order, with)| match order {
            Order::Equal => value == *with,
            Order::Less => value < *with,
            Order::More => value > *with,
        })
    }
}

fn options_of(text: &str) -> Result<(Form, usize), Refused> {
    let (letters, digits) = text.split_at(text.find(|letter: char| letter.is_ascii_digit()).ok_or(INVALID)?);
    let length = number(digits).and_then(|length| usize::try_from(length).ok()).filter(|length| (1..=MAX_LENGTH).contains(length));
    let length = length.ok_or(INVALID)?;
    let mut sort = None;
    let (mut little, mut big, mut exact) = (false, false, false);
    for letter in letters.chars() {
        match letter {
            'h' | 'd' | 'a' | 'i' if sort.is_none_or(|sort| sort == letter) => sort = Some(letter),
            'l' => little = true,
            'b' => big = true,
            'e' => exact = true,
            _ => return Err(INVALID),
        }
    }
    let form = match sort.ok_or(INVALID)? {
        'h' | 'i' | 'a' if little == big => Form::Never,
        'h' if length > MAX_HEX_DIGITS => return Err(INVALID),
        'h' => Form::Hexadecimal { big, exact },
        'i' if !matches!(length, 1 | 2 | 4 | 8) => return Err(INVALID),
        'i' => Form::Raw { big },
        'd' if little => return Err(INVALID),
        'd' => Form::Decimal { exact },
        _ if little => return Err(Refused::Unsupported("ldb byte compare of either sort, least first")),
        _ => Form::Either { exact },
    };
    Ok((form, length))
}

fn comparison(text: &str) -> Result<(Order, i64), Refused> {
    let order = match text.get(..1) {
        Some("=") => Order::Equal,
        Some("<") => Order::Less,
        Some(">") => Order::More,
        _ => return Err(INVALID),
    };
    Ok((order, text.get(1..).and_then(number).ok_or(INVALID)?))
}

/// Decimal, or hexadecimal after `0x`; perhaps negative.
fn number(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?.cast_signed(),
        None => digits.parse().ok()?,
    };
    if negative { value.checked_neg() } else { Some(value) }
}

impl Form {
    fn value(self, bytes: &[u8]) -> Option<i64> {
        match self {
            Self::Hexadecimal { big: true, exact } => digits(bytes, 16, exact),
            Self::Hexadecimal { big: false, exact } => {
                // Pairs of digits, the least significant first.
                let turned: Vec<u8> = bytes.chunks(2).rev().flatten().copied().collect();
                digits(&turned, 16, exact)
            }
            Self::Decimal { exact } => digits(bytes, 10, exact),
            Self::Either { exact } => match bytes.trim_ascii_start() {
                // Seen so: two bytes are too few to tell.
                [] | [_] | [_, _] => None,
                [b'0', b'x' | b'X', ..] => digits(bytes, 16, exact),
                _ => digits(bytes, 10, exact),
            },
            Self::Raw { big } => {
                let mut value = [0; 8];
                if big {
                    value.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
                    Some(i64::from_be_bytes(value))
                } else {
                    value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                    Some(i64::from_le_bytes(value))
                }
            }
            Self::Never => None,
        }
    }
}

/// As C reads a number: white space, a sign, perhaps `0x`, digits; what is too large is as large as can be.
fn digits(bytes: &[u8], radix: u32, exact: bool) -> Option<i64> {
    let mut rest = bytes.trim_ascii_start();
    let negative = rest.first() == Some(&b'-');
    if let [b'-' | b'+', after @ ..] = rest {
        rest = after;
    }
    if let (16, [b'0', b'x' | b'X', after @ ..]) = (radix, rest) {
        rest = after;
    }
    let mut value = 0i64;
    let mut used = 0;
    while let Some(digit) = rest.get(used).and_then(|digit| char::from(*digit).to_digit(radix)) {
        value = value.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit));
        used += 1;
    }
    let whole = used == rest.len() && rest.len() == bytes.len()
        || used == rest.len() && bytes.first().is_some_and(|first| !first.is_ascii_whitespace());
    if exact && !whole {
        return None;
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `clamscan` 1.4.6 said of each.
    #[test]
    fn forms_are_read_as_clamscan_reads_them() {
        const CONTENT: &[u8] = b"\0\x01\x02\xff\xfe\x80AAAA1f 0x1f  31 -5 +7 beef   0031zz 0o17\0\xff\x80";
        for (text, expected) in [
            (">>4#hb2#=31", true),
            (">>4#hb2#=0x1f", true),
            (">>4#hl2#=31", true),
            (">>4#hl2#=0xf1", false),
            (">>4#he2#=31", false),
            (">>4#h2#=31", false),
            (">>4#hb3#=31", true),
            (">>4#hbe3#=31", false),
            (">>7#hb4#=31", true),
            (">>7#hbe4#=31", true),
            (">>7#ab4#=31", true),
            (">>13#db2#=31", true),
            (">>13#de2#=31", true),
            (">>13#ab2#=31", false),
            (">>16#db2#=-5", true),
            (">>16#db2#<0", true),
            (">>16#db2#=5", false),
            (">>16#ab2#=-5", false),
            (">>19#db2#=7", true),
            (">>22#hb4#=0xbeef", true),
            (">>22#hl4#=0xefbe", true),
            (">>22#hl4#=0xfeeb", false),
            (">>22#ab4#=0xbeef", false),
            (">>22#ab4#=0", true),
            (">>22#a4#=0", false),
            (">>12#ab3#=31", false),
            (">>11#ab4#=31", false),
            (">>22#db4#=0", true),
            (">>29#db4#=31", true),
            (">>29#db6#=31", true),
            (">>29#dbe6#=31", false),
            (">>29#ab4#=31", true),
            (">>29#ab4#=25", false),
            (">>12#db3#=31", true),
            (">>12#dbe3#=31", false),
            (">>4#ib8#=0x3166203078316620", true),
            (">>400#hb2#=31", false),
            ("<<400#hb2#=31", false),
            ("<<1#ib1#=0x80", true),
            ("<<6#ib1#=0", true),
            (">>4#ib1#=0x31,=49", true),
            (">>4#ib1#>0x30,<0x32", true),
            (">>4#ib1#>-1", true),
            (">>0x4#ib1#=0x31", true),
            (">>4#bi1#=0x31", true),
            (">>4#i1#=0x31", false),
        ] {
            let compare = Compare::parse(&format!("0({text})")).unwrap();
            assert_eq!(compare.holds(CONTENT, 6), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        for text in [
            "",
            "0",
            "0(",
            "0()",
            "x(>>4#ib1#=1)",
            "0(4#ib1#=1)",
            "0(>>4#ib1#)",
            "0(>>4#ib1#1)",
            "0(>>4#ib3#=1)",
            "0(>>4#ib9#=1)",
            "0(>>4#hb0#=1)",
            "0(>>4#hb40#=1)",
            "0(>>4#dl2#=1)",
            "0(>>4#xb1#=1)",
            "0(>>4#ib1#=1x)",
            "0(>>4#ib1#=0x3g)",
            "0(>>4#ib1#>1,<2,>3)",
            "0(>>4#hb2e#=1)",
            "0(>>-4#ib1#=1)",
            "0(>>4#ib1#=1)x",
            "0(>>4#hdb1#=1)",
            "0(>>4#ib1#=)",
        ] {
            assert!(Compare::parse(text).is_err(), "{text}");
        }
    }
}
