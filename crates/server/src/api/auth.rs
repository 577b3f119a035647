//! Who calls.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use filesafety_model::{KeyId, Timestamp};
use filesafety_store::{Account, Principal, Store, StoreError};
use sha2::Digest as _;

use super::error::{ApiError, ErrorCode};
use crate::{clock, config::Rate, state::Shared};

/// An API key begins so.
pub const KEY_PREFIX: &str = "fs_live_";
/// and goes on with at least so many base64url characters.
const KEY_RANDOM_MIN: usize = 24;
const KEY_MAX: usize = 256;

/// The caller of a request that carried a good key, within its rate of reads.
pub(crate) struct Caller {
    pub(crate) account: Account,
    pub(crate) key: KeyId,
}

/// The keys seen of late, so that most requests need no look at the store.
#[derive(Default)]
pub(crate) struct Keys {
    known: Mutex<HashMap<[u8; 32], (Principal, Instant)>>,
    used: Mutex<HashMap<KeyId, Timestamp>>,
}

/// A change of an account or a key is in force after this time.
const REMEMBERED: Duration = Duration::from_secs(1);
const REMEMBERED_AT_MOST: usize = 10_000;

impl Keys {
    /// Whom `key` speaks for; `None` for one that is malformed, unknown or revoked.
    async fn principal(&self, store: &Store, key: &str) -> Result<Option<Principal>, StoreError> {
        if !is_well_formed(key) {
            return Ok(None);
        }
        let digest: [u8; 32] = sha2::Sha256::digest(key).into();
        let now = Instant::now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some((principal, seen)) = known
            && now.duration_since(seen) < REMEMBERED
        {
            return Ok(Some(principal));
        }
        let found = store.key_by_hash(digest).await?.filter(|principal| !principal.revoked);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some(principal) => {
                if known.len() >= REMEMBERED_AT_MOST {
                    known.clear();
                }
                known.insert(digest, (principal.clone(), now));
            }
            None => drop(known.remove(&digest)),
        }
        Ok(found)
    }

    /// Whether `key`, which was good, is not any more. A store that does not answer refuses nobody.
    pub(crate) async fn is_refused(&self, store: &Store, key: &str) -> bool {
        matches!(self.principal(store, key).await, Ok(None))
    }

    /// When each key was last used, since the last call.
    pub(crate) fn take_uses(&self) -> Vec<(KeyId, Timestamp)> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

/// Whether the text has the form of a key: `fs_live_` and at least 24 base64url characters.
pub fn is_well_formed(key: &str) -> bool {
    key.len() <= KEY_MAX
        && key.strip_prefix(KEY_PREFIX).is_some_and(|random| {
            random.len() >= KEY_RANDOM_MIN && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let refuse = || ApiError::new(ErrorCode::InvalidApiKey, "The header x-api-key holds no valid key.");
        let key = parts.headers.get("x-api-key").and_then(|value| value.to_str().ok()).ok_or_else(refuse)?;
        let principal = state.keys.principal(&state.store, key).await?.ok_or_else(refuse)?;
        state.keys.used.lock().unwrap_or_else(PoisonError::into_inner).insert(principal.key, clock::now());
        Ok(Self { account: principal.account, key: principal.key })
    }
}

impl Caller {
    /// Counts a read.
    pub(crate) fn read(&self, state: &Shared) -> Result<(), ApiError> {
        state.config.read_rate.map_or(Ok(()), |rate| spend(state.reads.spend(self.key, rate, Instant::now())))
    }

    /// Counts a submission.
    pub(crate) fn submit(&self, state: &Shared) -> Result<(), ApiError> {
        let rate = match self.account.rate {
            None => state.config.rate,
            Some(filesafety_store::Rate::Off) => None,
            Some(filesafety_store::Rate::Limit { per_second, burst }) => Some(Rate { per_second, burst }),
        };
        rate.map_or(Ok(()), |rate| spend(state.submissions.spend(self.key, rate, Instant::now())))
    }
}

fn spend(outcome: Result<(), Duration>) -> Result<(), ApiError> {
    outcome.map_err(|wait| {
        ApiError::new(ErrorCode::RateLimited, "This key calls more often than it may; wait as long as Retry-After says.")
            .retry_after(wait.as_secs() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_form() {
        assert!(is_well_formed("fs_live_abcdefghijklmnopqrstuvwx"));
        for key in [
            "",
            "fs_live_",
            "fs_live_short",
            "fs_test_abcdefghijklmnopqrstuvwx",
            "fs_live_abcdefghijklmnopqrstuv+/",
            &format!("fs_live_{}", "a".repeat(300)),
        ] {
            assert!(!is_well_formed(key), "{key}");
        }
    }
}
