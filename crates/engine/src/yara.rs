//! YARA-X with the rule pack and the rules of the operator.
//!
//! Which rules report, and what, is written in their metadata: `kind` is `malware`, `pua`, `suspicious` or `note` (no detection, so for
//! a rule with the tag `note`), `fact` is a [`Fact`] that holds of what matches, `signature` is the name to report, without it the
//! rule's identifier. A rule with neither `kind` nor `fact` reports malware. Private rules never report.
//!
//! Format and semantics: <https://virustotal.github.io/yara-x/docs/writing_rules/anatomy-of-a-rule/>.

mod check;
mod explain;
pub(crate) mod folder;
mod pack;

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use filesafety_mapped::Sealing;
use filesafety_model::Kind;
use sha2::{Digest, Sha256};
use yara_x::{Compiler, MetaValue, SourceCode};

use crate::{LoadError, clamdb::RuleFile, facts::Fact};
pub(crate) use check::check;
pub(crate) use explain::explain;
pub use explain::{RuleMatch, StringMatch};

/// One signature that matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) kind: Kind,
    pub(crate) signature: String,
}

/// What the rules say of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// The worst first, each once.
    pub(crate) hits: Vec<Hit>,
    /// In the order of the rules.
    pub(crate) statements: Vec<Statement>,
}

/// What a match says without being a detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Fact(Fact, String),
    Note(String),
}

/// Matching ended at a bound, be it time or the number of matches, or failed in itself: the object is not examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;

/// The compiled rules; shared by the scanners of all threads.
pub(crate) struct Rules {
    compiled: yara_x::Rules,
    fingerprint: [u8; 32],
}

impl Rules {
    /// Compiles the pack, every `*.yar` and `*.yara` that stands in `dir` itself, and those that stood in databases, each in a
    /// namespace of its own. `include` is off. The first rule that does not compile refuses all, with its file and line.
    pub(crate) fn load_with(dir: Option<&Path>, of_databases: &[RuleFile]) -> Result<Self, LoadError> {
        let mut sources = Sources::new();
        for (name, text) in pack::SOURCES {
            sources.add_of_pack(name, text)?;
        }
        let paths = dir.map_or_else(|| Ok(Vec::new()), |dir| folder::files(dir, &["yar", "yara"]))?;
        for path in paths {
            let text = fs::read(&path).map_err(|cause| LoadError::Read { path: path.clone(), cause })?;
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            sources.add_of_operator(&format!("{OPERATOR}{name}"), &path, &text)?;
        }
        for file in of_databases {
            sources.add_of_operator(&format!("database/{}", file.path.display()), &file.path, &file.text)?;
        }
        let rules = sources.compile();
        for rule in rules.compiled.iter() {
            if let Some(word) = text_meta(&rule, "kind").filter(|word| Report::parse(word).is_none()) {
                tracing::warn!(rule = rule.identifier(), source = rule.namespace(), kind = word, "unknown kind; it reports malware");
            }
            for word in texts_meta(&rule, "fact").filter(|word| Fact::parse(word).is_none()) {
                tracing::warn!(rule = rule.identifier(), source = rule.namespace(), fact = word, "unknown fact; it does not count");
            }
        }
        Ok(rules)
    }

    /// Without databases.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self, LoadError> {
        Self::load_with(dir, &[])
    }

    /// In a form that [`Rules::of_bytes`] reads, and only in a process of this same program: it holds machine code.
    pub(crate) fn write_to(&self, file: &mut Sealing) -> Result<(), LoadError> {
        self.compiled.serialize_into(file).map_err(|error| LoadError::Rules { message: error.to_string() })
    }

    /// What [`Rules::write_to`] wrote.
    pub(crate) fn of_bytes(bytes: &[u8], fingerprint: [u8; 32]) -> Result<Self, LoadError> {
        let compiled = yara_x::Rules::deserialize(bytes).map_err(|error| LoadError::Rules { message: error.to_string() })?;
        Ok(Self { compiled, fingerprint })
    }

    /// A scanner for one thread. Making one costs some 0.3 ms, so keep it.
    pub(crate) fn scanner(&self) -> Scanner<'_> {
        Scanner { rules: self, scanner: new_scanner(&self.compiled, MAX_MATCHES) }
    }

    /// Rules loaded.
    pub(crate) fn count(&self) -> usize {
        self.compiled.iter().len()
    }

    /// Rules by what they report, for each file of the operator's; `None` is the pack.
    pub(crate) fn counts_by_file(&self) -> BTreeMap<Option<String>, BTreeMap<&'static str, usize>> {
        let mut counts: BTreeMap<Option<String>, BTreeMap<&'static str, usize>> = BTreeMap::new();
        for rule in self.compiled.iter().filter(|rule| !rule.is_private()) {
            let file = rule.namespace().strip_prefix(OPERATOR).map(str::to_owned);
            let kind = match Report::of(&rule) {
                Report::Detection(kind) => kind.as_str(),
                Report::Nothing if facts(&rule).next().is_some() => "fact",
                Report::Nothing => "note",
            };
            *counts.entry(file).or_default().entry(kind).or_default() += 1;
        }
        counts
    }

    /// Changes with whatever can change a result: the sources and the version of the matcher.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// What one thread matches with.
