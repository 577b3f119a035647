//! From reports to a verdict.

use serde::{Deserialize, Serialize};

use crate::{
    Coverage, Detection, EngineName, EngineOutcome, EngineReport, Kind, Note, NsfwPolicy, PictureFault, PictureOutcome, Pictures, Policy,
    Reason, Report, ScanTypes, Scores, Unexamined, UnexaminedPolicy, View,
};

/// The answer to "may I keep this file?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Clean,
    Infected,
    Nsfw,
    Mixed,
    Failed,
}

impl Verdict {
    pub const ALL: [Self; 5] = [Self::Clean, Self::Infected, Self::Nsfw, Self::Mixed, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Infected => "infected",
            Self::Nsfw => "nsfw",
            Self::Mixed => "mixed",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == text).ok_or(())
    }
}

/// What makes a picture unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    ExplicitNudity,
    ExplicitDrawing,
    Suggestive,
    /// It could not be judged, and the policy holds that against it.
    Unjudged,
}

impl Category {
    const SCORED: [Self; 3] = [Self::ExplicitNudity, Self::ExplicitDrawing, Self::Suggestive];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExplicitNudity => "explicit_nudity",
            Self::ExplicitDrawing => "explicit_drawing",
            Self::Suggestive => "suggestive",
            Self::Unjudged => "unjudged",
        }
    }

    fn score(self, scores: &Scores) -> f32 {
        match self {
            Self::ExplicitNudity => scores.porn,
            Self::ExplicitDrawing => scores.hentai,
            Self::Suggestive => scores.sexy,
            Self::Unjudged => 0.0,
        }
    }
}

/// Why a scan has no judgement of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    EngineUnavailable,
    FetchFailed,
    FetchRefused,
    FetchTooLarge,
    StorageLost,
    UploadExpired,
}

impl FailureCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EngineUnavailable => "engine_unavailable",
            Self::FetchFailed => "fetch_failed",
            Self::FetchRefused => "fetch_refused",
            Self::FetchTooLarge => "fetch_too_large",
            Self::StorageLost => "storage_lost",
            Self::UploadExpired => "upload_expired",
        }
    }

    /// Whether sending the same file again may end otherwise.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::EngineUnavailable | Self::FetchFailed | Self::StorageLost => true,
            Self::FetchRefused | Self::FetchTooLarge | Self::UploadExpired => false,
        }
    }
}

/// Why the verdict is `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    /// A sentence for a person.
    pub message: String,
}

/// The finding that stands for the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primary {
    pub kind: Kind,
    pub engine: EngineName,
    pub signature: String,
    pub path: String,
    /// Set exactly when `kind` is `unexamined`.
    pub reason: Option<Reason>,
}

/// What was found of malware.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirusFinding {
    /// `None` means clean.
    pub primary: Option<Primary>,
    /// At most [`VirusFinding::MAX_DETECTIONS`], the worst first.
    pub detections: Vec<Detection>,
    /// What speaks against the file without being a detection; it has no part in the verdict. At most [`VirusFinding::MAX_NOTES`].
    #[serde(default)]
    pub notes: Vec<Note>,
}

impl VirusFinding {
    pub const MAX_DETECTIONS: usize = 20;
    pub const MAX_NOTES: usize = 20;
}

/// What was found of unsafe imagery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NsfwFinding {
    /// `None`: it could not be told.
    pub clean: Option<bool>,
    /// Whether a picture was judged.
    pub applied: bool,
    pub categories: Vec<Category>,
    /// The highest unsafe score, in 0..=1.
    pub confidence: f32,
    /// Of the picture that counted.
    pub scores: Option<Scores>,
    pub views: Vec<View>,
    /// Why a picture was not judged.
    pub reason: Option<PictureFault>,
    /// Where the picture that counted stands in the tree.
    pub path: Option<String>,
}

