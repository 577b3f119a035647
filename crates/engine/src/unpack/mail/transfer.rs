//! Transfer encodings (RFC 2045, 6; RFC 2047, 4): decoders that never fail. Where forgiving and strict readers differ over base64, each
//! has a reading of its own.

use std::io::{self, Read};

/// How the bytes of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    /// As they are: 7bit, 8bit, binary, or a word that nobody knows.
    Identity,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    /// By the value of the field: readers find the word in quotes, comments and with an `x-` before it.
    pub(super) fn named(value: &[u8]) -> Self {
        let value = value.to_ascii_lowercase();
        let has = |word: &[u8]| memchr::memmem::find(&value, word).is_some();
        if has(b"base64") || has(b"base-64") {
            Self::Base64
        } else if has(b"quoted-printable") || has(b"quoted printable") || has(b"quotedprintable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }
}

/// A reading of base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Strange characters are passed over, and padding ends a group of which more may follow.
    Forgiving,
    /// Padding is passed over as well.
    WithoutPadding,
    /// Padding ends the data.
    ToPadding,
    /// A strange character ends the data.
    ToStrange,
}

/// What a look at base64 text tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// Those that differ.
    pub(super) readings: Vec<Reading>,
    /// The data stop after a digit that is no byte yet, so that something is missing.
    pub(super) cut: bool,
    /// The last group is short, and no padding says that it may be.
    pub(super) unpadded: bool,
}

/// Looks through the text once.
pub(super) fn survey(text: &[u8]) -> Survey {
    let (mut padding, mut strange) = (None, None);
    let (mut digits, mut after_padding, mut after_strange) = (0u64, false, false);
    for (at, &byte) in text.iter().enumerate() {
        match class(byte) {
            SPACE => {}
            PADDING => padding = padding.or(Some(at)),
            STRANGE => strange = strange.or(Some(at)),
            _ => {
                digits += u64::from(padding.is_none() && strange.is_none());
                after_padding |= padding.is_some();
                after_strange |= strange.is_some();
            }
        }
    }
    let mut readings = vec![Reading::Forgiving];
    if after_padding {
        readings.extend([Reading::WithoutPadding, Reading::ToPadding]);
    }
    if after_strange {
        readings.push(Reading::ToStrange);
    }
    Survey { readings, cut: digits % 4 == 1, unpadded: digits % 4 > 1 && padding.is_none() }
}

/// All of `text`, decoded.
pub(crate) fn base64(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 3);
    // Reading from memory into memory cannot fail.
    let _: io::Result<usize> = Base64::new(text, Reading::Forgiving).read_to_end(&mut decoded);
    decoded
}

/// Decodes as it is read.
pub(super) struct Base64<'a> {
    text: std::slice::Iter<'a, u8>,
    reading: Reading,
    bits: u32,
    digits: u8,
    /// Decoded and not yet read: so many of the lowest bytes of `ready`.
    ready: u32,
    waiting: u8,
    ended: bool,
}

impl<'a> Base64<'a> {
    pub(super) fn new(text: &'a [u8], reading: Reading) -> Self {
        Self { text: text.iter(), reading, bits: 0, digits: 0, ready: 0, waiting: 0, ended: false }
    }

    /// Reads on until bytes are ready or the text has ended.
    fn advance(&mut self) {
        while self.waiting == 0 && !self.ended {
            let Some(&byte) = self.text.next() else {
                self.ended = true;
                return self.flush();
            };
            match class(byte) {
                SPACE => {}
                STRANGE if self.reading == Reading::ToStrange => {
                    self.ended = true;
                    self.flush();
                }
                STRANGE => {}
                PADDING => match self.reading {
                    Reading::WithoutPadding => {}
                    Reading::Forgiving | Reading::ToStrange => self.flush(),
                    Reading::ToPadding => {
                        self.ended = true;
                        self.flush();
                    }
                },
                digit => {
                    self.bits = self.bits << 6 | u32::from(digit);
                    self.digits += 1;
                    if self.digits == 4 {
                        (self.ready, self.waiting) = (self.bits, 3);
                        (self.bits, self.digits) = (0, 0);
                    }
                }
            }
        }
    }

    /// Two digits are a byte, three are two; one is nothing.
    fn flush(&mut self) {
        (self.ready, self.waiting) = match self.digits {
            2 => (self.bits >> 4, 1),
            3 => (self.bits >> 2, 2),
            _ => (0, 0),
        };
        (self.bits, self.digits) = (0, 0);
    }
}

impl Read for Base64<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        for place in buffer.iter_mut() {
            if self.waiting == 0 {
                self.advance();
            }
            if self.waiting == 0 {
                break;
            }
            self.waiting -= 1;
            let [.., byte] = (self.ready >> (8 * u32::from(self.waiting))).to_be_bytes();
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}

const PADDING: u8 = 0x40;
const SPACE: u8 = 0x41;
const STRANGE: u8 = 0x42;

/// The value of a digit, or what else it is.
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(STRANGE)
}

