//! Where in an object a signature must begin.

use super::{executable::Executable, load::Refused};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Offset {
    Any,
    /// `delta` from the base, or up to `shift` bytes later.
    At {
        base: Base,
        delta: i64,
        shift: u32,
    },
    /// Anywhere in that section.
    Within(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Base {
    Start,
    End,
    Entry,
    Section(u16),
    LastSection,
}

impl Offset {
    /// `executables` tells whether the signature is for files that have an entry point and sections.
    pub(super) fn parse(text: &str, executables: bool) -> Result<Self, Refused> {
        let invalid = Refused::Invalid("an offset that cannot be read");
        if text == "*" {
            return Ok(Self::Any);
        }
        if text == "VI" {
            return Err(if executables { Refused::Unsupported("offset VI") } else { invalid });
        }
        let (place, shift) = match text.split_once(',') {
            Some((place, shift)) => (place, shift.parse().map_err(|_| invalid)?),
            None => (text, 0),
        };
        let number = |digits: &str| digits.parse::<u32>().map(i64::from).map_err(|_| invalid);
        if let Ok(delta) = number(place) {
            return Ok(Self::At { base: Base::Start, delta, shift });
        }
        if let Some(before) = place.strip_prefix("EOF-") {
            return Ok(Self::At { base: Base::End, delta: -number(before)?, shift });
        }
        if !executables {
            return Err(Refused::Invalid("an offset that only executables have, in a signature that is not for them alone"));
        }
        if let Some(delta) = place.strip_prefix("EP") {
            let delta = match delta.split_at_checked(1) {
                Some(("+", after)) => number(after)?,
                Some(("-", before)) => -number(before)?,
                _ => return Err(invalid),
            };
            return Ok(Self::At { base: Base::Entry, delta, shift });
        }
        if let Some(section) = place.strip_prefix("SE") {
            return section.parse().map(Self::Within).map_err(|_| invalid);
        }
        let (section, delta) = place.strip_prefix('S').and_then(|rest| rest.split_once('+')).ok_or(invalid)?;
        let base = if section == "L" { Base::LastSection } else { Base::Section(section.parse().map_err(|_| invalid)?) };
        Ok(Self::At { base, delta: number(delta)?, shift })
    }

    pub(super) fn pack(self) -> [u32; 5] {
        let Self::At { base, delta, shift } = self else {
            let section = if let Self::Within(section) = self { u32::from(section) } else { 0 };
            return [u32::from(self != Self::Any), section, 0, 0, 0];
        };
        let (base, section) = match base {
            Base::Start => (2, 0),
            Base::End => (3, 0),
            Base::Entry => (4, 0),
            Base::Section(section) => (5, section),
            Base::LastSection => (6, 0),
        };
        [base, u32::from(section), delta as u32, (delta >> 32) as u32, shift]
    }

    pub(super) fn unpack([tag, section, low, high, shift]: [u32; 5]) -> Self {
        let base = match tag {
            0 => return Self::Any,
            1 => return Self::Within(section as u16),
            2 => Base::Start,
            3 => Base::End,
            4 => Base::Entry,
            5 => Base::Section(section as u16),
            _ => Base::LastSection,
        };
        Self::At { base, delta: (u64::from(low) | u64::from(high) << 32) as i64, shift }
    }

    /// The first and the last place where a match may begin, in an object of that length; `None` where it has no such place.
    pub(super) fn resolve(self, length: usize, executable: Option<&Executable>) -> Option<(usize, usize)> {
        let section = |index: usize| executable?.sections.get(index);
        match self {
            Self::Any => Some((0, length)),
            Self::At { base, delta, shift } => {
                let base = match base {
                    Base::Start => 0,
                    Base::End => length,
                    Base::Entry => executable?.entry?,
                    Base::Section(index) => section(usize::from(index)).filter(|section| section.length > 0)?.start,
                    Base::LastSection => executable?.sections.last().filter(|section| section.length > 0)?.start,
                };
                let first = usize::try_from(i64::try_from(base).ok()?.checked_add(delta)?).ok().filter(|&first| first < length)?;
                Some((first, first.saturating_add(shift as usize).min(length)))
            }
            Self::Within(index) => {
                let section = section(usize::from(index)).filter(|section| section.length > 0)?;
                Some((section.start, section.start + section.length - 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_that_cannot_be_read_are_refused() {
        for text in ["", "x", "-1", "EOF", "EOF+1", "EP", "EP*", "S+1", "Sx+1", "SE", "SL", "SL-1", "1,", "1,x", "S1", "99999999999"] {
            assert!(matches!(Offset::parse(text, true), Err(Refused::Invalid(_))), "{text}");
        }
        for text in ["EP+0", "S0+1", "SE1", "SL+0", "VI"] {
            assert!(matches!(Offset::parse(text, false), Err(Refused::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn each_offset_has_its_place() {
        let file =
            super::super::executable::fixtures::pe(&[(0x1000, 0x300, 0x400, 0x400), (0x2000, 0x200, 0x800, 0x200)], 0x1010, 0, 0xa00, b"x");
        let parsed = Executable::parse(&file);
        let place = |text: &str| Offset::parse(text, true).unwrap().resolve(file.len(), parsed.as_ref());
        for (text, expected) in [
            ("*", Some((0, 0xa00))),
            ("16", Some((16, 16))),
            ("16,4", Some((16, 20))),
            ("2560", None),
            ("EOF-16", Some((0x9f0, 0x9f0))),
            ("EOF-2561", None),
            ("EP+3", Some((0x413, 0x413))),
            ("EP-16,2", Some((0x400, 0x402))),
            ("S1+4", Some((0x804, 0x804))),
            ("S2+4", None),
            ("SL+0", Some((0x800, 0x800))),
            ("SE0", Some((0x400, 0x7ff))),
        ] {
            assert_eq!(place(text), expected, "{text}");
        }
        assert_eq!(Offset::parse("EP+0", true).unwrap().resolve(100, None), None);
    }

    #[test]
    fn packed_offsets_are_read_back() {
        for text in ["*", "7", "7,300", "EOF-4294967295", "EP+3", "EP-16,2", "S65535+4", "SL+9,1", "SE3"] {
            let offset = Offset::parse(text, true).unwrap();
            assert_eq!(Offset::unpack(offset.pack()), offset, "{text}");
        }
    }
}
