//! Mail, mailboxes and web archives (RFC 5322, 2045 to 2049, 2183, 2231; mbox; MHTML), read in every way that a reader may read them.
//!
//! Where a message contradicts itself (two boundaries, two encodings, a header that ends in several places), readers choose differently,
//! and senders of malware know which: each choice is walked, and what comes out of each is a child. That something is broken is said of
//! the ordinary reading alone.

mod fields;
mod inline;
mod multipart;
mod parameters;
#[cfg(test)]
mod tests;
mod transfer;

use std::{collections::HashSet, io::Read, ops::Range};

use filesafety_model::Reason;

use super::{Decoded, Member, Sink, Stop};
use fields::Reading;
use inline::{Fault, Files};
use parameters::Structured;
use transfer::{Base64, Encoding, QuotedPrintable};

pub(crate) use transfer::{base64 as base64_of, percent};

/// What the signatures of this opener end with.
const DETAIL: &str = "Mail";

/// Multipart bodies and messages inside each other that are walked here; what lies deeper is a limit.
const MAX_DEPTH: u32 = 50;

/// Readings of one header's boundaries that are walked.
const MAX_BOUNDARIES: usize = 16;

/// Gives every part of the message or mailbox to `sink`. Never fails on content: what cannot be read is told to `sink` as unexamined.
pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    // Each reading goes through its bytes about twice for each level; the constant is room for small ones.
    let fuel = (content.len() as u64).saturating_mul(64).saturating_add(16 << 20);
    let mut walk = Walk { sink, fuel, buffers: 0, seen: HashSet::new() };
    walk.file(content)?;
    if walk.fuel == 0 {
        walk.sink.unexamined(Reason::Limit, "Bytes");
    }
    Ok(())
}

struct Walk<'s> {
    sink: &'s mut dyn Sink,
    /// Bytes that may still be looked through: a message that makes every reading a long one ends here.
    fuel: u64,
    /// Decoded bodies so far: each has a number of its own.
    buffers: u32,
    /// Leaves that were given: buffer, place, length, encoding.
    seen: HashSet<(u32, usize, usize, Encoding)>,
}

/// Where in the message an entity stands.
#[derive(Clone)]
struct Place<'a> {
    /// `1.2`; empty for the whole.
    number: String,
    depth: u32,
    /// The text around it, and its number.
    whole: &'a [u8],
    buffer: u32,
    /// It is a message where its header does not say what it is.
    is_message: bool,
    /// Reached by the ordinary reading: what is broken here is broken.
    ordinary: bool,
    /// A delimiter stands behind it.
    closed: bool,
}

/// What a header says of its body, in every reading.
struct Described {
    types: Vec<Structured>,
    encodings: Vec<Encoding>,
    name: Option<String>,
}

