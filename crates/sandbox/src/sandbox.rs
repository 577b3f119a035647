//! One sandbox, as its owner sees it.

use std::{
    io::{self, Read},
    os::unix::{
        net::UnixStream,
        process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use filesafety_engine::{Blueprint, ClamdAnswer, Grant, Limits, Memory};
use filesafety_model::{Password, Report, ScanTypes, Seen};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::{
    content::FileContent,
    job,
    lockdown::{Confinement, Layer, Layers},
    pool::{Program, StartError},
    wire::{self, Frame, Incoming, Tick, order, word},
};

/// A file to scan.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub content: &'a FileContent,
    /// What the sender calls it.
    pub name: Option<&'a str>,
    pub types: ScanTypes,
    /// Tried on what is encrypted, before those of the blueprint.
    pub passwords: &'a [Password],
    /// Memory that is reserved for it beyond what every scan may have and what it asks for, in bytes: so much may go uncounted.
    pub room: u64,
}

/// Why there is no report. What was found before stands all the same.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Memory was short; it may run again with more.
    #[error("the memory left for scans does not suffice at the moment")]
    MemoryShort,
    /// The scan used up its processor time without noticing.
    #[error("the scan used up its processor time")]
    Overtime { seen: Seen },
    /// The sandbox ended in the middle of the scan, or had to be ended.
    #[error("the sandbox ended while it scanned: {how}")]
    Died { how: String, seen: Seen },
    /// No sandbox is to be had; not the file's fault.
    #[error("no sandbox can be started: {0}")]
    Unavailable(String),
}

/// How one scan in one sandbox ended.
pub(crate) enum Ended {
    Scanned(Box<Report>),
    Short,
    /// It was gone before it had the file.
    Gone,
    Overtime,
    Died(String),
}

/// A process that was started, and may still be loading.
pub(crate) struct Starting {
    sandbox: Sandbox,
    confinement: Confinement,
}

/// A process that scans one file at a time. Ends with the value.
pub(crate) struct Sandbox {
    child: Child,
    socket: UnixStream,
    incoming: Incoming,
    blueprint: Option<Arc<Blueprint>>,
    layers: Layers,
    /// What it has of memory when it scans nothing, in bytes; `None` where that is not bounded.
    data: Option<u64>,
    scans: u32,
    /// Whether its last scan had more memory than every scan may have.
    stretched: bool,
}

/// How often one who waits for a sandbox looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For loading, on a machine that has much else to do.
const START: Duration = Duration::from_secs(120);
/// What a scan may take beyond its bound of time before it is ended from outside.
const GRACE: Duration = Duration::from_secs(1);
/// What a scan may take of memory beyond what it was granted, in bytes: what is not counted one by one.
const SLACK: u64 = 64 << 20;
/// Memory that a sandbox may keep between scans, in bytes; one that keeps more is replaced.
const KEPT: u64 = 16 << 20;
/// After so many scans it is looked at how much it keeps.
const LOOK_AFTER: u32 = 64;

impl Starting {
    /// Starts the process; it loads while others are started. Without a blueprint it gives up what it can, and ends.
    pub(crate) fn new(program: &Program, blueprint: Option<Arc<Blueprint>>, confinement: Confinement) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        socket.set_write_timeout(Some(LOOK_EVERY))?;
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(name) = &program.shown {
            command.arg0(name);
        }
        let child = command.spawn()?;
        let incoming = Incoming::of_sandbox(socket.try_clone()?);
        let sandbox = Sandbox { child, socket, incoming, blueprint, layers: Layers::default(), data: None, scans: 0, stretched: false };
        let confined = match confinement {
            Confinement::On | Confinement::Required => order::CONFINED,
            Confinement::Off => 0,
        };
        let (flags, description, files) = match sandbox.blueprint.as_deref() {
            Some(blueprint) => (confined, blueprint.description(), blueprint.files()),
            None => (confined | order::IDLE, &[][..], Vec::new()),
        };
        let start = wire::frame(order::START, &[&[flags], description]);
        wire::say(&sandbox.socket, &start, &files, &mut || Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Self { sandbox, confinement })
    }

    /// Waits until it is ready.
    pub(crate) fn ready(self) -> Result<Sandbox, StartError> {
        let Self { mut sandbox, confinement } = self;
        let begun = Instant::now();
        let mut tick = || if begun.elapsed() > START { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) };
        let layers = loop {
            match sandbox.incoming.frame(word::longest, &mut tick) {
                Ok(Some(Frame { tag: word::READY, payload })) => break serde_json::from_slice(&payload),
                Ok(Some(Frame { tag: word::LOG, payload })) => log(&payload),
                Ok(Some(Frame { tag: word::UNFIT, payload })) => {
                    return Err(StartError::Unfit(String::from_utf8_lossy(&payload).into_owned()));
                }
                Ok(Some(_)) => return Err(StartError::Unfit("it spoke out of turn".to_owned())),
                Ok(None) => return Err(StartError::Unfit(format!("it ended before it was ready: {}", sandbox.end()))),
                Err(error) => return Err(StartError::Unfit(format!("it does not get ready: {error}"))),
            }
        };
        sandbox.layers = layers.map_err(|error| StartError::Unfit(format!("it says nothing of its layers: {error}")))?;
        match confinement {
            Confinement::Off => {}
            Confinement::On | Confinement::Required => sandbox.bound_memory(),
        }
        if confinement == Confinement::Required && !sandbox.layers.are_complete() {
            return Err(StartError::Unconfined(sandbox.layers.clone()));
        }
        Ok(sandbox)
    }
}

