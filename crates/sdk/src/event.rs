//! What the body of a webhook says.
//!
//! Fields that a later version adds are passed over; an event that this version does not know is [`Event::Unknown`].

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::value::RawValue;

/// A fact announced.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A scan finished.
    ScanComplete(Box<ScanComplete>),
    /// Newer data turned the verdict of a finished scan.
    ScanVerdictUpdated(Box<ScanVerdictUpdated>),
    /// Someone tries out whether webhooks arrive.
    WebhookTest(WebhookTest),
    /// An event of a later version: acknowledge it and do nothing.
    Unknown {
        /// Its name.
        event: String,
    },
}

/// Why a body is no event.
#[derive(Debug, thiserror::Error)]
#[error("the body is no event: {0}")]
pub struct EventError(#[from] serde_json::Error);

/// The body of `scan.complete`, and most of that of `scan.verdict_updated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanComplete {
    /// [`ScanComplete::NAME`]; inside a [`ScanVerdictUpdated`] the name of that one.
    pub event: String,
    /// `scn_` and a ULID.
    pub scan_id: String,
    /// The answer to "may I keep this file?".
    pub verdict: Verdict,
    /// `None`: not asked for, or not judged.
    pub virus: Option<Virus>,
    /// `None`: not asked for, or not judged.
    pub nsfw: Option<Nsfw>,
    /// `sha256:` and 64 hex digits; `None` when the service never had the content.
    pub file_hash: Option<String>,
    /// What the application gave with the file, value for value; `{}` when it gave nothing.
    pub metadata: Metadata,
    /// RFC 3339, UTC.
    pub completed_at: String,
    /// Counts the events of one scan, from 1.
    #[serde(default = "first")]
    pub sequence: u32,
    /// Set exactly when the verdict is `failed`.
    #[serde(default)]
    pub failure: Option<Failure>,
}

/// The body of `scan.verdict_updated`: that of `scan.complete` as it is now, and the verdict it replaces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScanVerdictUpdated {
    /// What holds now; its `event` is [`ScanVerdictUpdated::NAME`], its `sequence` 2 or more.
    #[serde(flatten)]
    pub scan: ScanComplete,
    /// What the event before said.
    pub previous_verdict: Verdict,
}

/// The body of `webhook.test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTest {
    /// [`WebhookTest::NAME`]
    pub event: String,
    /// The account that asked for it.
    pub account: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// What to make of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found, and everything was seen that the policy wants seen.
    Clean,
    /// Malware, or content that could not be examined.
    Infected,
    /// Unsafe imagery.
    Nsfw,
    /// Infected and nsfw.
    Mixed,
    /// No judgement: see [`Failure::retryable`].
    Failed,
}

/// What was found of malware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Virus {
    /// Whether nothing was found.
    pub clean: bool,
    /// `malware`, `pua`, `suspicious` or `unexamined`.
    #[serde(default)]
    pub kind: Option<String>,
    /// The engine that found it.
    #[serde(default)]
    pub engine: Option<String>,
    /// What it matched.
    #[serde(default)]
    pub signature: Option<String>,
    /// Where in the file.
    #[serde(default)]
    pub path: Option<String>,
    /// `encrypted`, `limit`, `broken` or `unsupported`, exactly when `kind` is `unexamined`.
    #[serde(default)]
    pub reason: Option<String>,
    /// At most 20, the worst first.
    #[serde(default)]
    pub detections: Vec<Detection>,
    /// What is worth knowing and is no detection; it changes neither `clean` nor the verdict.
    #[serde(default)]
    pub notes: Vec<Note>,
}

/// One match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// What matched.
    pub signature: String,
    /// The engine that found it.
    pub engine: String,
    /// Where in the file.
    pub path: String,
}

/// Something worth knowing about a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where in the file.
    pub path: String,
    /// A sentence for a person.
    pub note: String,
}

/// What was found of unsafe imagery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nsfw {
    /// `None`: it could not be told.
    pub clean: Option<bool>,
    /// Whether a picture was judged.
    pub applied: bool,
    /// `explicit_nudity`, `explicit_drawing`, `suggestive`, `unjudged`.
    #[serde(default)]
    pub categories: Vec<String>,
    /// The highest unsafe score, 0 to 1.
    #[serde(default)]
    pub confidence: f32,
    /// Of the picture that counted.
    #[serde(default)]
    pub scores: Option<Scores>,
    /// Each look that was taken, where there was more than one.
    #[serde(default)]
    pub views: Vec<View>,
    /// Why a picture was not judged: `too_large`, `broken` or `unsupported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the picture that counted stands in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Probabilities of the classifier's classes, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the classes' names say it")]
pub struct Scores {
    pub drawing: f32,
    pub hentai: f32,
    pub neutral: f32,
    pub porn: f32,
    pub sexy: f32,
}

/// A look at a part or another reduction of the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Which part or reduction.
    pub name: String,
    /// What the classifier made of it.
    pub scores: Scores,
}

/// Why there is no judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `engine_unavailable`, `fetch_failed`, `fetch_refused`, `fetch_too_large`, `storage_lost`, …
    pub code: String,
    /// A sentence for a person.
    pub message: String,
    /// Whether submitting the file again may end otherwise.
    pub retryable: bool,
}

