//! Signatures as they are read, line by line.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::{
    Refused, Settings, digests,
    ignored::Ignored,
    kind::{self, FileKind, Trust},
    line::{self, parse_body, parse_hash, parse_old_body, parse_section_hash},
};
use crate::{
    LoadError,
    clamdb::{
        About, Counts, RuleFile, Small, Source,
        body::{self, Owner, Terms, Word},
        flat::Writer,
        logical,
        magic::Magic,
        members,
        names::{self, NameId},
        passwords,
        runs::Runs,
    },
};

/// Longer lines are refused.
pub(super) const MAX_LINE: usize = 1 << 17;
/// So many bad lines of one load are told, each with file and line; the rest only counted.
const MAX_TOLD: usize = 20;

/// What a bad line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// It is left out.
    Skip,
    /// It refuses everything: what was signed has none.
    Refuse,
}

/// Where a line stands.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) number: u64,
    pub(super) unwanted: bool,
}

/// Signatures as they are read.
pub(super) struct Reading {
    settings: Settings,
    names: names::Builder,
    /// Names that are only possibly unwanted.
    unwanted: Runs,
    /// Names that somebody has signed.
    signed: Runs,
    files: digests::Reading,
    sections: digests::Reading,
    imports: digests::Reading,
    allowed: digests::Reading,
    body: body::Builder,
    logical: logical::Builder,
    small: Small,
    ignored: Ignored,
    sources: Vec<Source>,
    /// Of the file that is read.
    source: Source,
    told: usize,
    fingerprint: Sha256,
}

/// One of the tables of digests.
type TableOf = fn(&mut Reading) -> &mut digests::Reading;

