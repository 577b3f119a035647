//! Bytes written as hexadecimal digits, in the readings that parsers of RTF have of them.

use crate::unpack::{Sink, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Object,
    Picture,
    /// Themes and other data: containers too.
    Data,
}

impl Purpose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Picture => "picture",
            Self::Data => "data",
        }
    }
}

/// What one destination holds.
pub(super) struct Digits {
    pub(super) purpose: Purpose,
    pub(super) held: u64,
    /// As Word reads it: groups that a reader may ignore are ignored.
    strict: Bytes,
    /// With everything in it, from the first ignored digit on.
    all: Option<Bytes>,
}

#[derive(Clone, Default)]
struct Bytes {
    bytes: Vec<u8>,
    half: Option<u8>,
}

impl Digits {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, held: 0, strict: Bytes::default(), all: None }
    }

    pub(super) fn add(&mut self, text: &[u8], is_ignored: bool, sink: &mut dyn Sink) -> Result<(), Stop> {
        let grown = text.len() as u64;
        if is_ignored && self.all.is_none() {
            // The properties of a picture are no part of it.
            if self.purpose == Purpose::Picture || !text.iter().any(u8::is_ascii_hexdigit) {
                return Ok(());
            }
            self.hold(self.strict.bytes.len() as u64, sink)?;
            self.all = Some(self.strict.clone());
        }
        self.hold(grown, sink)?;
        if !is_ignored {
            self.strict.add(text);
        }
        if let Some(all) = &mut self.all {
            all.add(text);
        }
        Ok(())
    }

    pub(super) fn add_raw(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
        self.hold(bytes.len() as u64 * 2, sink)?;
        self.strict.bytes.extend_from_slice(bytes);
        if let Some(all) = &mut self.all {
            all.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// An escaped character stands for nothing here, and Word forgets the digit before it.
    pub(super) fn drop_half(&mut self) {
        self.strict.half = None;
        if let Some(all) = &mut self.all {
            all.half = None;
        }
    }

    pub(super) fn readings(self) -> impl Iterator<Item = Vec<u8>> {
        [Some(self.strict), self.all].into_iter().flatten().map(|reading| reading.bytes)
    }

    fn hold(&mut self, bytes: u64, sink: &mut dyn Sink) -> Result<(), Stop> {
        sink.hold(bytes)?;
        self.held = self.held.saturating_add(bytes);
        Ok(())
    }
}

impl Bytes {
    fn add(&mut self, text: &[u8]) {
        for digit in text.iter().filter_map(|byte| char::from(*byte).to_digit(16)).filter_map(|digit| u8::try_from(digit).ok()) {
            match self.half.take() {
                Some(high) => self.bytes.push(high << 4 | digit),
                None => self.half = Some(digit),
            }
        }
    }
}

/// The same digits, read from the second one on.
pub(super) fn shifted(bytes: &[u8]) -> Vec<u8> {
    bytes.windows(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)? >> 4)).collect()
}
