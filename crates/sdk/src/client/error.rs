//! Why a call failed, by what can be done about it.

use std::{error::Error as StdError, fmt, io, time::Duration};

/// Why a call failed. Each variant names a remedy; [`ClientError::refusal`] has the service's own words.
///
/// ```no_run
/// # use filesafety::{Client, ClientError};
/// # async fn example(client: Client, upload: Vec<u8>) {
/// match client.scan(upload).await {
///     Ok(scan) => println!("{:?}", scan.verdict),
///     Err(ClientError::TooLarge(_)) => println!("Choose a smaller file."),
///     Err(ClientError::Unfinished { scan_id, .. }) => println!("Ask for {scan_id} later."),
///     Err(error) if error.is_temporary() => println!("Try again later: {error}"),
///     Err(error) => println!("Tell the operator: {error}"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// 401: take another API key.
    #[error("the API key is not accepted: {0}")]
    Unauthorized(Refusal),
    /// 400, 405, 415, 422: change the request; the sentence says what is wrong with it.
    #[error("the request is not valid: {0}")]
    Validation(Refusal),
    /// 413: the file is larger than the service takes.
    #[error("the file is too large: {0}")]
    TooLarge(Refusal),
    /// 404: there is no such scan, or it is another account's.
    #[error("not found: {0}")]
    NotFound(Refusal),
    /// 409: something stands in the way now; the code says what, such as `idempotency_conflict` or `scan_in_progress`.
    #[error("in conflict: {0}")]
    Conflict(Refusal),
    /// 410: ask for another upload URL.
    #[error("the upload URL has expired: {0}")]
    UploadExpired(Refusal),
    /// 408: the bytes came too slowly.
    #[error("the upload was too slow: {0}")]
    TooSlow(Refusal),
    /// 429 `quota_exceeded`: the account has used its scans of this month.
    #[error("the quota is used up: {0}")]
    QuotaExceeded(Refusal),
    /// 429: too much at once, also after the retries.
    #[error("too many requests: {0}")]
    RateLimited(Refusal),
    /// 5xx: the service cannot do it now, also after the retries.
    #[error("the service cannot do it now: {0}")]
    Unavailable(Refusal),
    /// The file is accepted and its verdict did not come in time: ask for it later with [`Client::wait`](super::Client::wait).
    #[error("the scan {scan_id} has no verdict yet{}", .cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}")))]
    Unfinished {
        /// Which scan.
        scan_id: String,
        /// Why it could not be asked for; `None` when the time was up.
        #[source]
        cause: Option<Box<ClientError>>,
    },
    /// The scan exists, and the receiver's pending set did not take it: no bytes were sent, or its webhook will be refused. Add it again.
    #[error("the scan {scan_id} is not in the pending set: {cause}")]
    Unregistered {
        /// Which scan.
        scan_id: String,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// No connection: nothing was sent.
    #[error("the service cannot be reached: {0}")]
    Unreachable(#[source] Cause),
    /// The connection broke, or the answer did not come in time. The request may have had its effect.
    #[error("the answer did not arrive: {0}")]
    Interrupted(#[source] Cause),
    /// What answered is not FileSafety, or one that this version does not understand.
    #[error("the answer cannot be understood: {0}")]
    Protocol(String),
    /// The file cannot be read, or it changed while it was sent.
    #[error("the file cannot be read: {0}")]
    File(#[source] io::Error),
    /// The request cannot be put together: metadata that is no JSON, an id that is none.
    #[error("the request cannot be put together: {0}")]
    Unsendable(#[source] Cause),
}

/// What stands below a failed connection.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// What the service said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's code, such as `validation_error`; `None` when the answer was not the service's own.
    pub code: Option<String>,
    /// A sentence for a person, without control characters.
    pub message: String,
    /// Names the request in the service's log.
    pub request_id: Option<String>,
    /// Where a scan exists.
    pub scan_id: Option<String>,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
}

impl ClientError {
    pub(super) fn unsendable(cause: impl Into<Cause>) -> Self {
        Self::Unsendable(cause.into())
    }

    /// What the service said, where it said something.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unauthorized(refusal)
            | Self::Validation(refusal)
            | Self::TooLarge(refusal)
            | Self::NotFound(refusal)
            | Self::Conflict(refusal)
            | Self::UploadExpired(refusal)
            | Self::TooSlow(refusal)
            | Self::QuotaExceeded(refusal)
            | Self::RateLimited(refusal)
            | Self::Unavailable(refusal) => Some(refusal),
            Self::Unfinished { cause, .. } => cause.as_ref().and_then(|cause| cause.refusal()),
            Self::Unregistered { .. }
            | Self::Unreachable(_)
            | Self::Interrupted(_)
            | Self::Protocol(_)
            | Self::File(_)
            | Self::Unsendable(_) => None,
        }
    }

    /// The scan that the call was about, where one exists.
    pub fn scan_id(&self) -> Option<&str> {
        match self {
            Self::Unfinished { scan_id, .. } | Self::Unregistered { scan_id, .. } => Some(scan_id),
            other => other.refusal().and_then(|refusal| refusal.scan_id.as_deref()),
        }
    }

    /// Whether the same call may succeed later with nothing changed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::RateLimited(_) | Self::Unavailable(_) | Self::Unreachable(_) | Self::Interrupted(_) | Self::Unfinished { .. } => true,
            Self::Unauthorized(_)
            | Self::Validation(_)
            | Self::TooLarge(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::UploadExpired(_)
            | Self::TooSlow(_)
            | Self::QuotaExceeded(_)
            | Self::Unregistered { .. }
            | Self::Protocol(_)
            | Self::File(_)
            | Self::Unsendable(_) => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message, self.status)?;
        for part in [&self.code, &self.scan_id, &self.request_id].into_iter().flatten() {
            write!(f, ", {part}")?;
        }
        f.write_str(")")
    }
}
