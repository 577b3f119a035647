//! Signatures of what containers say of their members: names, sizes, encryption.
//!
//! Format: ClamAV's manual, *Signatures based on container metadata*. Positions are counted from 1, as `clamscan` was seen to do.

use std::sync::OnceLock;

use pcre2::bytes::{Regex, RegexBuilder};

use super::{
    load::{Refused, check_level},
    logical::Range,
    names::NameId,
    types::ClamType,
};
use crate::unpack::Member;

/// All signatures of members.
#[derive(Default)]
pub(super) struct Members {
    signatures: Vec<(Signature, NameId)>,
}

/// The container that is open, as far as signatures ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container {
    pub(crate) kind: ClamType,
    pub(crate) size: u64,
    /// Of the member, from 1.
    pub(crate) position: u64,
}

/// A line that was read; what is `None` counts for everything.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) signature: Signature,
}

pub(super) struct Signature {
    kind: Option<ClamType>,
    container_size: Option<Range>,
    file_name: Option<FileName>,
    packed: Option<Range>,
    unpacked: Option<Range>,
    encrypted: Option<bool>,
    position: Option<Range>,
    crc32: Option<u32>,
}

struct FileName {
    source: String,
    /// Compiled when first asked.
    regex: OnceLock<Option<Regex>>,
}

/// Longer expressions are refused.
const MAX_SOURCE: usize = 1 << 14;
/// What one match may cost.
const LIMITS: &str = "(*LIMIT_MATCH=100000)(*LIMIT_DEPTH=10000)(*LIMIT_HEAP=1024)";

/// `name:container:size:file name:packed:unpacked:encrypted:position:checksum:reserved[:level[:level]]`
pub(super) fn parse(line: &str) -> Result<Line<'_>, Refused> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, kind, container_size, file_name, packed, unpacked, encrypted, position, crc32, _, levels @ ..] = fields.as_slice() else {
        return Err(Refused::Invalid("fewer fields than a signature of members has"));
    };
    if levels.len() > 2 {
        return Err(Refused::Invalid("more fields than a signature of members has"));
    }
    check_level(levels.first().copied(), levels.get(1).copied())?;
    let kind = match *kind {
        "*" | "CL_TYPE_ANY" => None,
        kind => Some(ClamType::parse(kind).ok_or(Refused::Invalid("a type of container that ClamAV does not know"))?),
    };
    let encrypted = match *encrypted {
        "*" => None,
        "0" => Some(false),
        "1" => Some(true),
        _ => return Err(Refused::Invalid("whether a member is encrypted is 0, 1 or *")),
    };
    let signature = Signature {
        kind,
        container_size: range(container_size)?,
        file_name: FileName::parse(file_name)?,
        packed: range(packed)?,
        unpacked: range(unpacked)?,
        encrypted,
        position: range(position)?,
        crc32: checksum(crc32)?,
    };
    Ok(Line { name, signature })
}

fn range(text: &str) -> Result<Option<Range>, Refused> {
    match text {
        "*" => Ok(None),
        text => Range::parse(text).map(Some).ok_or(Refused::Invalid("neither a number, nor two with - between them, nor *")),
    }
}

fn checksum(text: &str) -> Result<Option<u32>, Refused> {
    match text {
        "*" => Ok(None),
        text => {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            u32::from_str_radix(digits, 16).map(Some).map_err(|_| Refused::Invalid("the checksum has no 8 hexadecimal digits"))
        }
    }
}

impl FileName {
    fn parse(source: &str) -> Result<Option<Self>, Refused> {
        if source == "*" {
            return Ok(None);
        }
        if source.len() > MAX_SOURCE || source.starts_with("(*") {
            return Err(Refused::Invalid("an expression for names that is too long, or lifts its limits"));
        }
        let name = Self { source: source.to_owned(), regex: OnceLock::new() };
        Ok(Some(name))
    }

    fn compile(&self) -> Option<Regex> {
        RegexBuilder::new().build(&format!("{LIMITS}{}", self.source)).ok()
    }

    fn fits(&self, name: &str) -> bool {
        let regex = self.regex.get_or_init(|| self.compile());
        // A limit that is met: better told once too often.
        regex.as_ref().is_some_and(|regex| regex.is_match(name.as_bytes()).unwrap_or(true))
    }
}

impl Members {
    /// Of lines that were read before.
    pub(super) fn of(lines: &[(String, NameId)]) -> Self {
        Self { signatures: lines.iter().filter_map(|(line, name)| Some((parse(line).ok()?.signature, *name))).collect() }
    }

    /// The names of all that fit the member.
    pub(super) fn lookup(&self, member: &Member<'_>, container: &Container) -> Vec<NameId> {
        self.signatures.iter().filter(|(signature, _)| signature.fits(member, container)).map(|(_, name)| *name).collect()
    }
}

