//! AVX2 and FMA: one register of 256 bits.

use core::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_load_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set1_ps, _mm256_store_ps,
};

use super::{Kernel, Lanes, Simd};

/// Proof that this processor, and its operating system, have AVX2 and FMA. Only [`Avx2::detect`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn run_with_avx2<K: Kernel>(simd: Avx2, kernel: K) {
    kernel.run(simd);
}

impl Simd for Avx2 {
    type Vector = __m256;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: the token proves that the instruction is there.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> __m256 {
        // SAFETY: the token proves that the instruction is there; the reference is to eight numbers aligned to 32 bytes.
        unsafe { _mm256_load_ps(lanes.0.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m256, lanes: &mut Lanes) {
        // SAFETY: the token proves that the instruction is there; the reference is to eight numbers aligned to 32 bytes, ours alone.
        unsafe { _mm256_store_ps(lanes.0.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the instruction is there.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn multiply_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves that the instruction is there.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn clamp(self, vector: __m256, low: __m256, high: __m256) -> __m256 {
        // The second operand is the result where either is not a number: so that is kept, not hidden.
        // SAFETY: the token proves that the instruction is there.
        let raised = unsafe { _mm256_max_ps(low, vector) };
        // SAFETY: the token proves that the instruction is there.
        unsafe { _mm256_min_ps(high, raised) }
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        // SAFETY: the token proves that the processor has what the function is compiled for.
        unsafe { run_with_avx2(self, kernel) }
    }
}
