//! From a request to a scan: what the caller asks for, read in full and checked before anything is accepted.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use filesafety_model::{ScanId, ScanTypes, Sha256};
use filesafety_store::{Earlier, IdempotencyKey, NewScan, SourceRecord, Submission, WebhookTarget};

use super::{
    auth::Caller,
    error::{ApiError, ErrorCode},
};
use crate::{
    clock,
    intake::{FieldError, Fields, Intake, IntakeFault, JsonSubmission, Multipart, PacedBody, Received, Wishes},
    state::{AppState, InFlightKey, Shared},
};

/// What came in.
pub(crate) enum Content {
    File(Received),
    Url(String),
    /// Neither: the caller wants an upload URL.
    None,
}

/// A request, read.
pub(crate) struct Submitted {
    pub(crate) wishes: Wishes,
    pub(crate) content: Content,
}

/// How the caller wants to be answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    ForTheVerdict,
    No,
}

/// What a JSON submission, or one text part of a form, may weigh.
const FIELD_MAX: usize = 64 * 1024;

/// How much a form may weigh besides its file.
const FORM_SLACK: u64 = 1 << 20;

impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> Self {
        Self::validation(error.to_string())
    }
}

impl AppState {
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields { webhooks: &self.webhook_urls, metadata_max: self.config.intake.metadata }
    }

    fn intake_fault(&self, fault: IntakeFault) -> ApiError {
        match fault {
            IntakeFault::TooLarge => ApiError::file_too_large(self.config.intake.file),
            IntakeFault::Store(error) => error.into(),
        }
    }

    /// Refuses a body that says itself that it is too large, before it is read.
    pub(crate) fn check_length(&self, headers: &HeaderMap, slack: u64) -> Result<(), ApiError> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > self.config.intake.file.saturating_add(slack) => {
                Err(ApiError::file_too_large(self.config.intake.file))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads a submission.
pub(crate) async fn read(state: &Shared, headers: &HeaderMap, body: Body, waiting: Waiting) -> Result<Submitted, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = PacedBody::new(body, &state.config.intake);
    match essence.as_str() {
        "multipart/form-data" => {
            state.check_length(headers, FORM_SLACK)?;
            let mut form = Multipart::new(content_type, body)?;
            let submitted = read_form(state, &mut form, waiting).await?;
            form.finish().await?;
            Ok(submitted)
        }
        "application/json" => read_json(state, body).await,
        _ => Err(ApiError::new(ErrorCode::UnsupportedMediaType, "Send multipart/form-data with a part called file, or application/json.")),
    }
}

async fn read_form(state: &Shared, form: &mut Multipart<PacedBody>, waiting: Waiting) -> Result<Submitted, ApiError> {
    let fields = state.fields();
    let mut wishes = Wishes::default();
    let mut file = None;
    while let Some(part) = form.next_part().await? {
        let twice = |taken: bool, name: &str| {
            if taken { Err(ApiError::validation(format!("The form has two parts called {name}; send one."))) } else { Ok(()) }
        };
        match part.name.as_str() {
            "file" => {
                twice(file.is_some(), "file")?;
                file = Some(read_file(state, form, part.file_name, waiting).await?);
            }
            "webhook_url" => {
                twice(wishes.webhook.is_some(), "webhook_url")?;
                wishes.webhook = Some(fields.webhook_url(&read_text(form, "webhook_url").await?)?);
            }
            "metadata" => {
                twice(wishes.metadata.is_some(), "metadata")?;
                wishes.metadata = Some(fields.metadata(&read_text(form, "metadata").await?)?);
            }
            "scan_types" => {
                twice(wishes.types.is_some(), "scan_types")?;
                wishes.types = Some(fields.scan_types(&read_text(form, "scan_types").await?)?);
            }
            "events" => {
                twice(wishes.events.is_some(), "events")?;
                wishes.events = Some(fields.events(&read_text(form, "events").await?)?);
            }
            "archive_password" => {
                twice(wishes.password.is_some(), "archive_password")?;
                wishes.password = Some(fields.archive_password(&read_text(form, "archive_password").await?)?);
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(ApiError::validation(format!(
                    "The form has an unknown part {shown:?}; there are file, webhook_url, metadata, scan_types, events and archive_password."
                )));
            }
        }
    }
    let file = file.ok_or_else(|| ApiError::validation("The form has no part called file; send the file's bytes in one."))?;
    Ok(Submitted { wishes, content: Content::File(file) })
}

async fn read_file(state: &Shared, form: &mut Multipart<PacedBody>, name: Option<String>, waiting: Waiting) -> Result<Received, ApiError> {
    let mut intake = Intake::new(state.store.clone(), state.config.intake.file, state.config.intake.in_memory);
    while let Some(chunk) = form.chunk().await? {
        intake.push(&chunk).await.map_err(|fault| state.intake_fault(fault))?;
    }
    intake.finish(name, waiting == Waiting::No).await.map_err(|fault| state.intake_fault(fault))
}

