//! Convolutions of 1 × 1: matrix products, in tiles of sums that stay in registers.

use super::{Pieces, finish, neighbours, neighbours_mut};
use crate::layers::{Panel, Pointwise};
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Blocks of inputs that are summed up in one go: the weights of a panel for so many stay in the fastest cache, while all pixels pass by.
const DEPTH: usize = 24;

/// Some rows of pixels through a layer.
pub(crate) struct PointwiseRows<'a> {
    pub(crate) layer: &'a Pointwise,
    /// Pixels of a row.
    pub(crate) width: usize,
    pub(crate) input: &'a [Lanes],
    /// What is added to the sums, before they are clamped.
    pub(crate) residual: Option<&'a [Lanes]>,
    pub(crate) output: &'a mut [Lanes],
    /// From one block of an output row to the next, in pixels, and where in it the first pixel stands.
    pub(crate) pitch: usize,
    pub(crate) left: usize,
}

impl Kernel for PointwiseRows<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let layer = self.layer;
        for panel in &layer.panels {
            match panel.vectors {
                3 => self.panel::<S, 3>(simd, panel),
                2 => self.panel::<S, 2>(simd, panel),
                1 => self.panel::<S, 1>(simd, panel),
                _ => unreachable!("panels are one to three vectors wide"),
            }
        }
    }
}

/// From which block of inputs on is summed up, and whether these are the first and the last.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    first: bool,
    last: bool,
}

/// Where a tile stands.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    pixel: usize,
    /// The first block of outputs.
    block: usize,
}

impl PointwiseRows<'_> {
    #[inline(always)]
    fn panel<S: Simd, const VECTORS: usize>(&mut self, simd: S, panel: &Panel) {
        let (steps, _) = panel.weights.as_chunks::<VECTORS>();
        let (weights, _) = steps.as_chunks::<LANES>();
        let depth = self.layer.depth;
        let rows = self.input.len() / (depth * self.width);
        let mut start = 0;
        while start < depth {
            let end = (start + DEPTH).min(depth);
            let part = Part { start, first: start == 0, last: end == depth };
            for row in 0..rows {
                self.row::<S, VECTORS>(simd, &weights[start..end], part, row, panel.first);
            }
            start = end;
        }
    }

    #[inline(always)]
    fn row<S: Simd, const VECTORS: usize>(&mut self, simd: S, weights: &[[[Lanes; VECTORS]; LANES]], part: Part, row: usize, block: usize) {
        let mut pieces = Pieces::of(self.width, const { most_pixels(VECTORS) });
        while let Some((pixel, count)) = pieces.next() {
            let place = Place { row, pixel, block };
            // Tiles that a width of vectors never has are compiled all the same, but small.
            match count {
                8 if VECTORS == 1 => self.tile::<S, VECTORS, 8>(simd, weights, part, place),
                7 if VECTORS == 1 => self.tile::<S, VECTORS, 7>(simd, weights, part, place),
                6 if VECTORS <= 2 => self.tile::<S, VECTORS, 6>(simd, weights, part, place),
                5 if VECTORS <= 2 => self.tile::<S, VECTORS, 5>(simd, weights, part, place),
                4 => self.tile::<S, VECTORS, 4>(simd, weights, part, place),
                3 => self.tile::<S, VECTORS, 3>(simd, weights, part, place),
                2 => self.tile::<S, VECTORS, 2>(simd, weights, part, place),
                1 => self.tile::<S, VECTORS, 1>(simd, weights, part, place),
                _ => unreachable!("pieces have one to `most_pixels` pixels"),
            }
        }
    }

    /// `PIXELS` × `VECTORS` vectors of sums.
    #[inline(always)]
    fn tile<S: Simd, const VECTORS: usize, const PIXELS: usize>(
        &mut self,
        simd: S,
        weights: &[[[Lanes; VECTORS]; LANES]],
        part: Part,
        place: Place,
    ) {
        let Self { layer, width, input, residual, ref mut output, pitch, left } = *self;
        let row = &input[place.row * layer.depth * width..][..layer.depth * width];
        let mut sums = [[simd.splat(0.0); PIXELS]; VECTORS];
        for vector in 0..VECTORS {
            let block = place.block + vector;
            let partial: &[Lanes; PIXELS] = neighbours(output, (place.row * layer.blocks + block) * pitch + left + place.pixel);
            for pixel in 0..PIXELS {
                sums[vector][pixel] = simd.load(if part.first { &layer.bias[block] } else { &partial[pixel] });
            }
        }
        for (step, eight) in weights.iter().enumerate() {
            let pixels: &[Lanes; PIXELS] = neighbours(row, (part.start + step) * width + place.pixel);
            for lane in 0..LANES {
                let mut columns = [simd.splat(0.0); VECTORS];
                for vector in 0..VECTORS {
                    columns[vector] = simd.load(&eight[lane][vector]);
                }
                for pixel in 0..PIXELS {
                    let value = simd.splat(pixels[pixel].0[lane]);
                    for vector in 0..VECTORS {
                        sums[vector][pixel] = simd.multiply_add(value, columns[vector], sums[vector][pixel]);
                    }
                }
            }
        }
        for vector in 0..VECTORS {
            let block = place.row * layer.blocks + place.block + vector;
            let into: &mut [Lanes; PIXELS] = neighbours_mut(output, block * pitch + left + place.pixel);
            if !part.last {
                for pixel in 0..PIXELS {
                    simd.store(sums[vector][pixel], &mut into[pixel]);
                }
                continue;
            }
            if let Some(residual) = residual {
                let added: &[Lanes; PIXELS] = neighbours(residual, block * width + place.pixel);
                for pixel in 0..PIXELS {
                    sums[vector][pixel] = simd.add(sums[vector][pixel], simd.load(&added[pixel]));
                }
            }
            finish(simd, &sums[vector], layer.clamp, into);
        }
    }
}

/// Pixels of a tile: twelve vectors of sums and what is multiplied fill the sixteen registers; a tile of one vector has fewer to gain.
const fn most_pixels(vectors: usize) -> usize {
    match vectors {
        1 => 8,
        2 => 6,
        _ => 4,
    }
}
