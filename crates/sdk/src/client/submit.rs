//! A submission: a file or a link with what comes along, and the three ways of being answered.

use std::{fmt, marker::PhantomData, pin::Pin};

use bytes::Bytes;
use http::{
    HeaderValue, Method,
    header::{CACHE_CONTROL, HeaderMap},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Client,
    error::ClientError,
    exchange::{Answer, Call, Payload, Repeat},
    source::FileSource,
};
use crate::scan::{Scan, Status};

/// A submission that is being put together. Awaiting it sends it; `A` is what it then gives: a [`Scan`], [`Accepted`] or an [`UploadUrl`].
///
/// ```no_run
/// # use filesafety::{Client, FileSource};
/// # async fn submit(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let accepted = client
///     .scan_async(FileSource::path("holiday.zip"))
///     .webhook_url("https://app.example.com/webhooks/filesafety")
///     .metadata(&serde_json::json!({ "upload_id": "upl_456" }))
///     .await?;
/// println!("{} is on its way", accepted.scan_id);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent until it is awaited"]
pub struct Submit<A> {
    pub(super) client: Client,
    pub(super) content: Content,
    pub(super) fields: Result<Fields, ClientError>,
    pub(super) fresh: bool,
    pub(super) idempotency_key: Option<String>,
    pub(super) answer: PhantomData<fn() -> A>,
}

pub(super) enum Content {
    File(FileSource),
    Url(String),
    Nothing,
}

/// What comes along.
#[derive(Default, Serialize)]
pub(super) struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scan_types: Option<Vec<ScanType>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive_password: Option<String>,
}

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanType {
    /// Malware.
    Virus,
    /// Unsafe imagery.
    Nsfw,
}

/// A scan that is accepted and has no verdict yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accepted {
    /// `scn_` and a ULID.
    pub scan_id: String,
    /// How far it is.
    pub status: Status,
    /// A guess of when it is worth asking, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

/// Where to send the bytes of a scan that waits for them, with [`Client::upload`] or from a browser: no key is asked for.
/// The URL is a secret; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UploadUrl {
    /// `scn_` and a ULID.
    pub scan_id: String,
    /// `awaiting_upload`.
    pub status: Status,
    /// `PUT` the file's bytes here.
    pub upload_url: String,
    /// RFC 3339, UTC.
    pub expires_at: String,
}

/// What a submission that brings content is answered with: a [`Scan`] or [`Accepted`].
pub trait WithContent: sealed::Sealed {}

impl WithContent for Scan {}
impl WithContent for Accepted {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::scan::Scan {}
    impl Sealed for super::Accepted {}
}

impl<A> Submit<A> {
    pub(super) fn new(client: &Client, content: Content) -> Self {
        let fields = Ok(Fields::default());
        Self { client: client.clone(), content, fields, fresh: false, idempotency_key: None, answer: PhantomData }
    }

    /// Where the result is posted to once the scan has finished.
    pub fn webhook_url(self, url: impl Into<String>) -> Self {
        self.with(|fields| fields.webhook_url = Some(url.into()))
    }

    /// What comes back with the result, value for value: a JSON object of at most 4 KiB, say a map or a struct.
    pub fn metadata(mut self, metadata: &(impl Serialize + ?Sized)) -> Self {
        let json = serde_json::value::to_raw_value(metadata).map_err(ClientError::unsendable);
        self.fields = self.fields.and_then(|fields| Ok(Fields { metadata: Some(json?), ..fields }));
        self
    }

    /// What to look for; both by default.
    pub fn scan_types(self, types: impl IntoIterator<Item = ScanType>) -> Self {
        self.with(|fields| fields.scan_types = Some(types.into_iter().collect()))
    }

    /// The password of the archive or document, where it has one. The service keeps it encrypted until the verdict, and shows it nowhere.
    pub fn archive_password(self, password: impl Into<String>) -> Self {
        self.with(|fields| fields.archive_password = Some(password.into()))
    }

    /// Which events the webhook tells, such as [`ScanComplete::NAME`](crate::event::ScanComplete::NAME); the account's choice by default.
    pub fn events<E: Into<String>>(self, events: impl IntoIterator<Item = E>) -> Self {
        self.with(|fields| fields.events = Some(events.into_iter().map(Into::into).collect()))
    }

    pub(super) fn answered_as<B>(self) -> Submit<B> {
        let Self { client, content, fields, fresh, idempotency_key, answer: _ } = self;
        Submit { client, content, fields, fresh, idempotency_key, answer: PhantomData }
    }

    fn with(mut self, change: impl FnOnce(&mut Fields)) -> Self {
        if let Ok(fields) = &mut self.fields {
            change(fields);
        }
        self
    }
}

impl<A: WithContent> Submit<A> {
    /// Scans anew even where the same bytes were judged before.
    pub fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }

    /// A key of the application's own instead of one that the client makes for each submission: 1 to 255 printable ASCII characters,
    /// one for each file. With it, a submission that is repeated after a restart of the application is still one scan.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }

    /// The call, with an `Idempotency-Key` that makes it safe to repeat.
    fn call(self, path: &str) -> Result<(Client, Call), ClientError> {
        let key = match self.idempotency_key {
            Some(key) => key,
            None => format!("fsc_{}", random_hex()?),
        };
        let key =
            HeaderValue::try_from(key).map_err(|_| ClientError::unsendable("an Idempotency-Key has printable ASCII characters only"))?;
        let mut headers = self.client.headers();
        headers.insert("idempotency-key", key);
        mark_fresh(&mut headers, self.fresh);
        let target = self.client.target(path)?;
        let payload = payload(self.content, self.fields?)?;
        Ok((self.client, Call { method: Method::POST, target, headers, payload, repeat: Repeat::Always }))
    }
}

