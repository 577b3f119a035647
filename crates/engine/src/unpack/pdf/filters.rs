//! A stream's filters (ISO 32000-2, 7.4): which ones it names, and a reader through them.

use super::blocks::{Blocks, Bytes, Meter, Metered};
use super::crypt::StreamKey;
use super::flate::{Flate, Lzw};
use super::lexer::{Dictionary, Value};
use super::predictor::{Predicted, Predictor};
use super::text_filters::{Ascii85, AsciiHex, RunLength};

/// More filters in a row than any writer has reason for.
const MAX_STAGES: usize = 8;

#[derive(Debug, PartialEq)]
pub(super) struct Chain {
    stages: Vec<Stage>,
    pub(super) end: End,
    /// What comes out is a picture in a format of its own.
    pub(super) is_picture: bool,
    /// The name in a `Crypt` filter, which replaces the document's default.
    pub(super) crypt_filter: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Flate(Option<Predictor>),
    Lzw { early_change: bool, predictor: Option<Predictor> },
    Ascii85,
    AsciiHex,
    RunLength,
}

/// What the bytes after the last stage are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream's data, or a picture in a format of its own.
    Data,
    /// Still encoded with a filter that this build does not know.
    UnknownFilter,
    /// Decoded, with a prediction that this build does not know.
    UnknownPredictor,
    TooMany,
}

impl Chain {
    /// `filter` is what the stream has as `/Filter`; references are followed with `resolve`, which gives `None` where it cannot tell.
    pub(super) fn new(filter: Option<&Value>, parameters: Option<&Value>, resolve: &dyn Fn(&Value) -> Option<Value>) -> Self {
        let mut chain = Self { stages: Vec::new(), end: End::Data, is_picture: false, crypt_filter: None };
        let Some(filter) = filter.map_or(Some(Value::Null), resolve) else {
            chain.end = End::UnknownFilter;
            return chain;
        };
        let parameters = parameters.and_then(resolve).unwrap_or(Value::Null);
        let filters = match filter {
            Value::Null => Vec::new(),
            Value::Array(filters) => filters,
            other => vec![other],
        };
        if filters.len() > MAX_STAGES {
            chain.end = End::TooMany;
            return chain;
        }
        for (index, filter) in filters.iter().enumerate() {
            let parameters = match &parameters {
                Value::Array(list) => list.get(index).and_then(resolve),
                single if filters.len() == 1 => Some(single.clone()),
                _ => None,
            };
            let name = resolve(filter);
            if !chain.push(name.as_ref().and_then(Value::as_name), &Parameters { values: parameters, resolve }) {
                // A picture's own format ends a chain; a filter named after it is nothing that a reader would get to.
                if chain.end == End::Data && index + 1 < filters.len() {
                    chain.end = End::UnknownFilter;
                }
                break;
            }
        }
        chain
    }

    /// Adds the filter; whether the chain goes on after it.
    fn push(&mut self, name: Option<&[u8]>, parameters: &Parameters<'_>) -> bool {
        let stage = match name.unwrap_or_default() {
            b"FlateDecode" | b"Fl" => Stage::Flate(self.predictor(parameters)),
            b"LZWDecode" | b"LZW" => {
                let early_change = parameters.number("EarlyChange", 1) != 0;
                Stage::Lzw { early_change, predictor: self.predictor(parameters) }
            }
            b"ASCII85Decode" | b"A85" => Stage::Ascii85,
            b"ASCIIHexDecode" | b"AHx" => Stage::AsciiHex,
            b"RunLengthDecode" | b"RL" => Stage::RunLength,
            b"Crypt" => {
                let name = parameters.get("Name");
                self.crypt_filter = Some(name.as_ref().and_then(Value::as_name).unwrap_or(b"Identity").to_vec());
                return true;
            }
            b"DCTDecode" | b"DCT" | b"JPXDecode" | b"CCITTFaxDecode" | b"CCF" | b"JBIG2Decode" => {
                self.is_picture = true;
                return false;
            }
            _ => {
                self.end = End::UnknownFilter;
                return false;
            }
        };
        self.stages.push(stage);
        self.end == End::Data
    }

    fn predictor(&mut self, parameters: &Parameters<'_>) -> Option<Predictor> {
        let kind = parameters.number("Predictor", 1);
        let number = |key| parameters.number(key, if key == "BitsPerComponent" { 8 } else { 1 });
        match Predictor::new(kind, number("Colors"), number("BitsPerComponent"), number("Columns")) {
            Ok(predictor) => predictor,
            Err(_) => {
                self.end = End::UnknownPredictor;
                None
            }
        }
    }

    /// `data` decrypted and decoded. What passes between two filters is charged to `meter`.
    pub(super) fn reader<'a>(&self, data: &'a [u8], key: Option<&StreamKey>, meter: &Meter) -> Bytes<'a> {
        let mut bytes: Bytes<'a> = Box::new(data);
        if let Some(key) = key {
            bytes = key.reader(bytes);
        }
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                bytes = Box::new(Metered::new(bytes, meter));
            }
            bytes = match stage {
                Stage::Flate(predictor) => predicted(Box::new(Blocks::new(Flate::new(bytes))), *predictor),
                Stage::Lzw { early_change, predictor } => predicted(Box::new(Blocks::new(Lzw::new(bytes, *early_change))), *predictor),
                Stage::Ascii85 => Box::new(Blocks::new(Ascii85::new(bytes))),
                Stage::AsciiHex => Box::new(Blocks::new(AsciiHex::new(bytes))),
                Stage::RunLength => Box::new(Blocks::new(RunLength::new(bytes))),
            };
        }
        bytes
    }
}

fn predicted<'a>(bytes: Bytes<'a>, predictor: Option<Predictor>) -> Bytes<'a> {
    match predictor {
        Some(predictor) => Box::new(Blocks::new(Predicted::new(bytes, predictor))),
        None => bytes,
    }
}

/// One filter's decode parameters.
struct Parameters<'r> {
    values: Option<Value>,
    resolve: &'r dyn Fn(&Value) -> Option<Value>,
}

impl Parameters<'_> {
    fn get(&self, key: &str) -> Option<Value> {
        let values: &Dictionary = self.values.as_ref()?.as_dictionary()?;
        (self.resolve)(values.get(key)?)
    }

    fn number(&self, key: &str, default: i64) -> i64 {
        self.get(key).and_then(|value| value.as_integer()).unwrap_or(default)
    }
}
