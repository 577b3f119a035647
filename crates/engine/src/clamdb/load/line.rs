//! Lines of digests and of single patterns.

use super::LEVEL;
use crate::clamdb::{
    digests::{AnyDigest, MAX_SIZE},
    logical::{is_executable, parse_group, parse_target},
    names::MAX_NAME,
    offset::Offset,
    pattern::Pattern,
};

/// Why a line is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::clamdb) enum Refused {
    /// It is not what the manual describes.
    Invalid(&'static str),
    /// It is, and nothing here knows what to do with it; counted under this name.
    Unsupported(&'static str),
    /// It is meant for other releases.
    Level,
    /// A list of names not to use has it.
    Ignored,
    /// It names what is only possibly unwanted, and nobody asked for that.
    Unwanted,
}

/// A digest with what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) digest: AnyDigest,
    /// `None` for any.
    pub(super) size: Option<u32>,
    pub(super) name: &'a str,
}

/// Wildcard sizes need at least this level.
const ANY_SIZE_LEVEL: u32 = 73;

/// `digest:size:name[:level[:level]]`
pub(super) fn parse_hash(line: &str) -> Result<Entry<'_>, Refused> {
    let mut fields = line.split(':');
    let (digest, size) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    parse_entry(digest, size, fields)
}

/// `size:digest:name[:level[:level]]`
pub(super) fn parse_section_hash(line: &str) -> Result<Entry<'_>, Refused> {
    let mut fields = line.split(':');
    let (size, digest) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    parse_entry(digest, size, fields)
}

fn parse_entry<'a>(digest: &str, size: &str, mut rest: impl Iterator<Item = &'a str>) -> Result<Entry<'a>, Refused> {
    let digest = AnyDigest::parse(digest).ok_or(Refused::Invalid("no digest of 32, 40 or 64 hex digits"))?;
    let name = rest.next().ok_or(Refused::Invalid("no name"))?;
    let (least, most) = (rest.next(), rest.next());
    if rest.next().is_some() {
        return Err(Refused::Invalid("more fields than a digest has"));
    }
    let least_level = check_level(least, most)?;
    let size = if size == "*" {
        if least_level.is_none_or(|least| least < ANY_SIZE_LEVEL) {
            return Err(Refused::Invalid("a size of * needs a functionality level of 73 or more after the name"));
        }
        None
    } else {
        Some(size.parse().ok().filter(|&size| size <= MAX_SIZE).ok_or(Refused::Invalid("the size is no number below 4 GiB"))?)
    };
    Ok(Entry { digest, size, name })
}

/// A pattern with what stands beside it.
pub(super) struct Body<'a> {
    pub(super) name: &'a str,
    pub(super) target: u8,
    pub(super) offset: Offset,
    pub(super) pattern: Pattern,
    /// The pattern as it is written.
    pub(super) text: &'a str,
    /// It is no signature of its own, but belongs to the group of that number.
    pub(super) group: Option<u8>,
}

/// `name:target:offset:pattern[:level[:level]]`
pub(super) fn parse_body(line: &str) -> Result<Body<'_>, Refused> {
    let mut fields = line.split(':');
    let mut next = || fields.next().ok_or(Refused::Invalid("fewer fields than a pattern has"));
    let (name, target, offset, pattern) = (next()?, next()?, next()?, next()?);
    let (least, most) = (fields.next(), fields.next());
    if fields.next().is_some() {
        return Err(Refused::Invalid("more fields than a pattern has"));
    }
    check_level(least, most)?;
    let target = parse_target(target)?;
    let (offset, group) = match offset.strip_prefix('$') {
        Some(group) => (Offset::Any, Some(parse_group(group)?)),
        None => (Offset::parse(offset, is_executable(target))?, None),
    };
    Ok(Body { name, target, offset, pattern: Pattern::parse(pattern)?, text: pattern, group })
}

/// `name=pattern`; the oldest have ` (Clam)` behind their name, which is not part of it.
pub(super) fn parse_old_body(line: &str) -> Result<Body<'_>, Refused> {
    let (name, pattern) = line.split_once('=').ok_or(Refused::Invalid("no name and pattern with = between them"))?;
    let name = name.strip_suffix(" (Clam)").unwrap_or(name);
    Ok(Body { name, target: 0, offset: Offset::Any, pattern: Pattern::parse(pattern)?, text: pattern, group: None })
}

/// The least level, where the line names one; [`Refused::Level`] where the line is not for [`LEVEL`].
pub(in crate::clamdb) fn check_level(least: Option<&str>, most: Option<&str>) -> Result<Option<u32>, Refused> {
    let parse = |field: Option<&str>| match field {
        None | Some("") => Ok(None),
        Some(field) => field.parse::<u32>().map(Some).map_err(|_| Refused::Invalid("a functionality level is no number")),
    };
    let (least, most) = (parse(least)?, parse(most)?);
    if least.is_some_and(|least| least > LEVEL) || most.is_some_and(|most| most < LEVEL) {
        return Err(Refused::Level);
    }
    Ok(least)
}

pub(in crate::clamdb) fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Refused::Invalid("a name has 1 to 255 bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(Refused::Invalid("the name has a control character"));
    }
    Ok(())
}
