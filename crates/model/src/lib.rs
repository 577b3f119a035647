//! The domain of FileSafety: identities, what the engines report, how reports become a verdict, when a delivery is tried again.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Time and entropy arrive as arguments.

mod digest;
mod hindsight;
mod id;
mod password;
mod policy;
mod report;
mod retry;
mod scan;
mod time;
mod verdict;

pub use digest::{DigestError, Sha256};
pub use hindsight::{Listing, reconsider};
pub use id::{AccountId, DeliveryId, EventId, IdError, KeyId, ScanId, SecretId};
pub use password::{Password, PasswordError};
pub use policy::{NsfwPolicy, Policy, PolicyError, Unexamined as UnexaminedPolicy};
pub use report::{
    Coverage, Detection, EngineName, EngineOutcome, EngineReport, Kind, Note, PictureFault, PictureOutcome, PictureReport, Pictures,
    Reason, Report, Scores, Seen, Unexamined, View,
};
pub use retry::{RetrySchedule, RetryScheduleError};
pub use scan::{ScanState, ScanTypes, ScanTypesError};
pub use time::{Timestamp, TimestampError};
pub use verdict::{Ask, Category, Failure, FailureCode, Judgement, NsfwFinding, Primary, Verdict, VirusFinding, decide};
