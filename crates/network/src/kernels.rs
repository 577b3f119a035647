//! The arithmetic, safe and written once for all vector types.
#![allow(clippy::needless_range_loop, reason = "counted loops over tiles of sums are what the compiler unrolls into registers")]

mod depthwise;
mod pointwise;
mod pool;
mod stem;
#[cfg(test)]
mod tests;

pub(crate) use depthwise::DepthwiseRow;
pub(crate) use pointwise::PointwiseRows;
pub(crate) use pool::MeanOfPixels;
pub(crate) use stem::StemRows;

use crate::layers::Clamp;
use crate::simd::{Lanes, Simd};

/// Cuts a row into the fewest pieces of at most `most` pixels, as even as can be: small tiles leave the multipliers waiting.
struct Pieces {
    start: usize,
    end: usize,
    left: usize,
}

impl Pieces {
    #[inline(always)]
    fn of(width: usize, most: usize) -> Self {
        Self { start: 0, end: width, left: width.div_ceil(most) }
    }

    /// The next piece: its first pixel, and how many there are.
    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.left == 0 {
            return None;
        }
        let count = (self.end - self.start).div_ceil(self.left);
        let start = self.start;
        self.start += count;
        self.left -= 1;
        Some((start, count))
    }
}

/// Writes the sums of some pixels side by side.
#[inline(always)]
fn finish<S: Simd, const PIXELS: usize>(simd: S, sums: &[S::Vector; PIXELS], clamp: Clamp, output: &mut [Lanes; PIXELS]) {
    let (low, high) = (simd.splat(clamp.low), simd.splat(clamp.high));
    for pixel in 0..PIXELS {
        simd.store(simd.clamp(sums[pixel], low, high), &mut output[pixel]);
    }
}

/// Some neighbours of a slice. The plan has made sure of the sizes; a mistake there must stop the computation, not falsify it.
#[inline(always)]
fn neighbours<const COUNT: usize>(slice: &[Lanes], at: usize) -> &[Lanes; COUNT] {
    slice[at..].first_chunk().expect("a plan's sizes fit each other")
}

/// As [`neighbours`], to be written.
#[inline(always)]
fn neighbours_mut<const COUNT: usize>(slice: &mut [Lanes], at: usize) -> &mut [Lanes; COUNT] {
    slice[at..].first_chunk_mut().expect("a plan's sizes fit each other")
}