impl Sandbox {
    /// What it scans with.
    pub(crate) fn blueprint(&self) -> Option<&Arc<Blueprint>> {
        self.blueprint.as_ref()
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Whether it has ended, though nobody ended it.
    pub(crate) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it keeps so much memory that another should take its place.
    pub(crate) fn is_worn(&mut self) -> bool {
        self.scans += 1;
        if !self.stretched && !self.scans.is_multiple_of(LOOK_AFTER) {
            return false;
        }
        let Some(before) = self.data else { return false };
        data_of(self.child.id()).is_none_or(|now| now > before + KEPT)
    }

    /// Scans one file; after any end but [`Ended::Scanned`] and [`Ended::Short`] the sandbox is of no more use. Adds to `seen` what is found
    /// on the way.
    pub(crate) fn scan(&mut self, job: &Job<'_>, memory: &dyn Memory, seen: &mut Seen) -> Ended {
        let shown = match job.content.file() {
            Ok(shown) => shown,
            Err(error) => return Ended::Died(format!("the content cannot be shown to it: {error}")),
        };
        let file = shown.as_ref().and_then(FileContent::descriptor);
        let told: &[u8] = if file.is_some() { &[] } else { job.content };
        let bytes = wire::frame(order::SCAN, &[&job::head(job.types, job.name, job.passwords, file.is_some()), told]);
        let Some(blueprint) = self.blueprint.clone() else { return Ended::Gone };
        let mut watch = Watch::new(self.child.id(), blueprint.limits());
        let mut granted = job.room;
        if granted > 0 {
            self.set_memory(granted);
        }
        if wire::say(&self.socket, &bytes, file.as_slice(), &mut || watch.look()).is_err() {
            return Ended::Gone;
        }
        let ended = self.listen(memory, &mut watch, &mut granted, seen);
        self.stretched = granted > 0;
        if self.stretched {
            // Of one that has ended it is of no interest.
            self.set_memory(0);
        }
        ended
    }

    /// What the sandbox says until it has an outcome.
    fn listen(&mut self, memory: &dyn Memory, watch: &mut Watch<'_>, granted: &mut u64, seen: &mut Seen) -> Ended {
        loop {
            // One that never falls silent is not looked at otherwise.
            if let Err(error) = watch.look_at_clock() {
                return watch.ended(&error);
            }
            let frame = match self.incoming.frame(word::longest, &mut || watch.look()) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ended::Died(self.end()),
                Err(error) => return watch.ended(&error),
            };
            let number = || wire::number(&frame.payload);
            let done = match frame.tag {
                word::REPORT => {
                    return match serde_json::from_slice(&frame.payload) {
                        Ok(report) => Ended::Scanned(Box::new(report)),
                        Err(error) => Ended::Died(format!("its report is none: {error}")),
                    };
                }
                word::SHORT => return Ended::Short,
                word::GROW => number().map(|bytes| self.grow(memory, bytes, granted)),
                word::SHRINK => number().map(|bytes| {
                    memory.shrink(bytes);
                    Ok(())
                }),
                word::CLAMD => number().map(|length| self.ask_clamd(length, watch)),
                word::DETECTED => serde_json::from_slice(&frame.payload).ok().map(|detection| {
                    seen.add_detection(detection);
                    Ok(())
                }),
                word::PICTURED => serde_json::from_slice(&frame.payload).ok().map(|picture| {
                    seen.add_picture(picture);
                    Ok(())
                }),
                word::LOG => {
                    log(&frame.payload);
                    Some(Ok(()))
                }
                _ => None,
            };
            match done {
                Some(Ok(())) => {}
                Some(Err(error)) => return watch.ended(&error),
                None => return Ended::Died("it spoke out of turn".to_owned()),
            }
        }
    }

    fn grow(&self, memory: &dyn Memory, bytes: u64, granted: &mut u64) -> io::Result<()> {
        let answer = match memory.grow(bytes) {
            Grant::Granted => {
                *granted = granted.saturating_add(bytes);
                self.set_memory(*granted);
                job::GRANTED
            }
            Grant::Short => job::SHORT,
            Grant::Beyond => job::BEYOND,
        };
        self.answer(order::GRANT, &[answer])
    }

