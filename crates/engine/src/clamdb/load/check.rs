//! What is wrong with the lines of one signature file, or with a database.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::{
    Refused, Settings,
    kind::{self, FileKind},
    reading::{MAX_LINE, Place, Reading},
};
use crate::{
    LoadError,
    check::{Problem, Weight},
};

/// After so many lines what was read is forgotten: it is read only to be judged.
const FORGOTTEN_AFTER: u64 = 10_000;
/// As many problems are told.
const MOST: usize = 100;

/// Bad lines are errors; lines of kinds that are not supported, and files of which none is, are warnings.
pub(crate) fn check(path: &Path) -> io::Result<Vec<Problem>> {
    let whole = |message: String| vec![Problem::in_line(path, 0, b"", None, message, Weight::Warning)];
    let (extension, kind) = match kind::of(path) {
        None => return Ok(Vec::new()),
        Some((_, FileKind::Unsupported(what) | FileKind::UnsupportedLines(what))) => {
            return Ok(whole(format!(".{what} is not supported; none of it is in force")));
        }
        Some((_, FileKind::Database(_))) => return Ok(check_database(path)),
        Some(known) => known,
    };
    let fresh = || Reading::new(Settings::new(true));
    let (mut problems, mut reading) = (Vec::new(), fresh());
    let mut lines = BufReader::new(File::open(path)?);
    let (mut line, mut number) = (Vec::new(), 0);
    while problems.len() < MOST {
        line.clear();
        if lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if number % FORGOTTEN_AFTER == 0 {
            reading = fresh();
        }
        let place = Place { path, number, unwanted: kind::is_unwanted(extension) };
        let added =
            if line.len() < MAX_LINE { reading.add(kind, &place, &line) } else { Err(Refused::Invalid("the line is longer than 128 KiB")) };
        let (message, weight) = match added {
            Ok(()) | Err(Refused::Level | Refused::Ignored | Refused::Unwanted) => continue,
            Err(Refused::Unsupported(what)) => (format!("not supported, and not in force: {what}"), Weight::Warning),
            Err(Refused::Invalid(reason)) => (reason.to_owned(), Weight::Error),
        };
        problems.push(Problem::in_line(path, usize::try_from(number).unwrap_or(usize::MAX), &line, None, message, weight));
    }
    Ok(problems)
}

/// What refuses the whole, or how many lines of what kind are not in force.
fn check_database(path: &Path) -> Vec<Problem> {
    let problem = |message: String, weight| Problem::in_line(path, 0, b"", None, message, weight);
    let counts = match super::source_of_file(path, &Settings::new(true)) {
        Ok(source) => source.counts,
        Err(error @ (LoadError::Read { .. } | LoadError::Database { .. } | LoadError::Invalid { .. })) => {
            return vec![problem(error.to_string(), Weight::Error)];
        }
        Err(error) => return vec![problem(error.to_string(), Weight::Warning)],
    };
    let unsupported = counts.unsupported.iter().map(|(what, count)| format!("not supported, and not in force: {what}, {count} times"));
    let invalid = (counts.invalid > 0).then(|| format!("{} lines are no signatures, and skipped", counts.invalid));
    unsupported.chain(invalid).take(MOST).map(|message| problem(message, Weight::Warning)).collect()
}