impl Reading {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            names: names::Builder::default(),
            unwanted: Runs::default(),
            signed: Runs::default(),
            files: digests::Reading::default(),
            sections: digests::Reading::default(),
            imports: digests::Reading::default(),
            allowed: digests::Reading::default(),
            body: body::Builder::default(),
            logical: logical::Builder::default(),
            small: Small::default(),
            ignored: Ignored::default(),
            sources: Vec::new(),
            source: Source::new(String::new(), Trust::Unsigned),
            told: 0,
            fingerprint: Sha256::new(),
        }
    }

    /// Compiles all to flat tables, in the order in which [`Database::read`](crate::clamdb::Database) takes them.
    pub(super) fn write(self, writer: &mut Writer<'_>) -> Result<(), LoadError> {
        let mut counts = Counts::default();
        self.sources.iter().for_each(|source| counts.add(&source.counts));
        if self.told > MAX_TOLD {
            tracing::warn!(lines = counts.invalid, "more lines of signature files were skipped; /readyz counts them");
        }
        self.write_tables(counts, writer).map_err(|error| LoadError::Signatures { message: error.to_string() })
    }

    fn write_tables(self, counts: Counts, writer: &mut Writer<'_>) -> io::Result<()> {
        let about = About {
            counts,
            sources: self.sources,
            unwanted: self.unwanted,
            signed: self.signed,
            small: self.small,
            fingerprint: self.fingerprint.finalize().into(),
        };
        writer.section(&serde_json::to_vec(&about)?)?;
        // Each is given back before the next is laid out.
        self.files.write(writer)?;
        self.sections.write(writer)?;
        self.imports.write(writer)?;
        self.allowed.write(writer)?;
        self.names.write(writer)?;
        self.logical.write(writer)?;
        self.body.write(writer)
    }

    /// What is read from now on stands in this file of the folder.
    pub(super) fn begin(&mut self, path: &Path, trust: Trust) {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.source = Source::new(file, trust);
    }

    /// The file is read to its end.
    pub(super) fn end(&mut self, describe: impl FnOnce(&mut Source)) {
        let mut source = std::mem::replace(&mut self.source, Source::new(String::new(), Trust::Unsigned));
        describe(&mut source);
        self.sources.push(source);
    }

    /// The one file that was read.
    pub(super) fn into_source(mut self) -> Source {
        self.sources.pop().unwrap_or(self.source)
    }

    /// Rules for YARA-X that stand in a database.
    pub(super) fn add_rules(&mut self, path: &Path, text: Vec<u8>) {
        self.fingerprint.update(&text);
        self.small.rules.push(RuleFile { path: path.to_owned(), text });
    }

    /// Reads one signature file.
    ///
    /// # Errors
    /// It cannot be read, or a line is bad where that refuses everything.
    pub(super) fn read(
        &mut self,
        extension: &'static str,
        kind: FileKind,
        path: &Path,
        strictness: Strictness,
        mut lines: impl BufRead,
    ) -> Result<(), LoadError> {
        self.fingerprint.update(extension);
        if let FileKind::Unsupported(what) = kind {
            self.source.counts.add_unsupported(what);
            return Ok(());
        }
        let refused = |cause| LoadError::Read { path: path.to_owned(), cause };
        let mut place = Place { path, number: 0, unwanted: kind::is_unwanted(extension) };
        let before = self.source.counts.in_force();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line).map_err(refused)?;
            if read == 0 {
                break;
            }
            self.fingerprint.update(&line);
            place.number += 1;
            let whole = line.ends_with(b"\n") || read < MAX_LINE;
            let added = if whole { self.add(kind, &place, &line) } else { Err(Refused::Invalid("the line is longer than 128 KiB")) };
            if !whole {
                self.skip_rest(&mut lines).map_err(refused)?;
            }
            if let Err(refused) = added {
                self.refuse(refused, &place, strictness)?;
            }
        }
        let read = self.source.counts.in_force() - before;
        if read > 0 {
            *self.source.kinds.entry(Cow::Borrowed(extension)).or_default() += read;
        }
        Ok(())
    }

    fn skip_rest(&mut self, lines: &mut impl BufRead) -> std::io::Result<()> {
        loop {
            let buffer = lines.fill_buf()?;
            let end = memchr::memchr(b'\n', buffer);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.fingerprint.update(buffer.get(..used).unwrap_or_default());
            lines.consume(used);
            if end.is_some() || used == 0 {
                return Ok(());
            }
        }
    }

    fn refuse(&mut self, refused: Refused, place: &Place<'_>, strictness: Strictness) -> Result<(), LoadError> {
        let counts = &mut self.source.counts;
        match refused {
            Refused::Unsupported(what) => counts.add_unsupported(what),
            Refused::Level => counts.other_level += 1,
            Refused::Ignored => counts.ignored += 1,
            Refused::Unwanted => counts.unwanted += 1,
            Refused::Invalid(reason) if strictness == Strictness::Refuse => {
                let line = usize::try_from(place.number).unwrap_or(usize::MAX);
                return Err(LoadError::Invalid { path: place.path.to_owned(), line, reason: reason.to_owned() });
            }
            Refused::Invalid(reason) => {
                counts.invalid += 1;
                self.told += 1;
                if self.told <= MAX_TOLD {
                    tracing::warn!(file = %place.path.display(), line = place.number, "a signature is skipped: {reason}");
                }
            }
        }
        Ok(())
    }

    /// Takes in one line.
    pub(super) fn add(&mut self, kind: FileKind, place: &Place<'_>, line: &[u8]) -> Result<(), Refused> {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(());
        }
        if place.unwanted && !self.settings.unwanted {
            return Err(Refused::Unwanted);
        }
        let text = std::str::from_utf8(line).map_err(|_| Refused::Invalid("not UTF-8"))?;
        match kind {
            FileKind::Hashes => {
                self.digest(parse_hash(text)?, text, place, |reading| &mut reading.files)?;
                self.source.counts.hashes += 1;
            }
            FileKind::SectionHashes => {
                self.digest(parse_section_hash(text)?, text, place, |reading| &mut reading.sections)?;
                self.source.counts.hashes += 1;
            }
            FileKind::ImportHashes => {
                let entry = parse_hash(text)?;
                if !matches!(entry.digest, digests::AnyDigest::Md5(_)) {
                    return Err(Refused::Invalid("the hash of imports is an MD5"));
                }
                self.digest(entry, text, place, |reading| &mut reading.imports)?;
                self.source.counts.hashes += 1;
            }
            FileKind::Allowed => {
                self.digest(parse_hash(text)?, text, place, |reading| &mut reading.allowed)?;
                self.source.counts.allowed += 1;
            }
            FileKind::Bodies => self.add_body(parse_body(text)?, text, place)?,
            FileKind::OldBodies => self.add_body(parse_old_body(text)?, text, place)?,
            FileKind::Logical => {
                let signature = logical::parse(text)?;
                let name = self.name(signature.name, text, place)?;
                self.logical.add(signature, name, &mut self.body)?;
                self.source.counts.logical += 1;
            }
            FileKind::Members => self.add_member(text, place)?,
            FileKind::Magics => {
                Magic::parse(text)?;
                self.small.magics.push(text.to_owned());
                self.source.counts.magics += 1;
            }
            FileKind::Passwords => self.add_password(text, place)?,
            FileKind::Ignored => self.ignored.add(text)?,
            FileKind::UnsupportedLines(what) | FileKind::Unsupported(what) => return Err(Refused::Unsupported(what)),
            // They are opened, never read line by line.
            FileKind::Database(_) => {}
        }
        Ok(())
    }

    fn digest(&mut self, entry: line::Entry<'_>, text: &str, place: &Place<'_>, table: TableOf) -> Result<(), Refused> {
        let name = self.name(entry.name, text, place)?;
        table(self).add(entry.digest, entry.size, name);
        Ok(())
    }

    fn add_member(&mut self, text: &str, place: &Place<'_>) -> Result<(), Refused> {
        let line = members::parse(text)?;
        line.signature.check()?;
        let name = self.name(line.name, text, place)?;
        self.small.members.push((text.to_owned(), name));
        self.source.counts.members += 1;
        Ok(())
    }

    fn add_password(&mut self, text: &str, place: &Place<'_>) -> Result<(), Refused> {
        let (name, _) = passwords::parse(text)?;
        line::check_name(name)?;
        if self.ignored.holds(name, text, place.path, place.number) {
            return Err(Refused::Ignored);
        }
        self.small.passwords.push(text.to_owned());
        self.source.counts.passwords += 1;
        Ok(())
    }

    fn add_body(&mut self, signature: line::Body<'_>, text: &str, place: &Place<'_>) -> Result<(), Refused> {
        if let Some(group) = signature.group {
            logical::check_macro(&signature.pattern)?;
            self.small.macros.push((group, signature.target, signature.text.to_owned()));
            self.source.counts.bodies += 1;
            return Ok(());
        }
        let name = self.name(signature.name, text, place)?;
        let terms = Terms { target: signature.target, offset: signature.offset, fold: false, word: Word::Any };
        self.body.add(&signature.pattern, terms, Owner::Signature(name));
        self.source.counts.bodies += 1;
        Ok(())
    }

    /// The number of a new signature's name, unless it is to be ignored.
    fn name(&mut self, name: &str, line: &str, place: &Place<'_>) -> Result<NameId, Refused> {
        line::check_name(name)?;
        if self.ignored.holds(name, line, place.path, place.number) {
            return Err(Refused::Ignored);
        }
        let number = self.names.add(name).ok_or(Refused::Invalid("more signatures than can be held"))?;
        if place.unwanted || name.starts_with("PUA.") {
            self.unwanted.add(number);
        }
        if self.source.trust == Trust::Signed {
            self.signed.add(number);
        }
        Ok(number)
    }
}
