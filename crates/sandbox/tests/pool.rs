//! Sandboxes as their owners use them. This program runs the tests, and is what the pool starts.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::{
    env, fs,
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use filesafety_engine::{Blueprint, ClamdAddress, ClamdConfig, Config, Engine, Grant, Input, Limits, Memory, Oversize, Unlimited};
use filesafety_model::{Detection, EngineName, Reason, Report, ScanTypes, Seen};
use filesafety_sandbox::{Confinement, Fault, FileContent, Job, Layer, Pool, PoolConfig, Program, StartError, Warmth, probe, run_child};
use rustix::process::{Pid, Signal, kill_process};

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("worker") {
        return run_child();
    }
    let tests: [(&str, fn()); 10] = [
        ("reports_are_those_of_an_engine_in_process", reports_are_those_of_an_engine_in_process),
        ("a_sandbox_has_no_environment_and_no_more_memory_than_granted", a_sandbox_has_no_environment_and_no_more_memory_than_granted),
        ("one_that_dies_costs_its_scan_and_no_other", one_that_dies_costs_its_scan_and_no_other),
        ("one_that_stands_still_is_ended_in_time", one_that_stands_still_is_ended_in_time),
        ("what_was_found_before_the_end_is_not_lost", what_was_found_before_the_end_is_not_lost),
        ("memory_is_asked_of_the_owner", memory_is_asked_of_the_owner),
        ("clamd_is_asked_by_the_owner", clamd_is_asked_by_the_owner),
        ("another_blueprint_takes_over", another_blueprint_takes_over),
        ("what_cannot_start_says_why", what_cannot_start_says_why),
        ("layers_are_told", layers_are_told),
    ];
    let filters: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, test) in tests {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter)) {
            let begun = Instant::now();
            test();
            eprintln!("test {name} ... ok ({:.1?})", begun.elapsed());
        }
    }
    ExitCode::SUCCESS
}

fn program() -> Program {
    Program { path: PathBuf::from("/proc/self/exe"), arguments: vec!["worker".into()], shown: None }
}

fn start(size: usize, config: Config) -> Pool {
    let config = (PoolConfig { program: program(), size, warmth: Warmth::All, confinement: Confinement::On }, config);
    Pool::start(config.0, Arc::new(Blueprint::load(config.1).unwrap())).unwrap()
}

fn scan(pool: &Pool, content: &[u8]) -> Result<Report, Fault> {
    scan_with(pool, content, &Unlimited)
}

fn scan_with(pool: &Pool, content: &[u8], memory: &dyn Memory) -> Result<Report, Fault> {
    let content = FileContent::from(Bytes::copy_from_slice(content));
    pool.scan(&Job { content: &content, name: Some("name"), types: ScanTypes::ALL, passwords: &[], room: 0 }, memory)
        .map(|scanned| scanned.report)
}

/// The children of this process.
fn sandboxes() -> Vec<Pid> {
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let children = stats.filter_map(|stat| {
        let pid = stat.split_once(' ')?.0.parse().ok()?;
        let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let (state, parent) = (rest.next()?, rest.next()?);
        (parent == std::process::id().to_string() && state != "Z").then_some(pid)
    });
    children.filter_map(Pid::from_raw).collect()
}

/// Once the pool has settled: it may replace one that is gone at the same time as a scan does.
fn the_only_one() -> Pid {
    for _ in 0..100 {
        let all = sandboxes();
        thread::sleep(Duration::from_millis(100));
        if all.len() == 1 && all == sandboxes() {
            return all[0];
        }
    }
    panic!("there are {:?}", sandboxes());
}

/// EICAR, put together.
fn eicar() -> Vec<u8> {
    [&b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$"[..], b"EICAR-STANDARD-ANTIVIRUS", b"-TEST-FILE!$H+H*"].concat()
}

/// A gzip file of stored blocks: what it holds, and nothing else to decode it than a header and a checksum.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let mut chunks = content.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        file.push(u8::from(chunks.peek().is_none()));
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&(!length).to_le_bytes());
        file.extend_from_slice(chunk);
    }
    file.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    file.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
    file
}

fn detections(report: &Report) -> Vec<&Detection> {
    report.engines.iter().flat_map(|engine| &engine.detections).collect()
}

