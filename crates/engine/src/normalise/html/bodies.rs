//! The bodies of scripts, as they stand in a page.

use memchr::memchr_iter;

/// The body of each script element in the order of the page, empty ones included; one that is not closed reaches to the end.
pub(crate) fn script_bodies(page: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = tag(page, from, b"<script").and_then(|at| end_of_tag(page, at))?;
        let end = tag(page, start, b"</script").unwrap_or(page.len());
        from = end;
        page.get(start..end)
    })
}

/// Where the tag of this name begins, at or after `from`.
fn tag(page: &[u8], from: usize, name: &[u8]) -> Option<usize> {
    let rest = page.get(from..)?;
    let found = memchr_iter(b'<', rest).find(|&at| rest.get(at..at + name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name)))?;
    Some(from + found)
}

/// Behind its `>`, which may stand in quotes before.
fn end_of_tag(page: &[u8], at: usize) -> Option<usize> {
    const LONGEST: usize = 64 << 10;
    let mut quote = None;
    for (offset, &byte) in page.get(at..)?.iter().take(LONGEST).enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + offset + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (Some(_) | None, _) => {}
        }
    }
    // The quote was none.
    memchr::memchr(b'>', page.get(at..)?).map(|offset| at + offset + 1)
}