impl Signature {
    /// What is asked only once, since it takes its time.
    pub(super) fn check(&self) -> Result<(), Refused> {
        match &self.file_name {
            Some(name) if name.compile().is_none() => Err(Refused::Invalid("the expression for names does not compile")),
            Some(_) | None => Ok(()),
        }
    }

    fn fits(&self, member: &Member<'_>, container: &Container) -> bool {
        let within = |range: Option<Range>, value: Option<u64>| range.is_none_or(|range| value.is_some_and(|value| range.holds(value)));
        self.kind.is_none_or(|kind| kind == container.kind)
            && within(self.container_size, Some(container.size))
            && within(self.packed, member.packed)
            && within(self.unpacked, member.unpacked)
            && self.encrypted.is_none_or(|encrypted| encrypted == member.encrypted)
            && within(self.position, Some(container.position))
            && self.crc32.is_none_or(|crc32| Some(crc32) == member.crc32)
            && self.file_name.as_ref().is_none_or(|name| name.fits(member.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Member<'_> =
        Member { name: "Dir/Name.exe", packed: Some(11), unpacked: Some(1000), encrypted: false, crc32: Some(0x51a0_2e01) };

    fn fits(fields: &str) -> bool {
        let line = format!("Name:{fields}");
        let container = Container { kind: ClamType::parse("CL_TYPE_ZIP").unwrap(), size: 232, position: 1 };
        parse(&line).unwrap_or_else(|refused| panic!("{fields}: {refused:?}")).signature.fits(&MEMBER, &container)
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for line in [
            "",
            "Name",
            "Name:*:*:*:*:*:*:*:*",
            "Name:*:*:*:*:*:*:*:*:*:1:2:3",
            "Name:CL_TYPE_NONE:*:*:*:*:*:*:*:*",
            "Name:*:x:*:*:*:*:*:*:*",
            "Name:*:*:(:*:*:*:*:*:*",
            "Name:*:*:(*LIMIT_MATCH=9)a:*:*:*:*:*:*",
            "Name:*:*:*:1-:*:*:*:*:*",
            "Name:*:*:*:*:-1:*:*:*:*",
            "Name:*:*:*:*:*:2:*:*:*",
            "Name:*:*:*:*:*:*:x:*:*",
            "Name:*:*:*:*:*:*:*:xyz:*",
        ] {
            let refused = parse(line).and_then(|line| line.signature.check());
            assert!(matches!(refused, Err(Refused::Invalid(_))), "{line}");
        }
        assert!(matches!(parse("Name:*:*:*:*:*:*:*:*:*:217"), Err(Refused::Level)));
    }

    #[test]
    fn each_condition_counts() {
        for (fields, expected) in [
            ("*:*:*:*:*:*:*:*:*", true),
            ("CL_TYPE_ANY:*:*:*:*:*:*:*:*", true),
            ("CL_TYPE_ZIP:*:*:*:*:*:*:*:*", true),
            ("CL_TYPE_RAR:*:*:*:*:*:*:*:*", false),
            ("*:232:*:*:*:*:*:*:*", true),
            ("*:200-232:*:*:*:*:*:*:*", true),
            ("*:200-231:*:*:*:*:*:*:*", false),
            ("*:*:\\.exe$:*:*:*:*:*:*", true),
            ("*:*:^Name:*:*:*:*:*:*", false),
            ("*:*:name:*:*:*:*:*:*", false),
            ("*:*:(?i)name:*:*:*:*:*:*", true),
            ("*:*:*:11:*:*:*:*:*", true),
            ("*:*:*:12:*:*:*:*:*", false),
            ("*:*:*:*:1000:*:*:*:*", true),
            ("*:*:*:*:999:*:*:*:*", false),
            ("*:*:*:*:*:0:*:*:*", true),
            ("*:*:*:*:*:1:*:*:*", false),
            ("*:*:*:*:*:*:1:*:*", true),
            ("*:*:*:*:*:*:2-9:*:*", false),
            ("*:*:*:*:*:*:*:51a02e01:*", true),
            ("*:*:*:*:*:*:*:51a02e02:*:1:216", false),
        ] {
            assert_eq!(fits(fields), expected, "{fields}");
        }
    }

    #[test]
    fn what_a_container_does_not_tell_fits_no_condition() {
        let member = Member { name: "a", packed: None, unpacked: None, encrypted: false, crc32: None };
        let container = Container { kind: ClamType::parse("CL_TYPE_ZIP").unwrap(), size: 1, position: 1 };
        for fields in ["*:*:*:0:*:*:*:*:*", "*:*:*:*:0:*:*:*:*", "*:*:*:*:*:*:*:0:*"] {
            assert!(!parse(&format!("Name:{fields}")).unwrap().signature.fits(&member, &container), "{fields}");
        }
    }
}
