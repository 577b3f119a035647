//! The first convolution: from planes of single numbers to blocks of channels.

use super::{Pieces, finish, neighbours_mut};
use crate::layers::{Panel, Stem, Stride};
use crate::simd::{Kernel, Lanes, Simd};

/// Some rows of pixels out of the padded planes.
pub(crate) struct StemRows<'a> {
    pub(crate) layer: &'a Stem,
    pub(crate) planes: &'a [f32],
    /// The first row, and how many.
    pub(crate) first: usize,
    pub(crate) rows: usize,
    /// Pixels of a row of the output.
    pub(crate) width: usize,
    pub(crate) output: &'a mut [Lanes],
    /// From one block of an output row to the next, in pixels, and where in it the first pixel stands.
    pub(crate) pitch: usize,
    pub(crate) left: usize,
}

impl Kernel for StemRows<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match self.layer.stride {
            Stride::One => self.panels::<S, 1>(simd),
            Stride::Two => self.panels::<S, 2>(simd),
        }
    }
}

impl StemRows<'_> {
    #[inline(always)]
    fn panels<S: Simd, const STRIDE: usize>(&mut self, simd: S) {
        let layer = self.layer;
        for panel in &layer.panels {
            match panel.vectors {
                3 => self.panel::<S, STRIDE, 3>(simd, panel),
                2 => self.panel::<S, STRIDE, 2>(simd, panel),
                1 => self.panel::<S, STRIDE, 1>(simd, panel),
                _ => unreachable!("panels are one to three vectors wide"),
            }
        }
    }

    #[inline(always)]
    fn panel<S: Simd, const STRIDE: usize, const VECTORS: usize>(&mut self, simd: S, panel: &Panel) {
        for row in 0..self.rows {
            let mut pieces = Pieces::of(self.width, 4);
            while let Some((pixel, count)) = pieces.next() {
                match count {
                    4 => self.tile::<S, STRIDE, VECTORS, 4>(simd, panel, row, pixel),
                    3 => self.tile::<S, STRIDE, VECTORS, 3>(simd, panel, row, pixel),
                    2 => self.tile::<S, STRIDE, VECTORS, 2>(simd, panel, row, pixel),
                    1 => self.tile::<S, STRIDE, VECTORS, 1>(simd, panel, row, pixel),
                    _ => unreachable!("pieces have one to four pixels"),
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const STRIDE: usize, const VECTORS: usize, const PIXELS: usize>(
        &mut self,
        simd: S,
        panel: &Panel,
        row: usize,
        pixel: usize,
    ) {
        let layer = self.layer;
        let (weights, _) = panel.weights.as_chunks::<VECTORS>();
        let start = (self.first + row) * STRIDE * layer.pitch + pixel * STRIDE;
        let mut sums = [[simd.splat(0.0); PIXELS]; VECTORS];
        for vector in 0..VECTORS {
            sums[vector] = [simd.load(&layer.bias[panel.first + vector]); PIXELS];
        }
        for (tap, step) in layer.taps.iter().zip(weights) {
            let window = &self.planes[start + tap..][..(PIXELS - 1) * STRIDE + 1];
            let mut columns = [simd.splat(0.0); VECTORS];
            for vector in 0..VECTORS {
                columns[vector] = simd.load(&step[vector]);
            }
            for pixel in 0..PIXELS {
                let value = simd.splat(window[pixel * STRIDE]);
                for vector in 0..VECTORS {
                    sums[vector][pixel] = simd.multiply_add(value, columns[vector], sums[vector][pixel]);
                }
            }
        }
        for vector in 0..VECTORS {
            let block = row * layer.blocks + panel.first + vector;
            let into: &mut [Lanes; PIXELS] = neighbours_mut(self.output, block * self.pitch + self.left + pixel);
            finish(simd, &sums[vector], layer.clamp, into);
        }
    }
}
