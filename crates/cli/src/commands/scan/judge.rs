//! Judging one file: read it, show it to the engines, decide.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use bytes::Bytes;
use filesafety_engine::media_type;
use filesafety_model::{Ask, FailureCode, Judgement, Policy, Reason, Report, Seen, Sha256, Verdict, decide};
use filesafety_sandbox::{Fault, FileContent, Job, Pool};
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

/// What threads judge with.
pub(super) struct Judge<'a> {
    pub(super) pool: &'a Pool,
    pub(super) policy: &'a Policy,
    pub(super) ask: &'a Ask,
    pub(super) memory: &'a ScanMemory,
    /// The largest file, in bytes.
    pub(super) largest: u64,
}

/// A file whose scan ended so often without an outcome, while nothing ran beside it, is not tried again.
const CRASHES_AT_MOST: u32 = 3;

impl Judge<'_> {
    pub(super) fn judge(&self, target: Target) -> Outcome {
        match target {
            Target::Stdin => Outcome { path: "-".into(), judged: self.judge_stdin() },
            Target::File { path, links } => {
                let judged = self.judge_file(&path, links);
                Outcome { path: path.into(), judged }
            }
            Target::Unreadable { path, error } => Outcome { path: path.into(), judged: Err(error.into()) },
        }
    }

    fn judge_stdin(&self) -> Result<Judged, Unread> {
        let content = read(io::stdin().lock(), u64::MAX, self.largest)?;
        let share = self.memory.reserve(content.len() as u64);
        Ok(self.judge_content(&content, None, share))
    }

    fn judge_file(&self, path: &Path, links: Links) -> Result<Judged, Unread> {
        let (file, size) = open(path, links)?;
        if size > self.largest {
            return Err(too_large(self.largest));
        }
        let share = self.memory.reserve(size);
        let content = read(file, size, self.largest)?;
        let name = path.file_name().map(|name| name.to_string_lossy());
        Ok(self.judge_content(&content, name.as_deref(), share))
    }

    fn judge_content(&self, content: &FileContent, name: Option<&str>, share: Share<'_>) -> Judged {
        let judgement = match self.scan(content, name, share) {
            Ok(report) => decide(self.policy, self.ask, &report),
            Err(cause) => Judgement::failed(FailureCode::EngineUnavailable, cause),
        };
        let digest = Sha256::new(sha2::Sha256::digest(&**content).into());
        Judged { size: content.len() as u64, media_type: media_type(content), digest, judgement }
    }

    /// The report, or why no engine could be asked. What does not end beside other scans is tried alone.
    fn scan(&self, content: &FileContent, name: Option<&str>, share: Share<'_>) -> Result<Report, String> {
        let cut_short = |seen, reason, detail| Ok(Report::cut_short(&self.ask.required, seen, reason, detail));
        let (mut share, mut crashes, mut found) = (Some(share), 0, Seen::default());
        loop {
            let beside_others = share.is_some();
            let held = share.take().unwrap_or_else(|| self.memory.reserve_alone(content.len() as u64));
            let job = Job { content, name, types: self.ask.types, passwords: &[], room: held.room() };
            match self.pool.scan(&job, &held) {
                Ok(scanned) => return Ok(scanned.report),
                Err(Fault::MemoryShort) => {}
                Err(Fault::Overtime { seen }) => {
                    found.join(seen);
                    return cut_short(found, Reason::Limit, "Time");
                }
                Err(Fault::Died { seen, .. }) => {
                    found.join(seen);
                    crashes += u32::from(!beside_others);
                    if crashes >= CRASHES_AT_MOST {
                        return cut_short(found, Reason::Broken, "Crash");
                    }
                }
                Err(fault @ Fault::Unavailable(_)) => return Err(fault.to_string()),
            }
        }
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
fn read(from: impl Read, expected: u64, largest: u64) -> Result<FileContent, Unread> {
    let mut from = from.take(largest.saturating_add(1));
    let mut start = Vec::new();
    if expected <= SMALL {
        from.by_ref().take(SMALL + 1).read_to_end(&mut start)?;
        if start.len() as u64 <= SMALL.min(largest) {
            return Ok(Bytes::from(start).into());
        }
    }
    let mut content = FileContent::writer()?;
    content.write_all(&start)?;
    let length = io::copy(&mut from, &mut content)?.saturating_add(start.len() as u64);
    if length > largest { Err(too_large(largest)) } else { Ok(content.finish()?) }
}

/// Files that are small are read at once; larger ones straight into the memory where they are scanned.
const SMALL: u64 = 64 << 10;

fn too_large(largest: u64) -> Unread {
    Unread { code: "file_too_large", message: format!("larger than {largest} bytes; FILESAFETY_FILE_MAX sets that bound") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_allowed_is_not_read_to_its_end() {
        for (expected, largest) in [(0, 1000), (0, 100_000), (u64::MAX, 1000), (u64::MAX, 100_000)] {
            assert_eq!(read(io::repeat(0), expected, largest).unwrap_err().code, "file_too_large");
        }
        for expected in [0, 4, u64::MAX] {
            assert_eq!(*read(&b"1234"[..], expected, 4).unwrap(), *b"1234");
        }
        let long = vec![7; 200_000];
        assert_eq!(*read(&long[..], 10, 200_000).unwrap(), *long);
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
