mod actions;
mod crypt;
mod decoding;
mod structure;

use std::{
    io::{Read, Write},
    rc::Rc,
};

use filesafety_model::{Password, Reason};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::open;
use crate::facts::Fact;
use crate::unpack::{Decoded, Ended, Sink, Stop};

/// What an opener told.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) children: Vec<(String, Vec<u8>)>,
    pub(super) unexamined: Vec<(Reason, String)>,
    pub(super) notes: Vec<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) passwords: Vec<Password>,
    pub(super) ticks: u64,
    /// Ticks until the budget is used up.
    pub(super) budget: Option<u64>,
}

impl Sink for Recorded {
    fn child(&mut self, name: &str, content: &mut dyn Read) -> Result<Decoded, Stop> {
        let mut bytes = Vec::new();
        let ended = if content.take(8 << 20).read_to_end(&mut bytes).is_ok() { Ended::AtEnd } else { Ended::InError };
        let decoded = Decoded { bytes: bytes.len() as u64, crc32: 0, ended };
        self.children.push((name.to_owned(), bytes));
        Ok(decoded)
    }

    fn unexamined(&mut self, reason: Reason, detail: &str) {
        self.unexamined.push((reason, detail.to_owned()));
    }

    fn member_unexamined(&mut self, _name: &str, reason: Reason, detail: &str) {
        self.unexamined(reason, detail);
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    fn fact(&mut self, fact: Fact, _detail: &str) {
        self.facts.push(fact);
    }

    fn passwords(&self) -> Rc<[Password]> {
        self.passwords.as_slice().into()
    }

    fn tick(&mut self) -> Result<(), Stop> {
        self.ticks += 1;
        if self.budget.is_some_and(|budget| self.ticks > budget) { Err(Stop) } else { Ok(()) }
    }
}

impl Recorded {
    pub(super) fn is_complete(&self) -> bool {
        self.unexamined.is_empty()
    }

    pub(super) fn has(&self, data: &[u8]) -> bool {
        self.children.iter().any(|(_, content)| content == data)
    }

    pub(super) fn tells(&self, reason: Reason, detail: &str) -> bool {
        self.unexamined.iter().any(|(other, text)| *other == reason && text == detail)
    }
}

pub(super) fn record(content: &[u8]) -> Recorded {
    let mut recorded = Recorded::default();
    open(content, &mut recorded).expect("no budget to use up");
    recorded
}

pub(super) fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// `entries` and the right length, then `data`.
pub(super) fn stream(entries: &str, data: &[u8]) -> Vec<u8> {
    stream_of_length(entries, data.len(), data)
}

pub(super) fn stream_of_length(entries: &str, length: usize, data: &[u8]) -> Vec<u8> {
    let mut body = format!("<< {entries} /Length {length} >>\nstream\n").into_bytes();
    body.extend_from_slice(data);
    body.extend_from_slice(b"\nendstream");
    body
}

/// A document of these objects, numbered from 1, with cross-reference table and trailer.
pub(super) fn document(bodies: &[Vec<u8>]) -> Vec<u8> {
    document_with("", bodies)
}

pub(super) fn document_with(trailer: &str, bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", bodies.len() + 1);
    for (index, body) in bodies.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.extend(format!("{} 0 obj\n", index + 1).into_bytes());
        file.extend_from_slice(body);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    file.extend(
        format!("{table}trailer\n<< /Size {} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n", bodies.len() + 1).into_bytes(),
    );
    file
}

pub(super) fn catalog() -> Vec<u8> {
    b"<< /Type /Catalog >>".to_vec()
}
