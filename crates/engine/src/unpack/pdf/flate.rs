//! FlateDecode and LZWDecode (ISO 32000-2, 7.4.4), as forgiving as readers are.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use weezl::decode::{Configuration, Decoder};
use weezl::{BitOrder, LzwStatus};

use super::blocks::{Bytes, Decode, cut_short, damaged, next_byte};
use super::lexer::is_white;

const BLOCK: usize = 64 * 1024;
/// White space before a zlib header, which a writer with another idea of line ends leaves there.
const MAX_LEADING_WHITE: u32 = 4;

pub(super) struct Flate<'a> {
    source: Bytes<'a>,
    inflate: Decompress,
    /// Bytes taken for a header that is none.
    pending: Vec<u8>,
    started: bool,
    ended: bool,
    sum: Adler,
    wrapped: bool,
}

pub(super) struct Lzw<'a> {
    source: Bytes<'a>,
    decoder: Decoder,
    ended: bool,
    some: bool,
}

struct Adler {
    low: u32,
    high: u32,
}

impl<'a> Flate<'a> {
    pub(super) fn new(source: Bytes<'a>) -> Self {
        Self {
            source,
            inflate: Decompress::new(false),
            pending: Vec::new(),
            started: false,
            ended: false,
            sum: Adler { low: 1, high: 0 },
            wrapped: false,
        }
    }

    /// Reads the two bytes of a zlib header. Where they are none, they are data of a bare deflate stream.
    fn start(&mut self) -> io::Result<()> {
        self.started = true;
        let mut first = next_byte(&mut self.source)?;
        let mut skipped = 0;
        while skipped < MAX_LEADING_WHITE && first.is_some_and(is_white) {
            self.pending.extend(first);
            first = next_byte(&mut self.source)?;
            skipped += 1;
        }
        let Some(method) = first else {
            // Nothing but white space: an empty stream.
            self.ended = true;
            return Ok(());
        };
        let flags = next_byte(&mut self.source)?;
        // Some readers do not verify the header's check bits, so a wrong check is no reason to see another stream here.
        if method & 0x0f == 8 && method >> 4 <= 7 {
            self.wrapped = true;
            self.pending.clear();
        } else {
            self.pending.push(method);
            self.pending.extend(flags);
        }
        Ok(())
    }

    fn inflate_some(&mut self, block: &mut Vec<u8>) -> io::Result<Status> {
        let from_pending = !self.pending.is_empty();
        let input = if from_pending { self.pending.as_slice() } else { self.source.fill_buf()? };
        let no_more = input.is_empty();
        block.resize(BLOCK, 0);
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let outcome = self.inflate.decompress(input, block, FlushDecompress::None);
        let consumed = usize::try_from(self.inflate.total_in() - in_before).unwrap_or_default();
        block.truncate(usize::try_from(self.inflate.total_out() - out_before).unwrap_or_default());
        if from_pending {
            self.pending.drain(..consumed.min(self.pending.len()));
        } else {
            self.source.consume(consumed);
        }
        self.sum.update(block);
        let status = outcome.map_err(|_| damaged("no deflate data"))?;
        match status {
            Status::StreamEnd => Ok(status),
            Status::Ok | Status::BufError if no_more && block.is_empty() => Err(cut_short()),
            Status::Ok | Status::BufError if consumed == 0 && block.is_empty() => Err(damaged("no deflate data")),
            Status::Ok | Status::BufError => Ok(status),
        }
    }

    /// The checksum after the data. Writers leave it away, and then line ends or nothing stand there; four other bytes are a sum that fails.
    fn verify_sum(&mut self) -> io::Result<()> {
        let mut stored = [0_u8; 4];
        for place in &mut stored {
            // An error of an inner filter past the end of the data takes nothing from what a reader sees.
            match next_byte(&mut self.source) {
                Ok(Some(byte)) => *place = byte,
                Ok(None) | Err(_) => return Ok(()),
            }
        }
        let absent = stored.iter().all(|byte| is_white(*byte));
        if absent || u32::from_be_bytes(stored) == self.sum.value() { Ok(()) } else { Err(damaged("the checksum fails")) }
    }
}

impl Decode for Flate<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        if !self.started {
            self.start()?;
        }
        while !self.ended && block.is_empty() {
            if matches!(self.inflate_some(block)?, Status::StreamEnd) {
                self.ended = true;
                if self.wrapped {
                    self.verify_sum()?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> Lzw<'a> {
    /// `early_change`: the code length grows one code early, the default of the format.
    pub(super) fn new(source: Bytes<'a>, early_change: bool) -> Self {
        let configuration =
            if early_change { Configuration::with_tiff_size_switch(BitOrder::Msb, 8) } else { Configuration::new(BitOrder::Msb, 8) };
        Self { source, decoder: configuration.build(), ended: false, some: false }
    }
}

impl Decode for Lzw<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        while !self.ended && block.is_empty() {
            let input = self.source.fill_buf()?;
            let no_more = input.is_empty();
            if no_more && !self.some {
                self.ended = true;
                break;
            }
            self.some = true;
            block.resize(BLOCK, 0);
            let step = self.decoder.decode_bytes(input, block);
            block.truncate(step.consumed_out);
            self.source.consume(step.consumed_in);
            match step.status.map_err(|_| damaged("no LZW data"))? {
                LzwStatus::Done => self.ended = true,
                LzwStatus::Ok | LzwStatus::NoProgress if no_more && block.is_empty() => return Err(cut_short()),
                LzwStatus::NoProgress if step.consumed_in == 0 && block.is_empty() => return Err(damaged("no LZW data")),
                LzwStatus::Ok | LzwStatus::NoProgress => {}
            }
        }
        Ok(())
    }
}

impl Adler {
    fn update(&mut self, bytes: &[u8]) {
        // 5,552 is the most bytes for which the sums cannot overflow (RFC 1950, 9).
        for run in bytes.chunks(5552) {
            for byte in run {
                self.low += u32::from(*byte);
                self.high += self.low;
            }
            self.low %= 65_521;
            self.high %= 65_521;
        }
    }

    fn value(&self) -> u32 {
        self.high << 16 | self.low
    }
}
