//! Protocol Buffers as they are written, as far as ONNX uses them: the fields of a message, one after another, borrowed from it.

use super::{malformed, unsupported};
use crate::LoadError;

/// A field's value. Groups, which ONNX has none of, are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Four([u8; 4]),
    Eight,
    /// A message, a text, or numbers side by side.
    Bytes(&'a [u8]),
}

/// The fields of a message: number and value. It ends after the first that cannot be read.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Eight)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Four(self.take(4)?.try_into().ok()?),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7F);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| malformed("a message that is cut off or damaged")))
    }
}

/// A name.
pub(super) fn text(bytes: &[u8]) -> Result<&str, LoadError> {
    std::str::from_utf8(bytes).map_err(|_| malformed("a name that is not UTF-8"))
}

/// One occurrence of a list of integers: a number, or several side by side.
pub(super) fn ints(value: Value<'_>, list: &mut Vec<i64>, most: usize) -> Result<(), LoadError> {
    let mut add = |number: u64| {
        if list.len() >= most {
            return Err(unsupported(format!("a list of more than {most} numbers")));
        }
        list.push(number.cast_signed());
        Ok(())
    };
    match value {
        Value::Number(number) => add(number),
        Value::Bytes(bytes) => {
            let mut packed = Fields::of(bytes);
            while !packed.rest.is_empty() {
                add(packed.number().ok_or_else(|| malformed("a list of numbers that is cut off"))?)?;
            }
            Ok(())
        }
        Value::Four(_) | Value::Eight => Err(malformed("a list of numbers of another kind")),
    }
}
