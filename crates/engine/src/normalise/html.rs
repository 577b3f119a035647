//! HTML as ClamAV writes it out for its signatures: a machine that goes through the bytes once.

mod bodies;
mod data_uri;
mod reference;
mod tag;

use super::{encoded_script, is_space};
pub(crate) use bodies::script_bodies;
use reference::Reference;
use tag::Tag;

/// The views of one HTML text; each at most about twice as long as the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Html {
    /// `nocomment.html`: tags, attributes and scripts in small letters, comments left out, references resolved, white space folded.
    pub(crate) without_comments: Vec<u8>,
    /// `notags.html`: the words between the tags, with the addresses of links and pictures.
    pub(crate) without_tags: Vec<u8>,
    /// The bodies of all scripts in the order of the page, as they stand there; those that JScript.Encode or VBScript.Encode hid, decoded.
    pub(crate) scripts: Vec<u8>,
}

/// The views of `content`, which is bytes of an encoding that agrees with ASCII; see [`super::to_utf8`] for what is not.
pub(crate) fn html(content: &[u8]) -> Html {
    let mut machine = Machine::default();
    for chunk in Chunks(content) {
        machine.chunk(chunk);
    }
    machine.end();
    let mut views = machine.views;
    for script in script_bodies(content) {
        match encoded_script::decode(script) {
            Some(decoded) => views.scripts.extend(decoded),
            None => views.scripts.extend(script),
        }
        views.scripts.push(b'\n');
    }
    views
}

/// Names, values and references are kept so far.
const MAX_TOKEN: usize = 1_024;

/// Where the machine stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between tags, or in a script.
    #[default]
    Text,
    /// White space between tags, of which one blank stays.
    Blank,
    /// The name of a tag.
    TagName,
    /// The name of an attribute.
    Attribute,
    /// After it and white space, where a `=` may follow.
    Equals,
    Value,
    Comment,
    /// A tag has ended.
    Tagged,
    /// The media type of a `data:` address.
    DataType,
    Data,
    /// In an encoded script, before its mark.
    Encoded,
}

/// Text that has no tags but the one that ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Raw {
    #[default]
    No,
    Script,
    Style,
}

/// One look at a byte.
enum Step {
    /// It is done with.
    Taken,
    /// The new state is to see it.
    Again,
}

#[derive(Default)]
struct Machine {
    views: Html,
    state: State,
    /// White space is passed over before the state sees a byte.
    skips_space: bool,
    tag: Tag,
    /// In a script or a style sheet.
    raw: Raw,
    /// A blank stands at the end of the view without tags, or in a place where ClamAV takes that for so.
    blank: bool,
    /// The reference that is being read.
    reference: Option<Reference>,
    /// Bytes beyond ASCII that belong together.
    wide: Vec<u8>,
}

impl Machine {
    /// A chunk is at least a byte; white space at its start does not count.
    fn chunk(&mut self, chunk: &[u8]) {
        let mut rest = chunk.trim_ascii_start();
        while rest.first() == Some(&0x0b) {
            rest = rest.get(1..).unwrap_or_default().trim_ascii_start();
        }
        while let Some((&first, after)) = rest.split_first() {
            if !is_space(first) && self.reference.is_none() {
                if self.state == State::Tagged {
                    self.tagged();
                }
                if self.state == State::Encoded && rest.starts_with(encoded_script::MARK) {
                    let (script, behind) = encoded_script::decode_one(rest);
                    self.encoded(&script);
                    rest = behind;
                    continue;
                }
            }
            rest = after;
            let byte = if first == b'\n' { b' ' } else { first };
            if !matches!(byte, 0 | b'\r') {
                while matches!(self.step(byte), Step::Again) {}
            }
        }
    }

    fn step(&mut self, byte: u8) -> Step {
        if let Some(reference) = self.reference.take() {
            return self.refer(reference, byte);
        }
        if self.skips_space {
            if is_space(byte) {
                return Step::Taken;
            }
            self.skips_space = false;
        }
        match self.state {
            State::Text => self.text(byte),
            State::Blank => self.blank(byte),
            State::TagName => self.tag_name(byte),
            State::Attribute => self.attribute(byte),
            State::Equals => self.equals(byte),
            State::Value => self.value(byte),
            State::Comment => self.comment(byte),
            State::Tagged => {
                self.tagged();
                Step::Again
            }
            State::DataType => self.data_type(byte),
            State::Data => self.data(byte),
            State::Encoded => {
                self.write(byte.to_ascii_lowercase());
                Step::Taken
            }
        }
    }

