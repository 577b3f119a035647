//! gzip members (RFC 1952).

use std::io::{self, Read};

use super::{
    codec::{Fault, Inflate, Stream, failed},
    streams::{Codec, Start},
    u32_at,
};

impl Codec {
    pub(crate) const GZIP: Self = Self {
        detail: "Gzip",
        suffixes: &[".gz", ".tgz", ".gzip", ".svgz", ".z"],
        magic: &[0x1f, 0x8b, 8],
        starts: |input| if Header::parse(input).is_some() { Start::Stream } else { Start::Nothing },
        open: |input| Box::new(Member::new(input)),
        window: |_| 64 << 10,
        name: |input| Header::parse(input).and_then(|header| header.name),
    };
}

/// What stands before the deflate stream.
struct Header {
    length: usize,
    /// `FNAME`, in Latin-1.
    name: Option<String>,
}

impl Header {
    const FIXED: usize = 10;

    fn parse(input: &[u8]) -> Option<Self> {
        let fixed: &[u8; Self::FIXED] = input.first_chunk()?;
        let flags = fixed[3];
        // The three reserved bits must be zero (section 2.3.1.2).
        if fixed[..3] != [0x1f, 0x8b, 8] || flags & 0xe0 != 0 {
            return None;
        }
        let mut at = Self::FIXED;
        if flags & 4 != 0 {
            let length = super::u16_at(input, at)?;
            at = at.checked_add(2)?.checked_add(usize::from(length))?;
        }
        let mut name = None;
        if flags & 8 != 0 {
            let text = zero_terminated(input, at)?;
            at = at.checked_add(text.len())?.checked_add(1)?;
            name = Some(text.iter().take(MAX_NAME).map(|&byte| char::from(byte)).collect()).filter(|name: &String| !name.is_empty());
        }
        if flags & 16 != 0 {
            at = at.checked_add(zero_terminated(input, at)?.len())?.checked_add(1)?;
        }
        if flags & 2 != 0 {
            at = at.checked_add(2)?;
        }
        (at <= input.len()).then_some(Self { length: at, name })
    }
}

const MAX_NAME: usize = 1_024;

fn zero_terminated(input: &[u8], at: usize) -> Option<&[u8]> {
    let rest = input.get(at..)?;
    rest.get(..memchr::memchr(0, rest)?)
}

/// One member: what its deflate stream holds, checked against its trailer.
struct Member<'a> {
    input: &'a [u8],
    header: usize,
    stream: Inflate<'a>,
    crc: crc32fast::Hasher,
    /// Modulo 2³², as the trailer has it.
    bytes: u32,
    ended: bool,
    fault: Option<Fault>,
}

const TRAILER: usize = 8;

impl<'a> Member<'a> {
    fn new(input: &'a [u8]) -> Self {
        let header = Header::parse(input).map(|header| header.length);
        let body = header.and_then(|length| input.get(length..)).unwrap_or_default();
        Self {
            input,
            header: header.unwrap_or(input.len()),
            stream: Inflate::new(body),
            crc: crc32fast::Hasher::new(),
            bytes: 0,
            ended: false,
            fault: header.is_none().then_some(Fault::Cut),
        }
    }

    fn check_trailer(&mut self) -> Result<(), Fault> {
        let at = self.header.saturating_add(self.stream.consumed());
        let (crc, length) = u32_at(self.input, at).zip(u32_at(self.input, at.saturating_add(4))).ok_or(Fault::Cut)?;
        let same = crc == self.crc.clone().finalize() && length == self.bytes;
        if same { Ok(()) } else { Err(Fault::Damaged) }
    }
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(fault) = self.fault {
            return Err(failed(fault));
        }
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.stream.read(buffer).inspect_err(|_| self.fault = self.stream.fault())?;
        if count > 0 {
            self.crc.update(buffer.get(..count).unwrap_or_default());
            self.bytes = self.bytes.wrapping_add(u32::try_from(count).unwrap_or(0));
            return Ok(count);
        }
        self.ended = true;
        match self.check_trailer() {
            Ok(()) => Ok(0),
            Err(fault) => {
                self.fault = Some(fault);
                Err(failed(fault))
            }
        }
    }
}

impl Stream for Member<'_> {
    fn consumed(&self) -> usize {
        let end = self.header.saturating_add(self.stream.consumed());
        let end = if self.ended { end.saturating_add(TRAILER) } else { end };
        end.min(self.input.len())
    }

    fn fault(&self) -> Option<Fault> {
        self.fault
    }
}
