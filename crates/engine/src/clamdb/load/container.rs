//! Databases: a header of 512 bytes, then a tar, gzipped or plain, whose members are signature files.
//!
//! The header's fields stand between colons: name, build time, version, number of signatures, functionality level, MD5 of the rest,
//! signature of that MD5, builder, build time in seconds. A member `*.info` lists the size and SHA-256 of those that follow it.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::{
    kind::{self, FileKind, Trust},
    reading::{Reading, Strictness},
    seal::PublicKey,
};
use crate::{LoadError, unpack::TarHeader};

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) signatures: usize,
    pub(super) level: u32,
    digest: Option<[u8; 16]>,
    signature: String,
    /// Seconds since 1970; not in the oldest.
    pub(super) built: Option<u64>,
}

const HEADER: usize = 512;
/// Larger databases are refused once unpacked to here; ClamAV's largest has half a gigabyte.
const MAX_UNPACKED: u64 = 8 << 30;
/// More members than any database has.
const MAX_MEMBERS: usize = 4096;
/// A longer list of members is refused.
const MAX_LIST: u64 = 1 << 20;
/// Longer files of YARA rules are refused.
const MAX_RULES: u64 = 32 << 20;

impl Header {
    fn parse(block: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(block).map_err(|_| "the header is no text")?.trim_end();
        let fields: Vec<_> = text.split(':').collect();
        let ["ClamAV-VDB", _, version, signatures, level, digest, signature, _, rest @ ..] = fields.as_slice() else {
            return Err("not a ClamAV database: its header is another");
        };
        Ok(Self {
            version: version.parse().map_err(|_| "the header's version is no number")?,
            signatures: signatures.parse().map_err(|_| "the header's number of signatures is none")?,
            level: level.parse().map_err(|_| "the header's functionality level is no number")?,
            digest: md5_of(digest),
            signature: (*signature).to_owned(),
            built: rest.first().and_then(|built| built.trim().parse().ok()),
        })
    }

    /// Of the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        let unreadable = |cause| LoadError::Read { path: path.to_owned(), cause };
        Self::take(path, &mut File::open(path).map_err(unreadable)?)
    }

    fn take(path: &Path, content: &mut impl Read) -> Result<Self, LoadError> {
        let mut block = Vec::with_capacity(HEADER);
        content.take(HEADER as u64).read_to_end(&mut block).map_err(|cause| LoadError::Read { path: path.to_owned(), cause })?;
        if block.len() < HEADER {
            return Err(refused(path, "cut within its header"));
        }
        Self::parse(&block).map_err(|reason| refused(path, reason))
    }
}

fn md5_of(hex: &str) -> Option<[u8; 16]> {
    match super::digests::AnyDigest::parse(hex)? {
        super::digests::AnyDigest::Md5(digest) => Some(digest),
        super::digests::AnyDigest::Sha1(_) | super::digests::AnyDigest::Sha256(_) => None,
    }
}

fn refused(path: &Path, reason: impl Into<String>) -> LoadError {
    LoadError::Database { path: path.to_owned(), reason: reason.into() }
}

/// Which members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// Those at the start that only say what not to use.
    Ignored,
    All,
}

/// Reads a database into `reading`. The signature of one that claims to be signed is verified over the very bytes that are read.
pub(super) fn read(
    reading: &mut Reading,
    path: &Path,
    content: impl Read,
    trust: Trust,
    key: &PublicKey,
    members: Members,
) -> Result<Header, LoadError> {
    let mut content = content;
    let header = Header::take(path, &mut content)?;
    if trust == Trust::Signed && !header.digest.is_some_and(|digest| key.verifies(&header.signature, digest)) {
        return Err(refused(path, "the signature of its header does not verify: it is not what ClamAV has published"));
    }
    let mut rest = BufReader::with_capacity(1 << 16, Hashing { inner: content, hasher: Md5::new() });
    let start = rest.fill_buf().map_err(|cause| LoadError::Read { path: path.to_owned(), cause })?;
    if start.starts_with(&[0x1f, 0x8b]) {
        let mut tar = MultiGzDecoder::new(&mut rest).take(MAX_UNPACKED);
        Walk { reading, path, trust, listed: None, met: HashSet::new() }.run(&mut tar, members)?;
    } else {
        Walk { reading, path, trust, listed: None, met: HashSet::new() }.run(&mut (&mut rest).take(MAX_UNPACKED), members)?;
    }
    if trust == Trust::Signed && members == Members::All {
        io::copy(&mut rest, &mut io::sink()).map_err(|cause| LoadError::Read { path: path.to_owned(), cause })?;
        let digest: [u8; 16] = rest.into_inner().hasher.finalize().into();
        if header.digest != Some(digest) {
            return Err(refused(path, "its content is not what was signed: the MD5 differs"));
        }
    }
    Ok(header)
}

/// Hashes what is read through it.
struct Hashing<R, D> {
    inner: R,
    hasher: D,
}

impl<R: Read, D: md5::Digest> Read for Hashing<R, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

struct Walk<'a> {
    reading: &'a mut Reading,
    path: &'a Path,
    trust: Trust,
    /// Size and SHA-256 of the members, once the list of them was read.
    listed: Option<HashMap<String, (u64, [u8; 32])>>,
    /// Of these, the ones that were there.
    met: HashSet<String>,
}

const BLOCK: usize = 512;

