//! The shipped model, beside a runtime of another make.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use filesafety_network::Network;
use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::{AsView, NdTensor};

const MODEL: &[u8] = include_bytes!("../../../models/mobilenet_v2.u8.onnx");
const SIDE: usize = 224;

macro_rules! picture {
    ($name:literal) => {
        include_bytes!(concat!("../../engine/tests/fixtures/pictures/", $name)).as_slice()
    };
}

const PICTURES: [&[u8]; 5] = [
    picture!("porn_ellipse.png"),
    picture!("hentai_ellipse.png"),
    picture!("sexy_ellipse.png"),
    picture!("sexy_noise.png"),
    picture!("scene.png"),
];

/// Numbers from 0 to 1, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }
}

/// A picture in planes, bilinear with corners aligned.
fn planes(picture: &[u8]) -> Vec<f32> {
    let picture = image::load_from_memory(picture).unwrap().to_rgb8();
    let at = |index: usize, length: u32| {
        let at = index as f32 * (length - 1) as f32 / (SIDE - 1) as f32;
        (at.floor() as u32, at.ceil() as u32, at.fract())
    };
    let mut planes = Vec::with_capacity(3 * SIDE * SIDE);
    for index in 0..3 * SIDE * SIDE {
        let (channel, (top, bottom, down), (left, right, across)) =
            (index / (SIDE * SIDE), at(index / SIDE % SIDE, picture.height()), at(index % SIDE, picture.width()));
        let value = |x, y| f32::from(picture.get_pixel(x, y).0[channel]) / 255.0;
        let mix = |y| value(left, y) + (value(right, y) - value(left, y)) * across;
        planes.push(mix(top) + (mix(bottom) - mix(top)) * down);
    }
    planes
}

/// Noise, even colours, gradients, stripes and patches.
fn drawn(index: usize) -> Vec<f32> {
    let mut numbers = Numbers(index as u64);
    let (colour, step) = ([numbers.next(), numbers.next(), numbers.next()], 1 + index * 3 % 29);
    let patches: Vec<f32> = (0..3 * 64).map(|_| numbers.next()).collect();
    let mut pixel = |plane: usize, y: usize, x: usize| match index % 6 {
        0 => numbers.next(),
        1 => colour[plane],
        2 => (colour[plane] + (x * plane + y * (2 - plane)) as f32 / 448.0) % 1.0,
        3 => f32::from(u8::from((x / step + y / step * plane).is_multiple_of(2))),
        4 => patches[plane * 64 + y / 28 * 8 + x / 28],
        _ => 0.7 * patches[plane * 64 + y / 28 * 8 + x / 28] + 0.3 * numbers.next(),
    };
    (0..3 * SIDE * SIDE).map(|index| pixel(index / (SIDE * SIDE), index / SIDE % SIDE, index % SIDE)).collect()
}

#[test]
fn probabilities_are_those_of_rten() {
    let network = Arc::new(Network::load(MODEL).unwrap());
    assert_eq!((network.input().height, network.outputs()), (SIDE, 5));
    let mut runner = network.runner();
    let model = Model::load_static_slice(MODEL).unwrap();
    let (input, output) = (model.node_id("input").unwrap(), model.node_id("probs").unwrap());
    let pool = Arc::new(ThreadPool::with_num_threads(1));

    let pictures = PICTURES.into_iter().map(planes).chain((0..36).map(drawn));
    let (mut worst, mut tops) = (0.0_f32, [0; 5]);
    for picture in pictures {
        let tensor = NdTensor::from_data([1, 3, SIDE, SIDE], picture.clone());
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
        let [expected] = model.run_n(vec![(input, tensor.view().into())], [output], Some(options)).unwrap();
        let expected: NdTensor<f32, 2> = expected.try_into().unwrap();
        let found = runner.run(&picture).unwrap();
        let top = found.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        tops[top] += 1;
        for (found, expected) in found.iter().zip(expected.iter()) {
            worst = worst.max((found - expected).abs());
        }
    }
    assert!(worst < 1e-5, "{worst}");
    // The pictures are of several kinds to the network too.
    assert!(tops.iter().filter(|count| **count > 0).count() >= 4, "{tops:?}");
}

#[test]
fn the_positives_are_found() {
    let network = Arc::new(Network::load(MODEL).unwrap());
    let mut runner = network.runner();
    for (picture, class, expected) in [(0, 3, 0.972), (1, 1, 0.885), (2, 4, 0.916), (3, 4, 0.840)] {
        let probability = runner.run(&planes(PICTURES[picture])).unwrap()[class];
        assert!((probability - expected).abs() < 0.001, "{picture}: {probability}");
    }
}

#[test]
fn threads_share_a_network() {
    let network = Arc::new(Network::load(MODEL).unwrap());
    let run = |network: &Arc<Network>| {
        let mut runner = network.runner();
        (0..3).map(|index| runner.run(&drawn(index)).unwrap().to_vec()).collect::<Vec<_>>()
    };
    let expected = run(&network);
    std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| run(&network)));
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

#[test]
fn a_runner_takes_few_megabytes() {
    let network = Network::load(MODEL).unwrap();
    assert!(network.runner_bytes() < 5 << 20, "{}", network.runner_bytes());
}
