//! Each kernel beside one that is too simple to be wrong, with every kind of vector, over shapes that fit nothing.

use proptest::prelude::*;

use super::{DepthwiseRow, MeanOfPixels, Pieces, PointwiseRows, StemRows};
use crate::layers::{Clamp, Depthwise, Kernel, Pads, Pointwise, Stem, Stride, blocks};
use crate::simd::{Cpu, LANES, Lanes};

/// Numbers from -1 to 1, the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn list(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.next()).collect()
    }

    /// A picture whose last vectors have something in the channels that only fill them up: it must not count.
    fn picture(&mut self, length: usize) -> Vec<Lanes> {
        (0..length).map(|_| Lanes(std::array::from_fn(|_| self.next()))).collect()
    }
}

/// A channel of a pixel in rows of blocks.
fn at(picture: &[Lanes], blocks: usize, pitch: usize, row: usize, pixel: usize, channel: usize) -> f64 {
    f64::from(picture[(row * blocks + channel / LANES) * pitch + pixel].0[channel % LANES])
}

fn clamped(sum: f64, clamp: Clamp) -> f64 {
    sum.max(f64::from(clamp.low)).min(f64::from(clamp.high))
}

fn clamps() -> impl Strategy<Value = Clamp> {
    prop_oneof![Just(Clamp::NONE), Just(Clamp { low: 0.0, high: 6.0 }), Just(Clamp { low: -0.25, high: 0.5 })]
}

fn strides() -> impl Strategy<Value = Stride> {
    prop_oneof![Just(Stride::One), Just(Stride::Two)]
}

