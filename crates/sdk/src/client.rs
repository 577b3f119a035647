//! Talks to the service: submits files, asks for verdicts, lists scans, looks after webhooks.
//!
//! ```no_run
//! use filesafety::{Client, FileSource, event::Verdict};
//!
//! # async fn check() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080", "fs_live_K2vV8mG1cQ3nXw5TzR7yBa")?;
//! let scan = client.scan(FileSource::path("avatar.png")).await?;
//! match scan.verdict {
//!     Some(Verdict::Clean) => println!("keep it"),
//!     Some(Verdict::Infected | Verdict::Nsfw | Verdict::Mixed) => println!("refuse it"),
//!     Some(Verdict::Failed) | None => println!("not judged: it is not clean"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Calls are repeated where that is safe: after a lost connection or a 5xx, with one `Idempotency-Key` for each submission, so that a
//! file is one scan however often it was sent; and after a `429` or `503`, no earlier than their `Retry-After`. A reader that was begun
//! cannot be sent again, and is not. Answers are bounded in size and time, redirects are not followed, proxy variables are not read.
//!
//! A [`Client`] is cheap to clone, keeps its connections, and needs a tokio runtime with time and network.

mod builder;
mod channel;
mod delivery;
mod error;
mod exchange;
#[cfg(feature = "receiver")]
mod expected;
mod list;
mod retry;
mod source;
mod submit;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::{sleep, timeout};

pub use builder::{ClientBuilder, ConfigError};
pub use delivery::{Attempt, AttemptError, Postponed};
pub use error::{Cause, ClientError, Refusal};
#[cfg(feature = "receiver")]
pub use expected::Expected;
pub use list::{ScanFilter, ScanList, ScanPage};
pub use retry::RetryPolicy;
pub use source::FileSource;
pub use submit::{Accepted, ScanType, Submit, UploadUrl, WithContent};

use crate::scan::Scan;
use exchange::{Answer, Call, Exchange, Payload, Repeat};
use submit::Content;

/// The service, and the key it is asked with. `Debug` does not show the key.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// Without a slash at its end.
    base: String,
    key: HeaderValue,
    exchange: Exchange,
    verdict_within: Duration,
}

/// The account's use of this calendar month, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// The plan's name.
    pub plan: String,
    /// Scans accepted this month.
    pub scans_used: u64,
    /// Scans that the plan has; `None`: no limit.
    pub scans_quota: Option<u64>,
    /// Scans past the quota.
    pub overage_scans: u64,
    /// RFC 3339, UTC.
    pub period_ends: String,
}

