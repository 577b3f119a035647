//! Convolutions of 3 × 3 of each channel with itself.

use super::{Pieces, finish, neighbours_mut};
use crate::layers::{Depthwise, Stride};
use crate::simd::{Kernel, Lanes, Simd};

/// Pixels of a tile: their sums, three weights and a number are in registers.
const MOST_PIXELS: usize = 7;

/// One row of pixels.
pub(crate) struct DepthwiseRow<'a> {
    pub(crate) layer: &'a Depthwise,
    /// The three rows that are read, with their padding.
    pub(crate) rows: [&'a [Lanes]; 3],
    /// Pixels of such a row.
    pub(crate) pitch: usize,
    /// Pixels of the output's row.
    pub(crate) width: usize,
    pub(crate) output: &'a mut [Lanes],
}

impl Kernel for DepthwiseRow<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match self.layer.stride {
            Stride::One => self.blocks::<S, 1>(simd),
            Stride::Two => self.blocks::<S, 2>(simd),
        }
    }
}

/// One block of channels of the rows, and what is done with it.
struct Block<'a> {
    rows: [&'a [Lanes]; 3],
    weights: &'a [Lanes; 9],
    bias: &'a Lanes,
}

impl DepthwiseRow<'_> {
    #[inline(always)]
    fn blocks<S: Simd, const STRIDE: usize>(&mut self, simd: S) {
        for (index, (weights, bias)) in self.layer.weights.iter().zip(&self.layer.bias).enumerate() {
            let [above, middle, below] = self.rows;
            let (start, end) = (index * self.pitch, (index + 1) * self.pitch);
            let block = Block { rows: [&above[start..end], &middle[start..end], &below[start..end]], weights, bias };
            let mut pieces = Pieces::of(self.width, MOST_PIXELS);
            while let Some((pixel, count)) = pieces.next() {
                match count {
                    7 => self.tile::<S, STRIDE, 7>(simd, &block, index, pixel),
                    6 => self.tile::<S, STRIDE, 6>(simd, &block, index, pixel),
                    5 => self.tile::<S, STRIDE, 5>(simd, &block, index, pixel),
                    4 => self.tile::<S, STRIDE, 4>(simd, &block, index, pixel),
                    3 => self.tile::<S, STRIDE, 3>(simd, &block, index, pixel),
                    2 => self.tile::<S, STRIDE, 2>(simd, &block, index, pixel),
                    1 => self.tile::<S, STRIDE, 1>(simd, &block, index, pixel),
                    _ => unreachable!("pieces have one to `MOST_PIXELS` pixels"),
                }
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const STRIDE: usize, const PIXELS: usize>(&mut self, simd: S, block: &Block<'_>, index: usize, pixel: usize) {
        let mut sums = [simd.load(block.bias); PIXELS];
        for row in 0..3 {
            let window = &block.rows[row][pixel * STRIDE..][..(PIXELS - 1) * STRIDE + 3];
            for column in 0..3 {
                let weight = simd.load(&block.weights[row * 3 + column]);
                for pixel in 0..PIXELS {
                    sums[pixel] = simd.multiply_add(simd.load(&window[pixel * STRIDE + column]), weight, sums[pixel]);
                }
            }
        }
        let into: &mut [Lanes; PIXELS] = neighbours_mut(self.output, index * self.width + pixel);
        finish(simd, &sums, self.layer.clamp, into);
    }
}
