//! `rules check`: problems as compilers tell them, with the line and a caret below the place.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use filesafety_engine::{Problem, Weight, check, is_rule_file};

use super::super::{CLEAN, FAILED};
use crate::terminal::{Colours, Tone, escaped, escaped_path};

pub(super) fn run(paths: Vec<PathBuf>, default: impl FnOnce() -> Result<Option<PathBuf>>) -> Result<u8> {
    let paths = match (paths.is_empty(), default) {
        (false, _) => paths,
        (true, default) => match default()? {
            Some(folder) => vec![folder],
            None => bail!("FILESAFETY_RULES_DIR is not set: name the files to check, or give --rules-dir"),
        },
    };
    let colours = Colours::of_stdout();
    let (mut files, mut errors, mut warnings) = (0, 0, 0);
    for path in files_of(&paths)? {
        files += 1;
        for problem in check(&path).with_context(|| format!("cannot check {}", escaped_path(path.as_os_str())))? {
            match problem.weight {
                Weight::Error => errors += 1,
                Weight::Warning => warnings += 1,
            }
            writeln!(io::stdout(), "{}", shown(&problem, colours))?;
        }
    }
    let counted = |count: usize, of: &str| if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") };
    writeln!(io::stdout(), "{}: {}, {}", counted(files, "file"), counted(errors, "error"), counted(warnings, "warning"))?;
    Ok(if errors > 0 { FAILED } else { CLEAN })
}

/// What is named, and of folders the rule files that stand in them, in the order of their names.
fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.with_context(|| format!("cannot read {}", escaped_path(path.as_os_str())))?;
        let mut of_folder: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_loaded(path)).collect();
        of_folder.sort();
        files.extend(of_folder);
    }
    Ok(files)
}

/// As the service does: folders below and hidden files are passed over.
fn is_loaded(path: &Path) -> bool {
    is_rule_file(path) && !path.is_dir() && !super::name_of(path).starts_with('.')
}

fn shown(problem: &Problem, colours: Colours) -> String {
    let Problem { path, line, column, text, message, weight } = problem;
    let (word, tone) = match weight {
        Weight::Error => ("error", Tone::Bad),
        Weight::Warning => ("warning", Tone::Unsure),
    };
    let mut place = escaped_path(path.as_os_str());
    for number in [line, column].into_iter().take_while(|number| **number > 0) {
        place = format!("{place}:{number}");
    }
    let head = format!("{place}: {}: {}", colours.paint(tone, word, 0), escaped(message));
    if *line == 0 {
        return head;
    }
    // Tabs and characters that are escaped take another width than they are counted for.
    let before: String = text.chars().take(column.saturating_sub(1)).collect();
    let indent = escaped(&before.replace('\t', " ")).chars().count();
    let caret = if *column > 0 { format!("\n{:width$} | {:indent$}^", "", "", width = line.to_string().len()) } else { String::new() };
    format!("{head}\n{line} | {}{caret}", escaped(&text.replace('\t', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize, column: usize, text: &str) -> Problem {
        Problem { path: "a.yar".into(), line, column, text: text.into(), message: "unknown identifier".into(), weight: Weight::Error }
    }

    #[test]
    fn the_caret_stands_below_the_place() {
        let expected = "a.yar:12:3: error: unknown identifier\n12 |  $missing\n   |   ^";
        assert_eq!(shown(&problem(12, 3, "\t$missing"), Colours::Off), expected);
        assert_eq!(shown(&problem(3, 0, "nonsense"), Colours::Off), "a.yar:3: error: unknown identifier\n3 | nonsense");
        assert_eq!(shown(&problem(0, 0, ""), Colours::Off), "a.yar: error: unknown identifier");
        let escaped = "a.yar:1:2: error: unknown identifier\n1 | \\u{1b}x\n  |       ^";
        assert_eq!(shown(&problem(1, 2, "\u{1b}x"), Colours::Off), escaped);
    }
}
