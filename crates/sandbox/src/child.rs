//! The process that reads foreign content. Its standard input is the socket on which its owner speaks; it has no other way out.

use std::{
    fmt::Write as _,
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use filesafety_engine::{AskClamd, ClamdAnswer, Engine, Grant, Input, Memory, MemoryShort, Watcher};
use filesafety_mapped::Mapped;
use filesafety_model::{Detection, PictureReport};
use serde::Serialize;
use tracing::{Event, Level, Metadata, Subscriber, field::Visit, span};

use crate::{
    job::{self, Bytes},
    lockdown::{Confinement, Lockdown},
    wire::{self, Frame, Incoming, order, word},
};

/// A parser may go deep.
const STACK: usize = 16 << 20;
/// Memory is asked for in steps of so many bytes, and so many may be kept for the next time.
const STEP: u64 = 1 << 20;
const KEPT: u64 = 8 << 20;

/// Runs until the owner hangs up. To be the whole of a process that was started for this, with a socket as its standard input.
pub fn run() -> ExitCode {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else { return ExitCode::FAILURE };
    let Ok(link) = Link::new(socket) else { return ExitCode::FAILURE };
    let link = Arc::new(link);
    let Ok(Some(Frame { tag: order::START, payload })) = link.hear() else { return ExitCode::FAILURE };
    let flags = payload.first().copied().unwrap_or_default();
    let lockdown = Lockdown::begin(if flags & order::CONFINED == 0 { Confinement::Off } else { Confinement::On });
    if flags & order::IDLE != 0 {
        let told = serde_json::to_vec(&lockdown.finish()).map_err(io::Error::from).and_then(|layers| link.say(word::READY, &[&layers]));
        // The owner looks at it from outside as well, and then hangs up.
        return if told.and_then(|()| link.hear()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    report_panics(link.clone());
    // A subscriber of this process is set here alone.
    let _ = tracing::subscriber::set_global_default(Log(link.clone()));
    let scanning = std::thread::Builder::new().name("scan".into()).stack_size(STACK).spawn(move || serve(&link, &payload, lockdown));
    match scanning.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

/// Loads, locks down, and scans one file after the other.
fn serve(link: &Arc<Link>, start: &[u8], lockdown: Lockdown) -> io::Result<()> {
    let files = link.files();
    let clamd: Box<dyn AskClamd> = Box::new(ClamdBehind(link.clone()));
    let engine = match Engine::assemble(start.get(1..).unwrap_or_default(), files, Some(clamd)) {
        Ok(engine) => engine,
        Err(error) => return link.say(word::UNFIT, &[error.to_string().as_bytes()]),
    };
    let mut worker = engine.worker();
    worker.warm_up();
    let layers = lockdown.finish();
    link.say(word::READY, &[&serde_json::to_vec(&layers)?])?;
    while let Some(Frame { tag, payload }) = link.hear()? {
        if tag != order::SCAN {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let job = job::parse(payload).ok_or(io::ErrorKind::InvalidData)?;
        let mapped;
        let content: &[u8] = match &job.content {
            Bytes::Told(bytes) => bytes,
            Bytes::Shown => {
                let file = link.incoming().file().ok_or(io::ErrorKind::InvalidData)?;
                mapped = Mapped::sealed(file).map_err(io::Error::other)?;
                &mapped
            }
        };
        link.begin();
        let input = Input { content, name: job.name.as_deref(), types: job.types, passwords: &job.passwords };
        match worker.scan_watched(&input, &**link, &**link) {
            Ok(report) => link.say(word::REPORT, &[&serde_json::to_vec(&report)?])?,
            Err(MemoryShort) => link.say(word::SHORT, &[])?,
        }
    }
    Ok(())
}

/// The way to the owner.
struct Link {
    socket: UnixStream,
    incoming: Mutex<Incoming>,
    /// Granted, and not used at the moment.
    spare: Mutex<u64>,
}

impl Link {
    fn new(socket: UnixStream) -> io::Result<Self> {
        let incoming = Mutex::new(Incoming::of_owner(socket.try_clone()?));
        Ok(Self { socket, incoming, spare: Mutex::default() })
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, u64> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> Vec<std::os::fd::OwnedFd> {
        let mut incoming = self.incoming();
        std::iter::from_fn(|| incoming.file()).collect()
    }

    /// A new scan: nothing is granted to it yet.
    fn begin(&self) {
        *self.spare() = 0;
    }

    fn hear(&self) -> io::Result<Option<Frame>> {
        self.incoming().frame(order::longest, &mut wait)
    }

    fn say(&self, tag: u8, parts: &[&[u8]]) -> io::Result<()> {
        wire::say(&self.socket, &wire::frame(tag, parts), &[], &mut wait)
    }

    fn tell(&self, tag: u8, finding: &impl Serialize) {
        // Without an owner there is nobody left to work for.
        if serde_json::to_vec(finding).map_err(io::Error::from).and_then(|told| self.say(tag, &[&told])).is_err() {
            std::process::exit(1);
        }
    }

    /// The answer to a question. Without one there is nobody left to work for.
    fn ask(&self, tag: u8, parts: &[&[u8]], answer: u8) -> Vec<u8> {
        match self.say(tag, parts).and_then(|()| self.hear()) {
            Ok(Some(Frame { tag, payload })) if tag == answer => payload,
            Ok(_) | Err(_) => std::process::exit(1),
        }
    }

    fn grow_by(&self, bytes: u64) -> Grant {
        match self.ask(word::GROW, &[&bytes.to_le_bytes()], order::GRANT).first() {
            Some(&job::GRANTED) => Grant::Granted,
            Some(&job::BEYOND) => Grant::Beyond,
            Some(_) | None => Grant::Short,
        }
    }
}

/// A sandbox waits for its owner as long as that takes.
fn wait() -> io::Result<()> {
    Ok(())
}

impl Memory for Link {
    fn grow(&self, bytes: u64) -> Grant {
        let mut spare = self.spare();
        let missing = bytes.saturating_sub(*spare);
        if missing == 0 {
            *spare -= bytes;
            return Grant::Granted;
        }
        let stepped = missing.div_ceil(STEP).saturating_mul(STEP);
        match self.grow_by(stepped) {
            Grant::Granted => {
                *spare = (*spare + stepped).saturating_sub(bytes);
                Grant::Granted
            }
            Grant::Short | Grant::Beyond if stepped > missing => {
                let grant = self.grow_by(missing);
                if grant == Grant::Granted {
                    *spare = 0;
                }
                grant
            }
            refused @ (Grant::Short | Grant::Beyond) => refused,
        }
    }

    fn shrink(&self, bytes: u64) {
        let mut spare = self.spare();
        *spare = spare.saturating_add(bytes);
        if *spare > KEPT {
            let surplus = *spare - STEP;
            if self.say(word::SHRINK, &[&surplus.to_le_bytes()]).is_ok() {
                *spare = STEP;
            }
        }
    }
}

/// The owner keeps what it hears, in case there is no report.
impl Watcher for Link {
    fn detected(&self, detection: &Detection) {
        self.tell(word::DETECTED, detection);
    }

    fn pictured(&self, picture: &PictureReport) {
        self.tell(word::PICTURED, picture);
    }
}

/// clamd, asked by the owner: a sandbox has no socket to ask it with.
struct ClamdBehind(Arc<Link>);

impl AskClamd for ClamdBehind {
    fn ask(&self, object: &[u8]) -> ClamdAnswer {
        let length = (object.len() as u64).to_le_bytes();
        let question = wire::frame(word::CLAMD, &[&length]);
        let said = wire::say(&self.0.socket, &question, &[], &mut wait).and_then(|()| wire::say(&self.0.socket, object, &[], &mut wait));
        let answer = said.and_then(|()| self.0.hear());
        match answer {
            Ok(Some(Frame { tag: order::CLAMD, payload })) => serde_json::from_slice(&payload)
                .unwrap_or_else(|error| ClamdAnswer::Unavailable(format!("clamd's answer did not come through: {error}"))),
            Ok(_) | Err(_) => std::process::exit(1),
        }
    }
}

/// A panic of ours is told to the owner, who logs it: standard error leads nowhere.
fn report_panics(link: Arc<Link>) {
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.to_string();
        let _ = link.say(word::LOG, &[&[job::ERROR], cut(&text).as_bytes()]);
    }));
}

/// Warnings and errors go to the owner's log.
struct Log(Arc<Link>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = if *event.metadata().level() == Level::ERROR { job::ERROR } else { job::WARNING };
        let _ = self.0.say(word::LOG, &[&[level], cut(&text.0).as_bytes()]);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = if field.name() == "message" { write!(self.0, "{space}{value:?}") } else { write!(self.0, "{space}{field}={value:?}") };
    }
}

/// As much of a text as goes into the log.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(1024);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
