//! Text for a terminal: foreign names made harmless, columns, colours.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    os::unix::ffi::OsStrExt,
};

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    On,
    Off,
}

/// How a text is to stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Unsure,
    Faint,
}

impl Colours {
    /// On for a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or it is dumb.
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stdout().is_terminal() && !unwanted { Self::On } else { Self::Off }
    }

    /// `text` padded to `width` columns, then coloured.
    pub(crate) fn paint(self, tone: Tone, text: &str, width: usize) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Unsure => "33",
            Tone::Faint => "2",
        };
        match self {
            Self::On => format!("\x1b[{code}m{text:<width$}\x1b[0m"),
            Self::Off => format!("{text:<width$}"),
        }
    }
}

/// A foreign text with its control, direction and invisible characters escaped as `\u{202e}`.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

/// JSON on one line with the same characters escaped as JSON escapes them: it reads as the same value.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_control() || is_deceptive(c) {
            for unit in c.encode_utf16(&mut units) {
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A foreign path likewise; bytes that are no UTF-8 become `\xff`.
pub(crate) fn escaped_path(path: &OsStr) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.as_bytes().utf8_chunks() {
        push_escaped(&mut out, chunk.valid());
        for byte in chunk.invalid() {
            let _infallible = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || is_deceptive(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
}

/// Characters that show other text than there is: direction marks, invisible ones, line ends of Unicode.
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Prints rows under their titles, each column as wide as it needs. Cells are escaped here.
pub(crate) fn print_table(titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(titles.get(column).map(|title| title.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut out = io::stdout().lock();
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_cannot_write_on_the_terminal() {
        assert_eq!(escaped("a\u{1b}[2J\n\u{202e}gpj.exe\u{200b}"), "a\\u{1b}[2J\\u{a}\\u{202e}gpj.exe\\u{200b}");
        assert_eq!(escaped("Grüße 日本.txt"), "Grüße 日本.txt");
        assert_eq!(escaped_path(OsStr::from_bytes(b"a\xff\x9b.txt")), "a\\xff\\x9b.txt");
    }

    #[test]
    fn json_stays_the_same_value() {
        let json = "{\"a\":\"x\u{202e}y\u{7f}\u{e0001}\"}";
        let escaped = escaped_json(json);
        assert_eq!(escaped, "{\"a\":\"x\\u202ey\\u007f\\udb40\\udc01\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), serde_json::from_str::<serde_json::Value>(json).unwrap());
    }

    #[test]
    fn colours_are_around_the_padding() {
        assert_eq!(Colours::Off.paint(Tone::Bad, "infected", 10), "infected  ");
        assert_eq!(Colours::On.paint(Tone::Good, "clean", 6), "\u{1b}[32mclean \u{1b}[0m");
    }
}