static CLASSES: [u8; 256] = {
    let mut classes = [STRANGE; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            upper @ b'A'..=b'Z' => upper - b'A',
            lower @ b'a'..=b'z' => lower - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => PADDING,
            b' ' | b'\t'..=b'\r' => SPACE,
            _ => STRANGE,
        };
        byte += 1;
    }
    classes
};

/// Decodes quoted-printable as it is read: what is no escape stays as it is.
pub(super) struct QuotedPrintable<'a> {
    text: &'a [u8],
    /// White space before the end of a line is not data.
    at: usize,
}

impl<'a> QuotedPrintable<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let rest = self.text.get(self.at..)?;
            let (&byte, after) = rest.split_first()?;
            self.at += 1;
            if byte != b'=' {
                return Some(byte);
            }
            if let Some(value) = hex_pair(after) {
                self.at += 2;
                return Some(value);
            }
            // A line that goes on; blanks may stand before its end.
            let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            match after.get(blanks..).unwrap_or_default() {
                [b'\r', b'\n', ..] => self.at += blanks + 2,
                [b'\n', ..] | [b'\r', ..] => self.at += blanks + 1,
                [] => self.at += blanks,
                _ => return Some(byte),
            }
        }
    }
}

impl Read for QuotedPrintable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        for place in buffer.iter_mut() {
            let Some(byte) = self.next_byte() else { break };
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}

/// All of `text`, decoded.
pub(super) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut text = QuotedPrintable::new(text);
    std::iter::from_fn(|| text.next_byte()).collect()
}

/// The Q encoding of an encoded word.
pub(super) fn quoted_word(word: &[u8]) -> Vec<u8> {
    let spaced: Vec<_> = word.iter().map(|&byte| if byte == b'_' { b' ' } else { byte }).collect();
    escaped(&spaced, b'=')
}

/// `%41` is `A`; what is no escape stays.
pub(crate) fn percent(text: &[u8]) -> Vec<u8> {
    escaped(text, b'%')
}

fn escaped(text: &[u8], mark: u8) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match hex_pair(after).filter(|_| byte == mark) {
            Some(value) => {
                decoded.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], reading: Reading) -> Vec<u8> {
        let mut decoded = Vec::new();
        Base64::new(text, reading).read_to_end(&mut decoded).unwrap();
        decoded
    }

    #[test]
    fn base64_that_all_read_alike_has_one_reading() {
        for (text, decoded) in [
            (&b""[..], &b""[..]),
            (b"QQ==", b"A"),
            (b"QUI=\r\n", b"AB"),
            (b" Q U\r\nJD ", b"ABC"),
            (b"QUJDRA==\n-- \n", b"ABCD"),
            (b"QUJDRA==\n**", b"ABCD"),
        ] {
            assert_eq!(survey(text), Survey { readings: vec![Reading::Forgiving], cut: false, unpadded: false }, "{text:?}");
            assert_eq!(base64(text), decoded);
        }
    }

    #[test]
    fn base64_that_stops_inside_a_group_is_cut() {
        for (text, cut) in [(&b"Q"[..], true), (b"QU", false), (b"QUI", false), (b"QUJDR", true), (b"QUJDR*", true), (b"QUJDRA*", false)] {
            let survey = survey(text);
            assert_eq!((survey.cut, survey.unpadded), (cut, !cut), "{text:?}");
        }
        assert_eq!(base64(b"QUJDR"), b"ABC");
        assert_eq!(base64(b"QUJDRA"), b"ABCD");
    }

    #[test]
    fn base64_with_something_between_has_a_reading_for_each_reader() {
        let text = b"QQ==QUJD";
        assert_eq!(survey(text).readings, [Reading::Forgiving, Reading::WithoutPadding, Reading::ToPadding]);
        assert_eq!(read(text, Reading::Forgiving), b"AABC");
        assert_eq!(read(text, Reading::ToPadding), b"A");
        assert_eq!(read(text, Reading::WithoutPadding), base64(b"QQQUJD"));
        let text = b"QUJD*RERE";
        assert_eq!(survey(text).readings, [Reading::Forgiving, Reading::ToStrange]);
        assert_eq!((read(text, Reading::Forgiving), read(text, Reading::ToStrange)), (b"ABCDDD".to_vec(), b"ABC".to_vec()));
    }

    #[test]
    fn quoted_printable_keeps_what_is_no_escape() {
        for (text, decoded) in
            [(&b"a=3Db=\r\nc= \t\nd=zz=4=e9 \r\n="[..], &b"a=bcd=zz=4\xe9 \r\n"[..]), (b"=", b""), (b"==41", b"=A"), (b"=\rA", b"A")]
        {
            let mut read = Vec::new();
            QuotedPrintable::new(text).read_to_end(&mut read).unwrap();
            assert_eq!(read, decoded);
        }
        assert_eq!((quoted_word(b"a_=5F"), percent(b"%41%4")), (b"a _".to_vec(), b"A%4".to_vec()));
    }
}
