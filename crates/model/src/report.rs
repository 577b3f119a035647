//! What the engines say of one file. Reports carry facts; only [`crate::decide`] draws conclusions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A detector of malware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineName {
    YaraX,
    #[serde(rename = "clamdb")]
    ClamDb,
    Clamd,
    Hashes,
    /// The service itself: facts that together are suspicious, and what it could not examine.
    #[serde(rename = "filesafety")]
    FileSafety,
}

impl EngineName {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::YaraX => "yara-x",
            Self::ClamDb => "clamdb",
            Self::Clamd => "clamd",
            Self::Hashes => "hashes",
            Self::FileSafety => "filesafety",
        }
    }
}

/// How bad a finding is; the worst sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Malware,
    Pua,
    Suspicious,
    Unexamined,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::Pua => "pua",
            Self::Suspicious => "suspicious",
            Self::Unexamined => "unexamined",
        }
    }
}

/// One match of one signature in one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    pub signature: String,
    pub engine: EngineName,
    pub kind: Kind,
    /// Where in the tree: the names of the containers and the member joined by `/`; empty for the file itself.
    pub path: String,
}

/// Whether an engine answered. There is no third way: what is not `Examined` can never lead to clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineOutcome {
    /// It looked at every object it was shown. What it gave up on is in [`Coverage::unexamined`].
    Examined,
    /// No answer for a reason outside the file: a daemon out of reach, no memory, no disk. A retry may cure it.
    Unavailable { message: String },
}

/// One engine's word on the whole tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineReport {
    pub engine: EngineName,
    pub outcome: EngineOutcome,
    pub detections: Vec<Detection>,
}

/// Why content was not examined to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Encrypted,
    Limit,
    Broken,
    Unsupported,
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::Encrypted, Self::Limit, Self::Broken, Self::Unsupported];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Limit => "limit",
            Self::Broken => "broken",
            Self::Unsupported => "unsupported",
        }
    }

    /// The word between `Heuristics.` and the detail.
    fn family(self) -> &'static str {
        match self {
            Self::Encrypted => "Encrypted",
            Self::Limit => "Limits",
            Self::Broken => "Broken",
            Self::Unsupported => "Unsupported",
        }
    }
}

/// A part that was not examined to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unexamined {
    pub path: String,
    pub reason: Reason,
    /// `Heuristics.<Family>.<Detail>`.
    pub signature: String,
}

impl Unexamined {
    /// `detail` is the last word of the signature: `Zip`, `Time`, `SevenZip`.
    pub fn new(path: impl Into<String>, reason: Reason, detail: &str) -> Self {
        Self { path: path.into(), reason, signature: format!("Heuristics.{}.{detail}", reason.family()) }
    }
}

/// Something worth knowing about a part, which decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub path: String,
    pub note: String,
}

/// How much of the file was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Objects examined: the file, members, decoded streams.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The first parts not examined, and always at least one for each reason that occurred.
    pub unexamined: Vec<Unexamined>,
    /// The first notes.
    pub notes: Vec<Note>,
    /// The engines that looked at every object they were shown. Known of a judgement, not of a report.
    #[serde(default)]
    pub answered: Vec<EngineName>,
}

impl Coverage {
    /// As many parts, and as many notes, are kept.
    pub const MAX_LISTED: usize = 20;

    pub fn add_unexamined(&mut self, part: Unexamined) {
        let news = !self.unexamined.iter().any(|known| known.reason == part.reason);
        if (news || self.unexamined.len() < Self::MAX_LISTED) && !self.unexamined.contains(&part) {
            self.unexamined.push(part);
        }
    }

    pub fn add_note(&mut self, path: impl Into<String>, note: impl Into<String>) {
        let note = Note { path: path.into(), note: note.into() };
        if self.notes.len() < Self::MAX_LISTED && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Probabilities of the five classes, in 0..=1, by the classifier's preprocessing of the whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    pub drawing: f32,
    pub hentai: f32,
    pub neutral: f32,
    pub porn: f32,
    pub sexy: f32,
}

impl Scores {
    /// The highest of the three unsafe classes.
    pub fn worst(&self) -> f32 {
        self.hentai.max(self.porn).max(self.sexy)
    }
}

/// One further look at a picture: a tile, a frame, another reduction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// What was looked at: `whole`, `frame 12`.
    pub name: String,
    pub scores: Scores,
}

