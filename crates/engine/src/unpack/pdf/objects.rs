//! The objects of a document, found by search: every `N G obj`, wherever it stands and whichever revision it belongs to.

use std::cell::Cell;
use std::collections::HashMap;

use memchr::memmem;

use super::super::{Sink, Stop};
use super::lexer::{Dictionary, Value, is_regular, is_white, parse, skip_blank};

/// Objects that can be referred to; each costs 16 bytes while the document is open.
const MAX_INDEXED: usize = 1_000_000;
const MAX_TRAILERS: usize = 64;
const MAX_FILE_NAMES: usize = 4096;
pub(super) const MAX_OBJECT_STREAMS: usize = 65_536;
/// White space or digits that a search backwards goes through.
const MAX_BACKWARDS: usize = 32;
/// A reference may lead to another one.
const MAX_REFERENCES: usize = 4;

/// Where an object starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Number and generation, where they stand before the keyword.
    pub(super) id: Option<(u32, u32)>,
    /// After the keyword.
    pub(super) body: usize,
}

/// An object's value, and its stream if it has one.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) value: Value,
    /// The file ended inside the value.
    pub(super) cut: bool,
    /// Its value has more parts than are kept, so some are not known.
    pub(super) overflow: bool,
    /// Where the stream's data begin.
    pub(super) data: Option<usize>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Trailer {
    pub(super) encrypt: Option<Value>,
    /// The first file identifier; empty where nothing is encrypted, since it is for the key alone.
    pub(super) id: Vec<u8>,
}

pub(super) struct Objects<'a> {
    content: &'a [u8],
    /// Number and body of each object, in this order.
    index: Vec<(u32, usize)>,
    /// Bytes that may still be read as values: a file that makes every read a long one ends here instead of taking its square in time.
    fuel: Cell<u64>,
    /// Those that differ: each save adds one, nearly always the same again.
    pub(super) trailers: Vec<Trailer>,
    /// Names of embedded files by the number of their stream.
    pub(super) file_names: HashMap<u32, String>,
    pub(super) object_streams: Vec<Header>,
    /// There are more objects than are indexed.
    pub(super) overflow: bool,
}

/// All objects in the order of the file.
pub(super) fn headers(content: &[u8]) -> impl Iterator<Item = Header> + '_ {
    memmem::find_iter(content, b"obj").filter_map(|at| header(content, at))
}

impl<'a> Objects<'a> {
    /// One pass over the document for what later is looked up.
    pub(super) fn find(content: &'a [u8], sink: &mut dyn Sink) -> Result<Self, Stop> {
        let fuel = (content.len() as u64).saturating_mul(16).saturating_add(64 << 20);
        let mut objects = Self {
            content,
            index: Vec::new(),
            fuel: Cell::new(fuel),
            trailers: Vec::new(),
            file_names: HashMap::new(),
            object_streams: Vec::new(),
            overflow: false,
        };
        for (count, header) in headers(content).enumerate() {
            // The walk of the streams counts objects; this one only looks at the clock, once in a while.
            if count % 1024 == 1023 {
                sink.tick()?;
            }
            if let Some((number, _)) = header.id {
                objects.overflow |= objects.index.len() >= MAX_INDEXED;
                if !objects.overflow {
                    objects.index.push((number, header.body));
                }
            }
            let Some(body) = objects.body(header) else { break };
            objects.learn(header, &body);
        }
        objects.index.sort_unstable();
        objects.find_trailers();
        Ok(objects)
    }

    /// Whether reading was given up because the document makes it endless.
    pub(super) fn is_exhausted(&self) -> bool {
        self.fuel.get() == 0
    }

    /// Counts bytes that were read to find something.
    pub(super) fn charge(&self, bytes: usize) {
        self.fuel.set(self.fuel.get().saturating_sub(bytes as u64));
    }

    /// The object at `header`; `None` once the bytes to read are used up.
    pub(super) fn body(&self, header: Header) -> Option<Body> {
        if self.is_exhausted() {
            return None;
        }
        let parsed = parse(self.content, header.body);
        let next = if parsed.cut { parsed.end } else { skip_blank(self.content, parsed.end) };
        self.charge(next.saturating_sub(header.body));
        let data = match &parsed.value {
            Value::Dictionary(_) => stream_data(self.content, next),
            _ => None,
        };
        Some(Body { value: parsed.value, cut: parsed.cut, overflow: parsed.overflow, data })
    }

    /// The latest `value` that a chain of references leads to; of an object with several revisions, `revision` 0 is the last one in the file.
    pub(super) fn follow(&self, value: &Value, revision: usize) -> Option<Value> {
        let mut value = value.clone();
        for _ in 0..MAX_REFERENCES {
            let Value::Reference(number) = value else { return Some(value) };
            let incarnations = self.incarnations(number);
            let last = incarnations.len().checked_sub(1)?;
            let (_, body) = incarnations.get(last.saturating_sub(revision))?;
            value = self.body(Header { id: None, body: *body })?.value;
        }
        None
    }

    /// How many objects have this number.
    pub(super) fn revisions(&self, number: u32) -> usize {
        self.incarnations(number).len()
    }

    /// `value` with a reference followed to its last revision; `Null` for what is not there.
    pub(super) fn resolve(&self, value: &Value) -> Value {
        self.follow(value, 0).unwrap_or(Value::Null)
    }

