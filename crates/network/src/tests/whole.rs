//! Networks of odd shapes, beside the simplest computation.

use std::sync::Arc;

use proptest::prelude::*;

use super::draft::{Conv, Draft};
use crate::Network;
use crate::simd::Cpu;

/// A block of MobileNetV2: wider, filtered, narrow again.
#[derive(Clone, Copy, Debug)]
struct Bottleneck {
    widen: Option<usize>,
    stride: usize,
    pads: [usize; 4],
    outputs: usize,
    /// Whether the narrow picture is added, where that fits.
    add: bool,
    codes: bool,
    /// Whether there is a narrow layer at all.
    narrow: bool,
}

fn bottlenecks() -> impl Strategy<Value = Bottleneck> {
    let pads = [0_usize..3, 0_usize..3, 0_usize..3, 0_usize..3];
    let widen = prop::option::weighted(0.8, 1_usize..50);
    (widen, 1_usize..3, pads, 1_usize..30, any::<bool>(), any::<bool>(), prop::bool::weighted(0.8))
        .prop_map(|(widen, stride, pads, outputs, add, codes, narrow)| Bottleneck { widen, stride, pads, outputs, add, codes, narrow })
}

impl Bottleneck {
    fn draft(self, draft: &mut Draft) {
        let Self { widen, mut stride, mut pads, mut outputs, add, codes, narrow } = self;
        let before = draft.value.clone();
        if before.height < 3 || before.width < 3 || add {
            pads = [1; 4];
        }
        if add {
            (stride, outputs) = (1, before.channels);
        }
        let plain = Conv { outputs, kernel: [1, 1], stride: 1, pads: [0; 4], depthwise: false, codes };
        if let Some(channels) = widen {
            draft.conv(Conv { outputs: channels, ..plain });
            draft.clip(0.0, 6.0);
        }
        let channels = draft.value.channels;
        draft.conv(Conv { outputs: channels, kernel: [3, 3], stride, pads, depthwise: true, codes });
        draft.relu();
        if narrow {
            draft.conv(plain);
            if add {
                draft.add(&before, codes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 256 }))]

    #[test]
    fn a_network_computes_what_it_says(
        (planes, height, width) in (1_usize..5, 6_usize..40, 6_usize..40),
        (stem, kernel, stride, pad) in (1_usize..40, 1_usize..6, 1_usize..3, 0_usize..2),
        blocks in prop::collection::vec(bottlenecks(), 0..5),
        (hidden, outputs) in (prop::option::of(1_usize..40), 1_usize..12),
        seed: u64,
    ) {
        let mut draft = Draft::new(planes, height, width, seed);
        let picture: Vec<f32> = draft.value.numbers.iter().map(|number| *number as f32).collect();
        if seed.is_multiple_of(2) {
            draft.normalise("Mul", 2.0);
            draft.normalise("Sub", 0.75);
        } else if seed.is_multiple_of(3) {
            draft.normalise("Div", 0.5);
            draft.normalise("Add", 0.25);
        }
        let pads = if kernel > 1 { [pad, 0, 0, pad] } else { [0; 4] };
        draft.conv(Conv { outputs: stem, kernel: [kernel, kernel], stride, pads, depthwise: false, codes: false });
        draft.clip(-0.5, 6.0);
        for block in blocks {
            block.draft(&mut draft);
        }
        draft.mean();
        if let Some(hidden) = hidden {
            draft.dense(hidden, seed.is_multiple_of(5));
            draft.relu();
        }
        draft.dense(outputs, seed.is_multiple_of(2));
        if !seed.is_multiple_of(7) {
            draft.softmax();
        }
        let (model, expected) = draft.finish();
        let network = Arc::new(Network::load(&model).unwrap());
        prop_assert_eq!(network.outputs(), expected.len());
        let mut runner = network.runner();
        for cpu in Cpu::all() {
            // Twice: what a picture leaves in the buffers must not reach the next.
            for _ in 0..2 {
                let found = runner.run_on(&network.plan, cpu, &picture).unwrap();
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-4 * expected.abs().max(1.0), "{}: {found}, {expected}", cpu.name());
                }
            }
        }
    }
}

#[test]
fn a_wide_picture_goes_through_in_bands() {
    // 60 rows of 64 × 96 numbers are more than a window may hold.
    let mut draft = Draft::new(3, 120, 128, 5);
    let picture: Vec<f32> = draft.value.numbers.iter().map(|number| *number as f32).collect();
    draft.conv(Conv { outputs: 8, kernel: [3, 3], stride: 2, pads: [0, 0, 1, 1], depthwise: false, codes: false });
    for stride in [1, 2] {
        let pads = if stride == 1 { [1; 4] } else { [0, 0, 1, 1] };
        let block = Bottleneck { widen: Some(96), stride, pads, outputs: 8, add: stride == 1, codes: true, narrow: true };
        block.draft(&mut draft);
    }
    draft.mean();
    let (model, expected) = draft.finish();
    let network = Arc::new(Network::load(&model).unwrap());
    let mut runner = network.runner();
    for cpu in Cpu::all() {
        let found = runner.run_on(&network.plan, cpu, &picture).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{}: {found}, {expected}", cpu.name());
        }
    }
}
