//! Layers as the kernels read them: weights in the order of the arithmetic, channels in whole vectors.
//!
//! Channels that only fill up a vector have weights and bias of zero in the layer that makes them, and weights of zero in the one that
//! reads them: what stands in them never counts.

use crate::simd::{LANES, Lanes};

/// How many vectors hold so many channels.
pub(crate) fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// What is done to each sum after all else: nothing below `low`, nothing above `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clamp {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Clamp {
    pub(crate) const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
}

/// Weights of a matrix product, for so many outputs at once as a tile of sums has vectors side by side.
pub(crate) struct Panel {
    /// The first block of outputs.
    pub(crate) first: usize,
    /// Blocks of outputs: 1 to 3.
    pub(crate) vectors: usize,
    /// For each input `vectors` vectors.
    pub(crate) weights: Vec<Lanes>,
}

/// Panels of all outputs; `weight` says what stands at (output, input), `inputs` may be more than there are.
fn pack(outputs: usize, inputs: usize, weight: &dyn Fn(usize, usize) -> f32) -> Vec<Panel> {
    let mut first = 0;
    let mut panels = Vec::new();
    for vectors in panel_widths(blocks(outputs)) {
        let mut weights = Vec::with_capacity(inputs * vectors);
        for input in 0..inputs {
            for block in first..first + vectors {
                weights.push(lanes(block, outputs, |output| weight(output, input)));
            }
        }
        panels.push(Panel { first, vectors, weights });
        first += vectors;
    }
    panels
}

/// Three vectors wide where that comes out even, which asks least of the cache; else some of two.
fn panel_widths(blocks: usize) -> Vec<usize> {
    let (threes, rest) = match (blocks / 3, blocks % 3) {
        (0, rest) => (0, rest),
        (threes, 1) => (threes - 1, 4),
        (threes, rest) => (threes, rest),
    };
    let mut widths = vec![3; threes];
    match rest {
        0 => {}
        4 => widths.extend([2, 2]),
        rest => widths.push(rest),
    }
    widths
}

/// The vector of one block of channels; zero beyond the last.
fn lanes(block: usize, channels: usize, value: impl Fn(usize) -> f32) -> Lanes {
    let mut lanes = Lanes::ZERO;
    for (lane, slot) in lanes.0.iter_mut().enumerate() {
        let channel = block * LANES + lane;
        if channel < channels {
            *slot = value(channel);
        }
    }
    lanes
}

fn pack_bias(bias: &[f32]) -> Vec<Lanes> {
    (0..blocks(bias.len())).map(|block| lanes(block, bias.len(), |channel| bias[channel])).collect()
}

/// A convolution of 1 × 1: each pixel's channels times a matrix. A dense layer is one with a single pixel.
pub(crate) struct Pointwise {
    /// Blocks of channels that come in.
    pub(crate) depth: usize,
    /// Blocks of channels that go out.
    pub(crate) blocks: usize,
    pub(crate) panels: Vec<Panel>,
    pub(crate) bias: Vec<Lanes>,
    pub(crate) clamp: Clamp,
}

impl Pointwise {
    /// `weight` says what stands at (output, input); there are as many outputs as biases.
    pub(crate) fn new(inputs: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let known = |output, input| if input < inputs { weight(output, input) } else { 0.0 };
        let depth = blocks(inputs);
        let panels = pack(bias.len(), depth * LANES, &known);
        Self { depth, blocks: blocks(bias.len()), panels, bias: pack_bias(bias), clamp: Clamp::NONE }
    }

    /// Vectors of weights that so many channels come to.
    pub(crate) fn cost(inputs: usize, outputs: usize) -> Option<usize> {
        blocks(inputs).checked_mul(LANES)?.checked_mul(blocks(outputs))
    }
}

/// A convolution of 3 × 3 of each channel with itself.
pub(crate) struct Depthwise {
    /// For each block of channels the nine weights, row by row.
    pub(crate) weights: Vec<[Lanes; 9]>,
    pub(crate) bias: Vec<Lanes>,
    pub(crate) clamp: Clamp,
    pub(crate) stride: Stride,
    pub(crate) pads: Pads,
}

impl Depthwise {
    /// `weights` are nine for each channel; there are as many channels as biases.
    pub(crate) fn new(weights: &[f32], bias: &[f32], stride: Stride, pads: Pads) -> Self {
        let channels = bias.len();
        let block = |block| {
            let mut nine = [Lanes::ZERO; 9];
            for (tap, vector) in nine.iter_mut().enumerate() {
                *vector = lanes(block, channels, |channel| weights[channel * 9 + tap]);
            }
            nine
        };
        let weights = (0..blocks(channels)).map(block).collect();
        Self { weights, bias: pack_bias(bias), clamp: Clamp::NONE, stride, pads }
    }
}

/// Any convolution of the picture's planes, which are few: the first layer.
pub(crate) struct Stem {
    /// Width of a plane with its padding, and numbers in one.
    pub(crate) pitch: usize,
    /// For each weight of an output, where its number stands, counted from that of the first.
    pub(crate) taps: Vec<usize>,
    pub(crate) blocks: usize,
    pub(crate) panels: Vec<Panel>,
    pub(crate) bias: Vec<Lanes>,
    pub(crate) clamp: Clamp,
    pub(crate) stride: Stride,
}

impl Stem {
    /// `weights` are, for each output, planes of rows, as ONNX has them; `height` and `pitch` are of a plane with its padding.
    pub(crate) fn new(weights: &[f32], bias: &[f32], kernel: Kernel, height: usize, pitch: usize, stride: Stride) -> Self {
        let mut taps = Vec::with_capacity(kernel.taps());
        for plane in 0..kernel.channels {
            for row in 0..kernel.height {
                taps.extend((0..kernel.width).map(|column| (plane * height + row) * pitch + column));
            }
        }
        let panels = pack(bias.len(), taps.len(), &|output, tap| weights[output * kernel.taps() + tap]);
        Self { pitch, taps, blocks: blocks(bias.len()), panels, bias: pack_bias(bias), clamp: Clamp::NONE, stride }
    }
}

/// What one output of a convolution reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Kernel {
    pub(crate) fn taps(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// By how many pixels a convolution goes on, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    One,
    Two,
}

impl Stride {
    pub(crate) fn pixels(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Zeros around a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pads {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) bottom: usize,
    pub(crate) right: usize,
}
