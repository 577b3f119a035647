//! Pictures that are nothing but pixels: the container around them says how to read these.

use filesafety_model::PictureFault;
use image::ColorType;
use image::metadata::Orientation;

use super::decode::check_size;
use super::raster::Raster;
use super::{Memory, PictureLimits};

/// How to read samples: rows from the top, each filled up to a whole byte, samples from the highest bit, those of more than eight bits
/// with the high byte first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Of a sample: 1, 2, 4, 8 or 16.
    pub(crate) bits: u8,
    pub(crate) colours: Colours,
    /// The highest sample is the darkest.
    pub(crate) inverted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    Grey,
    Rgb,
    Cmyk,
    Palette(Vec<[u8; 3]>),
    /// Grey, RGB or CMYK, as many samples as there are.
    ByLength,
}

impl Pixels {
    /// The picture, cut to the rows that are there.
    ///
    /// # Errors
    /// `TooLarge` beyond the limits or where memory is refused, `Broken` when there is not one row.
    pub(super) fn raster(&self, samples: &[u8], limits: &PictureLimits, memory: &mut Memory<'_>) -> Result<Raster, PictureFault> {
        let pixels = check_size(self.width, self.height, limits)?;
        if samples.len() as u64 > limits.bytes.max(pixels.saturating_mul(8)) {
            return Err(PictureFault::TooLarge);
        }
        let count = self.samples_of_a_pixel(samples.len());
        let row_bytes = usize::try_from((u64::from(self.width) * count as u64 * u64::from(self.bits)).div_ceil(8));
        let row_bytes = row_bytes.map_err(|_| PictureFault::TooLarge)?;
        let rows = (samples.len() / row_bytes).min(self.height as usize);
        if rows == 0 {
            return Err(PictureFault::Broken);
        }
        memory.reserve(pixels * 3)?;
        let mut rgb = Vec::with_capacity(self.width as usize * rows * 3);
        for row in samples.chunks_exact(row_bytes).take(rows) {
            self.read_row(row, count, &mut rgb);
        }
        let (height, orientation) = (u32::try_from(rows).map_err(|_| PictureFault::TooLarge)?, Orientation::NoTransforms);
        Ok(Raster { width: self.width, height, color: ColorType::Rgb8, orientation, pixels: rgb })
    }

    fn samples_of_a_pixel(&self, bytes: usize) -> usize {
        match &self.colours {
            Colours::Grey | Colours::Palette(_) => 1,
            Colours::Rgb => 3,
            Colours::Cmyk => 4,
            Colours::ByLength => {
                let row = |count: usize| (u64::from(self.width) * count as u64 * u64::from(self.bits)).div_ceil(8);
                let is_there = |count: &usize| row(*count) * u64::from(self.height) <= bytes as u64;
                [4, 3].into_iter().find(is_there).unwrap_or(1)
            }
        }
    }

    fn read_row(&self, row: &[u8], count: usize, rgb: &mut Vec<u8>) {
        for x in 0..self.width as usize {
            let sample = |index: usize| {
                let value = self.sample(row, x * count + index);
                if self.inverted { 255 - value } else { value }
            };
            rgb.extend(match (&self.colours, count) {
                (Colours::Palette(palette), _) => palette.get(self.index(row, x)).copied().unwrap_or_default(),
                (Colours::Rgb | Colours::ByLength, 3) => [sample(0), sample(1), sample(2)],
                (Colours::Cmyk | Colours::ByLength, 4) => {
                    let light = 255 - u32::from(sample(3));
                    [0, 1, 2].map(|index| u8::try_from((255 - u32::from(sample(index))) * light / 255).unwrap_or(u8::MAX))
                }
                (Colours::Grey | Colours::Rgb | Colours::Cmyk | Colours::ByLength, _) => [sample(0); 3],
            });
        }
    }