    pub(super) fn lookup(&self, dictionary: &Dictionary, key: &str) -> Option<Value> {
        dictionary.get(key).map(|value| self.resolve(value))
    }

    fn incarnations(&self, number: u32) -> &[(u32, usize)] {
        let start = self.index.partition_point(|(other, _)| *other < number);
        let end = self.index.partition_point(|(other, _)| *other <= number);
        self.index.get(start..end).unwrap_or_default()
    }

    fn learn(&mut self, header: Header, body: &Body) {
        let Some(dictionary) = body.value.as_dictionary() else {
            file_names(&body.value, &mut self.file_names);
            return;
        };
        match (body.data, dictionary.get("Type").and_then(Value::as_name)) {
            (Some(_), Some(b"XRef")) => self.learn_trailer(dictionary),
            (Some(_), Some(b"ObjStm")) if self.object_streams.len() < MAX_OBJECT_STREAMS => self.object_streams.push(header),
            (Some(_), _) => {}
            (None, _) => file_names(&body.value, &mut self.file_names),
        }
    }

    fn learn_trailer(&mut self, dictionary: &Dictionary) {
        let encrypt = dictionary.get("Encrypt").filter(|value| **value != Value::Null).cloned();
        let id = if encrypt.is_some() { self.file_id(dictionary) } else { Vec::new() };
        let trailer = Trailer { encrypt, id };
        if self.trailers.contains(&trailer) {
            return;
        }
        if self.trailers.len() >= MAX_TRAILERS {
            self.overflow = true;
            return;
        }
        self.trailers.push(trailer);
    }

    fn file_id(&self, trailer: &Dictionary) -> Vec<u8> {
        let id = match self.lookup(trailer, "ID") {
            Some(Value::Array(ids)) => ids.first().map(|id| self.resolve(id)),
            _ => None,
        };
        id.as_ref().and_then(Value::as_text).unwrap_or_default().to_vec()
    }

    fn find_trailers(&mut self) {
        for at in memmem::find_iter(self.content, b"trailer") {
            let Some(body) = self.body(Header { id: None, body: at + b"trailer".len() }) else { return };
            if let Some(dictionary) = body.value.as_dictionary() {
                self.learn_trailer(dictionary);
            }
        }
    }
}

/// Adds the names of embedded files in file specifications, however deep those stand in `value`.
pub(super) fn file_names(value: &Value, names: &mut HashMap<u32, String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| file_names(value, names)),
        Value::Dictionary(dictionary) => {
            if let Some(Value::Dictionary(files)) = dictionary.get("EF")
                && let Some(name) = dictionary.get("UF").or_else(|| dictionary.get("F")).and_then(Value::as_text)
            {
                for file in files.values() {
                    if let (Value::Reference(number), true) = (file, names.len() < MAX_FILE_NAMES) {
                        names.insert(*number, decode_text(name));
                    }
                }
            }
            dictionary.values().for_each(|value| file_names(value, names));
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Real | Value::Text(_) | Value::Name(_) | Value::Reference(_) => {}
    }
}

/// The object whose keyword `obj` was found at `at`, unless that is part of another word.
fn header(content: &[u8], at: usize) -> Option<Header> {
    let body = at + b"obj".len();
    let before = content.get(..at)?;
    let part_of_word = before.last().is_some_and(|byte| is_regular(*byte) && !byte.is_ascii_digit());
    if part_of_word || content.get(body).is_some_and(|byte| is_regular(*byte)) {
        return None;
    }
    Some(Header { id: id_before(before), body })
}

fn id_before(before: &[u8]) -> Option<(u32, u32)> {
    let (generation, rest) = number_before(trim_white(before))?;
    let trimmed = trim_white(rest);
    if trimmed.len() == rest.len() {
        return None;
    }
    let (number, _) = number_before(trimmed)?;
    Some((number, generation))
}

fn trim_white(bytes: &[u8]) -> &[u8] {
    let white = bytes.iter().rev().take(MAX_BACKWARDS).take_while(|byte| is_white(**byte)).count();
    bytes.get(..bytes.len() - white).unwrap_or_default()
}

fn number_before(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().rev().take(MAX_BACKWARDS).take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, digits) = bytes.split_at_checked(bytes.len() - digits)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

/// Where the data of a stream begin whose keyword is expected at `at`.
fn stream_data(content: &[u8], at: usize) -> Option<usize> {
    let rest = content.get(at..)?.strip_prefix(b"stream")?;
    // Blanks after the keyword are a writer's slip if a line end follows them, else they are data.
    let blanks = rest.iter().take(MAX_BACKWARDS).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line_end = match rest.get(blanks..)? {
        [b'\r', b'\n', ..] => blanks + 2,
        [b'\r' | b'\n', ..] => blanks + 1,
        _ => 0,
    };
    Some(content.len() - rest.len() + line_end)
}

/// A text string (7.9.2.2) for display.
fn decode_text(text: &[u8]) -> String {
    match text {
        [0xfe, 0xff, rest @ ..] => {
            let units: Vec<u16> = rest.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        // The encoding for documents is Latin-1 in nearly all that names use.
        _ => text.iter().map(|byte| char::from(*byte)).collect(),
    }
}
