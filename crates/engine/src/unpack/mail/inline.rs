//! Files written into the text of a message: uuencode, yEnc, BinHex 4.0.

use std::io::{self, Read};

use memchr::memmem;

use super::fields::next_line;

/// A file that stands in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inline {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    /// What a Macintosh keeps beside the content.
    pub(super) resources: Vec<u8>,
    pub(super) fault: Option<Fault>,
}

impl Inline {
    fn plain(name: &[u8], content: Vec<u8>, fault: Option<Fault>) -> Self {
        Self { name: super::parameters::decode_words(name.trim_ascii()), content, resources: Vec::new(), fault }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its end is missing, or its checksum fails.
    Cut,
    /// It is one piece of several.
    Piece,
}

/// Looks through a text for such files, one after the other.
pub(super) struct Files<'a> {
    text: &'a [u8],
    at: usize,
    /// Where each mark is found next; looked for again only once it is passed.
    found: [Option<usize>; MARKS.len()],
    /// BinHex gives at most 255 bytes for three; more than this is not decoded. The others give less than they are read from.
    limit: usize,
}

const MARKS: [&[u8]; 3] = [b"begin ", b"=ybegin ", b"(This file must be converted with BinHex"];

/// Whether a text begins with such a file, or with what says so.
pub(super) fn begins(text: &[u8]) -> bool {
    MARKS.iter().any(|mark| text.starts_with(mark))
}

impl<'a> Files<'a> {
    pub(super) fn of(text: &'a [u8], limit: usize) -> Self {
        Self { text, at: 0, found: MARKS.map(|mark| line_start(text, 0, mark)), limit }
    }

    fn decode(&self, start: usize) -> Option<(Inline, usize)> {
        let line = self.text.get(start..)?;
        if line.starts_with(b"begin ") {
            uuencoded(self.text, start)
        } else if line.starts_with(b"=ybegin ") {
            yencoded(self.text, start)
        } else {
            binhex(self.text, start, self.limit)
        }
    }
}

impl Iterator for Files<'_> {
    type Item = Inline;

    fn next(&mut self) -> Option<Inline> {
        loop {
            for (found, mark) in self.found.iter_mut().zip(MARKS) {
                if found.is_some_and(|found| found < self.at) {
                    *found = line_start(self.text, self.at, mark);
                }
            }
            let start = self.found.iter().flatten().min().copied()?;
            match self.decode(start) {
                Some((file, end)) => {
                    self.at = end.max(start + 1);
                    return Some(file);
                }
                None => self.at = start + 1,
            }
        }
    }
}

fn line_start(text: &[u8], from: usize, mark: &[u8]) -> Option<usize> {
    let begins_line = |at: usize| at == 0 || matches!(text.get(at - 1), Some(b'\n' | b'\r'));
    memmem::find_iter(text.get(from..)?, mark).map(|at| from + at).find(|&at| begins_line(at))
}

/// `begin MODE NAME`, lines of up to 45 bytes, `end`.
fn uuencoded(text: &[u8], start: usize) -> Option<(Inline, usize)> {
    let line = next_line(text, start)?;
    let mut words = line.text.splitn(3, |&byte| byte == b' ').skip(1);
    let (mode, name) = (words.next()?, words.next()?);
    if !(3..=4).contains(&mode.len()) || !mode.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return None;
    }
    let (mut content, mut at, mut fault, mut lines) = (Vec::new(), line.end, Some(Fault::Cut), 0);
    while let Some(line) = next_line(text, at) {
        let trimmed = line.text.trim_ascii_end();
        if trimmed == b"end" {
            fault = None;
            at = line.end;
            break;
        }
        // An empty line, a blank or a grave accent is a line of no bytes.
        if let Some(&first) = trimmed.first() {
            if !uuline(first, line.text, &mut content) {
                break;
            }
            lines += 1;
        }
        at = line.end;
    }
    (lines > 0 || fault.is_none()).then(|| (Inline::plain(name, content, fault), at))
}