impl Submit<Scan> {
    /// Gives [`Accepted`] as soon as the service has the file, instead of the verdict.
    pub fn respond_async(self) -> Submit<Accepted> {
        self.answered_as()
    }
}

type Sending<A> = Pin<Box<dyn Future<Output = Result<A, ClientError>> + Send>>;

impl IntoFuture for Submit<Scan> {
    type Output = Result<Scan, ClientError>;
    type IntoFuture = Sending<Scan>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (client, call) = self.call("/v1/scan")?;
            let answer = client.exchange().call(&call).await?;
            client.verdict_of(answer).await
        })
    }
}

impl IntoFuture for Submit<Accepted> {
    type Output = Result<Accepted, ClientError>;
    type IntoFuture = Sending<Accepted>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (client, call) = self.call("/v1/scan/async")?;
            accepted(client.exchange().call(&call).await?)
        })
    }
}

impl IntoFuture for Submit<UploadUrl> {
    type Output = Result<UploadUrl, ClientError>;
    type IntoFuture = Sending<UploadUrl>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            // A lost answer leaves a URL that expires by itself. With a key the repeat would name the scan and not the URL.
            let call = Call {
                method: Method::POST,
                target: self.client.target("/v1/scan")?,
                headers: self.client.headers(),
                payload: payload(self.content, self.fields?)?,
                repeat: Repeat::Always,
            };
            self.client.exchange().call(&call).await?.read()
        })
    }
}

/// Reads the answer to a submission that does not wait. A repeat is answered with what the scan is by then.
pub(super) fn accepted(answer: Answer) -> Result<Accepted, ClientError> {
    match answer.outcome_of() {
        Some(scan_id) => Ok(Accepted { scan_id, status: Status::Failed, eta_seconds: None }),
        None => answer.read(),
    }
}

impl Answer {
    /// The scan whose `failed` verdict this refusal tells.
    pub(super) fn outcome_of(&self) -> Option<String> {
        let refusal = self.refusal();
        let tells = matches!(
            refusal.code.as_deref(),
            Some("upstream_error" | "fetch_failed" | "fetch_refused" | "fetch_too_large" | "upload_expired")
        );
        refusal.scan_id.filter(|_| tells)
    }
}

/// Without it, what was judged before may answer.
pub(super) fn mark_fresh(headers: &mut HeaderMap, fresh: bool) {
    if fresh {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
}

fn payload(content: Content, fields: Fields) -> Result<Payload, ClientError> {
    #[derive(Serialize)]
    struct Json {
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        #[serde(flatten)]
        fields: Fields,
    }
    match content {
        Content::File(file) => form(file, &fields),
        Content::Url(url) => Ok(Payload::Json(to_json(&Json { url: Some(url), fields })?)),
        Content::Nothing => Ok(Payload::Json(to_json(&Json { url: None, fields })?)),
    }
}

fn to_json(value: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(ClientError::unsendable)
}

/// The fields first, so that a bad one is refused before the file is sent.
fn form(file: FileSource, fields: &Fields) -> Result<Payload, ClientError> {
    let boundary = random_hex()?;
    let mut head = String::new();
    let mut field = |name: &str, value: &str| {
        head += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    };
    if let Some(url) = &fields.webhook_url {
        field("webhook_url", url);
    }
    if let Some(metadata) = &fields.metadata {
        field("metadata", metadata.get());
    }
    if let Some(types) = &fields.scan_types {
        field("scan_types", &serde_json::to_string(types).map_err(ClientError::unsendable)?);
    }
    if let Some(events) = &fields.events {
        field("events", &serde_json::to_string(events).map_err(ClientError::unsendable)?);
    }
    if let Some(password) = &fields.archive_password {
        field("archive_password", password);
    }
    let name = file.name().map(|name| format!("; filename=\"{}\"", escape_name(name))).unwrap_or_default();
    head +=
        &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"{name}\r\nContent-Type: application/octet-stream\r\n\r\n");
    let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}")).expect("hex digits are fit for a header");
    Ok(Payload::File { content_type, head: head.into(), file, tail: format!("\r\n--{boundary}--\r\n").into() })
}

/// As browsers do (HTML, multipart/form-data encoding algorithm), and with backslashes doubled, which the service undoes.
fn escape_name(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// 128 random bits.
fn random_hex() -> Result<String, ClientError> {
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).map_err(ClientError::unsendable)?;
    Ok(data_encoding::HEXLOWER.encode(&entropy))
}

impl<A> fmt::Debug for Submit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::File(file) => format!("{file:?}"),
            // A link may hold a token.
            Content::Url(_) => "a link".to_owned(),
            Content::Nothing => "an upload URL".to_owned(),
        };
        f.debug_struct("Submit").field("content", &content).finish_non_exhaustive()
    }
}

impl fmt::Debug for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadUrl").field("scan_id", &self.scan_id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
