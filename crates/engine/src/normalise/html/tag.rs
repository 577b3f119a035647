//! Tags: their names, attributes and values, and what a whole tag changes.

use super::{MAX_TOKEN, Machine, Raw, State, Step, WIDEST, is_space};

/// What is known of the tag that is being read.
#[derive(Default)]
pub(super) struct Tag {
    name: Vec<u8>,
    attribute: Vec<u8>,
    value: Vec<u8>,
    quote: Option<u8>,
    /// Attributes that mean something, with their values.
    known: Vec<(Vec<u8>, Vec<u8>)>,
}

/// As many attributes of one tag are remembered.
const MAX_ATTRIBUTES: usize = 64;

impl Tag {
    /// Takes in the attribute that has ended, unless the name is there already.
    fn remember(&mut self) {
        let meaningful = matches!(&*self.attribute, b"href" | b"src" | b"language");
        if meaningful && self.known.len() < MAX_ATTRIBUTES {
            self.known.push((self.attribute.clone(), std::mem::take(&mut self.value)));
        }
        self.value.clear();
    }

    /// Without its quotes.
    fn value_of(&self, attribute: &[u8]) -> Option<&[u8]> {
        let (_, value) = self.known.iter().find(|(name, _)| name == attribute)?;
        let Some(bare) = value.strip_prefix(b"\"") else { return Some(value) };
        Some(bare.strip_suffix(b"\"").unwrap_or(bare))
    }

    pub(super) fn push_value(&mut self, byte: u8) {
        if self.value.len() < MAX_TOKEN {
            self.value.push(byte);
        }
    }

    pub(super) fn quote(&self) -> Option<u8> {
        self.quote
    }

    pub(super) fn clear_value(&mut self) {
        self.value.clear();
    }
}

impl Machine {
    pub(super) fn tag_name(&mut self, byte: u8) -> Step {
        match byte {
            b'!' if self.tag.name.is_empty() => {
                if self.in_script() {
                    self.write(b'!');
                } else {
                    self.views.without_comments.pop();
                }
                self.state = State::Comment;
            }
            b'>' => {
                self.write(b'>');
                self.state = State::Tagged;
                self.skips_space = true;
            }
            _ if self.in_script() && self.tag.name.is_empty() && !matches!(byte, b'/' | b'>') => {
                self.write(byte.to_ascii_lowercase());
                self.state = State::Text;
            }
            _ if is_space(byte) => {
                self.state = if self.in_script() { State::Tagged } else { State::Attribute };
                self.skips_space = true;
            }
            _ => {
                self.write(byte.to_ascii_lowercase());
                if self.tag.name.len() < MAX_TOKEN {
                    self.tag.name.push(byte.to_ascii_lowercase());
                }
            }
        }
        Step::Taken
    }

    pub(super) fn attribute(&mut self, byte: u8) -> Step {
        match byte {
            b'=' => self.begin_value(),
            b'>' => {
                self.write(b'>');
                if !self.tag.attribute.is_empty() {
                    self.tag.remember();
                }
                self.state = State::Tagged;
            }
            _ if is_space(byte) => {
                self.state = State::Equals;
                self.skips_space = true;
            }
            _ => {
                if self.tag.attribute.is_empty() {
                    self.write(b' ');
                }
                self.write(byte.to_ascii_lowercase());
                if self.tag.attribute.len() < MAX_TOKEN {
                    self.tag.attribute.push(byte.to_ascii_lowercase());
                }
            }
        }
        Step::Taken
    }

    pub(super) fn equals(&mut self, byte: u8) -> Step {
        if byte == b'=' {
            self.begin_value();
            return Step::Taken;
        }
        if !self.tag.attribute.is_empty() {
            self.tag.remember();
        }
        self.tag.attribute.clear();
        self.state = State::Attribute;
        Step::Again
    }

    fn begin_value(&mut self) {
        self.write(b'=');
        self.tag.value.clear();
        self.tag.quote = None;
        self.state = State::Value;
        self.skips_space = true;
    }

    pub(super) fn value(&mut self, byte: u8) -> Step {
        if matches!(&*self.tag.value, b"data:" | b"\"data:") {
            self.begin_data();
            return Step::Again;
        }
        match byte {
            b'&' => self.reference = Some(super::Reference::default()),
            b'\'' | b'"' => {
                self.write(b'"');
                let opens = self.tag.value.is_empty();
                self.tag.push_value(b'"');
                if opens {
                    self.tag.quote = Some(byte);
                } else if self.tag.quote == Some(byte) {
                    self.end_value();
                }
            }
            b'>' | b' ' | b'\t'..=b'\r' if self.tag.quote.is_none() => {
                self.end_value();
                return Step::Again;
            }
            b'>' | b' ' | b'\t'..=b'\r' => {
                self.write(byte);
                self.tag.push_value(if byte == b'>' { byte } else { b' ' });
                self.skips_space = true;
            }
            _ => self.value_byte(byte),
        }
        Step::Taken
    }

    /// Characters beyond ASCII are written when the next one comes, and are lost before the end of the value: ClamAV's slip.
    fn value_byte(&mut self, byte: u8) {
        if byte < 0x80 || self.wide.len() >= WIDEST {
            let wide = std::mem::take(&mut self.wide);
            self.views.without_comments.extend(&wide);
            wide.iter().for_each(|&byte| self.tag.push_value(byte));
        }
        if byte >= 0x80 {
            self.wide.push(byte);
        } else {
            self.write(byte.to_ascii_lowercase());
            self.tag.push_value(byte);
        }
    }

    fn end_value(&mut self) {
        self.wide.clear();
        self.tag.remember();
        self.tag.attribute.clear();
        self.state = State::Attribute;
        self.skips_space = true;
    }

    pub(super) fn tagged(&mut self) {
        self.state = State::Text;
        self.skips_space = true;
        match &*self.tag.name {
            b"/script" => self.raw = Raw::No,
            b"/style" if self.raw == Raw::Style => self.raw = Raw::No,
            b"style" => self.raw = Raw::Style,
            b"script" => {
                self.raw = Raw::Script;
                if self.tag.value_of(b"language").is_some_and(is_encoded) {
                    self.state = State::Encoded;
                }
            }
            b"%@" if self.tag.value_of(b"language").is_some_and(is_encoded) => self.state = State::Encoded,
            b"a" => self.say_address(b"href"),
            b"img" => self.say_address(b"src"),
            _ => {}
        }
        self.tag = Tag::default();
    }

    fn say_address(&mut self, attribute: &[u8]) {
        if let Some(address) = self.tag.value_of(attribute).filter(|address| !address.is_empty()) {
            self.views.without_tags.extend(address);
            self.views.without_tags.push(b' ');
        }
    }
}

fn is_encoded(language: &[u8]) -> bool {
    [&b"jscript.encode"[..], b"vbscript.encode"].iter().any(|known| language.eq_ignore_ascii_case(known))
}