/// Why a picture could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureFault {
    TooLarge,
    Broken,
    Unsupported,
}

impl PictureFault {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Broken => "broken",
            Self::Unsupported => "unsupported",
        }
    }
}

/// What the classifier said of one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureOutcome {
    /// `scores` are of the view that counted; `views` are all that were taken when there was more than one.
    Judged {
        scores: Scores,
        views: Vec<View>,
    },
    Unjudged {
        fault: PictureFault,
    },
}

/// One picture of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureReport {
    pub path: String,
    pub outcome: PictureOutcome,
}

/// The pictures of the tree, of which only those that can count are kept: the highest of each unsafe class, and one of each fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    pub judged: u64,
    pub unjudged: u64,
    kept: Vec<PictureReport>,
}

impl Pictures {
    /// Whether it can count, and so was kept.
    pub fn add(&mut self, picture: PictureReport) -> bool {
        match &picture.outcome {
            PictureOutcome::Judged { .. } => self.judged += 1,
            PictureOutcome::Unjudged { .. } => self.unjudged += 1,
        }
        self.kept.push(picture);
        self.forget_what_cannot_count()
    }

    pub fn kept(&self) -> &[PictureReport] {
        &self.kept
    }

    /// Whether the last one stays.
    fn forget_what_cannot_count(&mut self) -> bool {
        let mut counts = vec![false; self.kept.len()];
        for class in [|s: &Scores| s.porn, |s: &Scores| s.hentai, |s: &Scores| s.sexy] {
            let highest = |picture: &PictureReport| match &picture.outcome {
                PictureOutcome::Judged { scores, views } => {
                    Some(views.iter().map(|view| class(&view.scores)).fold(class(scores), f32::max))
                }
                PictureOutcome::Unjudged { .. } => None,
            };
            let mut best: Option<(usize, f32)> = None;
            for (index, score) in self.kept.iter().enumerate().filter_map(|(index, picture)| Some((index, highest(picture)?))) {
                if best.is_none_or(|(_, top)| score > top) {
                    best = Some((index, score));
                }
            }
            if let Some((index, _)) = best {
                counts[index] = true;
            }
        }
        for fault in [PictureFault::TooLarge, PictureFault::Broken, PictureFault::Unsupported] {
            let first = self.kept.iter().position(|picture| matches!(picture.outcome, PictureOutcome::Unjudged { fault: f } if f == fault));
            if let Some(index) = first {
                counts[index] = true;
            }
        }
        let last = counts.last().copied().unwrap_or_default();
        let mut counts = counts.into_iter();
        self.kept.retain(|_| counts.next().unwrap_or(false));
        last
    }
}

/// What was found in a file before its scan ended without a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    detections: Vec<Detection>,
    pictures: Pictures,
}

impl Seen {
    /// More detections are not kept; the verdict shows twenty.
    const MAX_DETECTIONS: usize = 100;

    pub fn add_detection(&mut self, detection: Detection) {
        if self.detections.contains(&detection) {
            return;
        }
        if self.detections.len() < Self::MAX_DETECTIONS {
            self.detections.push(detection);
        } else if let Some(milder) = self.detections.iter_mut().find(|known| known.kind > detection.kind) {
            *milder = detection;
        }
    }

    pub fn add_picture(&mut self, picture: PictureReport) {
        self.pictures.add(picture);
    }

    /// What another try at the same file found counts as well.
    pub fn join(&mut self, other: Self) {
        other.detections.into_iter().for_each(|detection| self.add_detection(detection));
        other.pictures.kept.into_iter().for_each(|picture| self.add_picture(picture));
    }
}

/// All that the engines say of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub engines: Vec<EngineReport>,
    pub coverage: Coverage,
    /// `None` when pictures were not looked for, or the classifier gave no answer.
    pub pictures: Option<Pictures>,
    /// The first facts that are no detection by themselves: that a document runs code when it opens, say.
    #[serde(default)]
    pub notes: Vec<Note>,
}