impl NsfwFinding {
    pub(crate) fn is_finding(&self) -> bool {
        !self.categories.is_empty()
    }
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    pub verdict: Verdict,
    /// `None`: not asked for, or not judged.
    pub virus: Option<VirusFinding>,
    /// `None`: not asked for, or not judged.
    pub nsfw: Option<NsfwFinding>,
    pub coverage: Coverage,
    /// Set exactly when the verdict is `failed`.
    pub failure: Option<Failure>,
}

impl Judgement {
    /// The verdict of a scan of which no content was judged.
    pub fn failed(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Failed,
            virus: None,
            nsfw: None,
            coverage: Coverage::default(),
            failure: Some(Failure { code, message: message.into() }),
        }
    }

    /// Whether the whole content was examined.
    pub fn is_complete(&self) -> bool {
        self.coverage.unexamined.is_empty() && self.failure.is_none()
    }
}

/// What was asked of the engines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub types: ScanTypes,
    /// The engines that must answer when malware was asked for.
    pub required: Vec<EngineName>,
}

/// The verdict on what the engines reported, in this order: a detection; a required engine without an answer; content not examined
/// (unless the policy allows its reason); an unsafe picture; clean.
pub fn decide(policy: &Policy, ask: &Ask, report: &Report) -> Judgement {
    let detections = if ask.types.virus() { sorted_detections(report) } else { Vec::new() };
    let unexamined = unexamined_that_count(policy, &report.coverage);
    let nsfw = judge_nsfw(policy, ask, report, !unexamined.is_empty());

    let found_virus = !detections.is_empty();
    let silent = silent_engine(ask, report).filter(|_| !found_virus);
    let not_examined = ask.types.virus() && silent.is_none() && !unexamined.is_empty();
    let found_nsfw = nsfw.as_ref().is_some_and(NsfwFinding::is_finding);
    let verdict = match (found_virus || not_examined, &silent, found_nsfw) {
        (true, _, true) => Verdict::Mixed,
        (true, _, false) => Verdict::Infected,
        (false, Some(_), _) => Verdict::Failed,
        (false, None, true) => Verdict::Nsfw,
        (false, None, false) => Verdict::Clean,
    };
    let judged_virus = ask.types.virus() && silent.as_ref().is_none_or(|silence| !silence.virus);
    Judgement {
        verdict,
        virus: judged_virus.then(|| virus_finding(detections, unexamined, &report.notes)),
        nsfw,
        coverage: Coverage { answered: answered(report), ..report.coverage.clone() },
        failure: silent.map(|silence| Failure { code: FailureCode::EngineUnavailable, message: silence.message }),
    }
}

fn answered(report: &Report) -> Vec<EngineName> {
    let has_answered = |engine: &EngineReport| match &engine.outcome {
        EngineOutcome::Examined => true,
        EngineOutcome::Unavailable { .. } => false,
    };
    report.engines.iter().filter(|engine| has_answered(engine)).map(|engine| engine.engine).collect()
}

/// A required engine that gave no answer.
struct Silence {
    /// Whether the malware half is the one without an answer.
    virus: bool,
    message: String,
}

fn silent_engine(ask: &Ask, report: &Report) -> Option<Silence> {
    let required = if ask.types.virus() { ask.required.as_slice() } else { &[] };
    for &name in required {
        let message = match report.engines.iter().find(|engine| engine.engine == name).map(|engine| &engine.outcome) {
            Some(EngineOutcome::Examined) => continue,
            Some(EngineOutcome::Unavailable { message }) => message.clone(),
            None => "it gave no report".to_owned(),
        };
        return Some(Silence { virus: true, message: format!("The engine {} did not answer: {message}", name.as_str()) });
    }
    if ask.types.nsfw() && report.pictures.is_none() {
        return Some(Silence { virus: false, message: "The image classifier did not answer.".to_owned() });
    }
    None
}

