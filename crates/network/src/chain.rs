//! A depthwise convolution with the layer before it and the one after, band by band.
//!
//! MobileNetV2 widens a picture six times, filters it, and makes it narrow again. The wide picture, up to 5 MB, would go out to memory and
//! come back twice. Instead a window of some of its rows moves down: those that the next band of filtered rows needs are added, the
//! others dropped. What lies between the layers never leaves the cache.

use crate::Shape;
use crate::kernels::{DepthwiseRow, PointwiseRows, StemRows};
use crate::layers::{Depthwise, Pointwise, Stem, blocks};
use crate::simd::{Cpu, Lanes};

/// Bytes that the window of a chain should not exceed: with the weights it has to fit in the second cache.
const WINDOW_BYTES: usize = 160 << 10;

/// The layers, and the band that they are computed in.
pub(crate) struct Chain {
    head: Head,
    /// What the depthwise convolution reads, without its padding.
    inner: Shape,
    depthwise: Depthwise,
    /// What it makes.
    outer: Shape,
    tail: Option<Tail>,
    output: usize,
    /// Rows of `outer` at a time.
    band: usize,
}

/// What makes the rows of the window.
pub(crate) enum Head {
    Stem(Stem),
    Pointwise {
        layer: Pointwise,
        input: usize,
        residual: Option<usize>,
    },
    /// They are there already, but without padding.
    Copy {
        input: usize,
    },
}

/// What is made of the filtered rows.
pub(crate) struct Tail {
    pub(crate) layer: Pointwise,
    pub(crate) residual: Option<usize>,
}

/// Buffers that a chain works with.
pub(crate) struct Work<'a> {
    pub(crate) planes: &'a [f32],
    pub(crate) slots: &'a mut [Vec<Lanes>],
    /// Rows of the wide picture.
    pub(crate) window: &'a mut [Lanes],
    /// Filtered rows.
    pub(crate) middle: &'a mut [Lanes],
    /// A row of zeros.
    pub(crate) blank: &'a [Lanes],
}

impl Chain {
    pub(crate) fn new(head: Head, inner: Shape, depthwise: Depthwise, outer: Shape, tail: Option<Tail>, output: usize) -> Self {
        let mut chain = Self { head, inner, depthwise, outer, tail, output, band: 1 };
        while chain.band < outer.height && chain.rows_for(chain.band + 1) * chain.inner_row() * size_of::<Lanes>() <= WINDOW_BYTES {
            chain.band += 1;
        }
        // As even as can be.
        chain.band = outer.height.div_ceil(outer.height.div_ceil(chain.band));
        chain
    }

    /// Vectors of the window, of filtered rows, and of a blank row.
    pub(crate) fn window(&self) -> usize {
        self.rows_for(self.band).min(self.inner.height) * self.inner_row()
    }

    pub(crate) fn middle(&self) -> usize {
        if self.tail.is_some() { self.band * self.outer_row() } else { 0 }
    }

    pub(crate) fn blank(&self) -> usize {
        self.inner_row()
    }

    /// Pixels of a row of the window.
    fn pitch(&self) -> usize {
        self.inner.width + self.depthwise.pads.left + self.depthwise.pads.right
    }

    /// Vectors of a row of the window.
    fn inner_row(&self) -> usize {
        self.pitch() * blocks(self.inner.channels)
    }

    /// Vectors of a filtered row.
    fn outer_row(&self) -> usize {
        self.outer.width * blocks(self.outer.channels)
    }

    /// Rows that so many filtered rows are made of.
    fn rows_for(&self, rows: usize) -> usize {
        (rows - 1) * self.depthwise.stride.pixels() + 3
    }

