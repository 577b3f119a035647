//! What is wrong with files of rules, and where: for the people who write them.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use crate::{LoadError, clamdb, hashes::HashLists, yara};

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// In characters of `text`, from 1; 0 where the whole line is meant.
    pub column: usize,
    /// The line as it stands there; of a long one what is around the column.
    pub text: String,
    pub message: String,
    pub weight: Weight,
}

/// Whether rules with this problem are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// They are not: the file, or the line, is refused.
    Error,
    /// They are, and may not mean what was meant.
    Warning,
}

/// The most problems that are told of one file.
const MAX_PROBLEMS: usize = 100;
/// Longer lines are not read to their end.
const MAX_LINE: u64 = 1 << 17;
/// So many characters of a long line are shown.
const SHOWN: usize = 160;

/// Whether a file's extension says that it holds rules, digests or signatures.
pub fn is_rule_file(path: &Path) -> bool {
    Family::of(path).is_some()
}

/// Reads one file of rules as the service does, by its extension, and tells what it would refuse.
///
/// # Errors
/// It cannot be read, or its extension is none of a rule file.
pub fn check(path: &Path) -> io::Result<Vec<Problem>> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "its extension is none of rules, lists of digests or signatures");
    let mut problems = match Family::of(path).ok_or_else(unknown)? {
        Family::Yara => yara::check(path, &fs::read(path)?),
        Family::Hashes => check_hashes(path)?,
        Family::ClamAv => clamdb::check(path)?,
    };
    problems.truncate(MAX_PROBLEMS);
    Ok(problems)
}

/// Whose formats a file is in.
enum Family {
    Yara,
    Hashes,
    ClamAv,
}

impl Family {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "yar" | "yara" => Some(Self::Yara),
            "sha256" | "sha1" | "md5" | "hashes" => Some(Self::Hashes),
            _ if clamdb::is_signature_file(path) => Some(Self::ClamAv),
            _ => None,
        }
    }
}

impl Problem {
    /// `at` is the byte of the line that is meant.
    pub(crate) fn in_line(path: &Path, number: usize, line: &[u8], at: Option<usize>, message: String, weight: Weight) -> Self {
        let whole = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        let column = at.map(|at| String::from_utf8_lossy(line.get(..at).unwrap_or(line)).chars().count());
        let cut = column.unwrap_or_default().saturating_sub(SHOWN / 2);
        let text = whole.chars().skip(cut).take(SHOWN).collect();
        Self { path: path.to_owned(), line: number, column: column.map_or(0, |column| column - cut + 1), text, message, weight }
    }

    /// `at` is a byte of the whole file.
    pub(crate) fn in_file(path: &Path, content: &[u8], at: usize, message: String, weight: Weight) -> Self {
        let at = at.min(content.len());
        let before = content.get(..at).unwrap_or_default();
        let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        let rest = content.get(start..).unwrap_or_default();
        let line = rest.get(..memchr::memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default();
        Self::in_line(path, memchr::memchr_iter(b'\n', before).count() + 1, line, Some(at - start), message, weight)
    }
}

/// Line by line, so that all bad lines are told and not only the first.
fn check_hashes(path: &Path) -> io::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut lines = BufReader::new(fs::File::open(path)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 || problems.len() >= MAX_PROBLEMS {
            break;
        }
        match HashLists::check_line(path, &line) {
            Ok(()) => {}
            Err(LoadError::Invalid { reason, .. }) => problems.push(Problem::in_line(path, number, &line, None, reason, Weight::Error)),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they are told: line, column, weight.
    fn told(name: &str, content: &[u8]) -> Vec<(usize, usize, Weight)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        check(&path).unwrap().iter().map(|problem| (problem.line, problem.column, problem.weight)).collect()
    }

    #[test]
    fn a_file_that_is_none_of_rules_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "x").unwrap();
        assert_eq!(check(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(check(&dir.path().join("gone.yar")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn every_bad_rule_is_told_with_line_and_column() {
        let rules = "rule a { condition: $x }\nrule good { condition: true }\n  rule b { strings: $a = \"x\" condition: $é }\n";
        let found = told("a.yar", rules.as_bytes());
        assert_eq!(found.first(), Some(&(1, 21, Weight::Error)), "{found:?}");
        assert!(found.iter().any(|(line, ..)| *line == 3), "{found:?}");
        assert_eq!(told("a.yar", b"rule good { condition: filesize > 1 }"), []);
        assert_eq!(told("a.yar", b"// \xff"), [(1, 4, Weight::Error)]);
    }

    #[test]
    fn words_that_are_no_kind_and_no_fact_are_warnings() {
        let rule = "rule a {\n  meta:\n    kind = \"bad\"\n    fact = \"dances\"\n  condition: filesize > 1\n}";
        assert_eq!(told("a.yar", rule.as_bytes()), [(3, 12, Weight::Warning), (4, 12, Weight::Warning)]);
    }

    #[test]
    fn every_bad_line_of_a_list_is_told() {
        let digest = "44d88612fea8a8f36de82e1278abb02f";
        let list = format!("# a list\n{digest}  good\nnonsense\n{digest}00\n");
        assert_eq!(told("a.md5", list.as_bytes()), [(3, 0, Weight::Error), (4, 0, Weight::Error)]);
        assert_eq!(told("allow.md5", digest.as_bytes()), [(1, 0, Weight::Error)]);
    }

    #[test]
    fn every_bad_signature_of_clamav_is_told() {
        let lines = "Good:0:*:6162636465\n# a comment\nnonsense\nPage:3:*:6162636465\nBad:0:*:61zz\n";
        let found = told("a.ndb", lines.as_bytes());
        let errors: Vec<_> = found.iter().filter(|problem| problem.2 == Weight::Error).map(|problem| problem.0).collect();
        assert_eq!(errors, [3, 5], "{found:?}");
        assert_eq!(told("a.hdb", b"44d88612fea8a8f36de82e1278abb02f:68:Good\n"), []);
    }

    #[test]
    fn of_a_long_line_the_place_is_shown() {
        let line = [vec![b'a'; 5_000], b"HERE".to_vec(), vec![b'b'; 5_000]].concat();
        let problem = Problem::in_line(Path::new("a"), 1, &line, Some(5_000), String::new(), Weight::Error);
        let shown: String = problem.text.chars().skip(problem.column - 1).take(4).collect();
        assert_eq!((shown.as_str(), problem.text.len()), ("HERE", SHOWN));
    }
}
