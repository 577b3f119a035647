//! One inference after another, in the same buffers.

use std::sync::Arc;

use crate::chain::Work;
use crate::kernels::{MeanOfPixels, PointwiseRows, StemRows};
use crate::layers::blocks;
use crate::lower::Planes;
use crate::plan::{Plan, Step, vectors};
use crate::simd::{Cpu, LANES, Lanes};
use crate::{Network, RunError, Shape};

/// The buffers of one inference at a time. All memory is taken when it is made.
pub struct Runner {
    network: Arc<Network>,
    planes: Vec<f32>,
    slots: Vec<Vec<Lanes>>,
    window: Vec<Lanes>,
    middle: Vec<Lanes>,
    blank: Vec<Lanes>,
    output: Vec<f32>,
}

impl Runner {
    pub(crate) fn new(network: Arc<Network>) -> Self {
        let sizes = &network.plan.memory;
        let zeros = |length: usize| vec![Lanes::ZERO; length];
        Self {
            planes: vec![0.0; sizes.planes],
            slots: sizes.slots.iter().map(|length| zeros(*length)).collect(),
            window: zeros(sizes.window),
            middle: zeros(sizes.middle),
            blank: zeros(sizes.blank),
            output: vec![0.0; network.plan.outputs],
            network,
        }
    }

    /// What the network makes of a picture: plane after plane, each row by row. On the calling thread, without an allocation.
    ///
    /// # Errors
    /// [`RunError::Shape`] for planes of another size, [`RunError::NotANumber`] when the result is not finite.
    pub fn run(&mut self, planes: &[f32]) -> Result<&[f32], RunError> {
        let network = Arc::clone(&self.network);
        self.run_on(&network.plan, network.cpu, planes)
    }

    pub(crate) fn run_on(&mut self, plan: &Plan, cpu: Cpu, planes: &[f32]) -> Result<&[f32], RunError> {
        let Shape { channels, height, width } = plan.input.shape;
        if planes.len() != channels * height * width {
            return Err(RunError::Shape);
        }
        lay_out(&plan.input, planes, &mut self.planes);
        for step in &plan.steps {
            self.step(step, cpu);
        }
        let result = &self.slots[plan.output][..blocks(plan.outputs)];
        for (block, numbers) in result.iter().zip(self.output.chunks_mut(LANES)) {
            numbers.copy_from_slice(&block.0[..numbers.len()]);
        }
        if plan.softmax {
            softmax(&mut self.output);
        }
        if self.output.iter().all(|number| number.is_finite()) { Ok(&self.output) } else { Err(RunError::NotANumber) }
    }

    fn step(&mut self, step: &Step, cpu: Cpu) {
        match step {
            Step::Chain(chain) => {
                let Self { planes, slots, window, middle, blank, .. } = self;
                chain.run(cpu, &mut Work { planes, slots, window, middle, blank });
            }
            Step::Stem { layer, made, output } => {
                let Shape { height, width, .. } = *made;
                let into = &mut self.slots[*output][..vectors(*made)];
                cpu.run(StemRows { layer, planes: &self.planes, first: 0, rows: height, width, output: into, pitch: width, left: 0 });
            }
            Step::Pointwise { layer, made, input, residual, output } => {
                let mut into = std::mem::take(&mut self.slots[*output]);
                let Shape { height, width, .. } = *made;
                let input = &self.slots[*input][..height * width * layer.depth];
                let residual = residual.map(|slot| &self.slots[slot][..vectors(*made)]);
                let made = &mut into[..vectors(*made)];
                cpu.run(PointwiseRows { layer, width, input, residual, output: made, pitch: width, left: 0 });
                self.slots[*output] = into;
            }
            Step::Mean { read, input, output } => {
                let mut into = std::mem::take(&mut self.slots[*output]);
                let mean = &mut into[..blocks(read.channels)];
                cpu.run(MeanOfPixels { height: read.height, width: read.width, input: &self.slots[*input], output: mean });
                self.slots[*output] = into;
            }
        }
    }
}

/// The picture as the first layer reads it; the padding is zero since the buffer was made.
fn lay_out(input: &Planes, planes: &[f32], padded: &mut [f32]) {
    let Planes { shape: Shape { height, width, .. }, scale, offset, pads } = *input;
    let pitch = width + pads.left + pads.right;
    let plane = (height + pads.top + pads.bottom) * pitch;
    for (from, to) in planes.chunks_exact(height * width).zip(padded.chunks_exact_mut(plane)) {
        let rows = to.chunks_exact_mut(pitch).skip(pads.top);
        for (from, to) in from.chunks_exact(width).zip(rows) {
            for (number, slot) in from.iter().zip(&mut to[pads.left..]) {
                *slot = number * scale + offset;
            }
        }
    }
}

/// Numbers to probabilities: their exponentials, as shares of their sum.
fn softmax(numbers: &mut [f32]) {
    let highest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for number in &mut *numbers {
        *number = (*number - highest).exp();
    }
    let sum: f32 = numbers.iter().sum();
    for number in numbers {
        *number /= sum;
    }
}
