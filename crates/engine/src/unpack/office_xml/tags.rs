//! XML as far as parts of documents need it: tags one after another, with their attributes and the text behind them. It accepts what is
//! not well formed, and knows no entities but those of characters.

use memchr::{memchr, memmem};

/// A tag that opens, or stands alone.
pub(crate) struct Tag<'a> {
    /// Without its prefix.
    pub(crate) name: &'a str,
    attributes: &'a str,
    /// Up to the next tag.
    pub(super) text: &'a str,
    pub(crate) is_closing: bool,
}

/// All tags in their order.
pub(crate) fn tags(mut rest: &str) -> impl Iterator<Item = Tag<'_>> {
    std::iter::from_fn(move || {
        loop {
            let start = memchr(b'<', rest.as_bytes())?;
            let tag = rest.get(start + 1..)?;
            let skipped =
                [("!--", "-->"), ("?", "?>"), ("![CDATA[", "]]>"), ("!", ">")].into_iter().find(|(begin, _)| tag.starts_with(begin));
            if let Some((begin, end)) = skipped {
                let after = tag.get(begin.len()..).unwrap_or_default();
                rest = memmem::find(after.as_bytes(), end.as_bytes()).and_then(|at| after.get(at + end.len()..))?;
                continue;
            }
            let end = end_of(tag);
            let inner = tag.get(..end).unwrap_or_default();
            rest = tag.get(end + 1..).unwrap_or_default();
            let text = rest.get(..memchr(b'<', rest.as_bytes()).unwrap_or(rest.len())).unwrap_or_default();
            let is_closing = inner.starts_with('/');
            let inner = inner.trim_start_matches('/');
            let name = inner
                .get(..inner.find(|character: char| character.is_whitespace() || character == '/').unwrap_or(inner.len()))
                .unwrap_or_default();
            let attributes = inner.get(name.len()..).unwrap_or_default();
            return Some(Tag { name: local(name), attributes, text, is_closing });
        }
    })
}

/// Where the tag's `>` stands, outside of quotes.
fn end_of(tag: &str) -> usize {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (Some(_) | None, _) => {}
        }
    }
    tag.len()
}

impl Tag<'_> {
    /// The value of an attribute, whatever its prefix.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        let mut rest = self.attributes;
        loop {
            let (before, after) = rest.split_once('=')?;
            let key = before.trim().rsplit(|character: char| character.is_whitespace()).next().unwrap_or_default();
            let after = after.trim_start();
            let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            let (value, next) = after.get(1..)?.split_once(quote)?;
            if local(key) == name {
                return Some(decoded(value));
            }
            rest = next;
        }
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// Text with its characters in place of their entities.
pub(super) fn decoded(text: &str) -> String {
    const LONGEST: usize = 12;
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let entity =
            after.split_once(';').filter(|(name, _)| name.len() <= LONGEST).and_then(|(name, next)| Some((character(name)?, next)));
        match entity {
            Some((character, next)) => {
                plain.push(character);
                rest = next;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