pub(crate) struct Scanner<'r> {
    rules: &'r Rules,
    scanner: yara_x::Scanner<'r>,
}

impl Scanner<'_> {
    /// What the rules that match say.
    ///
    /// The clock of the matcher ticks once a second: it never gives up before `time_left`, and later by up to 2 s and by the time
    /// in which nothing resembles a pattern (a plain search, gigabytes a second). With no time left it gives up at once.
    pub(crate) fn scan(&mut self, object: &[u8], time_left: Duration) -> Result<Matched, GaveUp> {
        self.scan_within(object, time_left, MAX_MATCHES)
    }

    fn scan_within(&mut self, object: &[u8], time_left: Duration, max_matches: usize) -> Result<Matched, GaveUp> {
        if time_left.is_zero() {
            return Err(GaveUp);
        }
        // The matcher rounds up to seconds and counts from the last tick, which may be almost a second ago.
        self.scanner.set_timeout(time_left.saturating_add(Duration::from_secs(1)));
        // Modules parse executables of strangers; a fault in one is a fault of this object alone.
        let matched = catch_unwind(AssertUnwindSafe(|| match_object(&mut self.scanner, object, max_matches)));
        match matched {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(%error, bytes = object.len(), "matching gave up");
                self.scanner = new_scanner(&self.rules.compiled, max_matches);
                Err(GaveUp)
            }
            Err(_) => {
                tracing::error!(bytes = object.len(), "matching panicked");
                self.scanner = new_scanner(&self.rules.compiled, max_matches);
                Err(GaveUp)
            }
        }
    }
}

/// At as many matches of one pattern in one object matching gives up. Only patterns that a rule counts or locates come near: of all
/// others the first match is enough. A match takes 40 bytes.
const MAX_MATCHES: usize = 250_000;

fn new_scanner(rules: &yara_x::Rules, max_matches: usize) -> yara_x::Scanner<'_> {
    let mut scanner = yara_x::Scanner::new(rules);
    scanner.fast_scan(true).max_matches_per_pattern(max_matches);
    scanner
}

fn match_object(
    scanner: &mut yara_x::Scanner<'_>,
    object: &[u8],
    max_matches: usize,
) -> Result<Result<Matched, GaveUp>, yara_x::ScanError> {
    let results = scanner.scan(object)?;
    let mut hits: Vec<Hit> = results.matching_rules().filter_map(|rule| hit(&rule)).collect();
    let statements = results.matching_rules().flat_map(|rule| statements(&rule)).collect();
    hits.sort();
    hits.dedup();
    // What was found stands, whatever was cut; a clean answer does not.
    if hits.is_empty() && was_cut(&results, object.len(), max_matches) {
        return Ok(Err(GaveUp));
    }
    Ok(Ok(Matched { hits, statements }))
}

/// Whether a pattern may have lost matches: the matcher drops those past the bound and says nothing.
fn was_cut(results: &yara_x::ScanResults<'_, '_>, object_len: usize, max_matches: usize) -> bool {
    // No two matches of a pattern begin at the same byte.
    if object_len < max_matches {
        return false;
    }
    let matching = results.matching_rules().include_private(true);
    // yara-x 1.22 miscounts private rules here: where overflow is checked, as in a debug build, it panics, and the caller gives up.
    let others = results.non_matching_rules().include_private(true);
    matching.chain(others).any(|rule| rule.patterns().include_private(true).any(|pattern| pattern.matches().len() >= max_matches))
}

/// What a rule reports when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Detection(Kind),
    Nothing,
}