/// Between two looks at a scan that goes on: doubled from the first to the last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Client {
    /// A client with the settings of [`Client::builder`]'s start. `url` is the service's address, such as `http://127.0.0.1:8080`.
    ///
    /// ```
    /// # fn main() -> Result<(), filesafety::client::ConfigError> {
    /// let client = filesafety::Client::new("http://127.0.0.1:8080", "fs_live_K2vV8mG1cQ3nXw5TzR7yBa")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(url: impl Into<String>, key: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(url, key).build()
    }

    /// Sets a client up: roots to trust, time limits, retries.
    pub fn builder(url: impl Into<String>, key: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url, key)
    }

    /// Scans a file and gives the result, once there is a verdict; `failed` is one of them, and says whether to try again.
    /// [`ClientError::Unfinished`] when that takes longer than [`ClientBuilder::verdict_within`]: the scan goes on.
    ///
    /// ```no_run
    /// # async fn scan(client: filesafety::Client, upload: Vec<u8>) -> Result<bool, filesafety::ClientError> {
    /// let scan = client.scan(upload).metadata(&serde_json::json!({ "user": 7 })).await?;
    /// # Ok(scan.is_clean())
    /// # }
    /// ```
    pub fn scan(&self, file: impl Into<FileSource>) -> Submit<Scan> {
        Submit::new(self, Content::File(file.into()))
    }

    /// Submits a file and gives its scan's id as soon as the service has it. The verdict comes by webhook, or with [`Client::wait`].
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let report = filesafety::FileSource::path("report.pdf");
    /// let accepted = client.scan_async(report).webhook_url("https://app.example.com/webhooks/filesafety").await?;
    /// println!("{} is on its way", accepted.scan_id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_async(&self, file: impl Into<FileSource>) -> Submit<Accepted> {
        Submit::new(self, Content::File(file.into()))
    }

    /// Has the service fetch a link and scans what it gets; [`Submit::respond_async`] does not wait for that. What cannot be fetched
    /// is a `failed` verdict.
    ///
    /// ```no_run
    /// # async fn scan(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let accepted = client.scan_url("https://example.com/report.pdf").respond_async().await?;
    /// let scan = client.wait(&accepted.scan_id, std::time::Duration::from_secs(120)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_url(&self, url: impl Into<String>) -> Submit<Scan> {
        Submit::new(self, Content::Url(url.into()))
    }

    /// Opens an upload URL: a scan with an id and no bytes yet, which [`Client::upload`] or a browser sends, within an hour.
    ///
    /// ```no_run
    /// # async fn scan(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let place = client.upload_url().webhook_url("https://app.example.com/webhooks/filesafety").await?;
    /// // Write place.scan_id down; then
    /// client.upload_async(&place, filesafety::FileSource::path("video.mp4")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upload_url(&self) -> Submit<UploadUrl> {
        Submit::new(self, Content::Nothing)
    }

    /// Sends a file to an upload URL and gives the result, as [`Client::scan`] does. The API key is not sent along.
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let place = client.upload_url().await?;
    /// let scan = client.upload(&place, b"the bytes".to_vec()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn upload(&self, place: &UploadUrl, file: impl Into<FileSource>) -> Result<Scan, ClientError> {
        self.upload_with(place, file.into(), HeaderMap::new()).await
    }

    /// Sends a file to an upload URL and does not wait for its verdict.
    pub async fn upload_async(&self, place: &UploadUrl, file: impl Into<FileSource>) -> Result<Accepted, ClientError> {
        self.upload_async_with(place, file.into(), HeaderMap::new()).await
    }

    /// A scan as it stands.
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let scan = client.get("scn_01KB5QW3Z1Y2X3W4V5T6S7R8Q9").await?;
    /// println!("{:?}: {:?}", scan.status, scan.verdict);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get(&self, scan_id: &str) -> Result<Scan, ClientError> {
        self.read(&scan_path(scan_id, "")?).await
    }

    /// A scan once it has a verdict. [`ClientError::Unfinished`] when it has none after `within`, or when the service cannot be asked.
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let half_a_minute = std::time::Duration::from_secs(30);
    /// let scan = client.wait("scn_01KB5QW3Z1Y2X3W4V5T6S7R8Q9", half_a_minute).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(&self, scan_id: &str, within: Duration) -> Result<Scan, ClientError> {
        let (mut pause, mut cause) = (LOOKS.0, None);
        let finished = async {
            loop {
                match self.get(scan_id).await {
                    Ok(scan) if scan.is_finished() => return Ok(scan),
                    Ok(_) => cause = None,
                    // A service that restarts comes back.
                    Err(error) if error.is_temporary() => cause = Some(Box::new(error)),
                    Err(error @ (ClientError::NotFound(_) | ClientError::Unsendable(_))) => return Err(error),
                    Err(error) => return Err(ClientError::Unfinished { scan_id: scan_id.to_owned(), cause: Some(Box::new(error)) }),
                }
                sleep(pause).await;
                pause = (pause * 2).min(LOOKS.1);
            }
        };
        match timeout(within, finished).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::Unfinished { scan_id: scan_id.to_owned(), cause }),
        }
    }

    /// The account's scans that meet the filter, newest first. Nothing is asked before the first [`ScanList::next`].
    pub fn list(&self, filter: ScanFilter) -> ScanList {
        ScanList::new(self, filter)
    }

    /// Erases a scan: content, metadata, deliveries; its retries are cancelled. [`ClientError::Conflict`] while it is scanned.
    pub async fn delete(&self, scan_id: &str) -> Result<(), ClientError> {
        let answer = self.0.exchange.call(&self.call(Method::DELETE, &scan_path(scan_id, "")?)?).await?;
        // A repeat finds nothing where the first try did its work.
        let gone = answer.repeated && answer.status == StatusCode::NOT_FOUND && answer.refusal().code.is_some();
        if gone || answer.status.is_success() { Ok(()) } else { Err(answer.into_error()) }
    }

    /// Every attempt to tell of a scan, oldest first; at the end, what is still to be tried.
    pub async fn deliveries(&self, scan_id: &str) -> Result<Vec<Attempt>, ClientError> {
        #[derive(Deserialize)]
        struct Deliveries {
            deliveries: Vec<Attempt>,
        }
        let Deliveries { deliveries } = self.read(&scan_path(scan_id, "/deliveries")?).await?;
        Ok(deliveries)
    }

    /// Sends a scan's webhook again: one attempt now, and a fresh schedule, also after it was abandoned.
    /// [`ClientError::Conflict`] where there is no webhook, or one is under way.
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let attempts = client.deliveries("scn_01KB5QW3Z1Y2X3W4V5T6S7R8Q9").await?;
    /// if !attempts.iter().any(|attempt| attempt.delivered) {
    ///     client.redeliver("scn_01KB5QW3Z1Y2X3W4V5T6S7R8Q9").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn redeliver(&self, scan_id: &str) -> Result<(), ClientError> {
        let mut call = self.call(Method::POST, &scan_path(scan_id, "/redeliver")?)?;
        call.repeat = Repeat::WhenRefused;
        let answer = self.0.exchange.call(&call).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.into_error()) }
    }

    /// Sends a signed `webhook.test` to an address and gives the attempt, delivered or not.
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let attempt = client.test_webhook("https://app.example.com/webhooks/filesafety").await?;
    /// if let Some(error) = attempt.error {
    ///     println!("{}: {}", error.kind, error.message);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn test_webhook(&self, webhook_url: &str) -> Result<Attempt, ClientError> {
        let mut call = self.call(Method::POST, "/v1/webhooks/test")?;
        let json = serde_json::json!({ "webhook_url": webhook_url }).to_string();
        call.payload = Payload::Json(json.into());
        call.repeat = Repeat::WhenRefused;
        self.0.exchange.call(&call).await?.read()
    }

    /// Scans used and left this month.
    ///
    /// ```no_run
    /// # async fn example(client: filesafety::Client) -> Result<(), filesafety::ClientError> {
    /// let usage = client.usage().await?;
    /// println!("{} scans until {}", usage.scans_used, usage.period_ends);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn usage(&self) -> Result<Usage, ClientError> {
        self.read("/v1/usage").await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.0.exchange.call(&self.call(Method::GET, path)?).await?.read()
    }

    fn call(&self, method: Method, path: &str) -> Result<Call, ClientError> {
        Ok(Call::new(method, self.target(path)?, self.headers()))
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("x-api-key"), self.0.key.clone())])
    }

    fn target(&self, path: &str) -> Result<Uri, ClientError> {
        format!("{}{path}", self.0.base).parse().map_err(|error| ClientError::unsendable(format!("{path}: {error}")))
    }

    fn exchange(&self) -> &Exchange {
        &self.0.exchange
    }

    /// The result that a submission was answered with, or that comes of it.
    async fn verdict_of(&self, answer: Answer) -> Result<Scan, ClientError> {
        if answer.status == StatusCode::ACCEPTED {
            let accepted: Accepted = answer.read()?;
            return self.wait(&accepted.scan_id, self.0.verdict_within).await;
        }
        match answer.outcome_of() {
            // The refusal tells of a scan that failed: an outcome like the others.
            Some(scan_id) => self.wait(&scan_id, self.0.verdict_within).await,
            None => answer.read(),
        }
    }

    async fn upload_with(&self, place: &UploadUrl, file: FileSource, headers: HeaderMap) -> Result<Scan, ClientError> {
        match self.put(place, file, headers).await? {
            Put::Answered(answer) => self.verdict_of(answer).await,
            Put::Before => self.wait(&place.scan_id, self.0.verdict_within).await,
        }
    }

    async fn upload_async_with(&self, place: &UploadUrl, file: FileSource, mut headers: HeaderMap) -> Result<Accepted, ClientError> {
        headers.insert("prefer", HeaderValue::from_static("respond-async"));
        match self.put(place, file, headers).await? {
            Put::Answered(answer) => submit::accepted(answer),
            Put::Before => {
                let scan = self.get(&place.scan_id).await?;
                Ok(Accepted { scan_id: scan.scan_id, status: scan.status, eta_seconds: None })
            }
        }
    }

    async fn put(&self, place: &UploadUrl, file: FileSource, mut headers: HeaderMap) -> Result<Put, ClientError> {
        let target: Uri = place.upload_url.parse().map_err(|error| ClientError::unsendable(format!("the upload URL: {error}")))?;
        // Whoever asked over TLS does not send the file in the clear.
        if self.0.base.starts_with("https:") && target.scheme_str() != Some("https") {
            let message = "the service is asked over https and its upload URL is not; set its FILESAFETY_PUBLIC_URL";
            return Err(ClientError::unsendable(message));
        }
        if let Some(name) = file.name() {
            let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
            headers.insert("x-file-name", HeaderValue::try_from(name).map_err(ClientError::unsendable)?);
        }
        let mut call = Call::new(Method::PUT, target, headers);
        let content_type = HeaderValue::from_static("application/octet-stream");
        call.payload = Payload::File { content_type, head: Bytes::new(), file, tail: Bytes::new() };
        let answer = self.0.exchange.call(&call).await?;
        let code = answer.refusal().code;
        match (answer.status, code.as_deref()) {
            // The bytes of an earlier try arrived, and its answer did not.
            (StatusCode::CONFLICT, Some("upload_conflict")) if answer.repeated => Ok(Put::Before),
            (StatusCode::GONE, _) => Err(answer.into_error()),
            _ => Ok(Put::Answered(answer)),
        }
    }
}

enum Put {
    Answered(Answer),
    Before,
}

/// The path of a scan. Whatever else an "id" holds never becomes part of an address.
fn scan_path(scan_id: &str, rest: &str) -> Result<String, ClientError> {
    let is_id = (1..=64).contains(&scan_id.len()) && scan_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_id { Ok(format!("/v1/scan/{scan_id}{rest}")) } else { Err(ClientError::unsendable("a scan's id is scn_ and 26 characters")) }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.0.base).field("key", &"[redacted]").finish_non_exhaustive()
    }
}