/// Whether the line can be one: its length fits what it says. Writers leave out blanks at the end, or add a checksum.
fn uuline(first: u8, line: &[u8], content: &mut Vec<u8>) -> bool {
    let digit = |byte: u8| byte.wrapping_sub(b' ') & 0x3f;
    let length = usize::from(digit(first));
    let characters = line.get(1..).unwrap_or_default();
    let needed = length.div_ceil(3) * 4;
    if !(b' '..=b'`').contains(&first) || characters.len() > needed + 3 || characters.iter().any(|byte| !(b' '..=b'`').contains(byte)) {
        return false;
    }
    let end = content.len() + length;
    let mut digits = characters.iter().copied().chain(std::iter::repeat(b' ')).take(needed).map(digit);
    while let (Some(a), Some(b), Some(c), Some(d)) = (digits.next(), digits.next(), digits.next(), digits.next()) {
        content.extend([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    content.truncate(end);
    true
}

/// `=ybegin … name=NAME`, perhaps `=ypart`, lines, `=yend` (yEnc 1.3).
fn yencoded(text: &[u8], start: usize) -> Option<(Inline, usize)> {
    let line = next_line(text, start)?;
    let name = memmem::find(line.text, b"name=").and_then(|at| line.text.get(at + 5..))?;
    memmem::find(line.text, b" size=")?;
    let (mut content, mut at) = (Vec::new(), line.end);
    let mut fault = Some(Fault::Cut);
    let mut escaped = false;
    let is_piece = memmem::find(line.text, b" part=").is_some() && memmem::find(line.text, b" total=1 ").is_none();
    while let Some(line) = next_line(text, at) {
        at = line.end;
        if line.text.starts_with(b"=yend ") {
            fault = None;
            break;
        }
        if line.text.starts_with(b"=ypart ") {
            continue;
        }
        for &byte in line.text {
            if byte == b'=' && !escaped {
                escaped = true;
            } else {
                content.push(byte.wrapping_sub(if std::mem::take(&mut escaped) { 42 + 64 } else { 42 }));
            }
        }
    }
    let fault = fault.or(is_piece.then_some(Fault::Piece));
    Some((Inline::plain(name, content, fault), at))
}

/// A header line, then between two colons a stream of six-bit digits, run-length coded: a header, the content, the resources, each with
/// a checksum (RFC 1741).
fn binhex(text: &[u8], start: usize, limit: usize) -> Option<(Inline, usize)> {
    const LONGEST_INTRODUCTION: usize = 1_024;
    let introduction = text.get(start..)?;
    let open = start + memchr::memchr(b':', introduction.get(..LONGEST_INTRODUCTION).unwrap_or(introduction))?;
    let body = text.get(open + 1..)?;
    let length = memchr::memchr(b':', body);
    let digits = body.get(..length.unwrap_or(body.len()))?;
    let mut decoded = Vec::new();
    let _: io::Result<usize> =
        BinHex { digits: digits.iter(), bits: 0, count: 0, last: 0, repeat: 0 }.take(limit as u64).read_to_end(&mut decoded);
    let name_length = usize::from(*decoded.first()?);
    let name = String::from_utf8_lossy(decoded.get(1..1 + name_length)?).into_owned();
    // Version, type, creator, flags, then the lengths of both.
    let lengths = 1 + name_length + 1 + 4 + 4 + 2;
    let length_at = |at: usize| Some(u32::from_be_bytes(*decoded.get(at..)?.first_chunk()?) as usize);
    let (content_length, resources_length) = (length_at(lengths)?, length_at(lengths + 4)?);
    let (_, rest) = summed(&decoded, lengths + 8);
    let (content, rest) = summed(rest, content_length);
    let (resources, _) = summed(rest, resources_length);
    let is_whole = content.is_whole && resources.is_whole && length.is_some();
    let (content, resources) = (content.bytes.to_vec(), resources.bytes.to_vec());
    let file = Inline { name, content, resources, fault: (!is_whole).then_some(Fault::Cut) };
    Some((file, open + 1 + length.map_or(body.len(), |length| length + 1)))
}

/// A part of a BinHex file.
struct Part<'a> {
    bytes: &'a [u8],
    /// Whether all of it is there, and its checksum fits.
    is_whole: bool,
}

/// A part of `length` bytes, and what follows its checksum.
fn summed(decoded: &[u8], length: usize) -> (Part<'_>, &[u8]) {
    let (bytes, rest) = decoded.split_at(length.min(decoded.len()));
    let sum = rest.first_chunk().map(|sum| u16::from_be_bytes(*sum));
    (Part { bytes, is_whole: bytes.len() == length && sum == Some(checksum(bytes)) }, rest.get(2..).unwrap_or_default())
}

/// The CRC of CCITT, begun with zero.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(sum ^ u16::from(byte) << 8, |sum: u16, _| if sum >> 15 == 1 { sum << 1 ^ 0x1021 } else { sum << 1 })
    })
}

struct BinHex<'a> {
    digits: std::slice::Iter<'a, u8>,
    bits: u32,
    count: u8,
    last: u8,
    /// The last byte is given so often again.
    repeat: u8,
}

