//! What else signatures see of texts and HTML: their normalised forms, each matched on its own.
//!
//! As `clamscan` was seen to do it: a view has its own counts of matches; the length of the object, and the containers around it, are
//! those of the object itself; signatures for any target see every view.

use memchr::memmem;

use super::types::ClamType;
use crate::normalise::{self, Endian};

/// A normalised form of an object.
pub(super) struct View {
    /// The target whose signatures see it: 3 for HTML, 7 for text.
    pub(super) target: u8,
    pub(super) content: Vec<u8>,
}

/// Whether signatures of that target see only normalised forms.
pub(super) fn is_normalised(target: u8) -> bool {
    matches!(target, 3 | 7)
}

/// So much of the start of a text is normalised; the rest is matched as it stands alone.
const MOST_TEXT: usize = 20 << 20;
/// And so much of an HTML text, whose views are several.
const MOST_HTML: usize = 8 << 20;

/// A page has two views and its scripts, each about as long as itself in a vector that may be half empty.
const PER_BYTE_OF_PAGE: u64 = 6;
/// Shorter objects hold little, whatever they are.
const SMALL: usize = 64 << 10;

/// How many bytes are held at most while an object that is taken for `kind` is seen in its views.
pub(super) fn most_held(content: &[u8], kind: ClamType) -> u64 {
    if content.len() <= SMALL || !has_views(kind) {
        return 0;
    }
    let held = |most: usize| start(content, most).len() as u64;
    match Endian::of(content) {
        // Beside the views the text in another encoding.
        Some(_) => held(MOST_HTML) * (PER_BYTE_OF_PAGE + 2),
        None if is_html(content) => held(MOST_HTML) * PER_BYTE_OF_PAGE,
        None => held(MOST_TEXT),
    }
}

fn has_views(kind: ClamType) -> bool {
    kind.is_vague() || kind.is_mail()
}

/// The views of an object that is taken for `kind`.
pub(super) fn of(content: &[u8], kind: ClamType) -> Vec<View> {
    if !has_views(kind) {
        return Vec::new();
    }
    let decoded = Endian::of(content).map(|endian| normalise::to_utf8(start(content, MOST_HTML), endian));
    let text = decoded.as_deref().unwrap_or(content);
    let mut views = if is_html(text) {
        let html = normalise::html(start(text, MOST_HTML));
        let of_page = [html.without_comments, html.without_tags].map(|content| View { target: 3, content });
        of_page.into_iter().chain([View { target: 7, content: normalise::text(&html.scripts) }]).collect()
    } else if decoded.is_some() || kind.is_text() || kind.is_mail() {
        vec![View { target: 7, content: normalise::text(start(text, MOST_TEXT)) }]
    } else {
        Vec::new()
    };
    views.retain(|view| !view.content.is_empty());
    views
}

fn start(content: &[u8], most: usize) -> &[u8] {
    content.get(..most).unwrap_or(content)
}

/// What stands behind a `<` where a text is a page, in small letters; it may be all capitals, too, or begin with one.
const TAGS: [&[u8]; 7] = [b"head>", b"html>", b"iframe", b"img", b"object", b"script", b"table"];

fn is_html(text: &[u8]) -> bool {
    let mut link = false;
    memmem::find_iter(text, b"<").any(|at| {
        let after = text.get(at + 1..).unwrap_or_default();
        link |= matches!(after, [b'a' | b'A', b' ', ..]);
        TAGS.iter().any(|tag| after.get(..tag.len()).is_some_and(|found| is_written(found, tag)))
    }) || link && has_reference(text)
}

fn is_written(found: &[u8], small: &[u8]) -> bool {
    let capital = |from: usize| found.iter().zip(small).skip(from).all(|(found, small)| *found == small.to_ascii_uppercase());
    let alike = |from: usize| found.get(from..) == small.get(from..);
    let first = |large: bool| found.first().zip(small.first()).is_some_and(|(a, b)| *a == if large { b.to_ascii_uppercase() } else { *b });
    alike(0) || capital(0) || first(true) && alike(1)
}

/// Behind `<a `, at any distance.
fn has_reference(text: &[u8]) -> bool {
    let from = [&b"<a "[..], b"<A "].into_iter().filter_map(|tag| memmem::find(text, tag)).min().unwrap_or(text.len());
    let after = text.get(from..).unwrap_or_default();
    after.windows(4).any(|word| word.eq_ignore_ascii_case(b"href"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(content: &[u8]) -> Vec<u8> {
        of(content, ClamType::of(content)).iter().map(|view| view.target).collect()
    }

    #[test]
    fn texts_and_pages_have_views_and_nothing_else() {
        for (content, expected) in [
            (&b"some words"[..], &[7][..]),
            (b"some <html lang=\"x\"> words", &[7]),
            (b"some <html> words", &[3, 3]),
            (b"some <TABLE> words", &[3, 3]),
            (b"some <Img> words", &[3, 3]),
            (b"some <a HREF=x> words", &[3, 3]),
            (b"some <a name=x> words", &[7]),
            (b"<script>var x;</script> words", &[3, 3, 7]),
            (b"\xff\xfew\0o\0r\0d\0", &[7]),
            (b"From: a\nMessage-ID: <a@b>\nTo: c\n\nwords", &[7]),
            (b"\0\x01\x02\xff<html>words", &[3, 3]),
            (b"\0\x01\x02\xff words", &[]),
            (b"MZ<html> words", &[]),
            (b"", &[]),
        ] {
            assert_eq!(targets(content), expected, "{}", content.escape_ascii());
        }
    }

    #[test]
    fn the_start_of_a_long_text_is_normalised() {
        let long = b"Word ".repeat(MOST_TEXT / 5 + 100);
        let views = of(&long, ClamType::of(&long));
        assert_eq!(views.iter().map(|view| view.content.len()).collect::<Vec<_>>(), [MOST_TEXT]);
    }
}
