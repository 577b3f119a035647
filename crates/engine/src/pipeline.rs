//! The way of one file through the engines: scan its bytes, judge it if it is a picture, open it if it is a container, and the same
//! again for every object that comes out.

mod explain;

use std::{
    io::{self, Read},
    rc::Rc,
};

use filesafety_model::{
    Coverage, Detection, EngineName, EngineOutcome, EngineReport, Kind, Password, PictureReport, Pictures, Reason, Report, Unexamined,
};

use crate::{
    ConfiguredClamd, Engine, Grant, Input, Memory, MemoryShort, Oversize,
    budget::{Budget, Deadline, Limit, Stopped},
    clamd::ClamdAnswer,
    clamdb::{ClamType, Container, Object},
    facts::{Fact, Gathered, Gathering, suspicions},
    filetype::{FileType, Format, identify, is_document},
    names,
    nsfw::{self, PictureLimits, Pixels},
    search,
    unpack::{self, Decoded, Ended, Member, Sink, Stop},
    watcher::{Unwatched, Watcher},
    yara::{Hit, Matched, Scanner, Statement},
};

pub(crate) use explain::explain;
pub use explain::{Explained, ObjectMatches};

/// Scans one file with everything inside it.
pub(crate) fn scan(
    engine: &Engine,
    scanner: &mut Scanner<'_>,
    input: &Input<'_>,
    memory: &dyn Memory,
    watcher: &dyn Watcher,
) -> Result<Report, MemoryShort> {
    let mut walk = Walk::new(engine, scanner, input, memory);
    walk.watcher = watcher;
    walk.virus = input.types.virus().then(Findings::default);
    walk.pictures = input.types.nsfw().then(Pictures::default);
    walk.run(input)
}

/// Opens everything and shows it to no detector.
#[cfg(fuzzing)]
pub(crate) fn unpack_only(
    engine: &Engine,
    scanner: &mut Scanner<'_>,
    input: &Input<'_>,
    memory: &dyn Memory,
) -> Result<Report, MemoryShort> {
    Walk::new(engine, scanner, input, memory).run(input)
}

/// So much is decoded between two looks at the budget.
const STEP: usize = 64 << 10;

/// Below this a growing object doubles its room, above it grows by a quarter.
const DOUBLES_BELOW: usize = 16 << 20;

/// Of an object that passed a limit while it was decoded, so much of its start is still scanned.
const SCANNED_OF_REFUSED: usize = 32 << 20;

/// Names are cut to as many characters, as everywhere in the service.
const MAX_NAME: usize = 255;

/// More of one engine are not kept; the verdict shows twenty.
const MAX_DETECTIONS: usize = 100;

/// More are not tried: each costs some tenths of a second where a format makes guessing dear.
const MAX_PASSWORDS: usize = 100;

struct Walk<'a, 'r> {
    engine: &'a Engine,
    scanner: &'a mut Scanner<'r>,
    budget: Budget<'a>,
    /// Hears of what is found before the report is made.
    watcher: &'a dyn Watcher,
    passwords: Rc<[Password]>,
    virus: Option<Findings>,
    pictures: Option<Pictures>,
    coverage: Coverage,
    facts: Gathering,
    /// Of the object that is examined; where the scan stopped, once it has.
    path: String,
    /// How many containers enclose it.
    depth: u32,
    /// The containers that enclose it, as ClamAV's signatures name them; kept only while those are in force.
    containers: Vec<Opened>,
    /// The depth of the enclosing object that ClamAV's lists allow: its signatures say nothing of it nor of what is inside.
    allowed_at: Option<u32>,
    door: Door,
    /// How to read the object that is examined next, where it is nothing but pixels.
    pixels: Option<Pixels>,
    /// Where decoders write; taken while one is at work.
    scratch: Vec<u8>,
}

/// A container that is open.
#[derive(Clone, Copy, Debug)]
struct Opened {
    kind: ClamType,
    size: u64,
    /// Members that its headers have told of.
    members: u64,
}

