//! What a logical signature asks of an object as a whole.

use super::{Facts, Range};
use crate::clamdb::{
    flat::{Cursor, Words},
    load::{Refused, check_level},
    types::ClamType,
};

/// What the description block asks of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    size: Option<Range>,
    entry: Option<Range>,
    sections: Option<Range>,
    container: Option<Container>,
    /// The innermost containers, `None` for any; the last is the nearest.
    intermediates: Vec<Option<ClamType>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    /// The object is not inside another.
    No,
    /// The one nearest to it is of this type.
    Of(ClamType),
}

/// What stands where no type does.
const ANYWHERE: u32 = u32::MAX;
const NOWHERE: u32 = u32::MAX - 1;

/// More containers inside each other are refused.
const MAX_INTERMEDIATES: usize = 16;

impl Conditions {
    /// As [`Conditions::take`] reads it.
    pub(super) fn put(&self, words: &mut Words) {
        let ranges = [self.size, self.entry, self.sections];
        let around = u32::from(self.container.is_some() || !self.intermediates.is_empty());
        words.put(ranges.iter().rev().fold(around, |bits, range| bits << 1 | u32::from(range.is_some())));
        for range in ranges.into_iter().flatten() {
            words.put_u64(range.least);
            words.put_u64(range.most);
        }
        if around == 1 {
            words.put(match self.container {
                None => ANYWHERE,
                Some(Container::No) => NOWHERE,
                Some(Container::Of(kind)) => kind.pack(),
            });
            words.put(self.intermediates.len() as u32);
            self.intermediates.iter().for_each(|kind| words.put(kind.map_or(ANYWHERE, ClamType::pack)));
        }
    }

    pub(super) fn take(words: &mut Cursor<'_>) -> Self {
        let asked = words.word();
        let [size, entry, sections] = [0, 1, 2].map(|bit| (asked >> bit & 1 == 1).then(|| Range { least: words.u64(), most: words.u64() }));
        if asked >> 3 & 1 == 0 {
            return Self { size, entry, sections, container: None, intermediates: Vec::new() };
        }
        let container = match words.word() {
            NOWHERE => Some(Container::No),
            kind => ClamType::unpack(kind).map(Container::Of),
        };
        let intermediates = (0..words.word()).take(MAX_INTERMEDIATES).map(|_| ClamType::unpack(words.word())).collect();
        Self { size, entry, sections, container, intermediates }
    }

    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        let within = |range: Option<Range>, value: Option<u64>| range.is_none_or(|range| value.is_some_and(|value| range.holds(value)));
        let entry = facts.executable.and_then(|executable| executable.entry).map(|entry| entry as u64);
        let sections = facts.executable.map(|executable| executable.sections.len() as u64);
        within(self.size, Some(facts.length as u64))
            && within(self.entry, entry)
            && within(self.sections, sections)
            && self.hold_around(facts.containers)
    }

    fn hold_around(&self, containers: &[ClamType]) -> bool {
        let nearest = match self.container {
            None => true,
            Some(Container::No) => containers.is_empty(),
            Some(Container::Of(kind)) => containers.last() == Some(&kind),
        };
        let outer = containers.len().checked_sub(self.intermediates.len()).and_then(|from| containers.get(from..));
        nearest && outer.is_some_and(|outer| self.intermediates.iter().zip(outer).all(|(asked, is)| asked.is_none_or(|asked| asked == *is)))
    }
}

/// Targets and conditions, between commas.
pub(super) fn parse_description(text: &str) -> Result<(u8, Conditions), Refused> {
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
            "Container" if value == "CL_TYPE_ANY" => conditions.container = Some(Container::No),
            "Container" => conditions.container = Some(Container::Of(ClamType::parse(value).ok_or(UNKNOWN_TYPE)?)),
            "Intermediates" => conditions.intermediates = intermediates(value)?,
            "IconGroup1" | "IconGroup2" => return Err(Refused::Unsupported("ldb icons")),
            "HandlerType" => return Err(Refused::Unsupported("ldb HandlerType")),
            _ => return Err(Refused::Invalid("a description that the manual does not know")),
        }
    }
    Ok((target.ok_or(Refused::Invalid("no target"))?, conditions))
}

