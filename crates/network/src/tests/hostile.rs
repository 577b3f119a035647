//! Damaged models: an error, or a network that computes; never a panic, never much memory.

use std::sync::Arc;

use super::draft::{Conv, Draft};
use crate::Network;

const SHIPPED: &[u8] = include_bytes!("../../../../models/mobilenet_v2.u8.onnx");

/// Every operator that is known, in few bytes.
fn small() -> Vec<u8> {
    let plain = Conv { outputs: 9, kernel: [1, 1], stride: 1, pads: [0; 4], depthwise: false, codes: true };
    let mut draft = Draft::new(2, 7, 6, 3);
    draft.normalise("Sub", 0.5);
    draft.conv(Conv { kernel: [3, 3], stride: 2, pads: [0, 0, 1, 1], codes: false, ..plain });
    draft.clip(0.0, 6.0);
    let narrow = draft.value.clone();
    draft.conv(Conv { outputs: 11, ..plain });
    draft.clip(0.0, 6.0);
    draft.conv(Conv { outputs: 11, kernel: [3, 3], pads: [1; 4], depthwise: true, ..plain });
    draft.relu();
    draft.conv(plain);
    draft.add(&narrow, false);
    draft.mean();
    draft.dense(5, true);
    draft.softmax();
    draft.finish().0
}

/// Loads, and computes what loaded; the memory is what was promised.
fn attempt(model: &[u8]) -> bool {
    let Ok(network) = Network::load(model) else { return false };
    assert!(network.runner_bytes() <= 128 << 20);
    // Larger ones are sound as well, but take their time.
    if network.runner_bytes() <= 1 << 20 {
        let shape = network.input();
        let picture = vec![0.5; shape.channels * shape.height * shape.width];
        // Weights may have become so large that the result is no number.
        let _ = Arc::new(network).runner().run(&picture);
    }
    true
}

#[test]
fn every_truncation_is_an_error() {
    let model = small();
    assert!(attempt(&model));
    for length in 0..model.len() {
        assert!(!attempt(&model[..length]), "{length}");
    }
    for length in (0..SHIPPED.len()).step_by(9973) {
        assert!(!attempt(&SHIPPED[..length]), "{length}");
    }
    // What stands at the very end are remarks: a model without one of them is whole.
    for length in SHIPPED.len() - 400..SHIPPED.len() {
        attempt(&SHIPPED[..length]);
    }
}

#[test]
fn every_byte_of_a_small_model_may_be_any_of_several() {
    let model = small();
    let mut loaded = 0;
    for at in 0..model.len() {
        for value in [0x00, 0x01, 0x7F, 0x80, 0xFF, model[at] ^ 0x01, model[at] ^ 0x10, model[at].wrapping_add(1)] {
            let mut damaged = model.clone();
            damaged[at] = value;
            loaded += usize::from(attempt(&damaged));
        }
    }
    // Most of the bytes are weights.
    assert!(loaded > model.len());
}

#[test]
fn random_damage_to_the_shipped_model_does_no_harm() {
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    for _ in 0..60 {
        let mut damaged = SHIPPED.to_vec();
        for _ in 0..=random(20) {
            // The nodes stand in the first bytes.
            let most = if random(2) == 0 { 24 << 10 } else { SHIPPED.len() };
            damaged[random(most)] = random(256) as u8;
        }
        attempt(&damaged);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn damage_never_takes_much_memory() {
    // Other tests run in this process too, but none of them needs much either.
    let model = small();
    for at in 0..model.len() {
        let mut damaged = model.clone();
        damaged[at] = 0xFF;
        let _ = Network::load(&damaged);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 400 << 10, "{kib} KiB");
}
