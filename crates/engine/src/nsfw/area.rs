//! The reduction in which every pixel counts by its area, of a whole picture or of a part: what a person sees from afar, and what an
//! attack on the sampling of four pixels cannot steer.

use image::ColorType;
use rten_tensor::NdTensor;

use super::network::Planes;
use super::raster::{Raster, over_white, stored_place};

/// A rectangle of an upright picture, in pixels; never empty, never beyond the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// So many pixels of a row are added up at a time, which bounds memory however wide a picture is.
const CHUNK: usize = 4096;

impl Raster {
    pub(super) fn whole(&self) -> Part {
        let (width, height) = self.upright_size();
        Part { left: 0, top: 0, width, height }
    }

    /// `part` in `side` by `side` values of each colour. Along an axis that has fewer pixels than that, it is bilinear.
    pub(super) fn average(&self, part: Part, side: usize) -> Planes {
        let stored = self.stored(part);
        let (columns, rows) = (spans(stored.width, side), spans(stored.height, side));
        let mut cells = vec![[0f32; 3]; side * side];
        let mut line = vec![[0f32; 3]; CHUNK.min(stored.width as usize)];
        for (row, cells) in rows.iter().zip(cells.chunks_exact_mut(side)) {
            for from in (0..stored.width as usize).step_by(CHUNK) {
                let line = line.get_mut(..CHUNK.min(stored.width as usize - from)).unwrap_or_default();
                line.fill([0.0; 3]);
                for (y, weight) in row.weights() {
                    self.add(stored.top as usize + y, stored.left as usize + from, weight, line);
                }
                add_across(&columns, from, line, cells);
            }
        }
        let last = (side - 1) as u32;
        let mut planes = NdTensor::zeros([1, 3, side, side]);
        for y in 0..side {
            for x in 0..side {
                let (stored_x, stored_y) = stored_place(self.orientation, (x as u32, y as u32), (last, last));
                let Some(cell) = cells.get(stored_y as usize * side + stored_x as usize) else { continue };
                for (channel, value) in cell.iter().enumerate() {
                    planes[[0, channel, y, x]] = *value;
                }
            }
        }
        planes
    }

    /// The same rectangle before the orientation is applied.
    fn stored(&self, part: Part) -> Part {
        let last = (self.width - 1, self.height - 1);
        let (x, y) = stored_place(self.orientation, (part.left, part.top), last);
        let opposite = (part.left + part.width - 1, part.top + part.height - 1);
        let (to_x, to_y) = stored_place(self.orientation, opposite, last);
        Part { left: x.min(to_x), top: y.min(to_y), width: x.abs_diff(to_x) + 1, height: y.abs_diff(to_y) + 1 }
    }

    /// Adds pixels of a stored row, times `weight`, to `line`.
    fn add(&self, y: usize, x: usize, weight: f32, line: &mut [[f32; 3]]) {
        let size = usize::from(self.color.bytes_per_pixel());
        let start = y * self.row_bytes() + x * size;
        let Some(row) = self.pixels.get(start..start + line.len() * size) else { return };
        let scale = weight / 255.0;
        match self.color {
            ColorType::Rgb8 => {
                for (sum, value) in line.as_flattened_mut().iter_mut().zip(row) {
                    *sum += f32::from(*value) * scale;
                }
            }
            ColorType::L8 => {
                for (sum, value) in line.iter_mut().zip(row) {
                    let value = f32::from(*value) * scale;
                    *sum = sum.map(|sum| sum + value);
                }
            }
            ColorType::Rgba8 => {
                for (sum, [red, green, blue, alpha]) in line.iter_mut().zip(row.as_chunks::<4>().0) {
                    let (share, white) = (f32::from(*alpha) / 255.0 * scale, f32::from(255 - *alpha) * scale);
                    sum[0] += f32::from(*red) * share + white;
                    sum[1] += f32::from(*green) * share + white;
                    sum[2] += f32::from(*blue) * share + white;
                }
            }
            color => {
                for (sum, pixel) in line.iter_mut().zip(row.chunks_exact(size)) {
                    let colour = over_white(color, pixel);
                    for (sum, value) in sum.iter_mut().zip(colour) {
                        *sum += value * weight;
                    }
                }
            }
        }
    }
}

/// Adds pixels of a line, which begins at `from`, to the cells that they lie in.
fn add_across(columns: &[Span], from: usize, line: &[[f32; 3]], cells: &mut [[f32; 3]]) {
    let end = from + line.len();
    let first = columns.partition_point(|column| column.first + column.count <= from);
    for (column, cell) in columns.iter().zip(cells).skip(first).take_while(|(column, _)| column.first < end) {
        for (x, weight) in column.weights() {
            let Some(pixel) = x.checked_sub(from).and_then(|x| line.get(x)) else { continue };
            for (sum, value) in cell.iter_mut().zip(pixel) {
                *sum += value * weight;
            }
        }
    }
}

/// Which pixels of a line count for one value, and how much: the first, those between, the last.
struct Span {
    first: usize,
    count: usize,
    head: f32,
    body: f32,
    tail: f32,
}

impl Span {
    fn weights(&self) -> impl Iterator<Item = (usize, f32)> {
        let last = self.count - 1;
        (0..self.count).map(move |index| {
            let weight = match index {
                0 => self.head,
                _ if index == last => self.tail,
                _ => self.body,
            };
            (self.first + index, weight)
        })
    }
}

/// The spans of `side` values over a line of pixels; the weights of each come to one.
fn spans(length: u32, side: usize) -> Vec<Span> {
    let step = f64::from(length) / side as f64;
    let over = |index: usize| {
        let (start, end) = (index as f64 * step, (index + 1) as f64 * step);
        let first = start as usize;
        let last = (end.ceil() as usize).min(length as usize).saturating_sub(1).max(first);
        let share = |pixel: usize| ((end.min((pixel + 1) as f64) - start.max(pixel as f64)) / step).max(0.0) as f32;
        Span { first, count: last - first + 1, head: share(first), body: (1.0 / step) as f32, tail: share(last) }
    };
    let between = |index: usize| {
        // Centres over centres, the ends held.
        let at = ((index as f64 + 0.5) * step - 0.5).clamp(0.0, f64::from(length - 1));
        let (first, share) = (at as usize, at.fract() as f32);
        let count = if first + 1 < length as usize { 2 } else { 1 };
        Span { first, count, head: if count == 2 { 1.0 - share } else { 1.0 }, body: 0.0, tail: share }
    };
    if length as usize >= side { (0..side).map(over).collect() } else { (0..side).map(between).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_to_one_and_stay_inside() {
        for (length, side) in [(1, 224), (2, 224), (223, 224), (224, 224), (225, 224), (1000, 224), (4000, 299), (7, 3), (65_537, 16)] {
            for span in spans(length, side) {
                let total: f32 = span.weights().map(|(_, weight)| weight).sum();
                assert!((total - 1.0).abs() < 1e-3, "{length} to {side}: {total}");
                assert!(span.first + span.count <= length as usize, "{length} to {side}");
            }
        }
    }
}
