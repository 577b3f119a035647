//! The mean of all pixels, channel by channel.

use crate::simd::{Kernel, Lanes, Simd};

/// A whole picture.
pub(crate) struct MeanOfPixels<'a> {
    /// Rows and columns.
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) input: &'a [Lanes],
    /// One pixel.
    pub(crate) output: &'a mut [Lanes],
}

impl Kernel for MeanOfPixels<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { height, width, input, output } = self;
        let blocks = output.len();
        // In two steps the rounding of many pixels stays small.
        let share = simd.splat(1.0 / (height * width) as f32);
        for (block, mean) in output.iter_mut().enumerate() {
            let mut sum = simd.splat(0.0);
            for row in 0..height {
                let mut row_sum = simd.splat(0.0);
                for pixel in &input[(row * blocks + block) * width..][..width] {
                    row_sum = simd.add(row_sum, simd.load(pixel));
                }
                sum = simd.add(sum, row_sum);
            }
            simd.store(simd.multiply_add(sum, share, simd.splat(0.0)), mean);
        }
    }
}