/// Whether children are examined: not at the depth limit, where it is only told whether there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Closed,
    /// And a child was there.
    Refused,
}

/// What the detectors found.
#[derive(Default)]
struct Findings {
    yara: Vec<Detection>,
    hashes: Vec<Detection>,
    clamdb: Vec<Detection>,
    clamd: Vec<Detection>,
    /// Two facts of one object.
    suspicious: Vec<Detection>,
    /// Which rules match in which objects, where that is asked for.
    explained: Option<Vec<ObjectMatches>>,
    /// Why clamd gives no answers, once it has failed to.
    clamd_silence: Option<String>,
}

impl<'a, 'r> Walk<'a, 'r> {
    /// A walk without detectors.
    fn new(engine: &'a Engine, scanner: &'a mut Scanner<'r>, input: &Input<'_>, memory: &'a dyn Memory) -> Self {
        let passwords = input.passwords.iter().chain(&engine.passwords).take(MAX_PASSWORDS).cloned();
        Self {
            engine,
            scanner,
            budget: Budget::new(&engine.limits, input.content.len() as u64, memory).by(engine.clock),
            watcher: &Unwatched,
            passwords: passwords.collect(),
            virus: None,
            pictures: None,
            coverage: Coverage::default(),
            facts: Gathering::default(),
            path: String::new(),
            depth: 0,
            containers: Vec::new(),
            allowed_at: None,
            door: Door::Open,
            pixels: None,
            scratch: vec![0; STEP],
        }
    }

    fn run(mut self, input: &Input<'_>) -> Result<Report, MemoryShort> {
        self.walk(input)?;
        Ok(self.report())
    }

    fn walk(&mut self, input: &Input<'_>) -> Result<(), MemoryShort> {
        // Whatever folders a client writes before the name are its own.
        let name = input.name.and_then(|name| name.rsplit(['/', '\\']).next());
        let stopped = self.examine(input.content, name).err().map(|Stop| self.budget.stopped());
        match stopped {
            Some(Some(Stopped::MemoryShort)) => return Err(MemoryShort),
            Some(Some(Stopped::Limit(limit))) => self.limit(limit),
            // No one else makes a `Stop`; should one appear, the file was not examined to its end.
            Some(None) => self.limit(Limit::Time),
            None => {}
        }
        Ok(())
    }
}

impl Walk<'_, '_> {
    /// Examines an object whose path is set: its bytes, then what is inside.
    fn examine(&mut self, content: &[u8], name: Option<&str>) -> Result<(), Stop> {
        self.budget.object()?;
        self.coverage.objects += 1;
        self.coverage.bytes = self.coverage.bytes.saturating_add(content.len() as u64);
        let here = self.path.len();
        self.facts.enter();
        let examined = self.look_at(content, name);
        self.conclude(content, here);
        examined?;
        self.containers.truncate(usize::try_from(self.depth).unwrap_or(usize::MAX));
        if self.allowed_at == Some(self.depth) {
            self.allowed_at = None;
        }
        Ok(())
    }

    fn look_at(&mut self, content: &[u8], name: Option<&str>) -> Result<(), Stop> {
        for (fact, detail) in name.map_or_else(Vec::new, |name| names::facts(name, content)) {
            self.fact(fact, &detail);
        }
        self.detect(content)?;
        self.judge_picture(content)?;
        if self.virus.is_some() && self.engine.clamdb.is_in_force() {
            self.containers.push(Opened { kind: self.engine.clamdb.type_of(content), size: content.len() as u64, members: 0 });
        }
        self.open(content, name)
    }

    /// What the facts of an object come to. Where the scan stops, its path is longer than the object's, which ends at `here`.
    fn conclude(&mut self, content: &[u8], here: usize) {
        let gathered = self.facts.leave(|| self.engine.hashes.allows(content));
        let path = self.path.get(..here).unwrap_or(&self.path);
        match gathered {
            Gathered::Nothing => {}
            Gathered::Allowed(facts) => {
                let found: Vec<_> = suspicions(facts).collect();
                if !found.is_empty() {
                    self.coverage.add_note(path, format!("allowed by its digest; found: {}", found.join(", ")));
                }
            }
            Gathered::Here(facts) => {
                if let Some(findings) = self.virus.as_mut() {
                    let hits = suspicions(facts).map(|signature| Hit { kind: Kind::Suspicious, signature: signature.to_owned() });
                    keep(&mut findings.suspicious, hits.collect(), EngineName::FileSafety, path, self.watcher);
                }
            }
        }
    }