impl BinHex<'_> {
    const ALPHABET: &'static [u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";

    fn coded(&mut self) -> Option<u8> {
        while self.count < 8 {
            let Some(digit) = memchr::memchr(*self.digits.next()?, Self::ALPHABET) else { continue };
            self.bits = self.bits << 6 | u32::try_from(digit).unwrap_or_default();
            self.count += 6;
        }
        self.count -= 8;
        let [.., byte] = (self.bits >> self.count).to_be_bytes();
        Some(byte)
    }

    fn byte(&mut self) -> Option<u8> {
        const RUN: u8 = 0x90;
        while self.repeat == 0 {
            let byte = self.coded()?;
            let count = if byte == RUN { self.coded()? } else { 0 };
            match (byte, count) {
                (RUN, 1..) => self.repeat = count - 1,
                _ => {
                    self.last = byte;
                    return Some(byte);
                }
            }
        }
        self.repeat -= 1;
        Some(self.last)
    }
}

impl Read for BinHex<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        for place in buffer.iter_mut() {
            let Some(byte) = self.byte() else { break };
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &[u8]) -> Vec<Inline> {
        Files::of(text, 1_000).collect()
    }

    #[test]
    fn what_only_looks_like_a_file_is_text() {
        for text in [
            &b"begin 644 x"[..],
            b"begin at noon\nend",
            b"xbegin 644 a\n#86)C\n`\nend\n",
            b"=ybegin line=128\nx",
            b"(This file must be converted with BinHex",
            b"begin 644 a\nThis is about uuencode.\n",
        ] {
            assert_eq!(files(text), [], "{text:?}");
        }
    }

    #[test]
    fn files_in_a_text_are_found_one_after_the_other() {
        let text = b"hello\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\nand\nbegin 0600 b\n\"86(\nend\n";
        let file = |name: &str, content: &[u8]| Inline::plain(name.as_bytes(), content.to_vec(), None);
        assert_eq!(files(text), [file("a.txt", b"abc"), file("b", b"ab")]);
        assert_eq!(files(b"begin 644 a\n#86)C\n")[0].fault, Some(Fault::Cut));
    }

    #[test]
    fn yenc_is_decoded_and_a_piece_is_told() {
        let text = b"=ybegin line=128 size=3 name=a b.bin\r\n\x8b=\xcd\x8d\r\n=yend size=3\r\n";
        assert_eq!(files(text), [Inline::plain(b"a b.bin", b"acc".to_vec(), None)]);
        let text = b"=ybegin part=1 total=2 line=128 size=3 name=a\n=ypart begin=1 end=1\n\x8b\n=yend size=1\n";
        assert_eq!(files(text), [Inline::plain(b"a", b"a".to_vec(), Some(Fault::Piece))]);
    }

    /// As BinHex writes it: `bbbbb` as a run.
    fn written(content_sum: u16) -> String {
        let header = [&b"\x01a\0TEXTttxt\0\0"[..], &5u32.to_be_bytes(), &2u32.to_be_bytes()].concat();
        let sums = [checksum(&header), content_sum, checksum(b"rr")].map(u16::to_be_bytes);
        let coded = [&header[..], &sums[0], b"b\x90\x05", &sums[1], b"rr", &sums[2]].concat();
        let mut digits = String::new();
        for group in coded.chunks(3) {
            let bits = group.iter().chain([0, 0].iter()).take(3).fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
            (0..4).for_each(|place| digits.push(char::from(BinHex::ALPHABET[(bits >> (18 - 6 * place) & 63) as usize])));
        }
        format!("(This file must be converted with BinHex 4.0)\n\n:{digits}:\n")
    }

    #[test]
    fn binhex_is_decoded_with_its_runs_and_both_forks() {
        let [file] = &files(written(checksum(b"bbbbb")).as_bytes())[..] else { panic!() };
        assert_eq!((file.name.as_str(), &file.content[..], &file.resources[..], file.fault), ("a", &b"bbbbb"[..], &b"rr"[..], None));
    }

    #[test]
    fn binhex_that_is_cut_or_damaged_is_told() {
        let text = written(checksum(b"bbbbb"));
        for text in [&written(0)[..], &text[..text.len() - 2], &text[..text.len() - 8]] {
            let [file] = &files(text.as_bytes())[..] else { panic!("{text}") };
            assert_eq!((&file.content[..], file.fault), (&b"bbbbb"[..], Some(Fault::Cut)), "{text}");
        }
    }
}
