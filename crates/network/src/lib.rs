//! Runs image classifiers of MobileNetV2's kind from ONNX, on the calling thread, with the vector units of the processor.
//!
//! A [`Network`] is read once: weights are dequantised and packed as the kernels read them, what follows a convolution (bias, residual,
//! ReLU6) becomes part of it, and all memory is planned. Threads share it; each has a [`Runner`], which holds the buffers of one
//! inference and allocates nothing while it computes.
//!
//! The operators are the few that such networks consist of. Whatever else a file holds is refused by name when it is read
//! ([`LoadError::Unsupported`]), never approximated: the caller then takes a general runtime.
//!
//! A picture passes through in rows of blocks: row after row, in each the channels by eights, in each of these the pixels side by side.
//! So one vector is eight channels of a pixel, neighbours are neighbours in memory, and a band of rows is one slice. Where a network
//! widens a picture only to filter it and make it narrow again, that is done band by band, while the band is in the cache.
//!
//! All `unsafe` is in `simd`: vector instructions, and the proof that the processor has them. The kernels are safe code over it.

mod chain;
mod kernels;
mod layers;
mod lower;
mod onnx;
mod plan;
mod runner;
mod simd;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use plan::Plan;
use simd::Cpu;

pub use runner::Runner;

/// Why a model is not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no ONNX model, or one that contradicts itself.
    #[error("not a sound ONNX model: {0}")]
    Malformed(String),
    /// A model, perhaps, but not of the kind that runs here.
    #[error("not a network that is computed here: {0}")]
    Unsupported(String),
}

/// Why a picture has no probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The planes are not of the network's input shape.
    #[error("a picture of another shape than the network's input")]
    Shape,
    /// The arithmetic left the numbers: the picture or the weights hold what no honest one does.
    #[error("the result is not a number")]
    NotANumber,
}

/// Channels, rows and columns of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Planes: red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A network, read and ready; immutable.
pub struct Network {
    plan: Plan,
    cpu: Cpu,
}

impl Network {
    /// Reads an ONNX model whose weights are float32, or eight-bit codes behind `DequantizeLinear`.
    ///
    /// Whatever the bytes are, the memory taken is bounded by a small multiple of their number, and 128 MiB for the buffers of a runner.
    ///
    /// # Errors
    /// [`LoadError`] says which operator, shape or value is in the way.
    pub fn load(model: &[u8]) -> Result<Self, LoadError> {
        let graph = onnx::read(model)?;
        let plan = Plan::new(lower::lower(&graph, model.len())?)?;
        Ok(Self { plan, cpu: Cpu::detect() })
    }

    /// What a picture must be like.
    pub fn input(&self) -> Shape {
        self.plan.input.shape
    }

    /// How many numbers come out.
    pub fn outputs(&self) -> usize {
        self.plan.outputs
    }

    /// Bytes of a [`Runner`] of this network.
    pub fn runner_bytes(&self) -> usize {
        self.plan.memory.bytes()
    }

    /// Which instructions it computes with: `avx2`, `neon` or `portable`.
    pub fn instructions(&self) -> &'static str {
        self.cpu.name()
    }

    /// A runner of this network, for one thread at a time.
    pub fn runner(self: &Arc<Self>) -> Runner {
        Runner::new(Arc::clone(self))
    }
}
