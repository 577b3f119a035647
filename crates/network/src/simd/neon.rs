//! NEON: two registers of 128 bits. Every AArch64 processor that Rust's Linux and Apple targets run on has it, so the token needs no proof.

use core::arch::aarch64::{float32x4_t, vaddq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32, vmaxq_f32, vminq_f32, vst1q_f32};

use super::{Kernel, Lanes, Simd};

#[cfg(not(target_feature = "neon"))]
compile_error!("a target without NEON: let `Cpu::detect` take the portable arithmetic");

/// Arithmetic with NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

/// Eight numbers, low and high half.
#[derive(Clone, Copy)]
pub(crate) struct Pair(float32x4_t, float32x4_t);

impl Simd for Neon {
    type Vector = Pair;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: the target has NEON, as is checked above.
        let half = unsafe { vdupq_n_f32(value) };
        Pair(half, half)
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Pair {
        let [a, b, c, d, e, f, g, h] = lanes.0;
        let (low, high) = ([a, b, c, d], [e, f, g, h]);
        // SAFETY: the target has NEON; the pointer is to an array of four.
        let low = unsafe { vld1q_f32(low.as_ptr()) };
        // SAFETY: the target has NEON; the pointer is to an array of four.
        let high = unsafe { vld1q_f32(high.as_ptr()) };
        Pair(low, high)
    }

    #[inline(always)]
    fn store(self, vector: Pair, lanes: &mut Lanes) {
        let (low, high) = lanes.0.split_at_mut(4);
        // SAFETY: the target has NEON; the pointer is to a slice of four.
        unsafe { vst1q_f32(low.as_mut_ptr(), vector.0) };
        // SAFETY: the target has NEON; the pointer is to a slice of four.
        unsafe { vst1q_f32(high.as_mut_ptr(), vector.1) };
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: the target has NEON.
        let low = unsafe { vaddq_f32(a.0, b.0) };
        // SAFETY: the target has NEON.
        let high = unsafe { vaddq_f32(a.1, b.1) };
        Pair(low, high)
    }

    #[inline(always)]
    fn multiply_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: the target has NEON.
        let low = unsafe { vfmaq_f32(c.0, a.0, b.0) };
        // SAFETY: the target has NEON.
        let high = unsafe { vfmaq_f32(c.1, a.1, b.1) };
        Pair(low, high)
    }

    #[inline(always)]
    fn clamp(self, vector: Pair, low: Pair, high: Pair) -> Pair {
        let half = |vector, low, high| {
            // What is not a number stays so in both.
            // SAFETY: the target has NEON.
            let raised = unsafe { vmaxq_f32(low, vector) };
            // SAFETY: the target has NEON.
            unsafe { vminq_f32(high, raised) }
        };
        Pair(half(vector.0, low.0, high.0), half(vector.1, low.1, high.1))
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        kernel.run(self);
    }
}
