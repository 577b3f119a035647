//! Files that are written out in a text: base64 or hexadecimal digits, escapes, lists of numbers, over several lines or pieces of strings.

mod lists;

use super::offer::{PREFIX, is_known, offer};
use crate::unpack::{Sink, Stop, base64_of};

/// Fewer digits are a word or a number.
const LEAST_DIGITS: usize = 40;
/// Between two pieces of one blob stand the ends of strings, an operator, a line's beginning.
const MAX_GLUE: usize = 64;
/// The next piece is at least as long, but for the last.
const LEAST_PIECE: usize = 16;

pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    digits(content, sink)?;
    lists::open(content, sink)
}

fn digits(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut at = LEAST_DIGITS - 1;
    let mut done = 0;
    // A run of so many digits has one at each such step.
    while let Some(&byte) = content.get(at) {
        if !is_digit(byte) {
            at += LEAST_DIGITS;
            continue;
        }
        let before = content.get(done..at).unwrap_or_default();
        let start = at - before.iter().rev().take_while(|byte| is_digit(**byte)).count();
        let end = run(content, at);
        if end - start < LEAST_DIGITS {
            at = end + LEAST_DIGITS;
            continue;
        }
        sink.tick()?;
        done = blob(content, start, end, sink)?;
        at = done + LEAST_DIGITS;
    }
    Ok(())
}

/// Examines the run, with the pieces that follow it if it is anything; where to look on.
fn blob(content: &[u8], start: usize, end: usize, sink: &mut dyn Sink) -> Result<usize, Stop> {
    let first = content.get(start..end).unwrap_or_default();
    let is_hex = first.iter().all(u8::is_ascii_hexdigit);
    if is_hex && is_known(&hex_of(first.get(..PREFIX * 2).unwrap_or(first))) {
        let pieces = Pieces::gather(content, start, end, |byte| byte.is_ascii_hexdigit());
        give(&format!("hex-at-{start}"), &pieces, hex_of, sink)?;
        return Ok(pieces.end);
    }
    if is_known(&base64_of(first.get(..PREFIX / 3 * 4).unwrap_or(first))) {
        let pieces = Pieces::gather(content, start, end, is_digit);
        give(&format!("base64-at-{start}"), &pieces, base64_of, sink)?;
        return Ok(pieces.end);
    }
    Ok(end)
}

fn give(name: &str, pieces: &Pieces, decode: fn(&[u8]) -> Vec<u8>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let held = pieces.text.len() as u64 * 2;
    sink.hold(held)?;
    let decoded = decode(&pieces.text);
    offer(name, &decoded, sink)?;
    drop(decoded);
    sink.release(held);
    Ok(())
}

/// Runs of digits that belong together.
struct Pieces {
    text: Vec<u8>,
    end: usize,
}

impl Pieces {
    fn gather(content: &[u8], start: usize, end: usize, is_digit: fn(u8) -> bool) -> Self {
        let mut pieces = Self { text: content.get(start..end).unwrap_or_default().to_vec(), end };
        loop {
            let rest = content.get(pieces.end..).unwrap_or_default();
            // Padding ends a blob.
            if rest.first() == Some(&b'=') {
                break;
            }
            let Some(from) = glue(rest, is_digit) else { break };
            let piece = rest.get(from..).unwrap_or_default();
            let length = piece.iter().position(|&byte| !is_digit(byte)).unwrap_or(piece.len());
            let piece = piece.get(..length).unwrap_or_default();
            // One that begins like something is another blob.
            if length >= LEAST_DIGITS && begins_another(piece) {
                break;
            }
            pieces.text.extend_from_slice(piece);
            pieces.end += from + length;
            if length < LEAST_PIECE {
                break;
            }
        }
        pieces
    }
}

/// How far the next piece is: behind white space, an escaped line end, the end of a string and the begin of another, or the begin of a line.
fn glue(rest: &[u8], is_digit: fn(u8) -> bool) -> Option<usize> {
    let window = rest.get(..MAX_GLUE).unwrap_or(rest);
    let blanks = window.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if blanks > 0 && is_piece(rest, blanks, is_digit) {
        return Some(blanks);
    }
    let (mut quotes, mut line_ends) = (0, 0);
    let mut before = None;
    for (at, &byte) in window.iter().enumerate() {
        let joins = quotes >= 2 || line_ends >= 1;
        if joins && is_digit(byte) && !before.is_some_and(is_digit) && is_piece(rest, at, is_digit) {
            return Some(at);
        }
        quotes += usize::from(matches!(byte, b'"' | b'\'' | b'`'));
        line_ends += usize::from(byte == b'\n');
        before = Some(byte);
    }
    None
}

/// Long enough, or the last, which the end of a string or padding follows.
fn is_piece(rest: &[u8], at: usize, is_digit: fn(u8) -> bool) -> bool {
    let piece = rest.get(at..).unwrap_or_default();
    let length = piece.iter().take(LEAST_PIECE).take_while(|byte| is_digit(**byte)).count();
    length == LEAST_PIECE || length > 0 && matches!(piece.get(length), Some(b'=' | b'"' | b'\'' | b'`'))
}

fn begins_another(piece: &[u8]) -> bool {
    let decoded = base64_of(piece.get(..PREFIX).unwrap_or(piece));
    crate::filetype::has_magic(&decoded) || !matches!(crate::filetype::identify(&decoded), crate::filetype::FileType::Leaf)
}

fn run(content: &[u8], from: usize) -> usize {
    let rest = content.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !is_digit(byte)).unwrap_or(rest.len())
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn hex_of(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default();
    text.as_chunks::<2>().0.iter().filter_map(|[high, low]| u8::try_from(digit(*high) << 4 | digit(*low)).ok()).collect()
}
