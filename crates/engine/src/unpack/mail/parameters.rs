//! Structured values: `type/subtype; name=value` (RFC 2045, 5.1), continued and encoded parameters (RFC 2231), encoded words (RFC 2047).

use super::transfer;

/// As many parameters of one field are kept.
const MAX_PARAMETERS: usize = 256;

/// A value with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Structured {
    /// What stands before the first semicolon, in small letters and without white space: `multipart/mixed`.
    pub(super) word: Vec<u8>,
    parameters: Vec<Parameter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter {
    /// In small letters.
    name: Vec<u8>,
    value: Vec<u8>,
    /// As it stands, with its quotes.
    raw: Vec<u8>,
}

impl Structured {
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut pieces = pieces(value).into_iter();
        let word = pieces.next().unwrap_or_default();
        let word = word.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'"').collect::<Vec<_>>();
        let parameters = pieces.filter_map(|piece| Parameter::parse(&piece)).take(MAX_PARAMETERS).collect();
        Self { word: word.to_ascii_lowercase(), parameters }
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.word.starts_with(kind.as_bytes())
    }

    /// Every value that some reader takes for this parameter: of each that is repeated, unquoted and raw, whole and up to white space.
    pub(super) fn readings(&self, name: &str) -> Vec<Vec<u8>> {
        let mut readings = Vec::new();
        let mut add = |value: &[u8]| {
            if !value.is_empty() && !readings.iter().any(|known| known == value) {
                readings.push(value.to_vec());
            }
        };
        for parameter in self.parameters.iter().filter(|parameter| parameter.name == name.as_bytes()) {
            add(&parameter.value);
            add(parameter.raw.split(u8::is_ascii_whitespace).next().unwrap_or_default());
            add(&parameter.raw);
        }
        if let Some(value) = self.continued(name) {
            add(&value);
        }
        readings
    }

    /// The text of a parameter, decoded.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        // Where both are there, RFC 2231's is the one that readers show.
        if let Some(value) = self.continued(name) {
            return Some(decode_words(&value));
        }
        let parameter = self.parameters.iter().find(|parameter| parameter.name == name.as_bytes())?;
        Some(decode_words(&parameter.value))
    }

    /// `name*`, or `name*0`, `name*1*` … in their order.
    fn continued(&self, name: &str) -> Option<Vec<u8>> {
        let mut sections: Vec<(u32, bool, &[u8])> = Vec::new();
        for parameter in &self.parameters {
            let Some(rest) = parameter.name.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"*")) else { continue };
            let (digits, encoded) = match rest.strip_suffix(b"*") {
                Some(digits) => (digits, true),
                None => (rest, rest.is_empty()),
            };
            let number = if digits.is_empty() { Some(0) } else { std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) };
            if let Some(number) = number {
                sections.push((number, encoded, &parameter.value));
            }
        }
        if sections.is_empty() {
            return None;
        }
        sections.sort_by_key(|(number, _, _)| *number);
        let mut value = Vec::new();
        for (index, (_, encoded, section)) in sections.into_iter().enumerate() {
            if !encoded {
                value.extend(section);
                continue;
            }
            // The first begins with the character set and the language.
            let text = if index == 0 { section.splitn(3, |&byte| byte == b'\'').nth(2).unwrap_or(section) } else { section };
            value.extend(transfer::percent(text));
        }
        Some(value)
    }
}

impl Parameter {
    fn parse(piece: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b'=', piece)?;
        let (name, value) = piece.split_at_checked(at)?;
        let raw = value.get(1..)?.trim_ascii();
        let name = name.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
        Some(Self { name: name.to_ascii_lowercase(), value: unquoted(raw), raw: raw.to_vec() })
    }
}

