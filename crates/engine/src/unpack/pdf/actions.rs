//! What a document does: its scripts, and its actions, whether a reader asks for them or they run when it is opened (ISO 32000-2, 12.6).
//!
//! Strings are decoded here, whatever way they are written: scripts become children, actions are written out again in the clear.

use super::super::{Sink, Stop};
use super::crypt::StreamKey;
use super::lexer::{Dictionary, MAX_TEXT, Value, parse_whole};
use crate::facts::Fact;

/// Scripts of one document that are examined on their own.
const MAX_SCRIPTS: u32 = 10_000;
/// Shorter strings need no object of their own.
const LEAST_STRING: usize = 16;
/// Of the actions so much is written out.
const MAX_WRITTEN: usize = 4 << 20;
/// Dictionaries inside each other that are looked into.
const MAX_DEPTH: u32 = 64;

/// The actions of a document, gathered object by object.
#[derive(Debug, Default)]
pub(super) struct Actions {
    /// In the clear, one a line.
    written: Vec<u8>,
    scripts: u32,
    /// Told already.
    runs_by_itself: bool,
    executes: bool,
}

/// One object: where its value stands, what it is called, and how its strings are sealed.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) content: &'a [u8],
    pub(super) at: usize,
    pub(super) name: &'a str,
    pub(super) key: Option<&'a StreamKey>,
}

impl Actions {
    /// Takes in the value of an object. `resolve` follows references.
    pub(super) fn object(
        &mut self,
        value: &Value,
        source: Source<'_>,
        resolve: &dyn Fn(&Value) -> Value,
        sink: &mut dyn Sink,
    ) -> Result<(), Stop> {
        let whole;
        let value = if is_cut(value, 0) {
            // It was read with short strings; scripts are long.
            whole = parse_whole(source.content, source.at).value;
            &whole
        } else {
            value
        };
        if let Value::Text(text) = value {
            // A script may refer to a string that is an object of its own.
            return self.script(text, source, sink);
        }
        self.value(value, source, resolve, sink, 0)
    }

    /// Gives what was written out.
    pub(super) fn give(&self, sink: &mut dyn Sink) -> Result<(), Stop> {
        if self.written.is_empty() { Ok(()) } else { sink.part("actions", &self.written).map(drop) }
    }