async fn read_text(form: &mut Multipart<PacedBody>, field: &'static str) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = form.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > FIELD_MAX {
            return Err(ApiError::validation(format!("{field} is longer than {FIELD_MAX} bytes.")));
        }
    }
    String::from_utf8(text).map_err(|_| ApiError::validation(format!("{field} is not valid UTF-8.")))
}

/// The whole of a small body.
pub(crate) async fn read_small(mut body: PacedBody) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FIELD_MAX {
            return Err(ApiError::validation(format!("The JSON body is longer than {FIELD_MAX} bytes.")));
        }
    }
    Ok(bytes)
}

async fn read_json(state: &Shared, body: PacedBody) -> Result<Submitted, ApiError> {
    let bytes = read_small(body).await?;
    let refuse = |error: serde_json::Error| ApiError::validation(format!("The JSON body is not valid: {error}."));
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(ApiError::validation("The JSON body must be an object such as {\"url\": \"https://example.com/a.pdf\"}, or {}."));
    }
    let submission: JsonSubmission<'_> = serde_json::from_slice(&bytes).map_err(refuse)?;
    let wishes = state.fields().of_json(&submission)?;
    let content = submission.url()?.map_or(Content::None, Content::Url);
    Ok(Submitted { wishes, content })
}

/// A request's `Idempotency-Key`, held while the request is read.
pub(crate) struct HeldKey {
    pub(crate) key: String,
    held: InFlightKey,
}

impl HeldKey {
    pub(crate) fn into_held(self) -> InFlightKey {
        self.held
    }
}

/// Takes the request's `Idempotency-Key`, if it has one.
pub(crate) fn hold_key(state: &Shared, caller: &Caller, headers: &HeaderMap) -> Result<Option<HeldKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let key = key.ok_or_else(|| ApiError::validation("Idempotency-Key must be 1 to 255 printable ASCII characters."))?;
    let held = state.idempotency.hold(caller.account.id, key);
    let held = held.ok_or_else(|| {
        ApiError::new(
            ErrorCode::IdempotencyInProgress,
            "The first request with this Idempotency-Key is still under way; try again when it is answered.",
        )
        .retry_after(1)
    })?;
    Ok(Some(HeldKey { key: key.to_owned(), held }))
}

/// The scan that an earlier request with the same key made, if this one repeats it.
pub(crate) fn same_request(earlier: &Earlier, fields: &[u8; 32], digest: Option<&Sha256>) -> Result<ScanId, ApiError> {
    let same_bytes = match (&earlier.sha256, digest) {
        (Some(before), Some(now)) => before == now,
        (Some(_) | None, None) | (None, Some(_)) => true,
    };
    if earlier.fields == *fields && same_bytes {
        Ok(earlier.scan)
    } else {
        Err(ApiError::new(
            ErrorCode::IdempotencyConflict,
            "This Idempotency-Key was used for another request; use a new key for each file.",
        )
        .about(earlier.scan))
    }
}

impl Submitted {
    /// The scan to be, with the account's defaults for what the caller left open.
    pub(crate) fn new_scan(&self, state: &Shared, caller: &Caller, waiting: Waiting, idempotency: Option<IdempotencyKey>) -> NewScan {
        let now = clock::now();
        let types = self.wishes.types.unwrap_or(ScanTypes::ALL);
        let (source, file_name) = match &self.content {
            Content::File(received) => (SourceRecord::Bytes, received.facts.name.clone()),
            Content::Url(_) => (SourceRecord::Url, None),
            Content::None => (SourceRecord::Upload, None),
        };
        let password = self.wishes.password.clone().map(|password| state.store.archive_password(password));
        let webhook: Option<WebhookTarget> = self.wishes.webhook.clone().or_else(|| caller.account.webhook.clone());
        NewScan {
            id: ScanId::new(now, clock::entropy()),
            account: caller.account.id,
            key: Some(caller.key),
            created_at: now,
            lane: match waiting {
                Waiting::ForTheVerdict => Submission::Sync,
                Waiting::No => Submission::Async,
            },
            source,
            types,
            metadata: self.wishes.metadata.clone(),
            webhook,
            events: self.wishes.events.clone().unwrap_or_default(),
            policy: state.config.policy.to_string(),
            fingerprint: state.desk.judge.fingerprint(types, file_name.as_deref(), password.as_ref()),
            idempotency,
            file_name,
            password,
        }
    }

    /// The bytes' digest, where there are any.
    pub(crate) fn digest(&self) -> Option<Sha256> {
        match &self.content {
            Content::File(received) => Some(received.facts.sha256),
            Content::Url(_) | Content::None => None,
        }
    }

    /// A digest of everything but the bytes.
    pub(crate) fn fields_digest(&self, state: &Shared) -> [u8; 32] {
        let mark = self.wishes.password.clone().map(|password| state.store.archive_password(password).mark);
        let mark = mark.as_deref();
        match &self.content {
            Content::File(received) => self.wishes.digest("file", None, received.facts.name.as_deref(), mark),
            Content::Url(url) => self.wishes.digest("url", Some(url), None, mark),
            Content::None => self.wishes.digest("upload", None, None, mark),
        }
    }
}