/// Cut at the semicolons outside of quotes; comments are left out. An open quote reaches to the end.
fn pieces(value: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    let (mut quoted, mut depth) = (false, 0u32);
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        let piece = match pieces.last_mut() {
            Some(piece) => piece,
            None => break,
        };
        match byte {
            b'\\' if quoted || depth > 0 => {
                if let (Some(next), 0) = (bytes.next(), depth) {
                    piece.extend([byte, next]);
                }
            }
            b'"' if depth == 0 => {
                quoted = !quoted;
                piece.push(byte);
            }
            b'(' if !quoted => depth += 1,
            b')' if !quoted && depth > 0 => depth -= 1,
            b';' if !quoted && depth == 0 => pieces.push(Vec::new()),
            _ if depth == 0 => piece.push(byte),
            _ => {}
        }
    }
    pieces
}

/// What stands between the quotes, or all where there are none.
fn unquoted(raw: &[u8]) -> Vec<u8> {
    let Some(rest) = raw.strip_prefix(b"\"") else { return raw.to_vec() };
    let mut value = Vec::new();
    let mut bytes = rest.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => value.extend(bytes.next()),
            _ => value.push(byte),
        }
    }
    value
}

/// Text with encoded words, `=?charset?B?…?=`; those of one-byte character sets are shown as Latin-1.
pub(super) fn decode_words(text: &[u8]) -> String {
    let mut decoded = Vec::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        let Some((word, behind)) = encoded_word(from) else {
            decoded.extend(before);
            decoded.extend(b"=?");
            rest = from.get(2..).unwrap_or_default();
            after_word = false;
            continue;
        };
        // White space between two words is folding.
        if !(after_word && before.iter().all(u8::is_ascii_whitespace)) {
            decoded.extend(before);
        }
        decoded.extend(word);
        rest = behind;
        after_word = true;
    }
    decoded.extend(rest);
    match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => error.into_bytes().iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// The word that `text` begins with, and what follows it.
fn encoded_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut pieces = text.get(2..)?.splitn(3, |&byte| byte == b'?');
    let (charset, encoding, rest) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let end = memchr::memmem::find(rest, b"?=")?;
    let word = rest.get(..end)?;
    let bytes = match encoding {
        b"B" | b"b" => transfer::base64(word),
        b"Q" | b"q" => transfer::quoted_word(word),
        _ => return None,
    };
    let wide = charset.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"utf-16"));
    let bytes = if wide { crate::normalise::to_utf8(&bytes, crate::normalise::Endian::Big) } else { bytes };
    Some((bytes, rest.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_however_they_are_written() {
        for (value, name) in [
            (&b"attachment; filename=a.zip"[..], "a.zip"),
            (b"attachment; filename=\"a b;c.zip\"", "a b;c.zip"),
            (b"attachment; FileName = \"a\\\"b.zip\"", "a\"b.zip"),
            (b"attachment; filename*=UTF-8''caf%C3%A9.zip", "caf\u{e9}.zip"),
            (b"attachment; filename*1=b.zip; filename*0*=utf-8'en'a%20", "a b.zip"),
            (b"attachment; filename=x; filename*0=\"ev\"; filename*1=\"il.exe\"", "evil.exe"),
            (b"attachment; filename=\"=?utf-8?B?Y2Fmw6k=?= =?utf-8?q?=2Ezip?=\"", "caf\u{e9}.zip"),
            (b"attachment; filename=\"=?x?= a =?iso-8859-1?Q?_=E9?=\"", "=?x?= a  \u{e9}"),
            (b"(a comment; filename=no) attachment; (x) filename=(y)a.zip", "a.zip"),
            (b"attachment; filename=\"open", "open"),
        ] {
            assert_eq!(Structured::parse(value).text("filename").as_deref(), Some(name));
        }
        assert_eq!(Structured::parse(b"; ; =; a=").text("filename"), None);
    }

    #[test]
    fn a_boundary_has_every_reading() {
        let boundary = |value: &[u8]| Structured::parse(value).readings("boundary");
        assert_eq!(boundary(b"multipart/mixed; boundary=\"a b\""), [&b"a b"[..], b"\"a", b"\"a b\""]);
        assert_eq!(boundary(b"multipart/mixed; boundary=a b; boundary=c"), [&b"a b"[..], b"a", b"c"]);
        assert_eq!(boundary(b"multipart/mixed; boundary*0=a; boundary*1=b"), [b"ab"]);
        assert!(boundary(b"multipart/mixed").is_empty());
    }
}