    /// Computes the value in slot `output`.
    pub(crate) fn run(&self, cpu: Cpu, work: &mut Work<'_>) {
        let mut output = std::mem::take(&mut work.slots[self.output]);
        let output_row = match &self.tail {
            Some(tail) => self.outer.width * tail.layer.blocks,
            None => self.outer_row(),
        };
        let stride = self.depthwise.stride.pixels();
        // The rows that the window holds.
        let (mut first, mut end) = (0_usize, 0_usize);
        for start in (0..self.outer.height).step_by(self.band) {
            let stop = (start + self.band).min(self.outer.height);
            let top = self.depthwise.pads.top;
            let wanted_end = ((stop - 1) * stride + 3).saturating_sub(top).min(self.inner.height);
            let wanted_first = (start * stride).saturating_sub(top).min(wanted_end);
            let kept = end.saturating_sub(wanted_first.max(first));
            let row = self.inner_row();
            let old = (end - kept - first) * row;
            work.window.copy_within(old..old + kept * row, 0);
            (first, end) = (wanted_first, wanted_end);
            if first + kept < end {
                self.make_rows(cpu, work, first + kept, end, kept * row);
            }
            let rows = &mut output[start * output_row..stop * output_row];
            match &self.tail {
                Some(tail) => {
                    let filtered = &mut work.middle[..(stop - start) * self.outer_row()];
                    self.filter(cpu, work.window, work.blank, first..end, start, filtered);
                    let residual = tail.residual.map(|slot| &work.slots[slot][start * output_row..stop * output_row]);
                    let (layer, width) = (&tail.layer, self.outer.width);
                    cpu.run(PointwiseRows { layer, width, input: filtered, residual, output: rows, pitch: width, left: 0 });
                }
                None => self.filter(cpu, work.window, work.blank, first..end, start, rows),
            }
        }
        work.slots[self.output] = output;
    }

    /// Makes rows `first..end` of the wide picture, and writes them into the window from `at` on.
    fn make_rows(&self, cpu: Cpu, work: &mut Work<'_>, first: usize, end: usize, at: usize) {
        let Shape { width, channels, .. } = self.inner;
        let (pitch, left, rows) = (self.pitch(), self.depthwise.pads.left, end - first);
        let output = &mut work.window[at..at + rows * self.inner_row()];
        match &self.head {
            Head::Stem(layer) => {
                cpu.run(StemRows { layer, planes: work.planes, first, rows, width, output: &mut *output, pitch, left });
            }
            Head::Pointwise { layer, input, residual } => {
                let read = width * layer.depth;
                let input = &work.slots[*input][first * read..end * read];
                let made = width * layer.blocks;
                let residual = residual.map(|slot| &work.slots[slot][first * made..end * made]);
                cpu.run(PointwiseRows { layer, width, input, residual, output: &mut *output, pitch, left });
            }
            Head::Copy { input } => {
                let read = width * blocks(channels);
                let input = &work.slots[*input][first * read..end * read];
                for (from, to) in input.chunks_exact(width).zip(output.chunks_exact_mut(pitch)) {
                    to[left..left + width].copy_from_slice(from);
                }
            }
        }
        // Another chain has used the same memory.
        for line in output.chunks_exact_mut(pitch) {
            line[..left].fill(Lanes::ZERO);
            line[left + width..].fill(Lanes::ZERO);
        }
    }

    /// Filters the rows of the window, which are `held` of the wide picture, from row `start` of the result on.
    fn filter(&self, cpu: Cpu, window: &[Lanes], blank: &[Lanes], held: std::ops::Range<usize>, start: usize, output: &mut [Lanes]) {
        let row = self.inner_row();
        let blank = &blank[..row];
        let at = |index: usize| match index.checked_sub(self.depthwise.pads.top) {
            Some(index) if held.contains(&index) => &window[(index - held.start) * row..][..row],
            Some(_) | None => blank,
        };
        for (index, output) in output.chunks_exact_mut(self.outer_row()).enumerate() {
            let first = (start + index) * self.depthwise.stride.pixels();
            let rows = [at(first), at(first + 1), at(first + 2)];
            cpu.run(DepthwiseRow { layer: &self.depthwise, rows, pitch: self.pitch(), width: self.outer.width, output });
        }
    }
}
