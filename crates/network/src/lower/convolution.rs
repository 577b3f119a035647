//! A `Conv` node, its attributes read and checked.

use super::attributes::Attributes;
use super::weights::{Weights, bias};
use super::{MOST_CHANNELS, MOST_SIDE};
use crate::layers::{Kernel, Pads, Stride};
use crate::onnx::{Node, malformed, unsupported};
use crate::{LoadError, Shape};

/// A `Conv` node.
pub(super) struct Convolution<'g> {
    weights: Weights<'g>,
    bias: Option<Weights<'g>>,
    pub(super) outputs: usize,
    pub(super) kernel: Kernel,
    pub(super) groups: usize,
    pub(super) stride: Stride,
    pub(super) pads: Pads,
}

impl<'g> Convolution<'g> {
    pub(super) fn of(node: &'g Node<'g>, weights: Weights<'g>, bias: Option<Weights<'g>>) -> Result<Self, LoadError> {
        let attributes = Attributes::of(node, &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
        let [outputs, channels, height, width] = *weights.shape() else {
            return Err(unsupported("a convolution of other than two dimensions"));
        };
        let within = (1..=MOST_CHANNELS).contains(&outputs)
            && (1..=MOST_CHANNELS).contains(&channels)
            && [height, width].iter().all(|length| (1..=MOST_SIDE).contains(length));
        if !within {
            return Err(unsupported("a convolution of extreme size"));
        }
        let kernel = Kernel { channels, height, width };
        if attributes.sizes("kernel_shape", [height, width])? != [height, width] {
            return Err(malformed("a convolution of another size than its weights"));
        }
        if attributes.sizes("dilations", [1, 1])? != [1, 1] || !attributes.is_text("auto_pad", b"NOTSET")? {
            return Err(unsupported("a convolution with dilation or automatic padding"));
        }
        let stride = match attributes.sizes("strides", [1, 1])? {
            [1, 1] => Stride::One,
            [2, 2] => Stride::Two,
            other => return Err(unsupported(format!("a convolution with strides {other:?}"))),
        };
        let [top, left, bottom, right] = attributes.sizes("pads", [0; 4])?;
        let padded = [top, left, bottom, right] != [0; 4];
        if padded && (top.max(bottom) >= height || left.max(right) >= width) {
            return Err(unsupported("a convolution with more padding than it is wide"));
        }
        let [groups] = attributes.sizes("group", [1])?;
        Ok(Self { weights, bias, outputs, kernel, groups, stride, pads: Pads { top, left, bottom, right } })
    }

    /// What it makes of a picture.
    pub(super) fn shape(&self, from: Shape) -> Result<Shape, LoadError> {
        let Pads { top, left, bottom, right } = self.pads;
        let length =
            |length: usize, pads: usize, kernel: usize| (length + pads).checked_sub(kernel).map(|rest| rest / self.stride.pixels() + 1);
        let height = length(from.height, top + bottom, self.kernel.height);
        let width = length(from.width, left + right, self.kernel.width);
        match (height, width) {
            (Some(height), Some(width)) => Ok(Shape { channels: self.outputs, height, width }),
            (_, _) => Err(malformed("a convolution that is larger than its picture")),
        }
    }

    /// Weights and biases.
    pub(super) fn numbers(&self) -> Result<(Vec<f32>, Vec<f32>), LoadError> {
        Ok((self.weights.numbers()?, bias(self.bias, self.outputs)?))
    }
}
