//! Eight numbers at a time. The only module with `unsafe` code: each vector type is used through a token that exists only where the
//! processor has its instructions.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions of x86-64, behind a token that proves them present")]
mod avx2;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "vector instructions of AArch64, which every such processor of ours has")]
mod neon;
mod portable;

use portable::Portable;

/// How many numbers stand in a vector.
pub(crate) const LANES: usize = 8;

/// A vector in memory, aligned so that none lies across two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(32))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl Lanes {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);
}

/// Arithmetic with vectors. All of it is inlined into [`Simd::run`], where the compiler may use the instructions.
pub(crate) trait Simd: Copy {
    /// A vector in a register.
    type Vector: Copy;

    fn splat(self, value: f32) -> Self::Vector;
    fn load(self, lanes: &Lanes) -> Self::Vector;
    fn store(self, vector: Self::Vector, lanes: &mut Lanes);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a × b + c`, rounded once where the processor can.
    fn multiply_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The smaller of `high` and the larger of `vector` and `low`.
    fn clamp(self, vector: Self::Vector, low: Self::Vector, high: Self::Vector) -> Self::Vector;

    /// Computes `kernel` with these instructions.
    fn run<K: Kernel>(self, kernel: K);
}

/// A computation that is written once for all vector types. `run` and what it calls with vectors are `inline(always)`: see [`Simd`].
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// The best instructions that this processor has.
#[derive(Clone, Copy)]
pub(crate) enum Cpu {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    Portable,
}

impl Cpu {
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(token) = avx2::Avx2::detect() {
            return Self::Avx2(token);
        }
        #[cfg(target_arch = "aarch64")]
        return Self::Neon(neon::Neon::new());
        #[cfg(not(target_arch = "aarch64"))]
        Self::Portable
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::detect(), Self::Portable]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            Self::Portable => "portable",
        }
    }

    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(token) => token.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(token) => token.run(kernel),
            Self::Portable => Portable.run(kernel),
        }
    }
}
