//! Character references.

use super::{
    super::{entities, is_space},
    MAX_TOKEN, Machine, State, Step,
};

/// What was read since the `&`.
pub(super) enum Reference {
    Named(Vec<u8>),
    Decimal(u32),
    Hexadecimal(u32),
    /// After `#`.
    Numbered,
}

impl Default for Reference {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Machine {
    pub(super) fn refer(&mut self, reference: Reference, byte: u8) -> Step {
        let digit = |radix| char::from(byte).to_digit(radix);
        self.reference = Some(match reference {
            Reference::Named(name) if name.is_empty() && byte == b'#' => Reference::Numbered,
            Reference::Named(mut name) if is_named(byte) && name.len() < MAX_TOKEN => {
                name.push(byte);
                Reference::Named(name)
            }
            Reference::Named(name) => return self.end_named(&name, byte),
            Reference::Numbered if matches!(byte, b'x' | b'X') => Reference::Hexadecimal(0),
            Reference::Numbered if byte.is_ascii_digit() => Reference::Decimal(u32::from(byte - b'0')),
            Reference::Numbered => return self.end_number(0, byte),
            Reference::Decimal(value) => match digit(10) {
                Some(digit) => Reference::Decimal(value.wrapping_mul(10).wrapping_add(digit)),
                None => return self.end_number(value, byte),
            },
            Reference::Hexadecimal(value) => match digit(16) {
                Some(digit) => Reference::Hexadecimal(value.wrapping_mul(16).wrapping_add(digit)),
                None => return self.end_number(value, byte),
            },
        });
        Step::Taken
    }

    /// At the end of the text: a name counts without its semicolon, a number does not.
    pub(super) fn end_of_reference(&mut self, reference: &Reference) {
        match reference {
            Reference::Named(name) => match entities::code_point(name) {
                Some(value) => self.write_unit(value),
                None if name.is_empty() => {}
                None => self.write_name(name),
            },
            Reference::Decimal(_) | Reference::Hexadecimal(_) | Reference::Numbered => {}
        }
    }

    fn end_named(&mut self, name: &[u8], byte: u8) -> Step {
        if byte != b';' {
            self.write_name(name);
            return Step::Again;
        }
        match entities::code_point(name) {
            Some(value) => self.write_unit(value),
            None => {
                self.write_name(name);
                self.write(b';');
                self.value_bytes(b";");
            }
        }
        Step::Taken
    }

    fn write_name(&mut self, name: &[u8]) {
        self.write(b'&');
        self.views.without_comments.extend(name.to_ascii_lowercase());
        self.value_bytes(b"&");
        self.value_bytes(name);
    }

    /// Without its semicolon, a number is its lowest byte.
    fn end_number(&mut self, value: u32, byte: u8) -> Step {
        let [lowest, ..] = value.to_le_bytes();
        if byte != b';' {
            self.write(lowest);
            self.value_bytes(&[lowest]);
            return Step::Again;
        }
        match u8::try_from(value).ok().filter(u8::is_ascii) {
            Some(byte) => self.write(byte.to_ascii_lowercase()),
            None => self.views.without_comments.extend(unit(value)),
        }
        self.value_bytes(&[lowest]);
        Step::Taken
    }

    fn write_unit(&mut self, value: u16) {
        let written = unit(u32::from(value));
        self.views.without_comments.extend(&written);
        self.value_bytes(&written);
    }

    fn value_bytes(&mut self, bytes: &[u8]) {
        if self.state == State::Value {
            bytes.iter().for_each(|&byte| self.tag.push_value(byte));
        }
    }
}

/// A UTF-16 unit: nothing for zero, a byte where one does, else a reference again.
fn unit(value: u32) -> Vec<u8> {
    match value & 0xffff {
        0 => Vec::new(),
        value @ 1..0xff => u8::try_from(value).into_iter().collect(),
        value => format!("&#x{value:04x};").into_bytes(),
    }
}

fn is_named(byte: u8) -> bool {
    (byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-')) && !is_space(byte)
}