    /// As it stands there; of two bytes the high one.
    fn index(&self, row: &[u8], at: usize) -> usize {
        let byte = |at: usize| row.get(at).copied().unwrap_or_default();
        let bits = usize::from(self.bits);
        match bits {
            8 => usize::from(byte(at)),
            16 => usize::from(byte(2 * at)),
            _ => {
                let first = at * bits;
                let shift = 8 - bits - first % 8;
                usize::from(byte(first / 8)) >> shift & ((1 << bits) - 1)
            }
        }
    }

    /// The same from 0 to 255.
    fn sample(&self, row: &[u8], at: usize) -> u8 {
        let value = self.index(row, at);
        let highest = if self.bits >= 8 { 255 } else { (1 << self.bits) - 1 };
        u8::try_from(value * 255 / highest).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 20, pixels: 1 << 20 };

    fn read(pixels: &Pixels, samples: &[u8]) -> Result<(u32, Vec<u8>), PictureFault> {
        pixels.raster(samples, &LIMITS, &mut Memory { reserve: &mut |_| true }).map(|raster| (raster.height, raster.pixels))
    }

    fn pixels(bits: u8, colours: Colours) -> Pixels {
        Pixels { width: 2, height: 2, bits, colours, inverted: false }
    }

    #[test]
    fn samples_of_every_width_are_read() {
        let grey = |values: [u8; 4]| values.into_iter().flat_map(|value| [value; 3]).collect::<Vec<u8>>();
        assert_eq!(read(&pixels(1, Colours::Grey), &[0b1000_0000, 0b0100_0000]), Ok((2, grey([255, 0, 0, 255]))));
        assert_eq!(read(&pixels(4, Colours::Grey), &[0xF0, 0x0F]), Ok((2, grey([255, 0, 0, 255]))));
        assert_eq!(read(&pixels(8, Colours::Grey), &[1, 2, 3, 4]), Ok((2, grey([1, 2, 3, 4]))));
        assert_eq!(read(&pixels(16, Colours::Grey), &[1, 9, 2, 9, 3, 9, 4, 9]), Ok((2, grey([1, 2, 3, 4]))));
        let rgb: Vec<u8> = (0..12).collect();
        assert_eq!(read(&pixels(8, Colours::Rgb), &rgb), Ok((2, rgb.clone())));
        assert_eq!(read(&pixels(8, Colours::ByLength), &rgb), Ok((2, rgb.clone())));
        let cmyk = [[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 0]].concat();
        let expected = [[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 0, 0]].concat();
        assert_eq!(read(&pixels(8, Colours::Cmyk), &cmyk), Ok((2, expected)));
        let palette = Colours::Palette(vec![[9, 8, 7], [1, 2, 3]]);
        assert_eq!(read(&pixels(1, palette), &[0b0100_0000, 0b1000_0000]), Ok((2, [[9, 8, 7], [1, 2, 3], [1, 2, 3], [9, 8, 7]].concat())));
        let inverted = Pixels { inverted: true, ..pixels(8, Colours::Grey) };
        assert_eq!(read(&inverted, &[0, 255, 255, 0]), Ok((2, grey([255, 0, 0, 255]))));
    }

    #[test]
    fn what_lacks_rows_is_cut_and_what_is_too_large_refused() {
        assert_eq!(read(&pixels(8, Colours::Rgb), &[7; 11]), Ok((1, vec![7; 6])));
        assert_eq!(read(&pixels(8, Colours::Rgb), &[7; 5]), Err(PictureFault::Broken));
        assert_eq!(read(&pixels(8, Colours::ByLength), &[7; 3]), Ok((1, vec![7; 6])));
        let huge = Pixels { width: u32::MAX, height: u32::MAX, ..pixels(8, Colours::Rgb) };
        assert_eq!(read(&huge, &[7; 5]), Err(PictureFault::TooLarge));
        let none = Pixels { width: 0, ..pixels(8, Colours::Rgb) };
        assert_eq!(read(&none, &[7; 5]), Err(PictureFault::Broken));
    }
}
