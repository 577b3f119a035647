//! Lists of digests of whole files: known to be malware, or vouched for.
//!
//! Read from the operator's folder: `*.sha256`, `*.sha1` and `*.md5` hold digests of that kind, `*.hashes` of all three, told apart by
//! their length. A line is `HEX`, `HEX  name`, `HEX *name` (what `sha256sum` and its kin write) or `HEX,name`; from `#` at its start
//! a line is a comment. The name is the signature; a digest without one is `Hash.Sha256.` (`Sha1.`, `Md5.`) and its first 16 digits.
//!
//! `allow.sha256` and `*.allow.sha256` hold what is vouched for, in the same form. Allowances by MD5 or SHA-1 are refused: who can make two
//! files of one digest could have one of them allowed for the other.

mod packed;

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use filesafety_model::{Kind, Listing};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{
    LoadError,
    yara::{Hit, folder},
};
use packed::{List, Packed, Unpacked};

/// All digests in force.
pub struct HashLists(Packed);

impl HashLists {
    /// Reads every list of `dir`. The first line that is none of the above refuses all, with its file and number.
    ///
    /// # Errors
    /// The list that does not load.
    pub fn load(dir: Option<&Path>) -> Result<Self, LoadError> {
        let mut reading = Reading::default();
        let extensions: Vec<_> = Extension::ALL.into_iter().map(Extension::as_str).collect();
        let paths = dir.map_or_else(|| Ok(Vec::new()), |dir| folder::files(dir, &extensions))?;
        for path in paths {
            reading.read(&path)?;
        }
        reading.finish()
    }

    /// Those of another process of this program, by what [`HashLists::file`] gave there.
    pub(crate) fn shared(file: OwnedFd) -> Result<Self, LoadError> {
        Ok(Self(Packed::map(file)?))
    }

    /// A sealed file that holds them all.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.0.file()
    }

    /// One list alone.
    ///
    /// # Errors
    /// It cannot be read, or a line is bad.
    pub(crate) fn of_file(path: &Path) -> Result<Self, LoadError> {
        let mut reading = Reading::default();
        reading.read(path)?;
        reading.finish()
    }

    /// Whether a list of this name may have this line.
    pub(crate) fn check_line(path: &Path, line: &[u8]) -> Result<(), LoadError> {
        Reading::default().read_lines(path, line)
    }

    /// One list that stands in memory, as if it were called `name`.
    #[cfg(fuzzing)]
    pub(crate) fn of_bytes(name: &str, text: &[u8]) -> Result<Self, LoadError> {
        let mut reading = Reading::default();
        reading.read_lines(Path::new(name), text)?;
        reading.finish()
    }

    /// What the lists call this object. A digest is computed only where a list of its kind has entries.
    pub(crate) fn lookup(&self, object: &[u8]) -> Vec<Hit> {
        let found = [
            self.signature(self.0.sha256, "Hash.Sha256", || Sha256::digest(object).into()),
            self.signature(self.0.sha1, "Hash.Sha1", || Sha1::digest(object).into()),
            self.signature(self.0.md5, "Hash.Md5", || Md5::digest(object).into()),
        ];
        let mut hits: Vec<_> = found.into_iter().flatten().map(|signature| Hit { kind: Kind::Malware, signature }).collect();
        hits.dedup();
        hits
    }

    /// What the lists say of content of which only the SHA-256 is known. Lists by MD5 and SHA-1 say nothing of it.
    pub fn listing(&self, digest: &filesafety_model::Sha256) -> Listing {
        if self.0.find(self.0.allowed, digest.as_bytes()).is_some() {
            return Listing::Allowed;
        }
        let signature = self.signature(self.0.sha256, "Hash.Sha256", || *digest.as_bytes());
        signature.map_or(Listing::Unlisted, |signature| Listing::Malware { signature })
    }

    /// Whether the operator vouches for this object.
    pub(crate) fn allows(&self, object: &[u8]) -> bool {
        self.0.allowed.len() > 0 && self.0.find(self.0.allowed, &Sha256::digest(object).into()).is_some()
    }

    /// Whether [`HashLists::listing`] can say anything but [`Listing::Unlisted`].
    pub fn can_look_back(&self) -> bool {
        self.0.allowed.len() > 0 || self.0.sha256.len() > 0
    }

    /// Digests of malware in force, of all kinds.
    pub(crate) fn count(&self) -> usize {
        self.0.sha256.len() + self.0.sha1.len() + self.0.md5.len()
    }

    /// Digests that the operator vouches for.
    pub(crate) fn allowed_count(&self) -> usize {
        self.0.allowed.len()
    }

    /// Changes with whatever can change a result.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// What `list` calls the digest; it is computed only where the list has entries.
    fn signature<const N: usize>(&self, list: List<N>, unnamed: &str, digest: impl FnOnce() -> [u8; N]) -> Option<String> {
        if list.len() == 0 {
            return None;
        }
        let digest = digest();
        let name = self.0.find(list, &digest)?;
        Some(self.0.name(name).unwrap_or_else(|| unnamed_signature(unnamed, &digest)))
    }
}

