//! The fields that come with a file: each checked, each refusal naming the field.

use filesafety_model::{Password, ScanTypes};
use filesafety_store::WebhookTarget;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Digest as _;

use crate::{
    announce,
    egress::{WebhookUrl, WebhookUrlPolicy},
};

/// A field that cannot be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}.")]
pub(crate) struct FieldError {
    pub(crate) field: &'static str,
    pub(crate) problem: String,
}

/// What a submission asks for besides the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) webhook: Option<WebhookTarget>,
    /// The text of a JSON object, as it came.
    pub(crate) metadata: Option<String>,
    pub(crate) types: Option<ScanTypes>,
    pub(crate) events: Option<Vec<String>>,
    /// Of the archive or document.
    pub(crate) password: Option<Password>,
}

/// Reads fields by the rules in force.
pub(crate) struct Fields<'a> {
    pub(crate) webhooks: &'a WebhookUrlPolicy,
    pub(crate) metadata_max: usize,
}

/// The JSON form of a submission.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonSubmission<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    webhook_url: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    scan_types: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    #[serde(borrow)]
    archive_password: Option<&'a RawValue>,
}

/// Arrays and objects inside each other in metadata.
const METADATA_DEPTH: usize = 64;

const EVENTS: [&str; 2] = [announce::SCAN_COMPLETE, announce::SCAN_VERDICT_UPDATED];

impl Fields<'_> {
    pub(crate) fn webhook_url(&self, text: &str) -> Result<WebhookTarget, FieldError> {
        let url =
            WebhookUrl::parse(text, self.webhooks).map_err(|error| FieldError { field: "webhook_url", problem: error.to_string() })?;
        Ok(WebhookTarget { url_host: url.host_shown(), url: url.as_str().to_owned() })
    }

    /// The text of a JSON object; numbers and the order of keys stay as they are written.
    pub(crate) fn metadata(&self, text: &str) -> Result<String, FieldError> {
        let refuse = |problem: String| FieldError { field: "metadata", problem };
        if text.len() > self.metadata_max {
            return Err(refuse(format!("is {} bytes long; the limit is {}", text.len(), self.metadata_max)));
        }
        if depth(text) > METADATA_DEPTH {
            return Err(refuse(format!("is nested more than {METADATA_DEPTH} deep")));
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| refuse(format!("is not valid JSON: {error}")))?;
        if !raw.get().starts_with('{') {
            return Err(refuse("must be a JSON object such as {\"upload_id\": \"42\"}".to_owned()));
        }
        Ok(raw.get().to_owned())
    }

    pub(crate) fn scan_types(&self, text: &str) -> Result<ScanTypes, FieldError> {
        let refuse = |problem: String| FieldError { field: "scan_types", problem };
        let names: Vec<String> =
            serde_json::from_str(text).map_err(|_| refuse("must be a JSON list such as [\"virus\", \"nsfw\"]".to_owned()))?;
        ScanTypes::parse(names).map_err(|error| refuse(error.to_string()))
    }

    pub(crate) fn events(&self, text: &str) -> Result<Vec<String>, FieldError> {
        let refuse = |problem: String| FieldError { field: "events", problem };
        let names: Vec<String> =
            serde_json::from_str(text).map_err(|_| refuse("must be a JSON list such as [\"scan.complete\"]".to_owned()))?;
        if names.is_empty() {
            return Err(refuse("names no event; leave it out, or name scan.complete".to_owned()));
        }
        match names.iter().find(|name| !EVENTS.contains(&name.as_str())) {
            Some(unknown) => Err(refuse(format!(
                "names the unknown event {:?}; there are {}",
                unknown.chars().take(40).collect::<String>(),
                EVENTS.join(" and ")
            ))),
            None => Ok(names),
        }
    }

    pub(crate) fn archive_password(&self, text: &str) -> Result<Password, FieldError> {
        // What was given is never repeated in a refusal.
        Password::new(text).map_err(|_| FieldError {
            field: "archive_password",
            problem: format!("must have 1 to {} bytes; leave it out where there is none", Password::MAX_BYTES),
        })
    }

    /// All fields of the JSON form but `url`.
    pub(crate) fn of_json(&self, body: &JsonSubmission<'_>) -> Result<Wishes, FieldError> {
        Ok(Wishes {
            webhook: body.webhook_url.map(|raw| self.webhook_url(&text("webhook_url", raw)?)).transpose()?,
            metadata: body.metadata.map(|raw| self.metadata(raw.get())).transpose()?,
            types: body.scan_types.map(|raw| self.scan_types(raw.get())).transpose()?,
            events: body.events.map(|raw| self.events(raw.get())).transpose()?,
            password: body.archive_password.map(|raw| self.archive_password(&text("archive_password", raw)?)).transpose()?,
        })
    }
}