impl Report {
    /// Of a file whose scan ended without an outcome, for a `reason` that lies in the file: the file as a whole was not examined, and
    /// what was `seen` before stands.
    pub fn cut_short(required: &[EngineName], mut seen: Seen, reason: Reason, detail: &str) -> Self {
        let mut names = required.to_vec();
        let others = seen.detections.iter().map(|detection| detection.engine).filter(|engine| !required.contains(engine));
        names.extend(others.collect::<BTreeSet<_>>());
        let report_of = |engine| {
            let detections = seen.detections.extract_if(.., |detection| detection.engine == engine).collect();
            EngineReport { engine, outcome: EngineOutcome::Examined, detections }
        };
        let engines = names.into_iter().map(report_of).collect();
        let mut coverage = Coverage::default();
        coverage.add_unexamined(Unexamined::new("", reason, detail));
        Self { engines, coverage, pictures: Some(seen.pictures), notes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(path: &str, porn: f32, hentai: f32) -> PictureReport {
        let scores = Scores { drawing: 0.0, hentai, neutral: 0.0, porn, sexy: 0.0 };
        PictureReport { path: path.into(), outcome: PictureOutcome::Judged { scores, views: Vec::new() } }
    }

    fn fault(path: &str, fault: PictureFault) -> PictureReport {
        PictureReport { path: path.into(), outcome: PictureOutcome::Unjudged { fault } }
    }

    #[test]
    fn pictures_keep_the_highest_of_each_class_and_one_of_each_fault() {
        let mut pictures = Pictures::default();
        for (report, stays) in [
            (picture("a", 0.1, 0.9), true),
            (picture("b", 0.8, 0.2), true),
            (fault("c", PictureFault::Broken), true),
            (picture("d", 0.3, 0.3), false),
            (fault("e", PictureFault::Broken), false),
            (fault("f", PictureFault::TooLarge), true),
        ] {
            assert_eq!(pictures.add(report), stays);
        }
        let kept: Vec<_> = pictures.kept().iter().map(|picture| picture.path.as_str()).collect();
        assert_eq!(kept, ["a", "b", "c", "f"]);
        assert_eq!((pictures.judged, pictures.unjudged), (3, 3));
    }

    #[test]
    fn what_was_seen_of_a_scan_without_outcome_stands() {
        let detection = |signature: &str, engine, kind| Detection { signature: signature.into(), engine, kind, path: String::new() };
        let (mut first, mut second) = (Seen::default(), Seen::default());
        for index in 0..200 {
            first.add_detection(detection(&format!("Mild{index}"), EngineName::FileSafety, Kind::Suspicious));
        }
        first.add_picture(picture("a", 0.9, 0.1));
        second.add_detection(detection("Bad", EngineName::YaraX, Kind::Malware));
        second.add_detection(detection("Mild0", EngineName::FileSafety, Kind::Suspicious));
        second.add_picture(picture("b", 0.2, 0.8));
        first.join(second);
        let report = Report::cut_short(&[EngineName::YaraX, EngineName::Hashes], first, Reason::Limit, "Time");
        let engines: Vec<_> = report.engines.iter().map(|engine| (engine.engine, engine.detections.len())).collect();
        assert_eq!(engines, [(EngineName::YaraX, 1), (EngineName::Hashes, 0), (EngineName::FileSafety, 99)]);
        assert_eq!(report.pictures.map(|pictures| pictures.kept().len()), Some(2));
        assert_eq!(report.coverage.unexamined, [Unexamined::new("", Reason::Limit, "Time")]);
    }

    #[test]
    fn coverage_is_bounded_but_keeps_one_of_each_reason() {
        let mut coverage = Coverage::default();
        for index in 0..100 {
            coverage.add_unexamined(Unexamined::new(index.to_string(), Reason::Broken, "Zip"));
        }
        coverage.add_unexamined(Unexamined::new("late", Reason::Encrypted, "Zip"));
        assert_eq!(coverage.unexamined.len(), Coverage::MAX_LISTED + 1);
        assert_eq!(coverage.unexamined.last().map(|part| part.signature.as_str()), Some("Heuristics.Encrypted.Zip"));
    }
}