fn reports_are_those_of_an_engine_in_process() {
    let pool = start(1, Config::default());
    let engine = Engine::load(Config::default()).unwrap();
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let files = [Vec::new(), b"text".to_vec(), eicar(), gzip(&eicar()), gzip(&large), gzip(b"")[..15].to_vec(), large, vec![0; 70_000]];
    for types in [ScanTypes::ALL, ScanTypes::VIRUS, ScanTypes::NSFW] {
        for file in &files {
            let content = FileContent::from(Bytes::copy_from_slice(file));
            let report =
                pool.scan(&Job { content: &content, name: Some("ä.gz"), types, passwords: &[], room: 0 }, &Unlimited).unwrap().report;
            let expected = engine.worker().scan(&Input { content: file, name: Some("ä.gz"), types, passwords: &[] }, &Unlimited).unwrap();
            assert_eq!(report, expected, "{} bytes", file.len());
        }
    }
    assert_eq!(detections(&scan(&pool, &gzip(&eicar())).unwrap()).len(), 2, "the member, and the stored bytes of the file");
}

fn a_sandbox_has_no_environment_and_no_more_memory_than_granted() {
    let pool = start(1, Config::default());
    let [pid] = sandboxes()[..] else { panic!("one sandbox") };
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap();
    assert_eq!(of("environ"), "");
    let status = of("status");
    if pool.layers().in_force.contains(&Layer::Seccomp) {
        assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    }
    let number = |text: &str, key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_ascii_whitespace().next().unwrap().parse().unwrap()
    };
    let data = number(&status, "VmData:") << 10;
    let most = number(&of("limits"), "Max data size");
    assert!(most <= data + Limits::FREE_MEMORY + (64 << 20) && most > data, "{data} {most}");
    assert_eq!(number(&of("limits"), "Max file size"), 0);
    assert_eq!(number(&of("limits"), "Max core file size"), 0);
}

/// Stops all threads of a process: the signal alone reaches them one after the other.
fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    let tasks = PathBuf::from(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let stands = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'));
    let all = || fs::read_dir(&tasks).unwrap().flatten().all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(stands));
    while !all() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the stopped sandbox has its file, and ends it.
fn kill_soon(pid: Pid) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        kill_process(pid, Signal::KILL).unwrap();
    })
}

fn one_that_dies_costs_its_scan_and_no_other() {
    let pool = start(1, Config::default());
    for _ in 0..3 {
        // Idle: nobody notices.
        kill_process(sandboxes()[0], Signal::KILL).unwrap();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(detections(&scan(&pool, &eicar()).unwrap()).len(), 1);
        // At work: the scan has no outcome, the next has one.
        let pid = the_only_one();
        stop(pid);
        let killer = kill_soon(pid);
        let died = Fault::Died { how: "signal 9".to_owned(), seen: Seen::default() };
        assert_eq!(scan(&pool, &eicar()), Err(died));
        killer.join().unwrap();
        assert_eq!(detections(&scan(&pool, &eicar()).unwrap()).len(), 1);
    }
    drop(pool);
    assert_eq!(sandboxes(), []);
}

fn one_that_stands_still_is_ended_in_time() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let pool = start(1, Config { limits, ..Config::default() });
    stop(the_only_one());
    let begun = Instant::now();
    let stood_still = Fault::Died { how: "it did not end in time".to_owned(), seen: Seen::default() };
    assert_eq!(scan(&pool, &eicar()), Err(stood_still));
    let took = begun.elapsed();
    assert!((limits.wall()..limits.wall() + Duration::from_millis(1500)).contains(&took), "{took:?}");
    assert!(scan(&pool, &eicar()).is_ok());
}

/// Ends the sandbox that asks for more memory.
struct Deadly(Pid, Signal);

impl Memory for Deadly {
    fn grow(&self, _: u64) -> Grant {
        kill_process(self.0, self.1).unwrap();
        Grant::Granted
    }

    fn shrink(&self, _: u64) {}
}

fn what_was_found_before_the_end_is_not_lost() {
    // What is inside asks for memory once the stored bytes have been looked at.
    let file = gzip(&[eicar(), vec![0; 64 << 20]].concat());
    for (signal, expected, cpu) in [(Signal::KILL, "signal 9", 60), (Signal::STOP, "it did not end in time", 2)] {
        let limits = Limits { cpu: Duration::from_secs(cpu), ..Limits::default() };
        let pool = start(1, Config { limits, ..Config::default() });
        let Err(Fault::Died { how, seen }) = scan_with(&pool, &file, &Deadly(the_only_one(), signal)) else { panic!("it died") };
        assert_eq!(how, expected);
        let report = Report::cut_short(&[], seen, Reason::Broken, "Crash");
        let found: Vec<_> = detections(&report).iter().map(|found| (found.engine, found.path.as_str())).collect();
        assert_eq!(found, [(EngineName::YaraX, "")]);
    }
}

/// Grants up to a bound; counts what is held.
struct Bounded {
    held: AtomicU64,
    most: u64,
    highest: AtomicU64,
    beyond: Grant,
}