    /// Passes an object on to clamd as it comes, and clamd's answer back.
    fn ask_clamd(&mut self, length: u64, watch: &mut Watch<'_>) -> io::Result<()> {
        let blueprint = self.blueprint.clone();
        let clamd = blueprint.as_deref().and_then(Blueprint::clamd).ok_or(io::ErrorKind::InvalidData)?;
        let mut object = Object { incoming: &mut self.incoming, left: length, tick: &mut || watch.look() };
        let answer = clamd.scan(&mut object, length);
        object.drain()?;
        let mut answer = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        if answer.len() > order::longest(order::CLAMD).unwrap_or_default() {
            answer = serde_json::to_vec(&ClamdAnswer::Unavailable("clamd's answer is too long".to_owned())).map_err(io::Error::other)?;
        }
        self.answer(order::CLAMD, &answer)
    }

    /// A sandbox that asked reads the answer at once.
    fn answer(&self, tag: u8, payload: &[u8]) -> io::Result<()> {
        wire::say(&self.socket, &wire::frame(tag, &[payload]), &[], &mut || Err(io::ErrorKind::TimedOut.into()))
    }

    /// Notes what it has of memory before its first scan, and gives it no more than a scan may have.
    fn bound_memory(&mut self) {
        self.data = data_of(self.child.id());
        if self.data.is_none() || !self.set_memory(0) {
            self.data = None;
            self.layers.in_force.retain(|layer| *layer != Layer::Limits);
            self.layers.missing.push((Layer::Limits, "the bound of its memory cannot be set".to_owned()));
        }
    }

    /// Lets it have what every scan may have, and `granted` more.
    fn set_memory(&self, granted: u64) -> bool {
        let (Some(data), Some(pid)) = (self.data, pid(&self.child)) else { return false };
        let most = data.saturating_add(Limits::FREE_MEMORY).saturating_add(SLACK).saturating_add(granted);
        prlimit(Some(pid), Resource::Data, Rlimit { current: Some(most), maximum: None }).is_ok()
    }

    /// Ends it, and says how it ended.
    fn end(&mut self) -> String {
        // It may be on its way out by itself: then that is how it ended.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            match self.child.try_wait() {
                Ok(Some(status)) => return told(status),
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => return error.to_string(),
            }
        }
        "it hung up".to_owned()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An object on its way from the sandbox to clamd.
struct Object<'a, 'b> {
    incoming: &'a mut Incoming,
    left: u64,
    tick: Tick<'b>,
}

impl Object<'_, '_> {
    /// What clamd did not want to see is read all the same: the sandbox says it to the end.
    fn drain(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(|_| ())
    }
}

impl Read for Object<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        self.incoming.read_exact(into.get_mut(..count).unwrap_or_default(), self.tick)?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The time of one scan, watched from outside.
struct Watch<'a> {
    pid: u32,
    limits: &'a Limits,
    begun: Instant,
    /// Processor time of the sandbox when the scan began; read late, since most scans are over by then.
    cpu_before: Option<Duration>,
    overtime: Option<Overtime>,
}

#[derive(Clone, Copy)]
enum Overtime {
    Processor,
    Clock,
}

impl<'a> Watch<'a> {
    fn new(pid: u32, limits: &'a Limits) -> Self {
        Self { pid, limits, begun: Instant::now(), cpu_before: None, overtime: None }
    }

    /// An error once the scan has had its time on the clock.
    fn look_at_clock(&mut self) -> io::Result<()> {
        if self.begun.elapsed() > self.limits.wall().saturating_add(GRACE) {
            self.overtime = Some(Overtime::Clock);
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// An error once the scan has had its time.
    fn look(&mut self) -> io::Result<()> {
        self.look_at_clock()?;
        let elapsed = self.begun.elapsed();
        if let Some(now) = cpu_of(self.pid) {
            let before = *self.cpu_before.get_or_insert(now.saturating_sub(elapsed));
            if now.saturating_sub(before) > self.limits.cpu.saturating_add(GRACE) {
                self.overtime = Some(Overtime::Processor);
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn ended(&self, error: &io::Error) -> Ended {
        match self.overtime {
            Some(Overtime::Processor) => Ended::Overtime,
            Some(Overtime::Clock) => Ended::Died("it did not end in time".to_owned()),
            None => Ended::Died(error.to_string()),
        }
    }
}

/// Processor time of all threads of a process.
fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // Linux tells these in hundredths of a second, whatever its own clock.
    Some(Duration::from_millis(user.saturating_add(system).saturating_mul(10)))
}

/// The memory of a process that counts against `RLIMIT_DATA`, in bytes.
fn data_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

fn told(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}

/// What a sandbox has to say to the operator. Its words are a stranger's.
fn log(payload: &[u8]) {
    let Some((level, text)) = payload.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let text: String = text.chars().flat_map(char::escape_debug).collect();
    if *level == job::ERROR {
        tracing::error!("in a sandbox: {text}");
    } else {
        tracing::warn!("in a sandbox: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_of_a_process_are_read() {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {}
        assert!(cpu_of(std::process::id()).unwrap() >= Duration::from_millis(20));
        assert!(data_of(std::process::id()).unwrap() > 1 << 16);
        assert_eq!((cpu_of(u32::MAX), data_of(u32::MAX)), (None, None));
    }
}