impl Walk<'_> {
    fn run(&mut self, tar: &mut impl Read, members: Members) -> Result<(), LoadError> {
        for _ in 0..MAX_MEMBERS {
            let mut block = [0; BLOCK];
            // What sigtool builds has no blocks at its end: it is whole once all that is listed was there.
            if tar.read(block.split_at_mut(1).0).map_err(|error| self.damaged(&error))? == 0 {
                return if members == Members::Ignored || self.has_all() { Ok(()) } else { Err(refused(self.path, "it is cut")) };
            }
            tar.read_exact(block.split_at_mut(1).1).map_err(|error| self.damaged(&error))?;
            if block.iter().all(|&byte| byte == 0) {
                return Ok(());
            }
            let header = TarHeader::parse(&block, 0).ok_or_else(|| refused(self.path, "a member's header is damaged"))?;
            let (name, size) = (header.name(), header.stored_bytes());
            if name.contains(['/', '\\']) || !matches!(header.kind(), 0 | b'0') {
                return Err(refused(self.path, "a member is no file of the database itself"));
            }
            let known = kind::of(Path::new(&name));
            if members == Members::Ignored && !is_ahead(&name, known.map(|(_, kind)| kind)) {
                return Ok(());
            }
            self.member(&name, known, size, tar, members)?;
            let filling = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
            let skipped = io::copy(&mut tar.take(filling), &mut io::sink()).map_err(|error| self.damaged(&error))?;
            if skipped < filling {
                return Err(refused(self.path, "it is cut"));
            }
        }
        Err(refused(self.path, "it has more members than a database can have"))
    }

    /// Whether there is a list, and everything in it was there.
    fn has_all(&self) -> bool {
        self.listed.as_ref().is_some_and(|listed| listed.keys().all(|name| self.met.contains(name)))
    }

    fn member(
        &mut self,
        name: &str,
        known: Option<(&'static str, FileKind)>,
        size: u64,
        tar: &mut impl Read,
        members: Members,
    ) -> Result<(), LoadError> {
        let path = self.path.join(name);
        let listed = match &self.listed {
            Some(listed) => Some(*listed.get(name).ok_or_else(|| refused(&path, "not in the list of members"))?),
            None => None,
        };
        if listed.is_some() {
            self.met.insert(name.to_owned());
        }
        if listed.is_some_and(|(length, _)| length != size) {
            return Err(refused(&path, "its length is not the one in the list of members"));
        }
        let mut content = Hashing { inner: tar.take(size), hasher: Sha256::new() };
        if has_extension(&path, "info") {
            let mut text = String::new();
            (&mut content).take(MAX_LIST).read_to_string(&mut text).map_err(|error| self.damaged(&error))?;
            self.listed = Some(parse_list(&text).ok_or_else(|| refused(&path, "a list of members that cannot be read"))?);
        } else if members == Members::All {
            self.read_signatures(&path, known, &mut content)?;
        } else if let Some((extension, kind @ FileKind::Ignored)) = known {
            self.reading.read(extension, kind, &path, Strictness::Skip, BufReader::new(&mut content))?;
        }
        io::copy(&mut content, &mut io::sink()).map_err(|error| self.damaged(&error))?;
        if content.inner.limit() > 0 {
            return Err(refused(self.path, "it is cut"));
        }
        if listed.is_some_and(|(_, digest)| digest != <[u8; 32]>::from(content.hasher.finalize())) {
            return Err(refused(&path, "its SHA-256 is not the one in the list of members"));
        }
        Ok(())
    }

    fn read_signatures(&mut self, path: &Path, known: Option<(&'static str, FileKind)>, content: &mut impl Read) -> Result<(), LoadError> {
        if has_extension(path, "yar") || has_extension(path, "yara") {
            let mut rules = Vec::new();
            content.take(MAX_RULES).read_to_end(&mut rules).map_err(|error| self.damaged(&error))?;
            self.reading.add_rules(path, rules);
            return Ok(());
        }
        // A database inside a database is none that anybody makes.
        let Some((extension, kind)) = known.filter(|(_, kind)| !matches!(kind, FileKind::Database(_))) else { return Ok(()) };
        let strictness = if self.trust == Trust::Signed { Strictness::Refuse } else { Strictness::Skip };
        self.reading.read(extension, kind, path, strictness, BufReader::with_capacity(1 << 16, content))
    }

    fn damaged(&self, error: &io::Error) -> LoadError {
        refused(self.path, format!("it cannot be unpacked: {error}"))
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Whether a member may stand before all signatures.
fn is_ahead(name: &str, kind: Option<FileKind>) -> bool {
    matches!(kind, None | Some(FileKind::Ignored | FileKind::Unsupported("cfg"))) || name == "COPYING"
}

/// A header, then `name:size:sha256` a line, then perhaps a signature.
fn parse_list(text: &str) -> Option<HashMap<String, (u64, [u8; 32])>> {
    let mut listed = HashMap::new();
    let lines = text.lines().filter(|line| !line.starts_with("ClamAV-VDB:") && !line.starts_with("DSIG:"));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let (name, rest) = line.trim_end().split_once(':')?;
        let (size, digest) = rest.split_once(':')?;
        let super::digests::AnyDigest::Sha256(digest) = super::digests::AnyDigest::parse(digest)? else { return None };
        listed.insert(name.to_owned(), (size.parse().ok()?, digest));
    }
    Some(listed)
}