    fn detect(&mut self, content: &[u8]) -> Result<(), Stop> {
        if self.virus.is_none() {
            return Ok(());
        }
        self.explain_object(content);
        let hashes = self.engine.hashes.lookup(content);
        let Matched { hits: yara, statements } = self.scanner.scan(content, self.budget.time_left()).unwrap_or_else(|_| {
            self.limit(Limit::Matches);
            Matched::default()
        });
        for statement in statements {
            match statement {
                Statement::Fact(fact, detail) => self.facts.state(&self.path, fact, &shown(&detail)),
                Statement::Note(note) => self.facts.note(&self.path, shown(&note)),
            }
        }
        let clamdb = self.match_clamdb(content);
        let clamd = self.ask_clamd(content);
        let hits = [hashes, yara, clamdb, clamd];
        // Looked up last: hardly anything is found, and hardly ever is a digest computed for this.
        if hits.iter().any(|hits| !hits.is_empty()) && self.engine.hashes.allows(content) {
            self.note_allowed(&hits);
        } else if let Some(findings) = self.virus.as_mut() {
            let [hashes, yara, clamdb, clamd] = hits;
            keep(&mut findings.hashes, hashes, EngineName::Hashes, &self.path, self.watcher);
            keep(&mut findings.yara, yara, EngineName::YaraX, &self.path, self.watcher);
            keep(&mut findings.clamdb, clamdb, EngineName::ClamDb, &self.path, self.watcher);
            keep(&mut findings.clamd, clamd, EngineName::Clamd, &self.path, self.watcher);
        }
        self.budget.check_time()
    }

    /// What was found in an object that the operator vouches for: told, and not counted.
    fn note_allowed(&mut self, hits: &[Vec<Hit>]) {
        let names: Vec<_> = hits.iter().flatten().map(|hit| hit.signature.as_str()).collect();
        self.coverage.add_note(&self.path, format!("allowed by its digest; found: {}", names.join(", ")));
    }

    fn match_clamdb(&mut self, content: &[u8]) -> Vec<Hit> {
        if self.allowed_at.is_some() || !self.engine.clamdb.is_in_force() {
            return Vec::new();
        }
        let containers: Vec<_> = self.containers.iter().map(|opened| opened.kind).collect();
        let in_time = || !self.budget.time_left().is_zero();
        let found = self.engine.clamdb.scan(Object { content, containers: &containers }, &in_time);
        if found.allowed {
            self.allowed_at = Some(self.depth);
            self.coverage.add_note(&self.path, "allowed by a ClamAV list: its signatures were not asked");
        }
        if found.incomplete {
            self.limit(Limit::Matches);
        }
        found.hits
    }

    fn ask_clamd(&mut self, content: &[u8]) -> Vec<Hit> {
        let (Some(findings), Some(ConfiguredClamd { daemon, max_bytes, oversize })) = (self.virus.as_mut(), &self.engine.clamd) else {
            return Vec::new();
        };
        if findings.clamd_silence.is_some() {
            return Vec::new();
        }
        let answer = if content.len() as u64 > *max_bytes { ClamdAnswer::TooLarge } else { daemon.ask(content) };
        match answer {
            ClamdAnswer::Clean => {}
            ClamdAnswer::Found(signature) => return vec![Hit { signature, kind: Kind::Malware }],
            ClamdAnswer::TooLarge => match oversize {
                Oversize::Note => self.coverage.add_note(&self.path, "too large for clamd"),
                Oversize::Unexamined => self.coverage.add_unexamined(Unexamined::new(&self.path, Reason::Limit, "Clamd")),
            },
            ClamdAnswer::Unavailable(message) => findings.clamd_silence = Some(message),
        }
        Vec::new()
    }