/// JSON as it was written: numbers keep their digits and keys their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(Box<RawValue>);

impl Event {
    /// Reads the raw body of a webhook, once its signature is verified.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        #[derive(Deserialize)]
        struct Name {
            event: String,
        }
        let Name { event } = serde_json::from_slice(body)?;
        Ok(match event.as_str() {
            ScanComplete::NAME => Self::ScanComplete(Box::new(serde_json::from_slice(body)?)),
            ScanVerdictUpdated::NAME => Self::ScanVerdictUpdated(Box::new(serde_json::from_slice(body)?)),
            WebhookTest::NAME => Self::WebhookTest(serde_json::from_slice(body)?),
            _ => Self::Unknown { event },
        })
    }
}

impl ScanComplete {
    /// The event's name.
    pub const NAME: &'static str = "scan.complete";
}

impl ScanVerdictUpdated {
    /// The event's name.
    pub const NAME: &'static str = "scan.verdict_updated";
}

impl<'de> Deserialize<'de> for ScanVerdictUpdated {
    /// Reads the text twice: a derived `flatten` takes it apart first, and raw metadata does not survive that.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Previous {
            previous_verdict: Verdict,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Previous { previous_verdict } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let scan = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { scan, previous_verdict })
    }
}

impl WebhookTest {
    /// The event's name.
    pub const NAME: &'static str = "webhook.test";
}

impl Metadata {
    /// The text.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// The metadata in a shape of the application's own.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

fn first() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFECTED: &str = r#"{"event":"scan.complete","scan_id":"scn_01ARYZ6S410000000000000000","verdict":"infected","virus":{"clean":false,"kind":"malware","engine":"yara-x","signature":"EICAR-Test-File","path":"inner.zip/eicar.com","reason":null,"detections":[{"signature":"EICAR-Test-File","engine":"yara-x","path":"inner.zip/eicar.com"}],"notes":[{"path":"a.docm","note":"runs by itself: the macro AutoOpen"}]},"nsfw":{"clean":true,"applied":true,"categories":[],"confidence":0.01,"scores":null,"views":[]},"file_hash":"sha256:00","metadata":{"z":12345678901234567890123,"a":1.50},"completed_at":"2026-09-21T14:13:20.120Z","sequence":1,"failure":null}"#;

    #[test]
    fn refuses_what_is_no_event() {
        for body in ["", "[]", "{}", "{\"event\":1}", "{\"event\":\"scan.complete\"}", &INFECTED.replace("infected", "fine")] {
            assert!(Event::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn writes_what_it_read() {
        let Event::ScanComplete(scan) = Event::parse(INFECTED.as_bytes()).unwrap() else { panic!("another event") };
        assert_eq!(serde_json::to_string(&scan).unwrap(), INFECTED);
        assert_eq!(scan.metadata.as_json(), r#"{"z":12345678901234567890123,"a":1.50}"#);
    }

    #[test]
    fn passes_over_what_later_versions_add() {
        let added = INFECTED.replace("\"sequence\":1", "\"colour\":\"red\"").replace("\"clean\":false", "\"clean\":false,\"depth\":[1]");
        let Event::ScanComplete(scan) = Event::parse(added.as_bytes()).unwrap() else { panic!("another event") };
        assert_eq!((scan.sequence, scan.verdict), (1, Verdict::Infected));
        let unknown = Event::parse(br#"{"event":"scan.archived","sequence":2}"#).unwrap();
        assert_eq!(unknown, Event::Unknown { event: "scan.archived".into() });
    }

    #[test]
    fn an_update_says_what_it_replaces() {
        let complete = INFECTED.replace("scan.complete", ScanVerdictUpdated::NAME).replace("\"sequence\":1", "\"sequence\":2");
        assert!(Event::parse(complete.as_bytes()).is_err(), "without previous_verdict");
        let body = complete.replace("\"failure\":null}", "\"failure\":null,\"previous_verdict\":\"clean\"}");
        assert!(Event::parse(body.replace("\"clean\"}", "\"fine\"}").as_bytes()).is_err());
        let Event::ScanVerdictUpdated(update) = Event::parse(body.as_bytes()).unwrap() else { panic!("another event") };
        assert_eq!((update.scan.verdict, update.previous_verdict), (Verdict::Infected, Verdict::Clean));
        assert_eq!((update.scan.event.as_str(), update.scan.sequence), (ScanVerdictUpdated::NAME, 2));
        assert_eq!(serde_json::to_string(&update).unwrap(), body);
    }

    #[test]
    fn reads_the_short_form_of_clean() {
        let short = r#"{"event":"scan.complete","scan_id":"scn_1","verdict":"clean","virus":{"clean":true,"engine":null,"signature":null},"nsfw":null,"file_hash":null,"metadata":{},"completed_at":"2026-09-21T14:13:20.120Z"}"#;
        let Event::ScanComplete(scan) = Event::parse(short.as_bytes()).unwrap() else { panic!("another event") };
        assert!(scan.virus.is_some_and(|virus| virus.clean && virus.detections.is_empty()));
    }
}