impl Report {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "malware" => Some(Self::Detection(Kind::Malware)),
            "pua" => Some(Self::Detection(Kind::Pua)),
            "suspicious" => Some(Self::Detection(Kind::Suspicious)),
            "note" => Some(Self::Nothing),
            _ => None,
        }
    }

    fn of(rule: &yara_x::Rule<'_, '_>) -> Self {
        if rule.tags().any(|tag| tag.identifier() == "note") {
            return Self::Nothing;
        }
        match text_meta(rule, "kind") {
            Some(word) => Self::parse(word).unwrap_or(Self::Detection(Kind::Malware)),
            None if facts(rule).next().is_some() => Self::Nothing,
            None => Self::Detection(Kind::Malware),
        }
    }
}

fn hit(rule: &yara_x::Rule<'_, '_>) -> Option<Hit> {
    match Report::of(rule) {
        Report::Detection(kind) => Some(Hit { kind, signature: signature(rule).to_owned() }),
        Report::Nothing => None,
    }
}

/// The facts of a rule, or, where it has none and is no detection, that it matched.
fn statements(rule: &yara_x::Rule<'_, '_>) -> Vec<Statement> {
    let description = text_meta(rule, "description");
    let stated: Vec<_> = facts(rule).map(|fact| Statement::Fact(fact, description.unwrap_or(signature(rule)).to_owned())).collect();
    match Report::of(rule) {
        Report::Nothing if stated.is_empty() => {
            vec![Statement::Note(description.map_or(signature(rule).to_owned(), |text| format!("{}: {text}", signature(rule))))]
        }
        Report::Nothing | Report::Detection(_) => stated,
    }
}

/// The name that is reported.
fn signature<'r>(rule: &yara_x::Rule<'_, 'r>) -> &'r str {
    text_meta(rule, "signature").filter(|name| !name.is_empty()).unwrap_or(rule.identifier())
}

fn facts(rule: &yara_x::Rule<'_, '_>) -> impl Iterator<Item = Fact> {
    texts_meta(rule, "fact").filter_map(Fact::parse)
}

fn text_meta<'r>(rule: &yara_x::Rule<'_, 'r>, name: &str) -> Option<&'r str> {
    texts_meta(rule, name).next()
}

fn texts_meta<'r>(rule: &yara_x::Rule<'_, 'r>, name: &str) -> impl Iterator<Item = &'r str> {
    rule.metadata().filter_map(move |(key, value)| match value {
        MetaValue::String(text) if key == name => Some(text),
        _ => None,
    })
}

/// Begins the namespaces of the operator's files.
const OPERATOR: &str = "operator/";

/// Rule sources on their way into the compiler.
struct Sources<'a> {
    compiler: Compiler<'a>,
    digest: Sha256,
}

impl Sources<'_> {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.enable_includes(false);
        Self { compiler, digest: Sha256::new_with_prefix(yara_x::VERSION) }
    }

    fn add_of_pack(&mut self, name: &str, text: &str) -> Result<(), LoadError> {
        let namespace = format!("filesafety/{name}");
        self.add(&namespace, text).map_err(|error| LoadError::Rules { message: format!("{name}: {error}") })
    }

    fn add_of_operator(&mut self, namespace: &str, path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
        let invalid = |line, reason| LoadError::Invalid { path: path.to_owned(), line, reason };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = line_of(bytes, error.valid_up_to());
            invalid(line, "not UTF-8".to_owned())
        })?;
        let errors_before = self.compiler.warnings().len();
        self.add(namespace, text).map_err(|error| {
            let start = error.labels().next().map_or(0, |label| label.span().start());
            invalid(line_of(bytes, start), error.title().to_owned())
        })?;
        for warning in self.compiler.warnings().iter().skip(errors_before) {
            tracing::warn!(file = %path.display(), "{}", warning.title());
        }
        Ok(())
    }

    fn add(&mut self, namespace: &str, text: &str) -> Result<(), yara_x::errors::CompileError> {
        for part in [namespace, text] {
            self.digest.update((part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
        self.compiler.new_namespace(namespace);
        self.compiler.add_source(SourceCode::from(text).with_origin(namespace)).map(|_| ())
    }

    fn compile(self) -> Rules {
        Rules { compiled: self.compiler.build(), fingerprint: self.digest.finalize().into() }
    }
}

/// The line, from 1, in which the byte at `offset` stands.
fn line_of(text: &[u8], offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    memchr::memchr_iter(b'\n', before).count() + 1
}

#[cfg(test)]
mod tests;
