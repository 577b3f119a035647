//! Undoing predictors (ISO 32000-2, 7.4.4.4), so that a decoded object is what a reader sees.

use std::io::{self, Read};

use super::blocks::{Bytes, Decode, next_byte};

/// The longest row that is undone; no picture within the limits has a longer one.
const MAX_ROW: u64 = 4 * 1024 * 1024;
const BLOCK: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Predictor {
    kind: Kind,
    row: usize,
    pixel: usize,
    bits: u32,
    colors: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tiff,
    /// Each row names its own prediction.
    Png,
}

pub(super) struct Predicted<'a> {
    source: Bytes<'a>,
    predictor: Predictor,
    above: Vec<u8>,
}

impl Predictor {
    /// From the decode parameters; `None` where nothing is predicted, `Err` for values outside of what the format has.
    pub(super) fn new(kind: i64, colors: i64, bits: i64, columns: i64) -> Result<Option<Self>, UnknownPredictor> {
        let kind = match kind {
            i64::MIN..=1 => return Ok(None),
            2 => Kind::Tiff,
            10..=15 => Kind::Png,
            _ => return Err(UnknownPredictor),
        };
        let (colors, bits, columns) = (positive(colors)?, positive(bits)?, positive(columns)?);
        if !matches!(bits, 1 | 2 | 4 | 8 | 16) {
            return Err(UnknownPredictor);
        }
        let pixel_bits = colors.checked_mul(bits).ok_or(UnknownPredictor)?;
        let row = pixel_bits.checked_mul(columns).ok_or(UnknownPredictor)?.div_ceil(8);
        if row > MAX_ROW {
            return Err(UnknownPredictor);
        }
        let size = |number: u64| usize::try_from(number).map_err(|_| UnknownPredictor);
        let bits = u32::try_from(bits).map_err(|_| UnknownPredictor)?;
        Ok(Some(Self { kind, row: size(row)?, pixel: size(pixel_bits.div_ceil(8))?, bits, colors: size(colors)? }))
    }
}

#[derive(Debug)]
pub(super) struct UnknownPredictor;

fn positive(number: i64) -> Result<u64, UnknownPredictor> {
    u64::try_from(number).ok().filter(|number| *number > 0).ok_or(UnknownPredictor)
}

impl<'a> Predicted<'a> {
    pub(super) fn new(source: Bytes<'a>, predictor: Predictor) -> Self {
        Self { source, predictor, above: vec![0; predictor.row] }
    }
}

impl Predicted<'_> {
    /// Appends one row; whether the data goes on.
    fn decode_row(&mut self, block: &mut Vec<u8>) -> io::Result<bool> {
        let mut tag = 0;
        if self.predictor.kind == Kind::Png {
            match next_byte(&mut self.source)? {
                Some(byte) => tag = byte,
                None => return Ok(false),
            }
        }
        let start = block.len();
        let outcome = (&mut self.source).take(self.predictor.row as u64).read_to_end(block);
        let row = block.get_mut(start..).unwrap_or_default();
        match self.predictor.kind {
            Kind::Tiff => undo_tiff(row, &self.predictor),
            Kind::Png => undo_png(tag, row, &self.above, self.predictor.pixel),
        }
        self.above.clear();
        self.above.extend_from_slice(row);
        self.above.resize(self.predictor.row, 0);
        outcome.map(|read| read == self.predictor.row)
    }
}

impl Decode for Predicted<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        while block.len() < BLOCK && self.decode_row(block)? {}
        Ok(())
    }
}

/// A row of a PNG filter type (PNG specification, 9.2); an unknown type leaves the row as it is.
fn undo_png(tag: u8, row: &mut [u8], above: &[u8], pixel: usize) {
    for at in 0..row.len() {
        let behind = at.checked_sub(pixel);
        let left = behind.and_then(|behind| row.get(behind)).copied().unwrap_or_default();
        let up = above.get(at).copied().unwrap_or_default();
        let corner = behind.and_then(|behind| above.get(behind)).copied().unwrap_or_default();
        let predicted = match tag {
            1 => left,
            2 => up,
            3 => left.midpoint(up),
            4 => paeth(left, up, corner),
            _ => 0,
        };
        if let Some(byte) = row.get_mut(at) {
            *byte = byte.wrapping_add(predicted);
        }
    }
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |neighbour: u8| (estimate - i16::from(neighbour)).abs();
    if distance(left) <= distance(up) && distance(left) <= distance(corner) {
        left
    } else if distance(up) <= distance(corner) {
        up
    } else {
        corner
    }
}

/// Each component is the difference to the same component of the pixel before (TIFF 6.0, section 14).
fn undo_tiff(row: &mut [u8], predictor: &Predictor) {
    match predictor.bits {
        8 => {
            for at in predictor.pixel..row.len() {
                let left = row.get(at - predictor.pixel).copied().unwrap_or_default();
                if let Some(byte) = row.get_mut(at) {
                    *byte = byte.wrapping_add(left);
                }
            }
        }
        16 => {
            let mut before = vec![0_u16; predictor.colors];
            for (index, pair) in row.chunks_exact_mut(2).enumerate() {
                let Some(left) = before.get_mut(index % predictor.colors) else { break };
                if let [high, low] = pair {
                    *left = left.wrapping_add(u16::from_be_bytes([*high, *low]));
                    [*high, *low] = left.to_be_bytes();
                }
            }
        }
        bits => undo_tiff_bits(row, bits, predictor.colors),
    }
}

fn undo_tiff_bits(row: &mut [u8], bits: u32, colors: usize) {
    let mask = (1_u8 << bits) - 1;
    let mut before = vec![0_u8; colors];
    let mut index = 0;
    for byte in row {
        let mut shift = 8;
        while shift > 0 {
            shift -= bits;
            let Some(left) = before.get_mut(index % colors) else { return };
            *left = left.wrapping_add(*byte >> shift) & mask;
            *byte = *byte & !(mask << shift) | *left << shift;
            index += 1;
        }
    }
}
