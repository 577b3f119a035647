//! The same signatures and files to a real `clamscan --allmatch` and to us: the sets of names must be equal, but for what is explained.
//!
//! A case is one signature, asked about every file of its run. The normal suite runs some hundred cases of each sort;
//! `FILESAFETY_FULL=1` runs thousands.

mod compare;
mod containers;
mod hashes;
mod members;
mod patterns;
mod types;
mod views;

use std::{collections::BTreeSet, process::Command};

use filesafety_model::{EngineName, ScanTypes};

use super::*;
use crate::{Config, Engine, Input, Unlimited};

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const SEEDS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0x2545_f491_4f6c_dd1d];

/// Signature files by name, and what they are asked about.
struct Cases {
    files: BTreeMap<String, Vec<u8>>,
    signatures: Vec<(&'static str, String)>,
    /// Lines that are not asked about themselves.
    beside: usize,
    options: &'static [&'static str],
}

impl Cases {
    fn new(files: BTreeMap<String, Vec<u8>>, signatures: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { files, signatures: signatures.into_iter().collect(), beside: 0, options: &[] }
    }

    fn count(&self) -> usize {
        self.signatures.iter().map(|(_, text)| text.lines().count()).sum::<usize>() - self.beside
    }

    fn line_of(&self, name: &str) -> &str {
        let lines = self.signatures.iter().flat_map(|(_, text)| text.lines());
        lines.into_iter().find(|line| line.split([':', ';', '=']).any(|field| field == name)).unwrap_or_default()
    }
}

/// So many cases of a sort, by how thorough the run is.
fn count(full: usize) -> usize {
    if std::env::var_os("FILESAFETY_FULL").is_some_and(|value| value == "1") { full } else { full / 10 }
}

type Answers = BTreeMap<String, BTreeSet<String>>;

/// `None` where there is no clamscan.
fn theirs(cases: &Cases) -> Option<Answers> {
    let dir = tempfile::tempdir().unwrap();
    let (signatures, files) = (dir.path().join("db"), dir.path().join("files"));
    fs::create_dir(&signatures).unwrap();
    fs::create_dir(&files).unwrap();
    for (name, text) in &cases.signatures {
        fs::write(signatures.join(name), text).unwrap();
    }
    for (name, content) in &cases.files {
        fs::write(files.join(name), content).unwrap();
    }
    let output = Command::new("clamscan")
        .args(["--allmatch", "--no-summary", "--infected", "-r"])
        .args(cases.options)
        .arg("-d")
        .arg(&signatures)
        .arg(&files)
        .output()
        .ok()?;
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_ne!(output.status.code(), Some(2), "clamscan refuses the signatures: {complaint}");
    let mut answers: Answers = cases.files.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    for line in said.lines().filter_map(|line| line.strip_suffix(" FOUND")) {
        let (path, signature) = line.split_once(": ").unwrap();
        let name = path.rsplit_once('/').unwrap().1;
        answers.get_mut(name).unwrap().insert(signature.replace(UNOFFICIAL, ""));
    }
    Some(answers)
}

/// Of the objects themselves, whatever is inside.
fn ours(cases: &Cases) -> Answers {
    let files: Vec<_> = cases.signatures.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let database = database(&files);
    assert_eq!((database.counts().invalid, database.counts().unsupported.len()), (0, 0), "{:?}", database.counts());
    cases.files.iter().map(|(name, content)| (name.clone(), signatures(&database, content).into_iter().collect())).collect()
}

/// Of the objects and all that is inside them.
fn ours_opened(cases: &Cases) -> Answers {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in &cases.signatures {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let engine = Engine::load(Config { rules_dir: Some(dir.path().to_owned()), clamdb_pua: true, ..Config::default() }).unwrap();
    let mut worker = engine.worker();
    let mut answers = Answers::new();
    for (name, content) in &cases.files {
        let report = worker.scan(&Input { content, name: None, types: ScanTypes::VIRUS, passwords: &[] }, &Unlimited).unwrap();
        let of_clamdb = report.engines.iter().filter(|engine| engine.engine == EngineName::ClamDb);
        let names = of_clamdb.flat_map(|engine| &engine.detections).map(|detection| detection.signature.replace(UNOFFICIAL, ""));
        answers.insert(name.clone(), names.collect());
    }
    answers
}

/// Why the answers of one case differ and may.
type Explain = fn(file: &str, line: &str, ours_alone: bool) -> Option<&'static str>;

/// Compares, and gives the number of cases and of equal matches; `None` where there is no clamscan.
fn compare(runs: Vec<Cases>, answer: fn(&Cases) -> Answers, explain: Explain) -> Option<(usize, usize)> {
    let (mut asked, mut equal, mut explained, mut different) = (0, 0, BTreeMap::<&str, usize>::new(), Vec::new());
    for cases in runs {
        let Some(theirs) = theirs(&cases) else {
            eprintln!("skipped: there is no clamscan on this machine");
            return None;
        };
        let ours = answer(&cases);
        asked += cases.count();
        for name in cases.files.keys() {
            equal += ours[name].intersection(&theirs[name]).count();
            for signature in ours[name].symmetric_difference(&theirs[name]) {
                let line = cases.line_of(signature);
                let ours_alone = ours[name].contains(signature);
                match explain(name, line, ours_alone) {
                    Some(reason) => *explained.entry(reason).or_default() += 1,
                    None => different.push(format!("{name} {}: {line}", if ours_alone { "ours alone" } else { "theirs alone" })),
                }
            }
        }
    }
    eprintln!("{asked} signatures, {equal} equal matches, {} differences; explained: {explained:?}", different.len());
    different.truncate(60);
    assert!(different.is_empty(), "{} of {equal}:\n{}", different.len(), different.join("\n"));
    Some((asked, equal))
}

fn unexplained(_: &str, _: &str, _: bool) -> Option<&'static str> {
    None
}

fn assert_telling(counts: Option<(usize, usize)>) {
    if let Some((asked, equal)) = counts {
        assert!(equal * 4 > asked, "too little matched to compare");
    }
}

#[test]
fn patterns_and_expressions_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| patterns::cases(seed, count(2_600))).into(), ours, unexplained));
}

#[test]
fn digests_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| hashes::cases(seed, count(400))).into(), ours, hashes::explain));
}

#[test]
fn comparisons_and_macros_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| compare::cases(seed, count(1_000))).into(), ours, compare::explain));
}

#[test]
fn types_and_executables_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| types::cases(seed, count(800))).into(), ours, types::explain));
}

#[test]
fn containers_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| containers::cases(seed, count(600))).into(), ours_opened, containers::explain));
}

#[test]
fn members_of_other_containers_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| members::cases(seed, count(300))).into(), ours_opened, members::explain));
}

#[test]
fn texts_and_pages_match_as_clamscan_has_them() {
    assert_telling(compare(SEEDS.map(|seed| views::cases(seed, count(800))).into(), ours, views::explain));
}