impl Walk<'_> {
    fn file(&mut self, content: &[u8]) -> Result<(), Stop> {
        let messages = messages(content);
        let place = Place {
            number: String::new(),
            depth: 0,
            whole: content,
            buffer: 0,
            is_message: false,
            ordinary: messages.len() < 2,
            closed: false,
        };
        // Empty lines before a message are not the end of its header.
        self.entity(beginning(content)..content.len(), &place)?;
        if messages.len() > 1 {
            for (index, message) in messages.into_iter().enumerate() {
                self.sink.tick()?;
                let place = Place { number: format!("{}", index + 1), is_message: true, ordinary: true, closed: true, ..place.clone() };
                self.message(message, &place, None)?;
            }
        }
        Ok(())
    }

    /// A header and its body.
    fn entity(&mut self, range: Range<usize>, place: &Place<'_>) -> Result<(), Stop> {
        if place.depth > MAX_DEPTH {
            self.sink.unexamined(Reason::Limit, "Depth");
            return Ok(());
        }
        let bytes = place.whole.get(range.clone()).unwrap_or_default();
        if !self.burn(bytes.len()) {
            return Ok(());
        }
        for (index, reading) in fields::readings(bytes).iter().enumerate() {
            self.sink.tick()?;
            let body = range.end - reading.body.len()..range.end;
            self.body(body, reading, &Place { ordinary: place.ordinary && index == 0, ..place.clone() })?;
        }
        Ok(())
    }

    fn body(&mut self, range: Range<usize>, reading: &Reading<'_>, place: &Place<'_>) -> Result<(), Stop> {
        let described = describe(reading, place.is_message);
        let body = place.whole.get(range.clone()).unwrap_or_default();
        let mut is_opened = false;
        for kind in &described.types {
            if kind.is("multipart/encrypted") {
                self.sink.member_unexamined(&part_name(place), Reason::Encrypted, "Pgp");
            }
            if kind.is("multipart/") {
                is_opened |= self.multipart(&range, kind, &described, place)?;
            } else if kind.is("message/partial") && !is_whole(kind) {
                self.sink.member_unexamined(&part_name(place), Reason::Unsupported, "PartialMail");
            }
        }
        let is_message = |kind: &Structured| {
            ["message/rfc822", "message/global", "message/news", "message/partial"].iter().any(|name| kind.is(name))
                && kind.word != b"message/global-headers"
        };
        let is_leaf = described.types.iter().any(|kind| !kind.is("multipart/"));
        if !is_leaf && is_opened {
            return Ok(());
        }
        let name = described.name.as_deref();
        if described.types.iter().any(is_message) && described.encodings.iter().all(|encoding| *encoding == Encoding::Identity) {
            return self.message(range, place, name);
        }
        for (index, &encoding) in described.encodings.iter().enumerate() {
            let place = Place { ordinary: place.ordinary && index == 0, ..place.clone() };
            if described.types.iter().any(is_message) {
                self.decoded(body, encoding, &place)?;
            }
            self.leaf(range.clone(), encoding, &place, name)?;
        }
        Ok(())
    }

    /// Whether any boundary cuts the body.
    fn multipart(&mut self, range: &Range<usize>, kind: &Structured, described: &Described, place: &Place<'_>) -> Result<bool, Stop> {
        let body = place.whole.get(range.clone()).unwrap_or_default();
        let mut boundaries = kind.readings("boundary");
        if boundaries.is_empty() {
            boundaries.extend(multipart::guess(body).map(<[u8]>::to_vec));
        }
        let mut is_cut = false;
        for boundary in boundaries.iter().take(MAX_BOUNDARIES) {
            if !self.burn(body.len()) {
                break;
            }
            let cuts = multipart::cuts(body, boundary);
            for (index, cut) in cuts.iter().enumerate() {
                let place = Place { ordinary: place.ordinary && index == 0 && !is_cut, ..place.clone() };
                self.parts(range.start, cut, kind, &place)?;
            }
            is_cut |= !cuts.is_empty();
        }
        if place.ordinary && !is_cut && !body.trim_ascii().is_empty() {
            self.sink.note("a multipart body without a delimiter");
        }
        // A multipart body is not to be encoded, and some readers decode it all the same.
        for &encoding in described.encodings.iter().filter(|encoding| **encoding != Encoding::Identity) {
            self.decoded_multipart(body, encoding, kind, place)?;
        }
        Ok(is_cut)
    }

    fn parts(&mut self, start: usize, cut: &multipart::Cut, kind: &Structured, place: &Place<'_>) -> Result<(), Stop> {
        if cut.parts.len() >= multipart::MAX_PARTS {
            self.sink.unexamined(Reason::Limit, "Objects");
        }
        let shift = |range: &Range<usize>| start + range.start..start + range.end;
        let epilogue = cut.epilogue.as_ref().filter(|range| {
            let text = place.whole.get(shift(range)).unwrap_or_default();
            text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
        });
        if place.ordinary && !cut.is_closed() {
            self.sink.note("a multipart body without its end");
        }
        for (index, range) in cut.parts.iter().chain(epilogue).enumerate() {
            self.sink.tick()?;
            let number = if place.number.is_empty() { format!("{}", index + 1) } else { format!("{}.{}", place.number, index + 1) };
            let place = Place {
                number,
                depth: place.depth + 1,
                is_message: kind.is("multipart/digest"),
                closed: cut.is_closed() || index + 1 < cut.parts.len(),
                ..place.clone()
            };
            self.entity(shift(range), &place)?;
        }
        Ok(())
    }

    fn decoded_multipart(&mut self, body: &[u8], encoding: Encoding, kind: &Structured, place: &Place<'_>) -> Result<(), Stop> {
        self.within(body, encoding, |walk, whole, buffer| {
            let place = Place { whole, buffer, ordinary: false, depth: place.depth + 1, ..place.clone() };
            for boundary in kind.readings("boundary").iter().take(MAX_BOUNDARIES) {
                if !walk.burn(whole.len()) {
                    break;
                }
                for cut in multipart::cuts(whole, boundary) {
                    walk.parts(0, &cut, kind, &place)?;
                }
            }
            Ok(())
        })
    }

    /// A message inside the message: a child, whose content the engines open if they take it for mail; else it is walked here.
    fn message(&mut self, range: Range<usize>, place: &Place<'_>, name: Option<&str>) -> Result<(), Stop> {
        let content = place.whole.get(range.clone()).unwrap_or_default();
        if crate::filetype::is_mail(content) {
            let named = name.map_or_else(|| format!("message-{}.eml", place.number), str::to_owned);
            if self.is_new(content, place, Encoding::Identity) {
                self.sink.part(&named, content)?;
            }
            return Ok(());
        }
        self.entity(range, &Place { depth: place.depth + 1, is_message: false, ..place.clone() })
    }

    /// The same of one that is encoded, which it is not to be.
    fn decoded(&mut self, body: &[u8], encoding: Encoding, place: &Place<'_>) -> Result<(), Stop> {
        self.within(body, encoding, |walk, whole, buffer| {
            if crate::filetype::is_mail(whole) {
                // As a leaf it becomes a child, and is opened there.
                return Ok(());
            }
            let place = Place { whole, buffer, depth: place.depth + 1, is_message: false, ordinary: false, ..place.clone() };
            walk.entity(0..whole.len(), &place)
        })
    }

    /// Decodes into memory for `work`, which is given the text and its number.
    fn within(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        work: impl FnOnce(&mut Self, &[u8], u32) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if !self.burn(body.len()) {
            return Ok(());
        }
        let held = body.len() as u64;
        self.sink.hold(held)?;
        self.buffers += 1;
        let buffer = self.buffers;
        let decoded = match encoding {
            Encoding::Identity => body.to_vec(),
            Encoding::Base64 => transfer::base64(body),
            Encoding::QuotedPrintable => transfer::quoted_printable(body),
        };
        work(self, &decoded, buffer)?;
        self.sink.release(held);
        Ok(())
    }

    fn leaf(&mut self, range: Range<usize>, encoding: Encoding, place: &Place<'_>, name: Option<&str>) -> Result<(), Stop> {
        let body = place.whole.get(range).unwrap_or_default();
        if body.is_empty() || !self.is_new(body, place, encoding) || !self.burn(body.len()) {
            return Ok(());
        }
        let told = name;
        let name = name.map_or_else(|| part_name(place), str::to_owned);
        match encoding {
            // All of the file, to a reader that sees no header: it has been examined, and would be opened again without end.
            Encoding::Identity if place.buffer == 0 && body.len() >= place.whole.len() - beginning(place.whole) => {
                self.inline(body, place)?
            }
            Encoding::Identity => {
                let decoded = self.sink.part(&name, body)?;
                self.tell(told, decoded, place);
                self.inline(body, place)?;
            }
            Encoding::QuotedPrintable => {
                let decoded = self.sink.child(&name, &mut QuotedPrintable::new(body))?;
                self.tell(told, decoded, place);
            }
            Encoding::Base64 => self.base64(&name, told, body, place)?,
        }
        Ok(())
    }

    /// Only attachments have a name to be known by, and only decoding tells their size.
    fn tell(&mut self, name: Option<&str>, decoded: Decoded, place: &Place<'_>) {
        if let Some(name) = name.filter(|_| place.ordinary) {
            self.sink.member(&Member { name, packed: Some(decoded.bytes), unpacked: Some(decoded.bytes), ..Member::default() });
        }
    }

    fn base64(&mut self, name: &str, told: Option<&str>, body: &[u8], place: &Place<'_>) -> Result<(), Stop> {
        let survey = transfer::survey(body);
        if survey.readings.len() > 1 {
            self.sink.note("base64 with something between");
        }
        for (index, reading) in survey.readings.into_iter().enumerate() {
            let decoded = self.sink.child(name, &mut Base64::new(body, reading))?;
            self.tell(told.filter(|_| index == 0), decoded, place);
        }
        // Without a delimiter behind it, data that could go on may have gone on.
        if place.ordinary && (survey.cut || !place.closed && (survey.unpadded || place.depth > 0)) {
            self.sink.member_unexamined(name, Reason::Broken, DETAIL);
        }
        Ok(())
    }

    /// Files that are written into the text.
    fn inline(&mut self, text: &[u8], place: &Place<'_>) -> Result<(), Stop> {
        if is_armoured_pgp(text) {
            self.sink.member_unexamined(&part_name(place), Reason::Encrypted, "Pgp");
        }
        written_files(text, place.ordinary.then_some(DETAIL), self.sink)
    }

    fn is_new(&mut self, body: &[u8], place: &Place<'_>, encoding: Encoding) -> bool {
        let start = body.as_ptr().addr().wrapping_sub(place.whole.as_ptr().addr());
        self.seen.insert((place.buffer, start, body.len(), encoding))
    }

    /// Counts bytes that are looked through; `false` once they are used up.
    fn burn(&mut self, bytes: usize) -> bool {
        self.fuel = self.fuel.saturating_sub(bytes as u64 + 1);
        self.fuel > 0
    }
}

