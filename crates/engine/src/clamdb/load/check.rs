//! What is wrong with the lines of one signature file.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::{FileKind, MAX_LINE, Place, Reading, Refused, is_unwanted};
use crate::check::{Problem, Weight};

/// After so many lines what was read is forgotten: it is read only to be judged.
const FORGOTTEN_AFTER: u64 = 10_000;
/// As many problems are told.
const MOST: usize = 100;

/// Bad lines are errors; lines of kinds that are not supported, and files of which none is, are warnings.
pub(crate) fn check(path: &Path) -> io::Result<Vec<Problem>> {
    let whole = |message: String| vec![Problem::in_line(path, 0, b"", None, message, Weight::Warning)];
    let kind = match FileKind::of(path) {
        None => return Ok(Vec::new()),
        Some(FileKind::Unsupported(what) | FileKind::UnsupportedLines(what)) => {
            return Ok(whole(format!(".{what} is not supported; none of it is in force")));
        }
        Some(kind) => kind,
    };
    let (mut problems, mut reading) = (Vec::new(), Reading::new());
    let mut lines = BufReader::new(File::open(path)?);
    let (mut line, mut number) = (Vec::new(), 0);
    while problems.len() < MOST {
        line.clear();
        if lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if number % FORGOTTEN_AFTER == 0 {
            reading = Reading::new();
        }
        let place = Place { path, number, unwanted: is_unwanted(path) };
        let added =
            if line.len() < MAX_LINE { reading.add(kind, &place, &line) } else { Err(Refused::Invalid("the line is longer than 128 KiB")) };
        let (message, weight) = match added {
            Ok(()) | Err(Refused::Level | Refused::Ignored) => continue,
            Err(Refused::Unsupported(what)) => (format!("not supported, and not in force: {what}"), Weight::Warning),
            Err(Refused::Invalid(reason)) => (reason.to_owned(), Weight::Error),
        };
        problems.push(Problem::in_line(path, usize::try_from(number).unwrap_or(usize::MAX), &line, None, message, weight));
    }
    Ok(problems)
}