    fn judge_picture(&mut self, content: &[u8]) -> Result<(), Stop> {
        let pixels = self.pixels.take();
        let is_picture = nsfw::is_picture(content);
        let Some(pictures) = self.pictures.as_mut().filter(|_| is_picture || pixels.is_some()) else { return Ok(()) };
        let limits = PictureLimits { bytes: self.engine.limits.picture_bytes, pixels: self.engine.limits.picture_pixels };
        let time_left = self.budget.time_left();
        let (budget, mut held, mut short) = (&mut self.budget, 0u64, false);
        let mut reserve = |bytes: u64| match budget.try_hold(bytes) {
            Grant::Granted => {
                held = held.saturating_add(bytes);
                true
            }
            Grant::Short => {
                short = true;
                false
            }
            Grant::Beyond => false,
        };
        let outcomes = match pixels.filter(|_| !is_picture) {
            Some(pixels) => self.engine.classifier.judge_pixels(&pixels, content, &limits, time_left, &mut reserve),
            None => self.engine.classifier.judge(content, &limits, time_left, &mut reserve),
        };
        self.budget.release(held);
        if short {
            return Err(Stop);
        }
        for outcome in outcomes {
            let picture = PictureReport { path: self.path.clone(), outcome };
            if pictures.add(picture.clone()) {
                self.watcher.pictured(&picture);
            }
        }
        self.budget.check_time()
    }

    fn open(&mut self, content: &[u8], name: Option<&str>) -> Result<(), Stop> {
        let file_type = identify(content);
        if is_document(file_type, content) {
            self.facts.joins_its_parts();
        }
        let at_limit = self.depth >= self.engine.limits.depth;
        self.door = if at_limit { Door::Closed } else { Door::Open };
        match file_type {
            FileType::Container(_) if at_limit => self.door = Door::Refused,
            FileType::Container(format) => {
                unpack::open(format, content, name, self)?;
                match format {
                    // Readers of these look beyond the format's own bytes, and so does the search.
                    Format::Pdf | Format::Rtf | Format::Mail | Format::Tnef | Format::Cms => search::embedded(content, self)?,
                    // What follows the end was examined as an object.
                    Format::Zip
                    | Format::Gzip
                    | Format::Bzip2
                    | Format::Xz
                    | Format::Zstd
                    | Format::Lzma
                    | Format::Lzip
                    | Format::Tar
                    | Format::Ar
                    | Format::Cpio
                    | Format::Rpm
                    | Format::SevenZip
                    | Format::Lha
                    | Format::Arj
                    | Format::Compress
                    | Format::Lz4
                    | Format::Snappy
                    | Format::Szdd
                    | Format::Chm
                    | Format::Rar
                    | Format::Cab
                    | Format::Iso
                    | Format::Ole => {}
                }
            }
            FileType::Unsupported(detail) => {
                self.coverage.add_unexamined(Unexamined::new(&self.path, Reason::Unsupported, detail));
                search::embedded(content, self)?;
            }
            FileType::Leaf => {
                unpack::look(content, self)?;
                search::leaf(content, self)?;
            }
        }
        if self.door == Door::Refused {
            self.limit(Limit::Depth);
        }
        self.door = Door::Open;
        Ok(())
    }

    /// Examines one child of the object that is open.
    fn descend(&mut self, name: &str, content: &[u8]) -> Result<(), Stop> {
        let parent = self.path.len();
        if parent > 0 {
            self.path.push('/');
        }
        self.path.push_str(&shown(name));
        self.depth += 1;
        // Where it stops, the path stays: it tells where.
        self.examine(content, Some(name))?;
        self.depth -= 1;
        self.path.truncate(parent);
        Ok(())
    }

    /// Whether the child that is offered is not to be examined.
    fn refuses(&mut self) -> bool {
        if self.door == Door::Closed {
            self.door = Door::Refused;
        }
        self.door == Door::Refused
    }