/// Files that are written into a text that is no message. It is a text first: only one that begins with such a file can be broken.
pub(crate) fn open_text(text: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let begins = inline::begins(text.trim_ascii_start());
    written_files(text, begins.then_some("Text"), sink)
}

/// `detail` ends the signature of what is broken; without it nothing is.
fn written_files(text: &[u8], detail: Option<&str>, sink: &mut dyn Sink) -> Result<(), Stop> {
    const RUNS: usize = 64 << 20;
    for file in Files::of(text, RUNS) {
        sink.tick()?;
        let held = (file.content.len() + file.resources.len()) as u64;
        sink.hold(held)?;
        sink.child(&file.name, &mut file.content.as_slice())?;
        if !file.resources.is_empty() {
            sink.child(&format!("{}.rsrc", file.name), &mut file.resources.as_slice())?;
        }
        sink.release(held);
        match (file.fault, detail) {
            (Some(Fault::Cut), Some(detail)) => sink.member_unexamined(&file.name, Reason::Broken, detail),
            (Some(Fault::Piece), Some(_)) => sink.member_unexamined(&file.name, Reason::Unsupported, "PartialMail"),
            (Some(_), None) | (None, _) => {}
        }
    }
    Ok(())
}

/// Where the first line with anything in it begins.
fn beginning(content: &[u8]) -> usize {
    content.len() - content.trim_ascii_start().len()
}

