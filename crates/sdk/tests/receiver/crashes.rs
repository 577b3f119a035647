//! A real receiver process under `kill -9`: 10,000 events, 30 % of them sent again, out of order, 50 kills.
//!
//! The process is this test binary, run again with [`child`] alone. Smaller by default; whole with `FILESAFETY_FULL=1`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use filesafety::{
    event::Verdict,
    receiver::{HandlerError, Receiver, rusqlite::Connection, sqlite::SqliteStore},
    sign,
};

use crate::support::{body, scan_id, secret};

const FOLDER: &str = "RECEIVER_TEST_FOLDER";
const SENDERS: usize = 4;

/// Scan and sequence.
type Key = (String, u32);

struct Size {
    events: u64,
    kills: u64,
}

fn size() -> Size {
    if std::env::var_os("FILESAFETY_FULL").is_some() { Size { events: 10_000, kills: 50 } } else { Size { events: 1000, kills: 5 } }
}

/// A number under `bound` that differs from run to run.
fn random(bound: u64, salt: u64) -> u64 {
    RandomState::new().hash_one(salt) % bound
}

/// Each event once, and three in ten once more, shuffled. Every tenth scan has two events.
fn plan(events: u64) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for number in 0..events {
        keys.push(if number % 10 == 9 { (scan_id(number - 1), 2) } else { (scan_id(number), 1) });
    }
    let repeats: Vec<Key> = keys.iter().enumerate().filter(|(index, _)| index % 10 < 3).map(|(_, key)| key.clone()).collect();
    keys.extend(repeats);
    let order = RandomState::new();
    let mut shuffled: Vec<(u64, Key)> = keys.into_iter().enumerate().map(|(index, key)| (order.hash_one(index), key)).collect();
    shuffled.sort();
    shuffled.into_iter().map(|(_, key)| key).collect()
}

#[test]
fn every_event_is_handled_and_none_twice_after_its_mark() {
    let Size { events, kills } = size();
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(events);
    let (next, address) = (AtomicUsize::new(0), Mutex::new(None::<SocketAddr>));
    let begun = Instant::now();
    let (mut observed, mut answers) = (0, BTreeMap::<u16, u64>::new());
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(|| send_all(&plan, &next, &address))).collect();
        for round in 0..kills {
            let mut process = start(folder.path());
            *address.lock().unwrap() = Some(process.address);
            // Each life is worth its share of the events, give or take, so that kills fall into the whole of the run.
            let share = usize::try_from((round + 1) * plan.len() as u64 / (kills + 1)).unwrap();
            let patience = Instant::now();
            while next.load(Ordering::SeqCst) < share && patience.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(random(40, round)));
            process.child.kill().unwrap();
            process.child.wait().unwrap();
            observed += assert_none_twice_after_its_mark(folder.path());
        }
        let process = start(folder.path());
        *address.lock().unwrap() = Some(process.address);
        for sender in senders {
            for (status, count) in sender.join().unwrap() {
                *answers.entry(status).or_default() += count;
            }
        }
        wait_until_handled(folder.path());
        drop(process);
    });
    observed += assert_none_twice_after_its_mark(folder.path());
    let repeated = assert_each_was_handled(folder.path(), &plan);
    eprintln!(
        "{events} events, {} webhooks, {kills} kills in {:.1?}: answers {answers:?}; {observed} marks seen at kills, {repeated} handlers ran again before their mark",
        plan.len(),
        begun.elapsed(),
    );
}

/// Marks that a kill left, checked against what ran since: a line behind the mark would be a second run.
fn assert_none_twice_after_its_mark(folder: &Path) -> usize {
    let lines = lines(folder);
    let kept = folder.join("marked-at-lines");
    let before: BTreeMap<Key, usize> = fs::read_to_string(&kept).unwrap_or_default().lines().map(parse_counted).collect();
    for (key, ran) in &before {
        assert_eq!(lines.get(key).copied().unwrap_or(0), *ran, "{key:?} ran again after its mark");
    }
    let marked = marks(folder, "handled");
    let now = marked.iter().map(|key| format!("{} {} {}\n", key.0, key.1, lines.get(key).copied().unwrap_or(0)));
    fs::write(kept, now.collect::<String>()).unwrap();
    marked.len()
}

/// Gives how many runs there were beyond the first of each.
fn assert_each_was_handled(folder: &Path, plan: &[Key]) -> usize {
    let keys: BTreeSet<Key> = plan.iter().cloned().collect();
    let (handled, superseded) = (marks(folder, "handled"), marks(folder, "superseded"));
    let settled: BTreeSet<Key> = handled.union(&superseded).cloned().collect();
    assert_eq!(settled, keys, "every event came to its mark, and no other");
    for key in &superseded {
        assert!(handled.iter().any(|(scan, sequence)| *scan == key.0 && *sequence > key.1), "{key:?} was set aside for a newer one");
    }
    let (lines, rows) = (lines(folder), rows(folder));
    for key in &handled {
        if in_transaction(&key.0) {
            assert_eq!(rows.get(key), Some(&1), "{key:?} has its effect exactly once");
        } else {
            assert!(lines.contains_key(key), "{key:?} was handled");
        }
    }
    assert!(rows.keys().all(|key| handled.contains(key)), "no effect without its mark");
    lines.values().map(|ran| ran - 1).sum()
}