/// Worst first; among equals in the order in which the tree was walked.
fn sorted_detections(report: &Report) -> Vec<Detection> {
    let mut detections: Vec<_> = report.engines.iter().flat_map(|engine| &engine.detections).cloned().collect();
    detections.sort_by_key(|detection| detection.kind);
    detections
}

fn unexamined_that_count(policy: &Policy, coverage: &Coverage) -> Vec<Unexamined> {
    coverage.unexamined.iter().filter(|part| policy.on(part.reason) == UnexaminedPolicy::Infected).cloned().collect()
}

/// Named detections before parts not examined.
fn virus_finding(mut detections: Vec<Detection>, unexamined: Vec<Unexamined>, notes: &[Note]) -> VirusFinding {
    let as_primary = |kind, engine, signature: &str, path: &str, reason| Primary {
        kind,
        engine,
        signature: signature.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let primary = match (detections.first(), unexamined.first()) {
        (Some(worst), _) => Some(as_primary(worst.kind, worst.engine, &worst.signature, &worst.path, None)),
        (None, Some(part)) => Some(as_primary(Kind::Unexamined, EngineName::FileSafety, &part.signature, &part.path, Some(part.reason))),
        (None, None) => None,
    };
    detections.extend(unexamined.into_iter().map(|part| Detection {
        signature: part.signature,
        engine: EngineName::FileSafety,
        kind: Kind::Unexamined,
        path: part.path,
    }));
    detections.truncate(VirusFinding::MAX_DETECTIONS);
    VirusFinding { primary, detections, notes: notes.iter().take(VirusFinding::MAX_NOTES).cloned().collect() }
}

/// `hidden` tells that parts of the file, and so pictures in them, were not seen. Where malware was asked for, that already counts there.
fn judge_nsfw(policy: &Policy, ask: &Ask, report: &Report, hidden: bool) -> Option<NsfwFinding> {
    if !ask.types.nsfw() {
        return None;
    }
    let mut finding = judge_pictures(&policy.nsfw, report.pictures.as_ref()?);
    if hidden && !ask.types.virus() && finding.clean == Some(true) {
        finding.clean = None;
        finding.reason = Some(PictureFault::Unsupported);
        finding.categories.extend(policy.nsfw.unjudged.then_some(Category::Unjudged));
    }
    Some(finding)
}

fn judge_pictures(policy: &NsfwPolicy, pictures: &Pictures) -> NsfwFinding {
    let mut finding = NsfwFinding {
        clean: Some(true),
        applied: pictures.judged > 0,
        categories: Vec::new(),
        confidence: 0.0,
        scores: None,
        views: Vec::new(),
        reason: None,
        path: None,
    };
    let mut counted: Option<(bool, f32)> = None;
    for picture in pictures.kept() {
        match &picture.outcome {
            PictureOutcome::Judged { scores, views } => {
                let looks = || std::iter::once(scores).chain(views.iter().map(|view| &view.scores));
                let found = Category::SCORED.into_iter().filter(|category| {
                    policy.threshold(*category).is_some_and(|threshold| looks().any(|scores| category.score(scores) >= threshold))
                });
                let found: Vec<_> = found.collect();
                let rank = (!found.is_empty(), looks().map(Scores::worst).fold(0.0, f32::max));
                if counted.is_none_or(|best| rank > best) {
                    counted = Some(rank);
                    finding.confidence = rank.1;
                    finding.scores = Some(*scores);
                    finding.views.clone_from(views);
                    finding.path = Some(picture.path.clone());
                }
                for category in found {
                    if !finding.categories.contains(&category) {
                        finding.categories.push(category);
                    }
                }
            }
            PictureOutcome::Unjudged { fault } => finding.reason = finding.reason.or(Some(*fault)),
        }
    }
    if !finding.categories.is_empty() {
        finding.clean = Some(false);
    } else if finding.reason.is_some() {
        finding.clean = None;
    }
    if finding.reason.is_some() && policy.unjudged {
        finding.categories.push(Category::Unjudged);
    }
    finding
}

#[cfg(test)]
mod tests;
