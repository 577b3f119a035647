//! Sync scans of small distinct files through HTTP, beside clamd given the same files in the same run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Times, milliseconds};
use crate::support::archives::{Member, zip};
use crate::support::clamd::Clamd;
use crate::support::client::Connection;
use crate::support::{Form, Options, Server};

const FILES: usize = 1000;
const ROUNDS: usize = 3;

/// What one round took.
struct Round {
    rate: f64,
    times: Times,
}

pub(crate) fn run() {
    let files = corpus();
    let bytes: usize = files.iter().map(Vec::len).sum();
    println!("  {} files, {:.1} MB", files.len(), bytes as f64 / 1e6);
    // The same files come again in every round: each must be judged anew.
    let options = Options::new().env("FILESAFETY_DEDUPE_FOR", "0").env("FILESAFETY_LOG", "warn");
    let clamd = Clamd::start(options.folder());
    let server = options.start();
    for connections in [1, 8] {
        // In turns, and the best of each: a neighbour on the machine spoils both or neither.
        let mut ours: Option<Round> = None;
        let mut theirs: Option<Round> = None;
        for _ in 0..ROUNDS {
            ours = Some(better(ours, scan_all(&server, &files, connections)));
            theirs = clamd.as_ref().map(|clamd| better(theirs.take(), ask_all(clamd, &files, connections)));
        }
        let ours = ours.expect("a round");
        print(&format!("filesafety, {connections} connections"), &ours);
        if let Some(theirs) = theirs {
            print(&format!("clamd, {connections} clients"), &theirs);
            println!("  ratio: {:.2}", ours.rate / theirs.rate);
        }
    }
}

fn better(one: Option<Round>, other: Round) -> Round {
    match one {
        Some(one) if one.rate >= other.rate => one,
        Some(_) | None => other,
    }
}

fn print(name: &str, round: &Round) {
    let (p50, p99) = (milliseconds(round.times.percentile(50)), milliseconds(round.times.percentile(99)));
    println!("  {name}: {:.0} files/s, p50 {p50:.2} ms, p99 {p99:.2} ms", round.rate);
}

fn scan_all(server: &Server, files: &[Vec<u8>], connections: usize) -> Round {
    let requests: Vec<_> = files.iter().map(|file| server.post("/v1/scan").form(Form::of("file.bin", file))).collect();
    in_parallel(connections, files.len(), || {
        let mut connection = Connection::open(server.address()).expect("a connection");
        let requests = &requests;
        move |index| {
            let answer = connection.exchange(&requests[index]).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    })
}

fn ask_all(clamd: &Clamd, files: &[Vec<u8>], clients: usize) -> Round {
    in_parallel(clients, files.len(), || {
        |index: usize| {
            assert_eq!(clamd.scan(&files[index]).expect("an answer"), "stream: OK");
        }
    })
}

/// Shares `count` pieces of work among threads, each with a worker of its own.
fn in_parallel<W: FnMut(usize) + Send>(threads: usize, count: usize, worker: impl Fn() -> W) -> Round {
    let next = &AtomicUsize::new(0);
    let workers: Vec<W> = (0..threads).map(|_| worker()).collect();
    let begun = Instant::now();
    let times = thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut work| {
                scope.spawn(move || {
                    let mut times = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::SeqCst);
                        if index >= count {
                            return times;
                        }
                        let begun = Instant::now();
                        work(index);
                        times.push(begun.elapsed());
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect::<Vec<Duration>>()
    });
    Round { rate: count as f64 / begun.elapsed().as_secs_f64(), times: Times::of(times) }
}

/// Distinct files of 4 to 64 KiB, the same in every run: random bytes, text, pages, programs of this machine, archives.
fn corpus() -> Vec<Vec<u8>> {
    let mut random = Random(11);
    let words: Vec<String> = (0..5000).map(|_| random.word()).collect();
    let programs = programs();
    (0..FILES)
        .map(|index| {
            let length = 4096 + random.below(61_440);
            match index % 10 {
                0..4 => random.bytes(length),
                4..7 => random.text(&words, length),
                7 => random.page(&words, length),
                8 => [programs[random.below(programs.len())].as_slice(), &random.bytes(8)].concat(),
                _ => zip(&[Member::deflated("a.txt", &random.text(&words, length)), Member::deflated("b.bin", &random.bytes(length / 4))]),
            }
        })
        .collect()
}

fn programs() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir("/usr/bin").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let small = |path: &std::path::PathBuf| path.metadata().is_ok_and(|data| data.is_file() && (4096..65_536).contains(&data.len()));
    let mut programs: Vec<Vec<u8>> =
        paths.iter().filter(|path| small(path)).take(200).filter_map(|path| std::fs::read(path).ok()).collect();
    programs.retain(|program| program.starts_with(b"\x7fELF"));
    programs.push([b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9000]].concat());
    programs
}

/// The splitmix64 sequence.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    fn word(&mut self) -> String {
        (0..2 + self.below(9)).map(|_| char::from(b'a' + u8::try_from(self.below(26)).expect("a letter"))).collect()
    }

    fn text(&mut self, words: &[String], length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            text.extend_from_slice(words[self.below(words.len())].as_bytes());
            text.push(b' ');
        }
        text.truncate(length);
        text
    }

    fn page(&mut self, words: &[String], length: usize) -> Vec<u8> {
        let mut page = b"<html><body><script>var a=1;</script>".to_vec();
        while page.len() < length {
            page.extend_from_slice(b"<p class=\"x\">");
            page.extend_from_slice(&self.text(words, 200));
            page.extend_from_slice(b"</p><a href=\"http://example.org/\">k</a>");
        }
        page.extend_from_slice(b"</body></html>");
        page
    }
}