/// Events of odd scans insert a row together with their mark; those of even scans leave a line in a file and are marked afterwards.
fn in_transaction(scan: &str) -> bool {
    !scan.as_bytes().last().is_some_and(|digit| (digit - b'0').is_multiple_of(2))
}

/// How the process tells them apart.
fn verdict(scan: &str) -> &'static str {
    if in_transaction(scan) { "infected" } else { "clean" }
}

fn parse_counted(line: &str) -> (Key, usize) {
    let [scan, sequence, count] = <[&str; 3]>::try_from(line.split(' ').collect::<Vec<_>>()).unwrap();
    ((scan.to_owned(), sequence.parse().unwrap()), count.parse().unwrap())
}

fn lines(folder: &Path) -> BTreeMap<Key, usize> {
    let mut lines = BTreeMap::new();
    for line in fs::read_to_string(folder.join("effects")).unwrap_or_default().lines() {
        let (scan, sequence) = line.split_once(' ').unwrap();
        *lines.entry((scan.to_owned(), sequence.parse().unwrap())).or_default() += 1;
    }
    lines
}

fn rows(folder: &Path) -> BTreeMap<Key, i64> {
    let conn = Connection::open(folder.join("webhooks.db")).unwrap();
    let mut query = conn.prepare("SELECT scan_id, sequence, count(*) FROM effects GROUP BY scan_id, sequence").unwrap();
    query.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).unwrap().map(Result::unwrap).collect()
}

fn marks(folder: &Path, state: &str) -> BTreeSet<Key> {
    let conn = Connection::open(folder.join("webhooks.db")).unwrap();
    let mut query = conn.prepare("SELECT scan_id, sequence FROM processed_webhooks WHERE state = ?1").unwrap();
    query.query_map([state], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn wait_until_handled(folder: &Path) {
    let begun = Instant::now();
    while !marks(folder, "waiting").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(120), "still waiting: {:?}", marks(folder, "waiting").iter().next());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(marks(folder, "dead").is_empty());
}

/// Sends its share, each until it is answered 200.
fn send_all(plan: &[Key], next: &AtomicUsize, address: &Mutex<Option<SocketAddr>>) -> BTreeMap<u16, u64> {
    let mut answers = BTreeMap::new();
    let mut connection = None;
    while let Some((scan, sequence)) = plan.get(next.fetch_add(1, Ordering::SeqCst)) {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "{scan} {sequence} was never accepted");
            match post(&mut connection, address, &body(scan, verdict(scan), *sequence)) {
                Ok(status) => {
                    *answers.entry(status).or_default() += 1;
                    if status == 200 {
                        break;
                    }
                }
                Err(_) => {
                    *answers.entry(0).or_default() += 1;
                    connection = None;
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
    answers
}

fn post(connection: &mut Option<BufReader<TcpStream>>, address: &Mutex<Option<SocketAddr>>, body: &str) -> std::io::Result<u16> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let address = address.lock().unwrap().ok_or(std::io::ErrorKind::NotConnected)?;
            let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.set_nodelay(true)?;
            connection.insert(BufReader::new(stream))
        }
    };
    let secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = sign::sign(&[secret(1)], "evt_1", i64::try_from(secs).unwrap(), body.as_bytes());
    let request = format!(
        "POST /hook HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nwebhook-id: evt_1\r\nwebhook-timestamp: {secs}\r\n\
         webhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if status.is_none() {
            status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().map_err(|_| std::io::ErrorKind::InvalidData)?;
        } else if line.is_empty() {
            break;
        }
    }
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    status.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &Path) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crashes::child", "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| line.unwrap().rsplit_once("listening on ").map(|(_, address)| address.parse().unwrap()));
    let address = address.expect("the process says where it listens");
    // Whatever else it says must not block it.
    thread::spawn(move || lines.for_each(drop));
    Process { child, address }
}

/// The process under test. Run by itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let store = SqliteStore::open(folder.join("webhooks.db")).unwrap();
    let beside = Connection::open(folder.join("webhooks.db")).unwrap();
    beside.busy_timeout(Duration::from_secs(10)).unwrap();
    beside.execute_batch("CREATE TABLE IF NOT EXISTS effects (scan_id TEXT, sequence INTEGER)").unwrap();
    let effects = Arc::new(fs::OpenOptions::new().create(true).append(true).open(folder.join("effects")).unwrap());
    let insert = store.in_transaction(|conn, event| {
        conn.execute("INSERT INTO effects VALUES (?1, ?2)", (&event.scan_id, event.sequence))?;
        Ok(())
    });
    let write = move |event: Arc<filesafety::receiver::ScanEvent>| {
        let effects = Arc::clone(&effects);
        async move {
            // One write, so that a kill leaves the whole line or nothing.
            Write::write_all(&mut &*effects, format!("{} {}\n", event.scan_id, event.sequence).as_bytes())?;
            Ok::<_, HandlerError>(())
        }
    };
    let receiver = Receiver::builder(store)
        .secret(secret(1))
        .retries(vec![Duration::from_millis(10); 60])
        .on_in_transaction(Verdict::Infected, insert)
        .otherwise(write)
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    axum::serve(listener, receiver.router("/hook")).await.unwrap();
}
