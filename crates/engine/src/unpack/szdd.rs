//! Files of Microsoft's COMPRESS.EXE: SZDD, and KWAJ where it is no more than that.

use std::io::{self, Read};

use filesafety_model::Reason;

use super::{Ended, Sink, Stop, codec::Foreign, u16_at, u32_at, zip};

const SZDD: &[u8] = b"SZDD\x88\xf0\x27\x33";
/// Of QBasic's installer.
const SZ: &[u8] = b"SZ \x88\xf0\x27\x33\xd1";
const KWAJ: &[u8] = b"KWAJ\x88\xf0\x27\xd1";

const WINDOW: usize = 4_096;

pub(crate) fn starts(content: &[u8]) -> bool {
    [SZDD, SZ, KWAJ].iter().any(|mark| content.starts_with(mark))
}

pub(crate) fn open(content: &[u8], name: Option<&str>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let name = name.and_then(|name| name.rsplit('/').next()).unwrap_or("content");
    if content.starts_with(KWAJ) {
        kwaj(content, name, sink)?;
    } else {
        let (data, start) = if content.starts_with(SZDD) { (14, WINDOW - 16) } else { (12, WINDOW - 18) };
        match (u32_at(content, data - 4), content.get(data..)) {
            (Some(size), Some(input)) => lz(name, input, start, Some(u64::from(size)), "Szdd", sink)?,
            (Some(_) | None, Some(_) | None) => sink.unexamined(Reason::Broken, "Szdd"),
        }
    }
    zip::open_across(content, &[], sink)
}

fn lz(name: &str, input: &[u8], start: usize, size: Option<u64>, detail: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let lz = Lz { input, window: vec![b' '; WINDOW], at: start, flags: 0, flags_left: 0, copy: (0, 0) };
    let mut content = Foreign::new(&[], |_| Ok(lz.take(size.unwrap_or(u64::MAX))), |_| 0);
    let decoded = sink.child(name, &mut content)?;
    if decoded.ended == Ended::InError || size.is_some_and(|size| size != decoded.bytes) {
        sink.unexamined(Reason::Broken, detail);
    }
    Ok(())
}

fn kwaj(content: &[u8], name: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let head = || {
        let (method, data, flags) = (u16_at(content, 8)?, usize::from(u16_at(content, 10)?), u16_at(content, 12)?);
        let size = if flags & 1 != 0 { Some(u64::from(u32_at(content, 14)?)) } else { None };
        Some((method, content.get(data..)?, size))
    };
    let Some((method, input, size)) = head() else {
        sink.unexamined(Reason::Broken, "Kwaj");
        return Ok(());
    };
    match method {
        0 => drop(sink.part(name, input)?),
        1 => drop(sink.child(name, &mut Inverted(input))?),
        2 => lz(name, input, WINDOW - 16, size, "Kwaj", sink)?,
        _ => sink.unexamined(Reason::Unsupported, "Kwaj"),
    }
    Ok(())
}

struct Inverted<'a>(&'a [u8]);

impl Read for Inverted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer.iter_mut().take(count).for_each(|byte| *byte ^= 0xff);
        Ok(count)
    }
}

struct Lz<'a> {
    input: &'a [u8],
    window: Vec<u8>,
    at: usize,
    flags: u8,
    flags_left: u8,
    /// What is still to be copied, and from where.
    copy: (usize, usize),
}

impl Lz<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.input.split_first()?;
        self.input = rest;
        Some(byte)
    }

    fn next(&mut self) -> Option<u8> {
        if self.copy.0 == 0 {
            if self.flags_left == 0 {
                (self.flags, self.flags_left) = (self.byte()?, 8);
            }
            let is_literal = self.flags & 1 == 1;
            self.flags >>= 1;
            self.flags_left -= 1;
            if is_literal {
                let byte = self.byte()?;
                return Some(self.put(byte));
            }
            let (low, high) = (usize::from(self.byte()?), usize::from(self.byte()?));
            self.copy = ((high & 15) + 3, low | (high & 0xf0) << 4);
        }
        let byte = self.window.get(self.copy.1 % WINDOW).copied().unwrap_or(b' ');
        self.copy = (self.copy.0 - 1, self.copy.1 + 1);
        Some(self.put(byte))
    }

    fn put(&mut self, byte: u8) -> u8 {
        if let Some(place) = self.window.get_mut(self.at % WINDOW) {
            *place = byte;
        }
        self.at = (self.at + 1) % WINDOW;
        byte
    }
}

impl Read for Lz<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for place in buffer.iter_mut() {
            let Some(byte) = self.next() else { break };
            *place = byte;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, eicar};

    /// Literals alone.
    fn szdd(content: &[u8]) -> Vec<u8> {
        let data = content.chunks(8).flat_map(|chunk| [&[0xff], chunk].concat());
        [SZDD, b"A\0", &(content.len() as u32).to_le_bytes()].concat().into_iter().chain(data).collect()
    }

    fn opened(content: &[u8]) -> Record {
        let mut record = Record::default();
        open(content, Some("a.ex_"), &mut record).unwrap();
        record
    }

    #[test]
    fn content_cuts_and_copies() {
        let packed = szdd(&eicar());
        assert!(opened(&packed).has(&eicar()) && opened(&packed).is_complete());
        for length in 8..packed.len() {
            assert!(!opened(&packed[..length]).is_complete(), "cut to {length}");
        }
        // One literal, then five copies of it.
        let packed = [SZDD, b"A\0", &6u32.to_le_bytes(), &[1, b'x', 0xf0, 0xf2]].concat();
        assert!(opened(&packed).has(b"xxxxxx"), "{:?}", opened(&packed).children);
        let packed = [KWAJ, &[1, 0, 14, 0, 0, 0], &eicar().iter().map(|byte| byte ^ 0xff).collect::<Vec<_>>()].concat();
        assert!(opened(&packed).has(&eicar()));
        assert!(opened(&[KWAJ, &[3, 0, 14, 0, 0, 0, 1]].concat()).says(Reason::Unsupported, "Kwaj"));
    }
}
