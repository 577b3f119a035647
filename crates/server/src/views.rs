//! Wire shapes of a judgement, shared by the API and the webhooks. Domain types are never serialised to the network.

use filesafety_model::{
    Category, Coverage, Detection, EngineName, Failure, Judgement, Kind, Note, NsfwFinding, Primary, Reason, Scores, VirusFinding,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What was found of malware.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VirusView {
    clean: bool,
    /// `malware`, `pua`, `suspicious` or `unexamined`; null when clean.
    kind: Option<&'static str>,
    /// `yara-x`, `clamdb`, `clamd`, `hashes` or `filesafety`; null when clean.
    engine: Option<&'static str>,
    signature: Option<String>,
    /// Where in the file: container and member names joined by `/`; empty for the file itself.
    path: Option<String>,
    /// `encrypted`, `limit`, `broken` or `unsupported`, exactly when kind is `unexamined`.
    reason: Option<&'static str>,
    /// At most 20, the worst first.
    detections: Vec<DetectionView>,
    /// What is worth knowing and is no detection: that a document runs code when it opens, say. It changes neither `clean` nor the
    /// verdict. At most 20.
    notes: Vec<NoteView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DetectionView {
    signature: String,
    engine: &'static str,
    path: String,
}

/// What was found of unsafe imagery.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NsfwView {
    /// Null when it could not be told.
    clean: Option<bool>,
    /// Whether a picture was judged.
    applied: bool,
    /// `explicit_nudity`, `explicit_drawing`, `suggestive`, `unjudged`.
    categories: Vec<&'static str>,
    /// The highest unsafe score, 0 to 1.
    confidence: f32,
    /// Of the picture that counted.
    scores: Option<ScoresView>,
    /// Each look that was taken, where there was more than one.
    views: Vec<LookView>,
    /// Why a picture was not judged: `too_large`, `broken` or `unsupported`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Where the picture that counted stands in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// Probabilities of the classifier's classes, 0 to 1.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ScoresView {
    drawing: f32,
    hentai: f32,
    neutral: f32,
    porn: f32,
    sexy: f32,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LookView {
    name: String,
    scores: ScoresView,
}

/// How much of the file was seen.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CoverageView {
    /// Whether all of it was.
    complete: bool,
    objects: u64,
    bytes: u64,
    unexamined: Vec<UnexaminedView>,
    notes: Vec<NoteView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnexaminedView {
    path: String,
    reason: &'static str,
    signature: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NoteView {
    path: String,
    note: String,
}

/// Why the verdict is `failed`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// `engine_unavailable`, `fetch_failed`, `fetch_refused`, `fetch_too_large`, `storage_lost` or `upload_expired`.
    code: &'static str,
    message: String,
    /// Whether submitting the file again may end otherwise.
    retryable: bool,
}

/// Notes of malware together, so that the body of an event stays under 64 KiB.
const NOTES_BYTES: usize = 6 << 10;

/// Longer paths and signatures are cut, so that an answer stays small whatever a file holds.
const PATH_MAX: usize = 400;
const SIGNATURE_MAX: usize = 200;

impl VirusView {
    pub fn of(finding: &VirusFinding) -> Self {
        let primary = finding.primary.as_ref();
        Self {
            clean: primary.is_none(),
            kind: primary.map(|primary: &Primary| Kind::as_str(primary.kind)),
            engine: primary.map(|primary| EngineName::as_str(primary.engine)),
            signature: primary.map(|primary| cut(&primary.signature, SIGNATURE_MAX)),
            path: primary.map(|primary| cut(&primary.path, PATH_MAX)),
            reason: primary.and_then(|primary| primary.reason).map(Reason::as_str),
            detections: finding.detections.iter().map(DetectionView::of).collect(),
            notes: bounded_notes(&finding.notes),
        }
    }
}

fn bounded_notes(notes: &[Note]) -> Vec<NoteView> {
    let mut left = NOTES_BYTES;
    let views = notes.iter().map(NoteView::of).map_while(|view| {
        left = left.checked_sub(view.path.len() + view.note.len())?;
        Some(view)
    });
    views.collect()
}

impl NoteView {
    fn of(note: &Note) -> Self {
        Self { path: cut(&note.path, PATH_MAX), note: cut(&note.note, PATH_MAX) }
    }
}

impl DetectionView {
    fn of(detection: &Detection) -> Self {
        Self {
            signature: cut(&detection.signature, SIGNATURE_MAX),
            engine: detection.engine.as_str(),
            path: cut(&detection.path, PATH_MAX),
        }
    }
}

impl NsfwView {
    pub fn of(finding: &NsfwFinding) -> Self {
        Self {
            clean: finding.clean,
            applied: finding.applied,
            categories: finding.categories.iter().copied().map(Category::as_str).collect(),
            confidence: finding.confidence,
            scores: finding.scores.as_ref().map(ScoresView::of),
            views: finding
                .views
                .iter()
                .map(|view| LookView { name: cut(&view.name, SIGNATURE_MAX), scores: ScoresView::of(&view.scores) })
                .collect(),
            reason: finding.reason.map(|fault| fault.as_str()),
            path: finding.path.as_deref().map(|path| cut(path, PATH_MAX)),
        }
    }
}

impl ScoresView {
    fn of(scores: &Scores) -> Self {
        Self { drawing: scores.drawing, hentai: scores.hentai, neutral: scores.neutral, porn: scores.porn, sexy: scores.sexy }
    }
}

impl CoverageView {
    pub fn of(judgement: &Judgement) -> Self {
        let Coverage { objects, bytes, unexamined, notes, answered: _ } = &judgement.coverage;
        Self {
            complete: judgement.is_complete(),
            objects: *objects,
            bytes: *bytes,
            unexamined: unexamined
                .iter()
                .map(|part| UnexaminedView {
                    path: cut(&part.path, PATH_MAX),
                    reason: part.reason.as_str(),
                    signature: part.signature.clone(),
                })
                .collect(),
            notes: notes.iter().map(NoteView::of).collect(),
        }
    }
}

impl FailureView {
    pub fn of(failure: &Failure) -> Self {
        Self { code: failure.code.as_str(), message: failure.message.clone(), retryable: failure.code.is_retryable() }
    }
}

/// The text, or its first `max` characters and an ellipsis.
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
