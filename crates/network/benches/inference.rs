//! Milliseconds per picture on one thread, ours beside rten, on the shipped model. `compare.py` puts ONNX Runtime and nsfwjs beside them.
//!
//! usage: inference [SECONDS] [--jpeg FILE] [--threads N] [--only ours|rten]
//! With a JPEG: its decoding and reduction as well, apart and together, by so many threads at once.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures, and says what")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use filesafety_network::{Network, Runner};
use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::{AsView, NdTensor};

const MODEL: &[u8] = include_bytes!("../../../models/mobilenet_v2.u8.onnx");
const SIDE: usize = 224;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let option = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let seconds = arguments.first().and_then(|argument| argument.parse().ok()).unwrap_or(3.0);
    let (duration, only) = (Duration::from_secs_f64(seconds), option("--only").map(String::as_str));

    let start = Instant::now();
    let network = Arc::new(Network::load(MODEL).unwrap());
    println!("load {:.1} ms, instructions {}, runner {} KiB", milliseconds(start), network.instructions(), network.runner_bytes() >> 10);
    let picture = noise();
    if let Some(file) = option("--jpeg") {
        let threads = option("--threads").map_or(1, |count| count.parse().unwrap());
        return end_to_end(&network, &std::fs::read(file).unwrap(), threads, duration);
    }
    let mut runner = network.runner();
    let mut rten = Rten::new();
    // In turns, so that what the machine does meanwhile meets both.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let end = Instant::now() + duration;
    while Instant::now() < end {
        if only != Some("rten") {
            ours.extend((0..20).map(|_| time(|| drop(runner.run(&picture).unwrap().to_vec()))));
        }
        if only != Some("ours") {
            theirs.extend((0..5).map(|_| time(|| rten.run(&picture))));
        }
    }
    for (name, times) in [("ours", &mut ours), ("rten", &mut theirs)] {
        if !times.is_empty() {
            let (fastest, median) = fastest_and_median(times);
            println!("{name} {median:.3} ms (fastest {fastest:.3}, {} runs)", times.len());
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    milliseconds(start)
}

fn fastest_and_median(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

fn noise() -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..3 * SIDE * SIDE).map(|_| next()).collect()
}

struct Rten {
    model: Model,
    pool: Arc<ThreadPool>,
}

impl Rten {
    fn new() -> Self {
        Self { model: Model::load_static_slice(MODEL).unwrap(), pool: Arc::new(ThreadPool::with_num_threads(1)) }
    }

    fn run(&mut self, picture: &[f32]) {
        let tensor = NdTensor::from_data([1, 3, SIDE, SIDE], picture.to_vec());
        let (input, output) = (self.model.node_id("input").unwrap(), self.model.node_id("probs").unwrap());
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        self.model.run_n(vec![(input, tensor.view().into())], [output], Some(options)).unwrap();
    }
}

/// A JPEG from its bytes to its probabilities, again and again.
fn end_to_end(network: &Arc<Network>, file: &[u8], threads: usize, duration: Duration) {
    let mut runner = network.runner();
    let end = Instant::now() + duration / 2;
    let mut parts = [const { Vec::new() }; 3];
    while Instant::now() < end {
        let start = Instant::now();
        let pixels = decode(file);
        parts[0].push(milliseconds(start));
        let start = Instant::now();
        let planes = reduce(&pixels);
        parts[1].push(milliseconds(start));
        parts[2].push(time(|| drop(runner.run(&planes).unwrap().to_vec())));
    }
    for (name, times) in ["decode", "reduce", "infer"].iter().zip(&mut parts) {
        println!("{name} {:.3} ms", fastest_and_median(times).1);
    }
    let start = Instant::now();
    let count: usize = std::thread::scope(|scope| {
        let work = |mut runner: Runner| {
            let mut count = 0;
            while start.elapsed() < duration / 2 {
                runner.run(&reduce(&decode(file))).unwrap();
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(move || work(network.runner()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{threads} threads {:.2} pictures/s", count as f64 / start.elapsed().as_secs_f64());
}

fn decode(file: &[u8]) -> image::RgbImage {
    image::load_from_memory(file).unwrap().into_rgb8()
}

/// Bilinear, corners aligned, four pixels for each, as nsfwjs does it.
fn reduce(pixels: &image::RgbImage) -> Vec<f32> {
    let taps = |length: u32| {
        let step = f64::from(length - 1) / (SIDE - 1) as f64;
        (0..SIDE).map(move |index| (index as f64 * step, length - 1)).map(|(at, last)| {
            let low = (at.floor() as u32).min(last);
            (low, (at.ceil() as u32).min(last), (at - f64::from(low)) as f32)
        })
    };
    let columns: Vec<_> = taps(pixels.width()).collect();
    let mut planes = vec![0.0; 3 * SIDE * SIDE];
    for (y, (top, bottom, down)) in taps(pixels.height()).enumerate() {
        for (x, (left, right, across)) in columns.iter().enumerate() {
            let corners = [(*left, top), (*right, top), (*left, bottom), (*right, bottom)].map(|(x, y)| pixels.get_pixel(x, y).0);
            for channel in 0..3 {
                let [a, b, c, d] = corners.map(|pixel| f32::from(pixel[channel]) / 255.0);
                let (upper, lower) = (a + (b - a) * across, c + (d - c) * across);
                planes[(channel * SIDE + y) * SIDE + x] = upper + (lower - upper) * down;
            }
        }
    }
    planes
}