impl Memory for Bounded {
    fn grow(&self, bytes: u64) -> Grant {
        let held = self.held.load(Ordering::SeqCst) + bytes;
        if held > self.most {
            return self.beyond;
        }
        self.held.store(held, Ordering::SeqCst);
        self.highest.fetch_max(held, Ordering::SeqCst);
        Grant::Granted
    }

    fn shrink(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::SeqCst);
    }
}

fn memory_is_asked_of_the_owner() {
    let pool = start(1, Config::default());
    let file = gzip(&vec![0; 100 << 20]);
    let bounded = |most, beyond| Bounded { held: AtomicU64::new(0), most, highest: AtomicU64::new(0), beyond };
    let enough = bounded(200 << 20, Grant::Short);
    assert!(scan_with(&pool, &file, &enough).unwrap().coverage.unexamined.is_empty());
    assert!((68 << 20..160 << 20).contains(&enough.highest.load(Ordering::SeqCst)), "{enough:?}", enough = enough.highest);
    assert_eq!(scan_with(&pool, &file, &bounded(20 << 20, Grant::Short)), Err(Fault::MemoryShort));
    let beyond = scan_with(&pool, &file, &bounded(20 << 20, Grant::Beyond)).unwrap();
    assert_eq!(beyond.coverage.unexamined[0].signature, "Heuristics.Limits.Memory");
    // What is granted to one is not left to the next.
    assert!(scan(&pool, b"text").is_ok());
}

fn clamd_is_asked_by_the_owner() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for caller in listener.incoming() {
            let mut caller = caller.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 65_536]);
            while !request.ends_with(&[0; 4]) {
                let read = caller.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            let found = request.windows(4).any(|window| window == b"MARK");
            let answer: &[u8] = if found { b"stream: Marked FOUND\0" } else { b"stream: OK\0" };
            caller.write_all(answer).unwrap();
        }
    });
    let clamd = ClamdConfig { address: ClamdAddress::Unix(socket.clone()), max_bytes: 2 << 20, oversize: Oversize::Note };
    let pool = start(1, Config { clamd: Some(clamd), ..Config::default() });
    let found = |content: &[u8]| {
        let report = scan(&pool, content).unwrap();
        (detections(&report).iter().map(|found| found.signature.clone()).collect::<Vec<_>>(), report.coverage.notes.len())
    };
    assert_eq!(found(b"nothing"), (vec![], 0));
    assert_eq!(found(&gzip(b"a MARK")).0, ["Marked"; 2], "the member, and the stored bytes of the file");
    let large = [vec![b'.'; 1 << 20], b"MARK".to_vec()].concat();
    assert_eq!(found(&large).0, ["Marked"]);
    assert_eq!(found(&vec![b'.'; 3 << 20]), (vec![], 1), "too large for clamd");
    fs::remove_file(socket).unwrap();
    let report = scan(&pool, b"nobody answers").unwrap();
    assert!(format!("{:?}", report.engines).contains("cannot be reached"), "{report:?}");
}

fn another_blueprint_takes_over() {
    let pool = start(2, Config::default());
    assert_eq!(detections(&scan(&pool, b"a strange word").unwrap()).len(), 0);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yar"), r#"rule Strange { strings: $a = "strange word" condition: $a }"#).unwrap();
    let config = Config { rules_dir: Some(folder.path().to_owned()), ..Config::default() };
    let before = sandboxes();
    pool.replace(Arc::new(Blueprint::load(config).unwrap())).unwrap();
    assert_eq!(detections(&scan(&pool, b"a strange word").unwrap())[0].signature, "Strange");
    let after = sandboxes();
    assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
}

fn what_cannot_start_says_why() {
    let program = |path: &str| Program { path: path.into(), arguments: Vec::new(), shown: None };
    let start = |path: &str| {
        let config = PoolConfig { program: program(path), size: 1, warmth: Warmth::All, confinement: Confinement::On };
        Pool::start(config, Arc::new(Blueprint::load(Config::default()).unwrap())).err().unwrap()
    };
    assert!(matches!(start("/nowhere"), StartError::Spawn(_)));
    assert!(matches!(start("/bin/true"), StartError::Unfit(_) | StartError::Spawn(_)));
}

fn layers_are_told() {
    let layers = probe(&program(), Confinement::On).unwrap();
    eprintln!("{layers:?}");
    for layer in [Layer::ParentDeath, Layer::Undumpable, Layer::Seccomp] {
        assert!(layers.in_force.contains(&layer), "{layers:?}");
    }
    match probe(&program(), Confinement::Required) {
        Ok(layers) => assert!(layers.are_complete()),
        Err(error) => assert!(error.to_string().contains("landlock is not in force"), "{error}"),
    }
    let off = probe(&program(), Confinement::Off).unwrap();
    assert!(off.in_force.is_empty() && off.missing.len() == Layer::ALL.len());
}