    fn text(&mut self, byte: u8) -> Step {
        if byte >= 0x80 && self.wide.len() < WIDEST {
            self.wide.push(byte);
            return Step::Taken;
        }
        self.flush_wide();
        match byte {
            0x80.. => return Step::Again,
            b'<' => {
                self.write(b'<');
                self.say_blank();
                self.tag = Tag::default();
                self.state = State::TagName;
                self.skips_space = true;
            }
            b'&' => {
                self.say_blank();
                self.reference = Some(Reference::default());
            }
            _ if is_space(byte) => {
                self.say_blank();
                self.state = State::Blank;
                return Step::Again;
            }
            _ => {
                let small = byte.to_ascii_lowercase();
                // Scripts may quote either way.
                self.write(if self.in_script() && byte == b'\'' { b'"' } else { small });
                if byte < 0x20 {
                    self.say_blank();
                } else if !self.in_script() {
                    self.views.without_tags.push(small);
                    self.blank = false;
                }
            }
        }
        Step::Taken
    }

    fn blank(&mut self, byte: u8) -> Step {
        if is_space(byte) {
            return Step::Taken;
        }
        if !self.in_script() {
            self.write(b' ');
        }
        self.state = State::Text;
        Step::Again
    }

    fn comment(&mut self, byte: u8) -> Step {
        if self.in_script() && !is_space(byte) {
            self.write(if byte == b'\'' { b'"' } else { byte.to_ascii_lowercase() });
        }
        if byte == b'>' {
            self.state = State::Text;
            self.skips_space = true;
        }
        Step::Taken
    }

    /// The decoded body of an encoded script.
    fn encoded(&mut self, script: &[u8]) {
        for &byte in script {
            self.write(byte.to_ascii_lowercase());
        }
        self.raw = Raw::Script;
        self.skips_space = false;
        self.state = State::Text;
    }

    /// What came is over: what was read of a reference counts.
    fn end(&mut self) {
        if let Some(reference) = self.reference.take() {
            self.end_of_reference(&reference);
        }
    }

    fn write(&mut self, byte: u8) {
        self.views.without_comments.push(byte);
    }

    /// One blank in the view without tags, where none is yet.
    fn say_blank(&mut self) {
        if !self.in_script() && !std::mem::replace(&mut self.blank, true) {
            self.views.without_tags.push(b' ');
        }
    }

    fn in_script(&self) -> bool {
        self.raw != Raw::No
    }

    /// Characters of several bytes: the view without tags has them the way that ClamAV misprints them.
    fn flush_wide(&mut self) {
        let wide = std::mem::take(&mut self.wide);
        let Html { without_comments, without_tags, .. } = &mut self.views;
        match *wide {
            [] => return,
            [0xe3, 0x80, 0x82] => {
                // The ideographic full stop ends sentences as ours does.
                without_comments.push(b'.');
                without_tags.push(b'.');
            }
            [first, second, _] => without_tags.extend([first, second, second]),
            [first, _] => without_tags.extend([first, first]),
            _ => without_tags.push(0),
        }
        if *wide != [0xe3, 0x80, 0x82] {
            without_comments.extend(&wide);
        }
        self.wide = wide;
        self.wide.clear();
    }
}

/// Bytes of one character, at most.
const WIDEST: usize = 3;

/// Pieces in which ClamAV reads: zeros left out, cut at white space where there is some.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        const LONGEST: usize = 8_191;
        if self.0.is_empty() {
            return None;
        }
        let mut length = self.0.len().min(LONGEST);
        if length == LONGEST {
            let found = self.0.get(..length).and_then(|chunk| chunk.iter().rposition(|&byte| is_space(byte)));
            length = found.filter(|&at| at > 1).map_or(length, |at| at + 1);
        }
        let (chunk, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(chunk)
    }
}
