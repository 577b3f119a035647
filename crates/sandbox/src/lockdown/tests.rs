//! Each test starts this test program again, has it give everything up, and try one thing.

use std::{
    env, fs, io,
    net::TcpStream,
    os::unix::{
        net::UnixStream,
        process::{CommandExt, ExitStatusExt},
    },
    process::{Command, exit},
    thread,
    time::Duration,
};

use rustix::process::{Pid, test_kill_process};

use super::*;

const ATTEMPT: &str = "SANDBOX_ATTEMPT";
const DONE: i32 = 40;
const DENIED: i32 = 41;
const OTHERWISE: i32 = 42;

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Denied,
    Killed,
}

fn attempt(name: &str) -> Outcome {
    let test = Command::new(env::current_exe().unwrap())
        .args(["--exact", "lockdown::tests::a_process_that_gave_everything_up", "--ignored", "--nocapture"])
        .env(ATTEMPT, name)
        .output()
        .unwrap();
    match (test.status.code(), test.status.signal()) {
        (Some(DONE), _) => Outcome::Done,
        (Some(DENIED), _) => Outcome::Denied,
        (_, Some(libc::SIGSYS)) => Outcome::Killed,
        _ => panic!("{name}: {:?} {}", test.status, String::from_utf8_lossy(&test.stderr)),
    }
}

fn code(outcome: io::Result<()>) -> i32 {
    match outcome {
        Ok(()) => DONE,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => DENIED,
        Err(error) => {
            eprintln!("{error}");
            OTHERWISE
        }
    }
}

#[test]
#[ignore = "it is the process that other tests start"]
fn a_process_that_gave_everything_up() {
    let Ok(name) = env::var(ATTEMPT) else { return };
    let folder = env::temp_dir();
    let (mine, theirs) = UnixStream::pair().unwrap();
    let lockdown = Lockdown::begin(Confinement::On);
    if name == "landlock" {
        exit(code(fs::read("/etc/passwd").map(|_| ())));
    }
    let layers = lockdown.finish();
    for layer in [Layer::ParentDeath, Layer::Undumpable, Layer::Seccomp, Layer::Limits] {
        assert!(layers.in_force.contains(&layer), "{layers:?}");
    }
    exit(match name.as_str() {
        "compute" => code(compute(&mine, &theirs)),
        "read" => code(fs::read("/etc/passwd").map(|_| ())),
        "write" => code(fs::write(folder.join("sandbox-attempt"), b"x")),
        "list" => code(fs::read_dir("/").map(|_| ())),
        "remove" => code(fs::remove_file(folder.join("sandbox-attempt"))),
        "rename" => code(fs::rename("/etc/hostname", folder.join("sandbox-attempt"))),
        "tcp" => code(TcpStream::connect("127.0.0.1:1").map(|_| ())),
        "unix" => code(UnixStream::connect("/run/sandbox-attempt").map(|_| ())),
        "spawn" => code(Command::new("/bin/true").status().map(|_| ())),
        "exec" => code(Err(Command::new("/bin/true").exec())),
        "thread" => code(thread::Builder::new().spawn(|| ()).map(|_| ())),
        "signal" => code(test_kill_process(Pid::INIT).map_err(io::Error::from)),
        "limits" => code(setrlimit(Resource::Data, Rlimit { current: None, maximum: None }).map_err(io::Error::from)),
        "machine code" => {
            // Compiling rules ends in code that is to run.
            let compiled = std::panic::catch_unwind(|| filesafety_engine::Blueprint::load(filesafety_engine::Config::default()).is_ok());
            if matches!(compiled, Ok(true)) { DONE } else { DENIED }
        }
        _ => OTHERWISE,
    });
}

/// What scanning takes: memory, time, randomness, and the socket that is open.
fn compute(mine: &UnixStream, theirs: &UnixStream) -> io::Result<()> {
    use io::{Read, Write};
    let mut memory = vec![1u8; 100 << 20];
    memory.resize(200 << 20, 2);
    thread::sleep(Duration::from_millis(1));
    let _ = std::collections::HashMap::<u8, u8>::new();
    (&mut &*mine).write_all(memory.get(..1000).unwrap_or_default())?;
    (&mut &*theirs).read_exact(memory.get_mut(..1000).unwrap_or_default())?;
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
    Ok(())
}

#[test]
fn what_scanning_takes_is_left() {
    assert_eq!(attempt("compute"), Outcome::Done);
}

#[test]
fn no_file_is_opened_changed_or_removed() {
    for name in ["read", "write", "list", "remove", "rename"] {
        assert_eq!(attempt(name), Outcome::Denied, "{name}");
    }
}

#[test]
fn a_connection_or_another_program_ends_it() {
    for name in ["tcp", "unix", "exec", "signal"] {
        assert_eq!(attempt(name), Outcome::Killed, "{name}");
    }
}

#[test]
fn no_process_thread_or_machine_code_comes_to_be() {
    for name in ["spawn", "thread", "machine code", "limits"] {
        assert_eq!(attempt(name), Outcome::Denied, "{name}");
    }
}

#[test]
fn landlock_alone_denies_files_where_there_is_one() {
    let layers = Layers { in_force: Vec::new(), missing: vec![(Layer::Landlock, "no Landlock".to_owned())] };
    assert!(!layers.are_complete());
    // Without seccomp: only what Landlock denies.
    let outcome = attempt("landlock");
    let supported = thread::spawn(landlock::apply).join().unwrap();
    assert_eq!(outcome, if supported.is_ok() { Outcome::Denied } else { Outcome::Done });
}
