//! Bytes at a place that tell a type, beyond those that are built in.
//!
//! Format: ClamAV's manual, *File Type Magic*: `sort:offset:bytes:name:required type:type[:level[:level]]`. They tell signatures what an
//! object is; what is opened does not depend on them, so that none can hide anything.

use super::{
    load::{Refused, check_level},
    passwords::unhex,
    types::ClamType,
};

/// All of them, in the order of their files.
pub(super) struct Magics(Vec<Magic>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Magic {
    offset: usize,
    bytes: Vec<u8>,
    /// What the content must be taken for already; `None` for anything.
    required: Option<ClamType>,
    kind: ClamType,
}

/// Types are told by the start of an object.
const MAX_OFFSET: usize = 1 << 16;

impl Magic {
    pub(super) fn parse(line: &str) -> Result<Self, Refused> {
        let fields: Vec<_> = line.split(':').collect();
        let [sort, offset, bytes, _, required, kind, levels @ ..] = fields.as_slice() else {
            return Err(Refused::Invalid("fewer fields than a magic has"));
        };
        if levels.len() > 2 {
            return Err(Refused::Invalid("more fields than a magic has"));
        }
        check_level(levels.first().copied(), levels.get(1).copied())?;
        match *sort {
            "0" => {}
            "1" => return Err(Refused::Unsupported("ftm pattern")),
            "4" => return Err(Refused::Unsupported("ftm partition")),
            _ => return Err(Refused::Invalid("a sort of magic that the manual does not know")),
        }
        let of = |name: &str| ClamType::parse(name).ok_or(Refused::Invalid("a type that ClamAV does not know"));
        let required = if *required == "CL_TYPE_ANY" { None } else { Some(of(required)?) };
        let offset = offset.parse().ok().filter(|offset| *offset <= MAX_OFFSET);
        Ok(Self {
            offset: offset.ok_or(Refused::Invalid("the offset of a magic is a number up to 65536"))?,
            bytes: unhex(bytes).filter(|bytes| !bytes.is_empty()).ok_or(Refused::Invalid("a magic that is no hexadecimal text"))?,
            required,
            kind: of(kind)?,
        })
    }

    fn fits(&self, content: &[u8], known: ClamType) -> bool {
        self.required.is_none_or(|required| required == known)
            && content.get(self.offset..).is_some_and(|rest| rest.starts_with(&self.bytes))
    }
}

impl Magics {
    /// Of lines that were read before.
    pub(super) fn of(lines: &[String]) -> Self {
        Self(lines.iter().filter_map(|line| Magic::parse(line).ok()).collect())
    }

    /// What the content is, where nothing better than `known` is known of it.
    pub(super) fn refine(&self, content: &[u8], known: ClamType) -> ClamType {
        if !known.is_vague() {
            return known;
        }
        let found = self.0.iter().find(|magic| magic.fits(content, known));
        found.map_or(known, |magic| magic.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refined(lines: &[&str], content: &[u8]) -> String {
        let magics = Magics::of(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        assert_eq!(magics.0.len(), lines.len());
        format!("{:?}", magics.refine(content, ClamType::of(content)))
    }

    #[test]
    fn what_is_known_is_not_overruled() {
        let lines = [
            "0:4:6162:Own:CL_TYPE_ANY:CL_TYPE_SWF",
            "0:0:256162:Own:CL_TYPE_TEXT_ASCII:CL_TYPE_PDF",
            "0:0:25:Own:CL_TYPE_ANY:CL_TYPE_RTF:1:216",
        ];
        for (content, expected) in
            [(&b"\0\0\0\0ab"[..], "SWF"), (b"\0\0\0\0a", "BINARY_DATA"), (b"%ab", "PDF"), (b"%ba", "RTF"), (b"\x89PNGab", "PNG")]
        {
            assert!(refined(&lines, content).contains(expected), "{content:?}: {}", refined(&lines, content));
        }
    }

    #[test]
    fn what_is_no_magic_is_refused() {
        for line in [
            "",
            "0:0:61:a:CL_TYPE_ANY",
            "0:x:61:a:CL_TYPE_ANY:CL_TYPE_ZIP",
            "0:70000:61:a:CL_TYPE_ANY:CL_TYPE_ZIP",
            "0:0::a:CL_TYPE_ANY:CL_TYPE_ZIP",
            "0:0:6:a:CL_TYPE_ANY:CL_TYPE_ZIP",
            "0:0:61:a:CL_TYPE_ANY:ZIP",
            "0:0:61:a:ANY:CL_TYPE_ZIP",
            "7:0:61:a:CL_TYPE_ANY:CL_TYPE_ZIP",
            "0:0:61:a:CL_TYPE_ANY:CL_TYPE_ZIP:1:300:1",
        ] {
            assert!(matches!(Magic::parse(line), Err(Refused::Invalid(_))), "{line}");
        }
        assert_eq!(Magic::parse("1:*:61:a:CL_TYPE_ANY:CL_TYPE_ZIP"), Err(Refused::Unsupported("ftm pattern")));
        assert_eq!(Magic::parse("0:0:61:a:CL_TYPE_ANY:CL_TYPE_ZIP:217"), Err(Refused::Level));
    }
}
