//! A decoded picture, and its reduction to what the network takes.

use image::ColorType;
use image::metadata::Orientation;
use rten_tensor::NdTensor;

use super::network::Planes;

/// Decoded pixels, row by row from the top, as the decoder gave them: they are converted where they are sampled, since a second copy of a
/// large picture would cost more memory than the first.
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) color: ColorType,
    pub(super) orientation: Orientation,
    /// `width * height` pixels of `color`, native endianness.
    pub(super) pixels: Vec<u8>,
}

impl Raster {
    /// Cuts off the rows at either end that were never decoded; `None` when that leaves nothing. Where decoding stopped, the rest of the
    /// rows is of one colour, the one it was filled with; of a picture of one single colour that cannot be told here.
    pub(super) fn keep_decoded_rows(mut self) -> Option<Self> {
        let row_bytes = self.row_bytes();
        let pixel_bytes = usize::from(self.color.bytes_per_pixel());
        let plain = |row: &[u8]| row.iter().zip(row.iter().skip(pixel_bytes)).all(|(a, b)| a == b);
        let mut rows = self.pixels.chunks_exact(row_bytes);
        let (first, last) = (rows.clone().next()?, rows.clone().next_back()?);

        let top = if plain(first) { rows.clone().take_while(|row| *row == first).count() } else { 0 };
        let bottom = if plain(last) { rows.by_ref().rev().take_while(|row| *row == last).count() } else { 0 };
        let height = self.height as usize;
        if top < height && top + bottom == height {
            // Two colours: one of them was decoded.
            return Some(self);
        }
        let kept = height.saturating_sub(top).checked_sub(bottom).filter(|kept| *kept > 0)?;
        self.pixels.truncate((top + kept) * row_bytes);
        self.pixels.drain(..top * row_bytes);
        self.height = u32::try_from(kept).ok()?;
        Some(self)
    }

    /// The picture as nsfwjs gives it to a network of `side` by `side` pixels: upright, over white, value / 255, bilinear with corners aligned, without antialiasing,
    /// the aspect not kept. A picture of that size already is taken pixel by pixel, which the same arithmetic comes to.
    pub(super) fn reduce(&self, side: usize) -> Planes {
        let (width, height) = self.upright_size();
        let (columns, rows) = (taps(width, side), taps(height, side));
        let mut planes = NdTensor::zeros([1, 3, side, side]);
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                let corners = [(column.low, row.low), (column.high, row.low), (column.low, row.high), (column.high, row.high)];
                let [top_left, top_right, bottom_left, bottom_right] = corners.map(|(x, y)| self.upright_pixel(x, y));
                for channel in 0..3 {
                    let top = top_left[channel] + (top_right[channel] - top_left[channel]) * column.share;
                    let bottom = bottom_left[channel] + (bottom_right[channel] - bottom_left[channel]) * column.share;
                    planes[[0, channel, y, x]] = top + (bottom - top) * row.share;
                }
            }
        }
        planes
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.width as usize * usize::from(self.color.bytes_per_pixel())
    }

    pub(super) fn upright_size(&self) -> (u32, u32) {
        if is_on_its_side(self.orientation) { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// The pixel at a place of the upright picture, red, green, blue in 0..=1.
    fn upright_pixel(&self, x: u32, y: u32) -> [f32; 3] {
        let (x, y) = stored_place(self.orientation, (x, y), (self.width - 1, self.height - 1));
        let size = usize::from(self.color.bytes_per_pixel());
        let start = y as usize * self.row_bytes() + x as usize * size;
        match self.pixels.get(start..start + size) {
            Some(pixel) => over_white(self.color, pixel),
            None => [1.0; 3],
        }
    }
}

fn is_on_its_side(orientation: Orientation) -> bool {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate180 | Orientation::FlipHorizontal | Orientation::FlipVertical => false,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => true,
    }
}

/// Where a pixel of the upright picture is stored; `last` are the last column and row as stored.
pub(super) fn stored_place(orientation: Orientation, (x, y): (u32, u32), (right, bottom): (u32, u32)) -> (u32, u32) {
    match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (right - x, y),
        Orientation::Rotate180 => (right - x, bottom - y),
        Orientation::FlipVertical => (x, bottom - y),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate90 => (y, bottom - x),
        Orientation::Rotate270FlipH => (right - y, bottom - x),
        Orientation::Rotate270 => (right - y, x),
    }
}

/// Which two pixels of a line are mixed, and the share of the second.
struct Tap {
    low: u32,
    high: u32,
    share: f32,
}

/// The taps of `side` evenly spread points, the first on the first pixel and the last on the last.
fn taps(length: u32, side: usize) -> Vec<Tap> {
    let last = length - 1;
    let step = f64::from(last) / (side - 1) as f64;
    let tap = |index: usize| {
        let at = index as f64 * step;
        let low = (at.floor() as u32).min(last);
        Tap { low, high: (at.ceil() as u32).min(last), share: (at - f64::from(low)) as f32 }
    };
    (0..side).map(tap).collect()
}

/// One pixel as a viewer shows it on a white page.
pub(super) fn over_white(color: ColorType, pixel: &[u8]) -> [f32; 3] {
    let byte = |index: usize| pixel.get(index).copied().unwrap_or(0);
    // A screen shows eight bits: so does the canvas that nsfwjs reads.
    let word = |index: usize| {
        let value = u16::from_ne_bytes([byte(2 * index), byte(2 * index + 1)]);
        ((u32::from(value) + 128) / 257) as u8
    };
    let float = |index: usize| {
        let value = f32::from_ne_bytes([byte(4 * index), byte(4 * index + 1), byte(4 * index + 2), byte(4 * index + 3)]);
        (value.clamp(0.0, 1.0) * 255.0).round() as u8
    };
    let [red, green, blue, alpha] = match color {
        ColorType::L8 => [byte(0), byte(0), byte(0), 255],
        ColorType::La8 => [byte(0), byte(0), byte(0), byte(1)],
        ColorType::Rgb8 => [byte(0), byte(1), byte(2), 255],
        ColorType::Rgba8 => [byte(0), byte(1), byte(2), byte(3)],
        ColorType::L16 => [word(0), word(0), word(0), 255],
        ColorType::La16 => [word(0), word(0), word(0), word(1)],
        ColorType::Rgb16 => [word(0), word(1), word(2), 255],
        ColorType::Rgba16 => [word(0), word(1), word(2), word(3)],
        ColorType::Rgb32F => [float(0), float(1), float(2), 255],
        ColorType::Rgba32F => [float(0), float(1), float(2), float(3)],
        // The type is open; the decoders are asked for nothing beyond these.
        _ => [255; 4],
    };
    let alpha = f32::from(alpha) / 255.0;
    [red, green, blue].map(|value| f32::from(value) / 255.0 * alpha + (1.0 - alpha))
}