    /// Decodes into memory, step by step under the budget. What was decoded stands in `buffer` also when it stops.
    fn decode(&mut self, content: &mut dyn Read, buffer: &mut Vec<u8>, held: &mut u64) -> Result<Decoded, Stop> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut crc = crc32fast::Hasher::new();
        let result = loop {
            match content.read(&mut scratch) {
                Ok(0) => break Ok(Ended::AtEnd),
                Ok(count) => {
                    let step = scratch.get(..count).unwrap_or_default();
                    crc.update(step);
                    if let Err(stop) = self.append(step, buffer, held) {
                        break Err(stop);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break Ok(Ended::InError),
            }
        };
        self.scratch = scratch;
        Ok(Decoded { ended: result?, bytes: buffer.len() as u64, crc32: crc.finalize() })
    }

    fn append(&mut self, step: &[u8], buffer: &mut Vec<u8>, held: &mut u64) -> Result<(), Stop> {
        self.budget.unpack(step.len() as u64)?;
        let needed = buffer.len() + step.len();
        if needed > buffer.capacity() {
            let room = buffer.capacity() + if buffer.capacity() < DOUBLES_BELOW { buffer.capacity() } else { buffer.capacity() / 4 };
            let more = room.max(needed) - buffer.len();
            let grown = (room.max(needed) - buffer.capacity()) as u64;
            self.budget.hold(grown)?;
            *held += grown;
            if buffer.try_reserve_exact(more).is_err() {
                return Err(self.budget.stop(Limit::Memory));
            }
        }
        buffer.extend_from_slice(step);
        Ok(())
    }

    /// Scans the start of what was decoded before a bound on size was passed: a name is worth more than a limit.
    fn scan_refused(&mut self, name: &str, buffer: &[u8]) {
        match self.budget.stopped() {
            Some(Stopped::Limit(Limit::Bytes | Limit::Ratio)) => {}
            Some(Stopped::Limit(Limit::Depth | Limit::Objects | Limit::Time | Limit::Memory | Limit::Matches) | Stopped::MemoryShort)
            | None => return,
        }
        self.path.push_str(if self.path.is_empty() { "" } else { "/" });
        self.path.push_str(&shown(name));
        let (start, here) = (buffer.get(..SCANNED_OF_REFUSED).unwrap_or(buffer), self.path.len());
        self.facts.enter();
        // The scan has stopped already; that it could stop again changes nothing.
        let _: Result<(), Stop> = self.detect(start);
        self.conclude(start, here);
    }

    fn limit(&mut self, limit: Limit) {
        self.coverage.add_unexamined(Unexamined::new(&self.path, Reason::Limit, limit.detail()));
    }

    fn report(self) -> Report {
        let report = |engine, detections| EngineReport { engine, outcome: EngineOutcome::Examined, detections };
        let mut engines = Vec::new();
        if let Some(findings) = self.virus {
            engines.push(report(EngineName::YaraX, findings.yara));
            engines.push(report(EngineName::Hashes, findings.hashes));
            if self.engine.clamdb.is_in_force() {
                engines.push(report(EngineName::ClamDb, findings.clamdb));
            }
            if self.engine.clamd.is_some() {
                let outcome = findings.clamd_silence.map_or(EngineOutcome::Examined, |message| EngineOutcome::Unavailable { message });
                engines.push(EngineReport { outcome, ..report(EngineName::Clamd, findings.clamd) });
            }
            if !findings.suspicious.is_empty() {
                engines.push(report(EngineName::FileSafety, findings.suspicious));
            }
        }
        Report { engines, coverage: self.coverage, pictures: self.pictures, notes: self.facts.into_notes() }
    }
}

impl Sink for Walk<'_, '_> {
    fn member(&mut self, member: &Member<'_>) {
        if self.allowed_at.is_some() || self.door == Door::Refused {
            return;
        }
        let Some((opened, findings)) = self.containers.last_mut().zip(self.virus.as_mut()) else { return };
        opened.members += 1;
        let container = Container { kind: opened.kind, size: opened.size, position: opened.members };
        let hits = self.engine.clamdb.judge_member(member, &container);
        if !hits.is_empty() {
            keep(&mut findings.clamdb, hits, EngineName::ClamDb, &member_path(&self.path, member.name), self.watcher);
        }
    }

