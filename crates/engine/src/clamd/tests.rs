use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
};

use tempfile::TempDir;

use super::*;

mod real;

const SHORT: Patience = Patience { connect: Duration::from_millis(200), answer: Duration::from_millis(400) };

fn clamd_at(address: ClamdAddress) -> Clamd {
    Clamd { config: ClamdConfig { address, max_bytes: 64 << 20, oversize: Oversize::Note }, patience: SHORT }
}

/// A daemon that treats one caller as `behave` says.
struct FakeDaemon {
    clamd: Clamd,
    _dir: TempDir,
}

impl FakeDaemon {
    fn start(behave: impl FnOnce(UnixStream) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clamd.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || behave(listener.accept().unwrap().0));
        Self { clamd: clamd_at(ClamdAddress::Unix(path)), _dir: dir }
    }

    /// Takes the whole request, says `reply` and closes.
    fn that_replies(reply: &'static [u8]) -> Self {
        Self::start(move |mut caller| {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(&[0; 4]) && !request.ends_with(b"zPING\0") {
                let read = caller.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            caller.write_all(reply).unwrap();
        })
    }
}

fn reason(answer: ClamdAnswer) -> String {
    match answer {
        ClamdAnswer::Unavailable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_listens() {
    let dir = tempfile::tempdir().unwrap();
    let address = ClamdAddress::Unix(dir.path().join("missing.sock"));
    assert!(reason(clamd_at(address.clone()).ask(b"x")).contains("missing.sock cannot be reached"));
    assert!(clamd_at(address).ping().is_err());
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    assert!(reason(clamd_at(ClamdAddress::Tcp("127.0.0.1".into(), port)).ask(b"x")).contains("cannot be reached"));
}

#[test]
fn a_full_queue_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clamd.sock");
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let begin = Instant::now();
    assert!(reason(clamd_at(ClamdAddress::Unix(path)).ask(b"x")).contains("cannot be reached"));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn it_closes_at_once() {
    for object in [b"x".to_vec(), vec![0; 8 << 20]] {
        reason(FakeDaemon::start(drop).clamd.ask(&object));
    }
}

#[test]
fn it_answers_garbage() {
    for reply in [
        b"".as_slice(),
        b"\0",
        b"hello\0",
        b"stream: OK",
        b"stream: \0",
        b"stream: FOUND\0",
        b"stream:  FOUND\0",
        b"stream: OK FOUND OK\0",
        b"\xff\xfe\0",
        b"OK\0",
        b"stream: Can't allocate memory ERROR\0",
        b"UNKNOWN COMMAND\0",
    ] {
        reason(FakeDaemon::that_replies(reply).clamd.ask(b"object"));
    }
    assert!(FakeDaemon::that_replies(b"PING\0").clamd.ping().is_err());
}

#[test]
fn it_never_answers() {
    let waiting = FakeDaemon::start(|mut caller| while caller.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
    assert!(reason(waiting.clamd.ask(b"x")).contains("gave no answer"));
}

#[test]
fn it_never_reads() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let deaf = FakeDaemon::start(move |caller| {
        let _ = held.recv();
        drop(caller);
    });
    assert!(reason(deaf.clamd.ask(&vec![0; 16 << 20])).contains("did not take"));
    drop(release);
}

#[test]
fn it_answers_without_end() {
    let talking = FakeDaemon::start(|mut caller| while caller.write_all(&[b'x'; 1024]).is_ok() {});
    assert!(reason(talking.clamd.ask(b"x")).contains("no end"));
}

#[test]
fn an_ok_before_the_object_was_sent_is_not_believed() {
    let object = vec![0; 16 << 20];
    let closing = FakeDaemon::start(|mut caller| caller.write_all(b"stream: OK\0").unwrap());
    reason(closing.clamd.ask(&object));
    let reading = FakeDaemon::start(|mut caller| {
        caller.write_all(b"stream: OK\0").unwrap();
        while caller.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
    });
    reason(reading.clamd.ask(&object));
}

#[test]
fn verdicts_are_read() {
    for (reply, answer) in [
        (b"stream: OK\0".as_slice(), ClamdAnswer::Clean),
        (b"stream: Win.Test.EICAR_HDB-1 FOUND\0", ClamdAnswer::Found("Win.Test.EICAR_HDB-1".into())),
        (b"stream: A name with FOUND FOUND\0", ClamdAnswer::Found("A name with FOUND".into())),
        (b"INSTREAM size limit exceeded. ERROR\0", ClamdAnswer::TooLarge),
    ] {
        assert_eq!(FakeDaemon::that_replies(reply).clamd.ask(b"object"), answer);
    }
    assert_eq!(FakeDaemon::that_replies(b"PONG\0").clamd.ping(), Ok(()));
}

#[test]
fn what_is_too_large_is_not_sent() {
    let address = ClamdAddress::Unix(PathBuf::from("/nonexistent/clamd.sock"));
    let clamd = Clamd::new(ClamdConfig { address, max_bytes: 3, oversize: Oversize::Note });
    assert_eq!(clamd.ask(b"four"), ClamdAnswer::TooLarge);
    assert!(matches!(clamd.ask(b"few"), ClamdAnswer::Unavailable(_)));
}
