//! Bytes written one by one: `\x4d\x5a`, `%4d%5a`, `0x4d, 0x5a`, `77,90`.

use memchr::{memchr_iter, memmem};

use super::{
    super::offer::{is_known, offer},
    Sink, Stop,
};

/// Fewer bytes are no file.
const LEAST: usize = 32;
/// And fewer numbers are a list of numbers.
const LEAST_NUMBERS: usize = 64;

pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    escapes(content, b"\\x", sink)?;
    escapes(content, b"%", sink)?;
    numbers(content, sink)
}

fn escapes(content: &[u8], mark: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut from = 0;
    for at in memmem::find_iter(content, mark) {
        if at < from {
            continue;
        }
        let (bytes, end) = escaped(content, at, mark);
        if bytes.len() >= LEAST && is_known(&bytes) {
            sink.tick()?;
            offer(&format!("escaped-at-{at}"), &bytes, sink)?;
        }
        from = end;
    }
    Ok(())
}

fn escaped(content: &[u8], at: usize, mark: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut end = at;
    while let Some(rest) = content.get(end..).and_then(|rest| rest.strip_prefix(mark)) {
        let digit = |place: usize| rest.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { break };
        bytes.extend(u8::try_from(high << 4 | low));
        end += mark.len() + 2;
    }
    (bytes, end.max(at + mark.len()))
}

fn numbers(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut from = 0;
    for comma in memchr_iter(b',', content) {
        if comma < from {
            continue;
        }
        let before = content.get(from..comma).unwrap_or_default();
        let length = before.iter().rev().take(4).take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X')).count();
        let (bytes, end) = list(content, comma - length);
        if bytes.len() >= LEAST_NUMBERS && is_known(&bytes) {
            sink.tick()?;
            offer(&format!("numbers-at-{}", comma - length), &bytes, sink)?;
        }
        from = end.max(comma + 1);
    }
    Ok(())
}

/// The numbers of a list, each of one byte, and where the list ends.
fn list(content: &[u8], start: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut at = start;
    loop {
        let rest = content.get(at..).unwrap_or_default();
        let Some((value, length)) = number(rest) else { break };
        bytes.push(value);
        at += length;
        let rest = content.get(at..).unwrap_or_default();
        // A blank, a line that goes on, as Visual Basic and PowerShell write it.
        let between =
            rest.iter().take(64).take_while(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b'_' | b'`' | b'\\')).count();
        if !rest.get(..between).is_some_and(|between| between.contains(&b',')) {
            break;
        }
        at += between;
    }
    (bytes, at)
}

fn number(text: &[u8]) -> Option<(u8, usize)> {
    let (digits, radix, mark) = match text {
        [b'0', b'x' | b'X', digits @ ..] | [b'&', b'h' | b'H', digits @ ..] => (digits, 16, 2),
        _ => (text, 10, 0),
    };
    let length = digits.iter().take(4).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let value = std::str::from_utf8(digits.get(..length)?).ok()?;
    Some((u8::from_str_radix(value, radix).ok()?, mark + length))
}