fn part_name(place: &Place<'_>) -> String {
    if place.number.is_empty() { "body".to_owned() } else { format!("part-{}", place.number) }
}

fn describe(reading: &Reading<'_>, is_message: bool) -> Described {
    let mut types: Vec<Structured> = Vec::new();
    for value in reading.all(b"content-type") {
        let kind = Structured::parse(value);
        if !types.contains(&kind) && types.len() < MAX_BOUNDARIES {
            types.push(kind);
        }
    }
    if types.is_empty() {
        types.push(Structured::parse(if is_message { b"message/rfc822" } else { b"text/plain" }));
    }
    let mut encodings: Vec<Encoding> = Vec::new();
    for encoding in reading.all(b"content-transfer-encoding").map(Encoding::named) {
        if !encodings.contains(&encoding) {
            encodings.push(encoding);
        }
    }
    if encodings.is_empty() {
        encodings.push(Encoding::Identity);
    }
    let disposition = reading.all(b"content-disposition").find_map(|value| Structured::parse(value).text("filename"));
    let name = disposition.or_else(|| types.iter().find_map(|kind| kind.text("name"))).filter(|name| !name.trim().is_empty());
    Described { types, encodings, name }
}

/// Of a message in pieces: this is all of it.
fn is_whole(kind: &Structured) -> bool {
    kind.text("total").as_deref() == Some("1") && kind.text("number").as_deref() == Some("1")
}

/// The messages of a mailbox; what is no mailbox is one message, and none is given.
fn messages(content: &[u8]) -> Vec<Range<usize>> {
    if !content.starts_with(b"From ") {
        return Vec::new();
    }
    let mut starts = vec![0];
    for at in memchr::memmem::find_iter(content, b"\nFrom ") {
        let after_blank = matches!(content.get(..at), Some([.., b'\n'] | [.., b'\n', b'\r']));
        let line = fields::next_line(content, at + 1).map(|line| line.text).unwrap_or_default();
        if after_blank && is_separator(line) {
            starts.push(at + 1);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([content.len()]);
    let body = |start: usize| fields::next_line(content, start).map_or(start, |line| line.end);
    starts.iter().zip(ends).map(|(&start, end)| body(start).min(end)..end).collect()
}

/// `From ADDRESS Mon Jan  1 00:00:00 2001`: a weekday, and a time of day behind it.
fn is_separator(line: &[u8]) -> bool {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).skip(1).skip_while(|word| !DAYS.contains(word));
    words.next().is_some()
        && words.any(|word| word.len() >= 4 && word.contains(&b':') && word.iter().all(|byte| byte.is_ascii_digit() || *byte == b':'))
}

/// A text that is a PGP message, encrypted: its first packet holds a session key, or encrypted data (RFC 9580, 5).
fn is_armoured_pgp(text: &[u8]) -> bool {
    let Some(rest) = text.trim_ascii_start().strip_prefix(b"-----BEGIN PGP MESSAGE-----") else { return false };
    let mut at = 0;
    let mut data: &[u8] = &[];
    while let Some(line) = fields::next_line(rest, at) {
        let is_header = line.text.trim_ascii().is_empty() || line.text.contains(&b':');
        if !is_header {
            data = rest.get(at..at + line.text.len()).unwrap_or_default();
            break;
        }
        at = line.end;
    }
    let mut first = [0];
    let is_read = Base64::new(data, transfer::Reading::Forgiving).read(&mut first).is_ok_and(|read| read == 1);
    let [tag] = first;
    let kind = if tag & 0x40 != 0 { tag & 0x3f } else { tag >> 2 & 0x0f };
    is_read && tag & 0x80 != 0 && matches!(kind, 1 | 3 | 9 | 18 | 20)
}
