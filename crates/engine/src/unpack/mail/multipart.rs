//! Multipart bodies (RFC 2046, 5.1): cut at the lines that begin with two hyphens and the boundary.

use std::ops::Range;

use memchr::memmem;

/// A multipart body, cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// What stands before the first delimiter, for readers that know no multipart.
    pub(super) preamble: Range<usize>,
    pub(super) parts: Vec<Range<usize>>,
    /// Behind the closing delimiter; readers that overlook its hyphens see one more part.
    pub(super) epilogue: Option<Range<usize>>,
}

impl Cut {
    /// Whether the closing delimiter is there.
    pub(super) fn is_closed(&self) -> bool {
        self.epilogue.is_some()
    }
}

/// A line that delimits.
#[derive(Debug)]
struct Delimiter {
    /// The line break before it belongs to it.
    start: usize,
    end: usize,
    closes: bool,
    /// More follows on the line: to exact readers it is text.
    extended: bool,
    /// After a lone carriage return, which is a line break to some.
    after_return: bool,
}

/// More delimiters of one body are not looked for, and said to be missing.
pub(super) const MAX_PARTS: usize = 100_000;

/// The body cut the exact way, and, where lines only begin with the boundary, the forgiving way too. Empty where no line delimits.
pub(super) fn cuts(body: &[u8], boundary: &[u8]) -> Vec<Cut> {
    let delimiters = delimiters(body, boundary);
    if delimiters.is_empty() {
        return Vec::new();
    }
    let exact: Vec<_> = delimiters.iter().filter(|delimiter| !delimiter.extended && !delimiter.after_return).collect();
    let mut cuts = Vec::new();
    if !exact.is_empty() {
        cuts.push(cut(body, &exact));
    }
    if exact.len() < delimiters.len() {
        cuts.push(cut(body, &delimiters.iter().collect::<Vec<_>>()));
    }
    cuts
}

/// What the first line that begins with two hyphens has after them, for a body whose boundary nobody tells.
pub(super) fn guess(body: &[u8]) -> Option<&[u8]> {
    let at = if body.starts_with(b"--") { 0 } else { memmem::find(body, b"\n--")? + 1 };
    let line = super::fields::next_line(body, at)?.text;
    line.get(2..).map(<[u8]>::trim_ascii_end).filter(|boundary| !boundary.is_empty() && boundary.len() <= 200)
}

fn delimiters(body: &[u8], boundary: &[u8]) -> Vec<Delimiter> {
    let needle = [b"--", boundary].concat();
    let mut delimiters: Vec<Delimiter> = Vec::new();
    for at in memmem::find_iter(body, &needle).take(MAX_PARTS) {
        let before = body.get(..at).unwrap_or_default();
        let (start, after_return) = match before {
            [] => (0, false),
            [.., b'\r', b'\n'] => (at - 2, false),
            [.., b'\n'] => (at - 1, false),
            [.., b'\r'] => (at - 1, true),
            _ => continue,
        };
        let after = body.get(at + needle.len()..).unwrap_or_default();
        let length = after.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let rest = after.get(..length.unwrap_or(after.len())).unwrap_or_default();
        let line_break = match after.get(rest.len()..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([b'\r' | b'\n', ..]) => 1,
            _ => 0,
        };
        let closes = rest.starts_with(b"--");
        let rest_of_line = if closes { rest.get(2..).unwrap_or_default() } else { rest };
        let extended = !rest_of_line.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0);
        delimiters.push(Delimiter { start, end: at + needle.len() + rest.len() + line_break, closes, extended, after_return });
    }
    delimiters
}

fn cut(body: &[u8], delimiters: &[&Delimiter]) -> Cut {
    let mut cut = Cut::default();
    let Some(first) = delimiters.first() else { return cut };
    cut.preamble = 0..first.start;
    for (index, delimiter) in delimiters.iter().enumerate() {
        let next = delimiters.get(index + 1);
        let range = delimiter.end.min(body.len())..next.map_or(body.len(), |next| next.start.max(delimiter.end).min(body.len()));
        if delimiter.closes && next.is_none() {
            cut.epilogue = Some(range);
        } else if !range.is_empty() {
            // Behind a closing delimiter that another follows stands a part to those who read on.
            cut.parts.push(range);
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(body: &'a [u8], cut: &Cut) -> Vec<&'a [u8]> {
        cut.parts.iter().map(|range| &body[range.clone()]).collect()
    }

    #[test]
    fn a_body_is_cut_at_its_delimiters() {
        let body = b"pre\r\n--b\r\none\r\n--b \ntwo\n\n--b--\r\npost";
        let [cut] = &cuts(body, b"b")[..] else { panic!() };
        assert_eq!(parts(body, cut), [&b"one"[..], b"two\n"]);
        assert_eq!((&body[cut.preamble.clone()], &body[cut.epilogue.clone().unwrap()]), (&b"pre"[..], &b"post"[..]));
        assert!(cuts(body, b"c").is_empty() && cuts(b"", b"").is_empty());
    }

    #[test]
    fn without_its_last_delimiter_a_body_is_open() {
        let body = b"--b\nx";
        let [cut] = &cuts(body, b"b")[..] else { panic!() };
        assert_eq!((parts(body, cut), cut.is_closed()), (vec![&b"x"[..]], false));
        assert!(cuts(b"--b", b"b")[0].parts.is_empty());
    }

    #[test]
    fn a_boundary_that_begins_another_is_read_both_ways() {
        let body = b"--a\none\n--ab\ntwo\n--ab--\n--a--\n";
        let [exact, forgiving] = &cuts(body, b"a")[..] else { panic!() };
        assert_eq!(parts(body, exact), [b"one\n--ab\ntwo\n--ab--"]);
        assert_eq!(parts(body, forgiving), [&b"one"[..], b"two"]);
        assert_eq!(parts(b"--a\nx\r--a--", &cuts(b"--a\nx\r--a--", b"a")[1]), [b"x"]);
    }

    #[test]
    fn a_part_behind_the_end_is_seen_where_another_delimiter_follows() {
        let body = b"--b\none\n--b--\nhidden\n--b\ntwo\n--b--";
        assert_eq!(parts(body, &cuts(body, b"b")[0]), [&b"one"[..], b"hidden", b"two"]);
    }

    #[test]
    fn an_untold_boundary_is_the_first_line_of_hyphens() {
        assert_eq!(guess(b"x\n--abc \ny"), Some(&b"abc"[..]));
        assert_eq!((guess(b"--"), guess(b"x--y"), guess(b"")), (None, None, None));
    }
}
