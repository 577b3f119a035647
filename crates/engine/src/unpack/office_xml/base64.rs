//! Base64 as documents in XML carry it (RFC 4648, with white space anywhere).

use std::io::{self, Read};

/// Decodes as it is read, up to the padding or the first character that is none.
pub(super) struct Base64<'a> {
    text: std::slice::Iter<'a, u8>,
    ready: Vec<u8>,
    given: usize,
}

impl<'a> Base64<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes().iter(), ready: Vec::new(), given: 0 }
    }

    fn fill(&mut self) {
        const STEP: usize = 8 << 10;
        self.ready.clear();
        self.given = 0;
        while self.ready.len() < STEP {
            let mut group = [0u8; 4];
            let mut count = 0;
            while let Some(place) = group.get_mut(count) {
                let Some(byte) = self.text.next() else { break };
                if byte.is_ascii_whitespace() {
                    continue;
                }
                match digit(*byte) {
                    Some(value) => *place = value,
                    None => {
                        self.text = [].iter();
                        break;
                    }
                }
                count += 1;
            }
            let bits = group.iter().fold(0u32, |bits, value| bits << 6 | u32::from(*value));
            let [_, first, second, third] = bits.to_be_bytes();
            match count {
                4 => self.ready.extend([first, second, third]),
                3 => self.ready.extend([first, second]),
                2 => self.ready.push(first),
                _ => {}
            }
            if count < 4 {
                break;
            }
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

impl Read for Base64<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            self.fill();
        }
        let ready = self.ready.get(self.given..).unwrap_or_default();
        let count = ready.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}