impl JsonSubmission<'_> {
    pub(crate) fn url(&self) -> Result<Option<String>, FieldError> {
        self.url.map(|raw| text("url", raw)).transpose()
    }
}

impl Wishes {
    /// What makes two requests under one idempotency key the same, besides the bytes. `mark` stands for the password, which could be guessed
    /// by a digest of itself.
    pub(crate) fn digest(&self, kind: &str, url: Option<&str>, file_name: Option<&str>, mark: Option<&str>) -> [u8; 32] {
        let types = self.types.map(|types| types.names().join(","));
        let events = self.events.as_ref().map(|events| events.join(","));
        let webhook = self.webhook.as_ref().map(|webhook| webhook.url.as_str());
        let mut digest = sha2::Sha256::new();
        let fields = [Some(kind), url, file_name, webhook, self.metadata.as_deref(), types.as_deref(), events.as_deref()];
        // Without a password as before there were any: a request may be repeated across an update.
        for field in fields.into_iter().chain(mark.map(Some)) {
            // The length in front keeps two fields from reading as one.
            digest.update(field.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
            digest.update(field.unwrap_or_default());
        }
        digest.finalize().into()
    }
}

/// A field that is a text; by itself, so that the refusal names it.
fn text(field: &'static str, raw: &RawValue) -> Result<String, FieldError> {
    serde_json::from_str(raw.get()).map_err(|_| FieldError { field, problem: "must be a text".to_owned() })
}

/// How deep brackets nest, counted without recursion.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> Result<String, FieldError> {
        Fields { webhooks: &WebhookUrlPolicy::default(), metadata_max: 4096 }.metadata(text)
    }

    #[test]
    fn metadata_keeps_numbers_and_order() {
        let text = r#"{"z": 18446744073709551615, "a": 1.10, "n": 1e400}"#;
        assert_eq!(metadata(text).as_deref(), Ok(text));
    }

    #[test]
    fn metadata_is_a_small_shallow_object() {
        for (text, part) in [
            ("[1]", "JSON object"),
            ("\"x\"", "JSON object"),
            ("null", "JSON object"),
            ("{", "not valid JSON"),
            ("{}{}", "not valid JSON"),
            (&format!("{{\"a\": \"{}\"}}", "x".repeat(4096)), "limit is 4096"),
            (&format!("{{\"a\": {}{}}}", "[".repeat(1000), "]".repeat(1000)), "deep"),
            (&"[".repeat(10_000), "limit"),
        ] {
            let message = metadata(text).unwrap_err().to_string();
            assert!(message.starts_with("metadata ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn brackets_in_texts_do_not_nest() {
        assert_eq!(depth(r#"{"a": "[[[\"[[", "b": [{}]}"#), 3);
    }

    #[test]
    fn the_digest_tells_fields_apart() {
        let one = Wishes { metadata: Some("{}".into()), ..Wishes::default() };
        assert_ne!(one.digest("file", None, None, None), Wishes::default().digest("file", None, None, None));
        assert_ne!(one.digest("file", None, Some("{}"), None), one.digest("file", Some("{}"), None, None));
        assert_ne!(one.digest("file", None, None, Some("mark")), one.digest("file", None, None, None));
    }
}