    fn value(
        &mut self,
        value: &Value,
        source: Source<'_>,
        resolve: &dyn Fn(&Value) -> Value,
        sink: &mut dyn Sink,
        depth: u32,
    ) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        match value {
            Value::Array(values) => {
                for value in values {
                    self.value(value, source, resolve, sink, depth + 1)?;
                }
            }
            Value::Dictionary(dictionary) => {
                self.dictionary(dictionary, source, resolve, sink)?;
                for value in dictionary.values() {
                    self.value(value, source, resolve, sink, depth + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Real | Value::Text(_) | Value::Name(_) | Value::Reference(_) => {}
        }
        Ok(())
    }

    fn dictionary(
        &mut self,
        dictionary: &Dictionary,
        source: Source<'_>,
        resolve: &dyn Fn(&Value) -> Value,
        sink: &mut dyn Sink,
    ) -> Result<(), Stop> {
        for script in dictionary.all("JS") {
            if let Value::Text(text) = script {
                self.script(text, source, sink)?;
            }
        }
        if let Some(kind) = action(dictionary) {
            self.write(dictionary, source);
            if kind == b"Launch" && starts_program(dictionary, resolve) {
                self.executes(sink);
            }
        }
        let is_root =
            matches!(dictionary.get("Type").and_then(Value::as_name), Some(b"Catalog" | b"Page")) || dictionary.get("OpenAction").is_some();
        if is_root {
            let more = dictionary.get("AA").map(resolve);
            let more = more.as_ref().and_then(Value::as_dictionary).into_iter().flat_map(Dictionary::values);
            for opened in dictionary.all("OpenAction").chain(more) {
                self.opened(&resolve(opened), resolve, sink);
            }
        }
        Ok(())
    }

    /// An action that runs when the document or a page of it is opened.
    fn opened(&mut self, value: &Value, resolve: &dyn Fn(&Value) -> Value, sink: &mut dyn Sink) {
        let Some(dictionary) = value.as_dictionary() else { return };
        let kind = dictionary.get("S").map(resolve);
        match kind.as_ref().and_then(Value::as_name) {
            Some(b"JavaScript") => self.runs(sink, "an action with a script when it is opened"),
            Some(b"Launch") => {
                self.runs(sink, "a launch action when it is opened");
                self.executes(sink);
            }
            _ => {}
        }
    }

    fn runs(&mut self, sink: &mut dyn Sink, what: &str) {
        if !std::mem::replace(&mut self.runs_by_itself, true) {
            sink.fact(Fact::RunsByItself, what);
        }
    }

    fn executes(&mut self, sink: &mut dyn Sink) {
        if !std::mem::replace(&mut self.executes, true) {
            sink.fact(Fact::Executes, "a launch action");
        }
    }

    fn script(&mut self, text: &[u8], source: Source<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
        let text = decoded(text, source.key);
        if text.len() < LEAST_STRING || self.scripts >= MAX_SCRIPTS {
            return Ok(());
        }
        self.scripts += 1;
        sink.tick()?;
        sink.child(&format!("{}-script-{}", source.name, self.scripts), &mut text.as_slice()).map(drop)
    }

    fn write(&mut self, dictionary: &Dictionary, source: Source<'_>) {
        if self.written.len() < MAX_WRITTEN {
            write_dictionary(dictionary, source.key, &mut self.written, 0);
            self.written.push(b'\n');
        }
    }
}

/// The kind of an action that does something beyond the page.
fn action(dictionary: &Dictionary) -> Option<&[u8]> {
    let kind = dictionary.get("S")?.as_name()?;
    matches!(kind, b"Launch" | b"URI" | b"SubmitForm" | b"ImportData" | b"GoToR" | b"GoToE" | b"RichMediaExecute").then_some(kind)
}

/// Whether what is launched is a program or a script by its name, and not another document.
fn starts_program(dictionary: &Dictionary, resolve: &dyn Fn(&Value) -> Value) -> bool {
    const PROGRAMS: [&[u8]; 22] = [
        b".exe",
        b".com",
        b".cmd",
        b".bat",
        b".scr",
        b".pif",
        b".js",
        b".jse",
        b".vbs",
        b".vbe",
        b".wsf",
        b".hta",
        b".ps1",
        b".msi",
        b".lnk",
        b".jar",
        b".sh",
        b".cpl",
        b".reg",
        b"cmd",
        b"powershell",
        b"/bin/sh",
    ];
    let mut targets = Vec::new();
    for key in ["F", "UF", "Win", "Unix", "Mac"] {
        match dictionary.get(key).map(resolve) {
            Some(Value::Text(text)) => targets.push(text),
            Some(Value::Dictionary(file)) => {
                targets.extend(["F", "UF", "P"].iter().filter_map(|key| file.get(key)?.as_text().map(<[u8]>::to_vec)))
            }
            _ => {}
        }
    }
    let ends = |target: &[u8]| {
        let target = text_of(target).trim_ascii().to_ascii_lowercase();
        PROGRAMS.iter().any(|program| target.ends_with(program))
    };
    targets.iter().any(|target| ends(target))
}

/// Whether a string was longer than what is kept at first.
fn is_cut(value: &Value, depth: u32) -> bool {
    match value {
        Value::Text(text) => text.len() >= MAX_TEXT,
        Value::Array(values) => depth < MAX_DEPTH && values.iter().any(|value| is_cut(value, depth + 1)),
        Value::Dictionary(dictionary) => depth < MAX_DEPTH && dictionary.values().any(|value| is_cut(value, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Real | Value::Name(_) | Value::Reference(_) => false,
    }
}

fn decoded(text: &[u8], key: Option<&StreamKey>) -> Vec<u8> {
    match key {
        Some(key) => text_of(&key.decrypt(text)),
        None => text_of(text),
    }
}

/// A text string (7.9.2.2) in UTF-8, where its mark says what it is; else as it stands.
fn text_of(text: &[u8]) -> Vec<u8> {
    use crate::normalise::{Endian, to_utf8};
    match text {
        [0xfe, 0xff, ..] => to_utf8(text, Endian::Big),
        [0xff, 0xfe, ..] => to_utf8(text, Endian::Little),
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.to_vec(),
        _ => text.to_vec(),
    }
}

fn write_dictionary(dictionary: &Dictionary, key: Option<&StreamKey>, written: &mut Vec<u8>, depth: u32) {
    written.extend(b"<<");
    for (name, value) in dictionary.entries() {
        if written.len() >= MAX_WRITTEN {
            return;
        }
        written.extend([b" /", name].concat());
        written.push(b' ');
        match value {
            Value::Name(name) => written.extend([b"/", name.as_slice()].concat()),
            Value::Text(text) => written.extend([b"(", decoded(text, key).as_slice(), b")"].concat()),
            Value::Dictionary(inner) if depth < 4 => write_dictionary(inner, key, written, depth + 1),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Real
            | Value::Array(_)
            | Value::Dictionary(_)
            | Value::Reference(_) => written.extend(b"null"),
        }
    }
    written.extend(b" >>");
}