/// Longer lines are refused.
const MAX_LINE: usize = 4096;
/// Longer names are refused.
const MAX_NAME: usize = 255;

/// The place of no name.
const UNNAMED: u32 = u32::MAX;

/// In the order of the digests, one for each.
fn sorted<const N: usize>(mut entries: Vec<([u8; N], u32)>) -> Vec<([u8; N], u32)> {
    // Stable, so that of two names of one digest the first read stays.
    entries.sort_by_key(|entry| entry.0);
    entries.dedup_by_key(|entry| entry.0);
    entries
}

fn unnamed_signature(family: &str, digest: &[u8]) -> String {
    let mut signature = format!("{family}.");
    for byte in digest.iter().take(8) {
        for digit in [byte >> 4, byte & 15] {
            signature.push(char::from_digit(u32::from(digit), 16).expect("four bits are a digit"));
        }
    }
    signature
}

/// What a file's extension says of its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Sha256,
    Sha1,
    Md5,
    Mixed,
}

/// What a list says of its digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Malware,
    Allowed,
}

impl Meaning {
    /// By the word before the extension: `allow.sha256`, `vendor.allow.sha256`.
    fn of(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default();
        let word = Path::new(stem).extension().unwrap_or(stem);
        if word.eq_ignore_ascii_case("allow") { Self::Allowed } else { Self::Malware }
    }
}

impl Extension {
    const ALL: [Self; 4] = [Self::Sha256, Self::Sha1, Self::Md5, Self::Mixed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Mixed => "hashes",
        }
    }

    fn of(path: &Path) -> Self {
        let found = path.extension().unwrap_or_default();
        Self::ALL.into_iter().find(|extension| found.eq_ignore_ascii_case(extension.as_str())).unwrap_or(Self::Mixed)
    }

    fn allows(self, digest: &AnyDigest) -> bool {
        match self {
            Self::Sha256 => matches!(digest, AnyDigest::Sha256(_)),
            Self::Sha1 => matches!(digest, AnyDigest::Sha1(_)),
            Self::Md5 => matches!(digest, AnyDigest::Md5(_)),
            Self::Mixed => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnyDigest {
    Sha256([u8; 32]),
    Sha1([u8; 20]),
    Md5([u8; 16]),
}

impl AnyDigest {
    fn parse(hex: &[u8]) -> Option<Self> {
        match hex.len() {
            64 => unhex(hex).map(Self::Sha256),
            40 => unhex(hex).map(Self::Sha1),
            32 => unhex(hex).map(Self::Md5),
            _ => None,
        }
    }
}

fn unhex<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(bytes)
}

/// Lists while they are read.
struct Reading {
    allowed: Vec<([u8; 32], u32)>,
    sha256: Vec<([u8; 32], u32)>,
    sha1: Vec<([u8; 20], u32)>,
    md5: Vec<([u8; 16], u32)>,
    /// Each name once: families name thousands of digests.
    places: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    digest: Sha256,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            sha256: Vec::new(),
            sha1: Vec::new(),
            md5: Vec::new(),
            places: HashMap::new(),
            names: Vec::new(),
            digest: Sha256::new(),
        }
    }
}

impl Reading {
    fn read(&mut self, path: &Path) -> Result<(), LoadError> {
        let file = File::open(path).map_err(|cause| LoadError::Read { path: path.to_owned(), cause })?;
        self.read_lines(path, BufReader::with_capacity(1 << 16, file))
    }

