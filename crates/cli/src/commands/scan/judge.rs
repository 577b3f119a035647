//! Judging one file: read it, show it to the engines, decide.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use filesafety_engine::{Engine, Input, MemoryShort, Worker, media_type};
use filesafety_model::{Ask, FailureCode, Judgement, Policy, Report, Sha256, Verdict, decide};
use rustix::fs::OFlags;
use sha2::Digest;

use super::{
    Standing,
    memory::{ScanMemory, Share},
    walk::{Links, Target},
};

/// What became of one target.
#[derive(Debug)]
pub(super) struct Outcome {
    /// As it was named or found; `-` for standard input.
    pub(super) path: OsString,
    pub(super) judged: Result<Judged, Unread>,
}

/// A file whose bytes were all read.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) size: u64,
    pub(super) media_type: &'static str,
    pub(super) digest: Sha256,
    pub(super) judgement: Judgement,
}

/// Why there were no bytes to judge.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Outcome {
    pub(super) fn standing(&self) -> Standing {
        match self.judged.as_ref().map(|judged| judged.judgement.verdict) {
            Ok(Verdict::Clean) => Standing::Clean,
            Ok(Verdict::Infected | Verdict::Nsfw | Verdict::Mixed) => Standing::Found,
            Ok(Verdict::Failed) | Err(_) => Standing::Unsure,
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self { code: "unreadable", message: error.to_string() }
    }
}

/// What one thread judges with.
pub(super) struct Judge<'a> {
    engine: &'a Engine,
    worker: Worker<'a>,
    policy: &'a Policy,
    ask: &'a Ask,
    memory: &'a ScanMemory,
    /// The largest file, in bytes.
    largest: u64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(engine: &'a Engine, policy: &'a Policy, ask: &'a Ask, memory: &'a ScanMemory, largest: u64) -> Self {
        Self { engine, worker: engine.worker(), policy, ask, memory, largest }
    }

    pub(super) fn judge(&mut self, target: Target) -> Outcome {
        match target {
            Target::Stdin => Outcome { path: "-".into(), judged: self.judge_stdin() },
            Target::File { path, links } => {
                let judged = self.judge_file(&path, links);
                Outcome { path: path.into(), judged }
            }
            Target::Unreadable { path, error } => Outcome { path: path.into(), judged: Err(error.into()) },
        }
    }

    fn judge_stdin(&mut self) -> Result<Judged, Unread> {
        let content = read(io::stdin().lock(), 0, self.largest)?;
        let share = self.memory.reserve(content.len() as u64);
        Ok(self.judge_content(&content, None, share))
    }

    fn judge_file(&mut self, path: &Path, links: Links) -> Result<Judged, Unread> {
        let (file, size) = open(path, links)?;
        if size > self.largest {
            return Err(too_large(self.largest));
        }
        let share = self.memory.reserve(size);
        let content = read(file, size, self.largest)?;
        let name = path.file_name().map(|name| name.to_string_lossy());
        Ok(self.judge_content(&content, name.as_deref(), share))
    }

    fn judge_content(&mut self, content: &[u8], name: Option<&str>, share: Share<'_>) -> Judged {
        let judgement = match self.scan(content, name, share) {
            Some(report) => decide(self.policy, self.ask, &report),
            None => Judgement::failed(FailureCode::EngineUnavailable, "An engine ended without an answer: a defect of this program."),
        };
        let digest = Sha256::new(sha2::Sha256::digest(content).into());
        Judged { size: content.len() as u64, media_type: media_type(content), digest, judgement }
    }

    /// `None` when an engine panicked: that costs one file, not the run.
    fn scan(&mut self, content: &[u8], name: Option<&str>, share: Share<'_>) -> Option<Report> {
        let input = Input { content, name, types: self.ask.types, passwords: &[] };
        let worker = &mut self.worker;
        let outcome = catch_unwind(AssertUnwindSafe(|| match worker.scan(&input, &share) {
            Ok(report) => Some(report),
            Err(MemoryShort) => {
                drop(share);
                let alone = self.memory.reserve_alone(content.len() as u64);
                worker.scan(&input, &alone).ok()
            }
        }));
        outcome.unwrap_or_else(|_| {
            self.worker = self.engine.worker();
            None
        })
    }
}

/// The open file and its size. What turned into a pipe or a link since it was found is refused, and cannot make us wait.
fn open(path: &Path, links: Links) -> Result<(File, u64), Unread> {
    let flags = match links {
        Links::Followed => OFlags::NONBLOCK,
        Links::Refused => OFlags::NONBLOCK | OFlags::NOFOLLOW,
    };
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let facts = file.metadata()?;
    if facts.is_file() { Ok((file, facts.len())) } else { Err(io::Error::other("no longer a file").into()) }
}

/// All bytes, `expected` of them or not, up to `largest`.
fn read(from: impl Read, expected: u64, largest: u64) -> Result<Vec<u8>, Unread> {
    let mut content = Vec::new();
    content
        .try_reserve_exact(usize::try_from(expected).unwrap_or(usize::MAX))
        .map_err(|_| Unread { code: "unreadable", message: "not enough memory".to_owned() })?;
    from.take(largest.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > largest { Err(too_large(largest)) } else { Ok(content) }
}

fn too_large(largest: u64) -> Unread {
    Unread { code: "file_too_large", message: format!("larger than {largest} bytes; FILESAFETY_FILE_MAX sets that bound") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_allowed_is_not_read_to_its_end() {
        assert_eq!(read(io::repeat(0), 0, 1000).unwrap_err().code, "file_too_large");
        assert_eq!(read(&b"1234"[..], 4, 4).unwrap(), b"1234");
    }

    #[test]
    fn a_link_that_was_not_named_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::fs::write(folder.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("a"), &link).unwrap();
        assert!(open(&link, Links::Refused).is_err());
        assert_eq!(open(&link, Links::Followed).unwrap().1, 1);
        assert!(open(Path::new("/dev/null"), Links::Followed).is_err());
    }
}