const CLOSE: f64 = 2e-5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 96 } else { 512 }))]

    #[test]
    fn pointwise_is_a_matrix_product(
        (inputs, outputs) in prop_oneof![(1_usize..40, 1_usize..90), (180_usize..420, 1_usize..20)],
        (width, rows) in (1_usize..24, 1_usize..4),
        (left, right) in (0_usize..3, 0_usize..3),
        clamp in clamps(),
        has_residual: bool,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let (weights, bias) = (numbers.list(inputs * outputs), numbers.list(outputs));
        let mut layer = Pointwise::new(inputs, &bias, |output, input| weights[output * inputs + input]);
        layer.clamp = clamp;
        let input = numbers.picture(rows * blocks(inputs) * width);
        let residual = has_residual.then(|| numbers.picture(rows * blocks(outputs) * width));
        let pitch = left + width + right;
        for cpu in Cpu::all() {
            let mut output = vec![Lanes([9.0; LANES]); rows * blocks(outputs) * pitch];
            cpu.run(PointwiseRows { layer: &layer, width, input: &input, residual: residual.as_deref(), output: &mut output, pitch, left });
            for (row, pixel, channel) in places(rows, width, outputs) {
                let products = (0..inputs).map(|k| at(&input, blocks(inputs), width, row, pixel, k) * f64::from(weights[channel * inputs + k]));
                let added = residual.as_ref().map_or(0.0, |residual| at(residual, blocks(outputs), width, row, pixel, channel));
                let expected = clamped(products.sum::<f64>() + f64::from(bias[channel]) + added, clamp);
                let found = at(&output, blocks(outputs), pitch, row, left + pixel, channel);
                prop_assert!((found - expected).abs() < CLOSE, "{}: {found}, {expected}", cpu.name());
            }
            // Nothing is written beside the pixels.
            let beside = output.chunks_exact(pitch).flat_map(|line| line[..left].iter().chain(&line[left + width..]));
            prop_assert!(beside.into_iter().all(|lanes| *lanes == Lanes([9.0; LANES])));
        }
    }

    #[test]
    fn depthwise_filters_each_channel_by_itself(
        channels in 1_usize..40,
        pitch in 3_usize..40,
        stride in strides(),
        clamp in clamps(),
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let (weights, bias) = (numbers.list(channels * 9), numbers.list(channels));
        let mut layer = Depthwise::new(&weights, &bias, stride, Pads::default());
        layer.clamp = clamp;
        let rows: [Vec<Lanes>; 3] = std::array::from_fn(|_| numbers.picture(blocks(channels) * pitch));
        let width = (pitch - 3) / stride.pixels() + 1;
        for cpu in Cpu::all() {
            let mut output = vec![Lanes::ZERO; blocks(channels) * width];
            cpu.run(DepthwiseRow { layer: &layer, rows: std::array::from_fn(|row| rows[row].as_slice()), pitch, width, output: &mut output });
            for (_, pixel, channel) in places(1, width, channels) {
                let tap = |tap: usize| {
                    let number = at(&rows[tap / 3], blocks(channels), pitch, 0, pixel * stride.pixels() + tap % 3, channel);
                    number * f64::from(weights[channel * 9 + tap])
                };
                let expected = clamped((0..9).map(tap).sum::<f64>() + f64::from(bias[channel]), clamp);
                let found = at(&output, blocks(channels), width, 0, pixel, channel);
                prop_assert!((found - expected).abs() < CLOSE, "{}: {found}, {expected}", cpu.name());
            }
        }
    }

    #[test]
    fn the_stem_convolves_all_planes(
        outputs in 1_usize..60,
        (channels, kernel_height, kernel_width) in (1_usize..5, 1_usize..6, 1_usize..6),
        (more_rows, more_columns) in (0_usize..12, 0_usize..20),
        stride in strides(),
        clamp in clamps(),
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let kernel = Kernel { channels, height: kernel_height, width: kernel_width };
        let (height, pitch) = (kernel_height + more_rows, kernel_width + more_columns);
        let (weights, bias) = (numbers.list(outputs * kernel.taps()), numbers.list(outputs));
        let mut layer = Stem::new(&weights, &bias, kernel, height, pitch, stride);
        layer.clamp = clamp;
        let planes = numbers.list(channels * height * pitch);
        let (rows, width) = (more_rows / stride.pixels() + 1, more_columns / stride.pixels() + 1);
        // Not from the first row on, where there are more.
        let first = rows / 2;
        let rows = rows - first;
        for cpu in Cpu::all() {
            let mut output = vec![Lanes::ZERO; rows * blocks(outputs) * (width + 1)];
            cpu.run(StemRows { layer: &layer, planes: &planes, first, rows, width, output: &mut output, pitch: width + 1, left: 1 });
            for (row, pixel, channel) in places(rows, width, outputs) {
                let mut expected = f64::from(bias[channel]);
                for tap in 0..kernel.taps() {
                    let (plane, y, x) = (tap / (kernel_height * kernel_width), tap / kernel_width % kernel_height, tap % kernel_width);
                    let (y, x) = ((first + row) * stride.pixels() + y, pixel * stride.pixels() + x);
                    expected += f64::from(planes[(plane * height + y) * pitch + x]) * f64::from(weights[channel * kernel.taps() + tap]);
                }
                let found = at(&output, blocks(outputs), width + 1, row, 1 + pixel, channel);
                prop_assert!((found - clamped(expected, clamp)).abs() < CLOSE, "{}: {found}, {expected}", cpu.name());
            }
        }
    }

    #[test]
    fn the_mean_is_of_all_pixels((height, width, channels) in (1_usize..20, 1_usize..20, 1_usize..30), seed: u64) {
        let input = Numbers(seed).picture(height * blocks(channels) * width);
        for cpu in Cpu::all() {
            let mut output = vec![Lanes::ZERO; blocks(channels)];
            cpu.run(MeanOfPixels { height, width, input: &input, output: &mut output });
            for channel in 0..channels {
                let sum: f64 = places(height, width, 1).map(|(row, pixel, _)| at(&input, blocks(channels), width, row, pixel, channel)).sum();
                let found = at(&output, blocks(channels), 1, 0, 0, channel);
                prop_assert!((found - sum / (height * width) as f64).abs() < CLOSE);
            }
        }
    }

    #[test]
    fn pieces_cover_a_row_and_are_even(width in 1_usize..500, most in 1_usize..9) {
        let mut pieces = Pieces::of(width, most);
        let (mut end, mut counts) = (0, Vec::new());
        while let Some((start, count)) = pieces.next() {
            prop_assert_eq!(start, end);
            prop_assert!((1..=most).contains(&count));
            end = start + count;
            counts.push(count);
        }
        prop_assert_eq!(end, width);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }
}

/// Every row, pixel and channel.
fn places(rows: usize, width: usize, channels: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..rows * width * channels).map(move |index| (index / channels / width, index / channels % width, index % channels))
}

#[test]
fn what_is_not_a_number_stays_so() {
    let mut layer = Pointwise::new(1, &[0.0], |_, _| 1.0);
    layer.clamp = Clamp { low: 0.0, high: 6.0 };
    for cpu in Cpu::all() {
        let mut output = [Lanes::ZERO];
        let input = [Lanes([f32::NAN; LANES])];
        cpu.run(PointwiseRows { layer: &layer, width: 1, input: &input, residual: None, output: &mut output, pitch: 1, left: 0 });
        assert!(output[0].0[0].is_nan(), "{}", cpu.name());
    }
}
