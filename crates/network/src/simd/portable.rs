//! Plain numbers, for processors without the instructions that the others use. The compiler makes what vectors it can of it.

use super::{Kernel, LANES, Lanes, Simd};

/// Arithmetic that every processor has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    type Vector = [f32; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Self::Vector {
        lanes.0
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, lanes: &mut Lanes) {
        lanes.0 = vector;
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        let mut sum = a;
        for (sum, b) in sum.iter_mut().zip(b) {
            *sum += b;
        }
        sum
    }

    #[inline(always)]
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        let mut sum = c;
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            // Twice rounded: without the instruction, rounding once is a call into a library.
            *sum += a * b;
        }
        sum
    }

    #[inline(always)]
    fn clamp(self, vector: Self::Vector, low: Self::Vector, high: Self::Vector) -> Self::Vector {
        let mut clamped = vector;
        for ((value, low), high) in clamped.iter_mut().zip(low).zip(high) {
            // As comparisons, so that what is not a number stays so.
            *value = if *value < low { low } else { *value };
            *value = if *value > high { high } else { *value };
        }
        clamped
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        run_portably(self, kernel);
    }
}

#[inline(never)]
fn run_portably<K: Kernel>(simd: Portable, kernel: K) {
    kernel.run(simd);
}