const UNKNOWN_TYPE: Refused = Refused::Invalid("a type of container that ClamAV does not know");

fn intermediates(text: &str) -> Result<Vec<Option<ClamType>>, Refused> {
    let parse = |name: &str| match name {
        "CL_TYPE_ANY" => Ok(None),
        name => ClamType::parse(name).map(Some).ok_or(UNKNOWN_TYPE),
    };
    let parsed: Vec<_> = text.split('>').map(parse).collect::<Result<_, _>>()?;
    if parsed.len() > MAX_INTERMEDIATES {
        return Err(Refused::Invalid("more than 16 containers inside each other"));
    }
    Ok(parsed)
}

/// The number of a target.
pub(in crate::clamdb) fn parse_target(text: &str) -> Result<u8, Refused> {
    match text.parse() {
        Ok(target @ (0..=7 | 9..=14)) => Ok(target),
        Ok(_) | Err(_) => Err(Refused::Invalid("a target that the manual does not know")),
    }
}

/// Whether objects of that target have an entry point and sections.
pub(in crate::clamdb) fn is_executable(target: u8) -> bool {
    matches!(target, 1 | 6 | 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(description: &str, containers: &[&str]) -> bool {
        let (_, conditions) = parse_description(description).unwrap();
        let containers: Vec<_> = containers.iter().map(|name| ClamType::parse(&format!("CL_TYPE_{name}")).unwrap()).collect();
        let mut words = Words::default();
        conditions.put(&mut words);
        let taken = Conditions::take(&mut Cursor::new(words.as_slice(), 0));
        assert_eq!(taken, conditions);
        taken.hold(&Facts { length: 100, target: None, executable: None, containers: &containers })
    }

    #[test]
    fn containers_are_compared_from_the_innermost_out() {
        for (description, containers, expected) in [
            ("Container:CL_TYPE_ANY", &[][..], true),
            ("Container:CL_TYPE_ANY", &["ZIP"], false),
            ("Container:CL_TYPE_ZIP", &[], false),
            ("Container:CL_TYPE_ZIP", &["ZIP"], true),
            ("Container:CL_TYPE_ZIP", &["ZIP", "RAR"], false),
            ("Intermediates:CL_TYPE_ZIP", &["ZIP"], true),
            ("Intermediates:CL_TYPE_ZIP", &["POSIX_TAR", "ZIP"], true),
            ("Intermediates:CL_TYPE_POSIX_TAR", &["POSIX_TAR", "ZIP"], false),
            ("Intermediates:CL_TYPE_POSIX_TAR>CL_TYPE_ZIP", &["GZ", "POSIX_TAR", "ZIP"], true),
            ("Intermediates:CL_TYPE_GZ>CL_TYPE_ZIP", &["GZ", "POSIX_TAR", "ZIP"], false),
            ("Intermediates:CL_TYPE_ANY>CL_TYPE_ZIP", &["GZ", "ZIP"], true),
            ("Intermediates:CL_TYPE_ANY>CL_TYPE_ZIP", &["ZIP"], false),
        ] {
            assert_eq!(holds(&format!("Target:0,{description}"), containers), expected, "{description} {containers:?}");
        }
    }

    #[test]
    fn unknown_descriptions_are_refused() {
        for text in ["Target:0,Container:ZIP", "Target:0,Intermediates:", "Target:0,Odd:1", "Target:8", "Target:15", "Target", "Engine:1-2"]
        {
            assert!(parse_description(text).is_err(), "{text}");
        }
        let deep = format!("Target:0,Intermediates:{}CL_TYPE_ANY", "CL_TYPE_ANY>".repeat(16));
        assert!(matches!(parse_description(&deep), Err(Refused::Invalid(_))));
    }
}
