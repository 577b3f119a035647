//! What can go wrong, named by what to do about it.

use filesafety_model::Timestamp;

pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a transaction did not happen. Nothing of it is in the store then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row, or another account's.
    #[error("there is no such thing in the store")]
    NotFound,
    /// The state of the row forbids it.
    #[error("{0}")]
    Conflict(Conflict),
    /// Someone else holds the row by now, or it is finished. Drop the work.
    #[error("the lease was lost")]
    LeaseLost,
    /// A disk that is full or broken, a lock held too long. Trying again later may succeed.
    #[error("the store cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be what was written. Trying again changes nothing.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

/// A state that forbids the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("the scan is in progress")]
    ScanInProgress,
    #[error("the upload URL was used")]
    UploadUsed,
    #[error("the upload URL has expired")]
    UploadExpired,
    #[error("the scan has no webhook")]
    NoWebhook,
    #[error("the webhook is being delivered")]
    DeliveryInProgress,
    #[error("there is an account of this name")]
    AccountExists,
    #[error("this key exists")]
    KeyExists,
    #[error("this key was revoked; a revoked key never comes back")]
    KeyRevoked,
    #[error("as many signing secrets as may sign at a time do so already; revoke one first")]
    TooManySecrets,
    #[error("the account has as many headers of its own as it may")]
    TooManyHeaders,
    #[error("the verdict was turned meanwhile")]
    VerdictTurned,
    #[error("there is a row of this id")]
    IdExists,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another process serves from this data folder")]
    InUse,
    #[error("the store has schema {found}, and this build knows {known}; use a newer build")]
    NewerSchema { found: u32, known: u32 },
    #[error("the store has the older schema {found} and a server is using it; restart the server with this build first")]
    OlderSchemaInUse { found: u32 },
    #[error("the master key is not the one this store was made with")]
    WrongMasterKey,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The account has no scans left in this calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    pub quota: u64,
    pub used: u64,
    pub period_ends: Timestamp,
}

impl StoreError {
    pub(crate) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl From<Conflict> for StoreError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}
