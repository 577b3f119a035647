//! Scripts that the Windows Script Encoder wrote (`JScript.Encode`, `VBScript.Encode`; files `.jse` and `.vbe`): three substitutions of
//! the printable characters that take turns in a fixed order. It hides text from readers, and from nobody else.

use memchr::memmem;

/// Begins an encoded script; eight characters follow that tell its length.
pub(crate) const MARK: &[u8] = b"#@~^";

/// Ends it, after the eight characters of a checksum.
const END: &[u8] = b"^#~@";

const LENGTH_OR_SUM: usize = 8;

/// `content` with every encoded script decoded where it stands; `None` where there is none. Never longer than `content`.
pub(crate) fn decode(content: &[u8]) -> Option<Vec<u8>> {
    let mut at = memmem::find(content, MARK)?;
    let mut decoded = Vec::new();
    let mut rest = content;
    loop {
        let (before, script) = rest.split_at_checked(at)?;
        decoded.extend_from_slice(before);
        let (text, behind) = decode_one(script);
        decoded.extend(text);
        rest = behind;
        match memmem::find(rest, MARK) {
            Some(next) => at = next,
            None => break,
        }
    }
    decoded.extend_from_slice(rest);
    Some(decoded)
}

/// The script whose mark `content` starts with, and what follows its end. The length counts if the end mark is where it says, else the
/// end mark does, else the script goes to the end of the text.
pub(super) fn decode_one(content: &[u8]) -> (Vec<u8>, &[u8]) {
    let rest = content.get(MARK.len()..).unwrap_or_default();
    let (head, body) = rest.split_at_checked(LENGTH_OR_SUM).unwrap_or((rest, &[]));
    let ends_at = |at: usize| at.checked_add(LENGTH_OR_SUM).and_then(|end| body.get(end..)).is_some_and(|end| end.starts_with(END));
    let length = stated_length(head).filter(|&length| ends_at(length));
    let length = length.or_else(|| memmem::find(body, END)?.checked_sub(LENGTH_OR_SUM));
    let script = length.and_then(|length| body.get(..length)).unwrap_or(body);
    let behind = length.and_then(|length| body.get(length + LENGTH_OR_SUM + END.len()..)).unwrap_or_default();
    (substitute(script), behind)
}

/// Four bytes in base64, the lowest first.
fn stated_length(head: &[u8]) -> Option<usize> {
    let mut bits = 0u64;
    for &character in head.get(..6)? {
        let digit = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(digit);
    }
    // Six digits are 36 bits, of which the last four are padding.
    let length = u32::try_from(bits >> 4).ok()?.swap_bytes();
    usize::try_from(length).ok()
}

fn substitute(script: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(script.len());
    let mut turn = TURNS.iter().cycle();
    let mut bytes = script.iter();
    while let Some(&byte) = bytes.next() {
        let meant = match byte {
            // Line ends were escaped; what stands here was put in on the way.
            b'\r' | b'\n' => continue,
            b'@' => match bytes.next() {
                Some(b'#') => b'\r',
                Some(b'&') => b'\n',
                Some(b'!') => b'<',
                Some(b'*') => b'>',
                Some(b'$') => b'@',
                Some(&other) => other,
                None => break,
            },
            0x80.. => {
                decoded.push(byte);
                continue;
            }
            _ => byte,
        };
        let alphabet = turn.next().and_then(|&turn| ALPHABETS.get(turn)).copied().unwrap_or_default();
        let place = if byte == b'@' { None } else { memchr::memchr(meant, alphabet) };
        decoded.push(match place {
            Some(0) => b'\t',
            Some(place) => u8::try_from(place + 31).unwrap_or(meant),
            None => meant,
        });
    }
    decoded
}

/// What stands for tab and the characters from blank to `~`, in this order. Nothing stands for `<`, `>` and `@`, which are escaped.
const ALPHABETS: [&[u8]; 3] = [
    b"dP\"Ja^][B`#e_~ORz!F &c*vG%,)i@'@g@bAZf2sMCq9|SH1rnpI?Kj.\x7f(5}$-T7{=l4mN+0otkL3V:xWw;D/YE\\h6Xy\tu8U",
    b"7~ZE:yY'vcbMQSR &Tq+f*X\x7f{01lI@x@_@)$/93o!u(BFJ\\H6K}]jPi#\tpet,wD?m|C8^[nWL4r%VshUG25.dO;-Aaz\"`kN=",
    b"i,er[fuLEv*C3B cJZ8y2Wl+FRO=p@{@Q@z~;GAwV_&xndtg}h5\"U:`jqoI\\]'Y%|#m(19\x7f6T4bN0^s\tKa$MkD!7SXH.P-)?",
];

/// Which alphabet a character is of, by its place.
const TURNS: [usize; 64] = [
    1, 2, 0, 1, 2, 0, 2, 0, 0, 2, 0, 2, 1, 0, 2, 0, 1, 0, 2, 0, 1, 1, 2, 0, 0, 2, 1, 0, 2, 0, 0, 2, 1, 1, 0, 2, 0, 2, 0, 1, 0, 1, 1, 2, 0,
    1, 0, 2, 1, 0, 2, 0, 1, 1, 2, 0, 0, 1, 1, 2, 0, 1, 0, 2,
];

/// What stands for a character at this place, for tests.
#[cfg(test)]
pub(super) fn encode_byte(byte: u8, at: usize) -> u8 {
    let alphabet = ALPHABETS[TURNS[at % TURNS.len()]];
    match byte {
        b'\t' => alphabet[0],
        b' '..=b'~' => alphabet[usize::from(byte - 31)],
        _ => byte,
    }
}