    fn read_lines(&mut self, path: &Path, mut lines: impl BufRead) -> Result<(), LoadError> {
        let refused = |cause| LoadError::Read { path: path.to_owned(), cause };
        let (extension, meaning) = (Extension::of(path), Meaning::of(path));
        if meaning == Meaning::Allowed && extension != Extension::Sha256 {
            let reason = "a list of what is allowed holds SHA-256 alone, and ends in .allow.sha256".to_owned();
            return Err(LoadError::Invalid { path: path.to_owned(), line: 1, reason });
        }
        self.digest.update(extension.as_str());
        self.digest.update(format!("{meaning:?}"));
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let limit = MAX_LINE as u64 + 1;
            let read = lines.by_ref().take(limit).read_until(b'\n', &mut line).map_err(refused)?;
            if read == 0 {
                break;
            }
            let added = if read > MAX_LINE { Err("the line is longer than 4096 bytes") } else { self.add(extension, meaning, &line) };
            added.map_err(|reason| LoadError::Invalid { path: path.to_owned(), line: number, reason: reason.to_owned() })?;
        }
        Ok(())
    }

    fn add(&mut self, extension: Extension, meaning: Meaning, line: &[u8]) -> Result<(), &'static str> {
        let text = std::str::from_utf8(line).map_err(|_| "not UTF-8")?.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        self.digest.update(line);
        let (digest, name) = parse_line(text)?;
        if !extension.allows(&digest) {
            return Err("the digest has another length than the file's extension says");
        }
        match (digest, meaning) {
            // What it is called is a note for people.
            (AnyDigest::Sha256(digest), Meaning::Allowed) => self.allowed.push((digest, UNNAMED)),
            (AnyDigest::Sha256(digest), Meaning::Malware) => {
                let place = self.place(name)?;
                self.sha256.push((digest, place));
            }
            (AnyDigest::Sha1(digest), Meaning::Malware) => {
                let place = self.place(name)?;
                self.sha1.push((digest, place));
            }
            (AnyDigest::Md5(digest), Meaning::Malware) => {
                let place = self.place(name)?;
                self.md5.push((digest, place));
            }
            (AnyDigest::Sha1(_) | AnyDigest::Md5(_), Meaning::Allowed) => return Err("what is allowed is told by SHA-256 alone"),
        }
        Ok(())
    }

    fn place(&mut self, name: &str) -> Result<u32, &'static str> {
        if name.is_empty() {
            return Ok(UNNAMED);
        }
        if let Some(&place) = self.places.get(name) {
            return Ok(place);
        }
        let place = u32::try_from(self.names.len()).ok().filter(|&place| place != UNNAMED).ok_or("more names than can be held")?;
        self.names.push(name.into());
        self.places.insert(name.into(), place);
        Ok(place)
    }

    fn finish(self) -> Result<HashLists, LoadError> {
        let unpacked = Unpacked {
            allowed: sorted(self.allowed),
            sha256: sorted(self.sha256),
            sha1: sorted(self.sha1),
            md5: sorted(self.md5),
            names: &self.names,
            fingerprint: self.digest.finalize().into(),
        };
        Ok(HashLists(unpacked.pack()?))
    }
}

/// The digest and the name, which may be empty.
fn parse_line(text: &str) -> Result<(AnyDigest, &str), &'static str> {
    // sha256sum puts a backslash before the digest where it had to escape the name.
    let text = text.strip_prefix('\\').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    let (hex, rest) = text.split_at(end);
    let digest = AnyDigest::parse(hex.as_bytes()).ok_or("no digest of 32, 40 or 64 hex digits at its start")?;
    let name = match rest.chars().next() {
        None => "",
        Some(',') => rest.get(1..).unwrap_or_default().trim(),
        Some(' ' | '\t') => {
            let name = rest.trim_start();
            name.strip_prefix('*').unwrap_or(name)
        }
        Some(_) => return Err("after the digest comes neither a space nor a comma"),
    };
    if name.len() > MAX_NAME {
        return Err("the name is longer than 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("the name has a control character");
    }
    Ok((digest, name))
}

#[cfg(test)]
mod tests;
