//! The accounts' signing secrets, kept for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use filesafety::SigningSecret;
use filesafety_model::AccountId;
use filesafety_store::{Store, StoreError};

/// A change of secrets is in force after this long.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// Accounts kept; beyond that all are read anew.
const KEPT: usize = 4096;

#[derive(Default)]
pub(super) struct SecretCache(Mutex<Kept>);

/// With the time at which they were read.
type Kept = HashMap<AccountId, (Instant, Arc<[SigningSecret]>)>;

impl SecretCache {
    /// The account's secrets, newest first.
    pub(super) async fn of(&self, store: &Store, account: AccountId) -> Result<Arc<[SigningSecret]>, StoreError> {
        if let Some((read_at, secrets)) = self.kept().get(&account)
            && read_at.elapsed() < FRESH_FOR
        {
            return Ok(secrets.clone());
        }
        let stored = store.signing_secrets(account).await?;
        let usable = stored.iter().filter_map(|secret| match SigningSecret::from_bytes(secret.expose()) {
            Ok(usable) => Some(usable),
            Err(error) => {
                tracing::error!(secret = %secret.id, %error, "a stored signing secret is unusable");
                None
            }
        });
        let secrets: Arc<[_]> = usable.collect();
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(account, (Instant::now(), secrets.clone()));
        Ok(secrets)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