    fn child(&mut self, name: &str, content: &mut dyn Read) -> Result<Decoded, Stop> {
        if self.refuses() {
            return Ok(NOTHING);
        }
        let (mut buffer, mut held) = (Vec::new(), 0);
        let decoded = self.decode(content, &mut buffer, &mut held).inspect_err(|_| self.scan_refused(name, &buffer))?;
        self.descend(name, &buffer)?;
        drop(buffer);
        self.budget.release(held);
        Ok(decoded)
    }

    fn pixels(&mut self, name: &str, pixels: &Pixels, content: &mut dyn Read) -> Result<Decoded, Stop> {
        self.pixels = Some(pixels.clone());
        let decoded = self.child(name, content);
        self.pixels = None;
        decoded
    }

    fn part(&mut self, name: &str, content: &[u8]) -> Result<Decoded, Stop> {
        if self.refuses() {
            return Ok(NOTHING);
        }
        self.budget.unpack(content.len() as u64).inspect_err(|_| self.scan_refused(name, content))?;
        self.descend(name, content)?;
        Ok(Decoded { bytes: content.len() as u64, crc32: crc32fast::hash(content), ended: Ended::AtEnd })
    }

    fn unexamined(&mut self, reason: Reason, detail: &str) {
        // At the depth limit it is told that something is there, not what.
        if self.refuses() {
            return;
        }
        self.coverage.add_unexamined(Unexamined::new(&self.path, reason, detail));
    }

    fn member_unexamined(&mut self, name: &str, reason: Reason, detail: &str) {
        if self.refuses() {
            return;
        }
        self.coverage.add_unexamined(Unexamined::new(member_path(&self.path, name), reason, detail));
    }

    fn note(&mut self, note: &str) {
        if self.door == Door::Open {
            self.coverage.add_note(&self.path, note);
        }
    }

    fn fact(&mut self, fact: Fact, detail: &str) {
        if self.door == Door::Open && self.virus.is_some() {
            self.facts.state(&self.path, fact, &shown(detail));
        }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        self.budget.entry()
    }

    fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        self.budget.hold(bytes)
    }

    fn release(&mut self, bytes: u64) {
        self.budget.release(bytes);
    }

    fn clock(&mut self) -> Result<(), Stop> {
        self.budget.check_time()
    }

    fn deadline(&self) -> Option<Deadline> {
        Some(self.budget.deadline())
    }

    fn room(&self) -> u64 {
        self.budget.room()
    }

    fn passwords(&self) -> Rc<[Password]> {
        self.passwords.clone()
    }
}

/// What a child is that was refused.
const NOTHING: Decoded = Decoded { bytes: 0, crc32: 0, ended: Ended::AtEnd };

fn keep(kept: &mut Vec<Detection>, hits: Vec<Hit>, engine: EngineName, path: &str, watcher: &dyn Watcher) {
    for Hit { signature, kind } in hits {
        let detection = Detection { signature, engine, kind, path: path.to_owned() };
        if kept.contains(&detection) {
            continue;
        }
        if kept.len() < MAX_DETECTIONS {
            watcher.detected(&detection);
            kept.push(detection);
        } else if let Some(milder) = kept.iter_mut().find(|known| known.kind > kind) {
            // The list is full: the worst stay.
            watcher.detected(&detection);
            *milder = detection;
        }
    }
}

fn member_path(container: &str, name: &str) -> String {
    if container.is_empty() { shown(name) } else { format!("{container}/{}", shown(name)) }
}

/// A foreign name as it may stand in a report: no control or direction characters, and not endless.
fn shown(name: &str) -> String {
    let mut shown = String::new();
    for character in name.chars().take(MAX_NAME) {
        let steers = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if character.is_control() || steers {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests;
