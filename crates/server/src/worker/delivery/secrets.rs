//! What the accounts' webhooks are sent with, kept for a moment: signing secrets, and headers of their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use filesafety::sign::{SecretKey, Signer, SigningSecret};
use filesafety_model::AccountId;
use filesafety_store::{CustomHeader, SecretKind, Store, StoreError};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock;

/// A change is in force after this long; two seconds are promised.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Accounts kept; beyond that all are read anew.
const KEPT: usize = 4096;

#[derive(Default)]
pub(super) struct SecretCache(Mutex<Kept>);

/// With the time at which they were read.
type Kept = HashMap<AccountId, (Instant, Arc<Signing>)>;

/// What an account's webhooks are sent with now.
pub(super) struct Signing {
    /// Newest first; after a rotation both.
    pub(super) signers: Vec<Signer>,
    pub(super) headers: HeaderMap,
}

impl Signing {
    /// Whether there is nothing to sign with, so that nothing may be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }
}

impl SecretCache {
    pub(super) async fn of(&self, store: &Store, account: AccountId) -> Result<Arc<Signing>, StoreError> {
        if let Some((read_at, signing)) = self.kept().get(&account)
            && read_at.elapsed() < FRESH_FOR
        {
            return Ok(signing.clone());
        }
        let read_at = Instant::now();
        let signing = Arc::new(read(store, account).await?);
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(account, (read_at, signing.clone()));
        Ok(signing)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(store: &Store, account: AccountId) -> Result<Signing, StoreError> {
    let now = clock::now();
    let stored = store.signing_secrets(account).await?;
    let signers = stored.iter().filter(|secret| secret.record.signs(now)).filter_map(usable).collect();
    let headers = store.account(account).await?.headers.iter().filter_map(sendable).collect();
    Ok(Signing { signers, headers })
}

fn usable(secret: &filesafety_store::SigningSecret) -> Option<Signer> {
    let unusable =
        |error: &dyn std::fmt::Display| tracing::error!(secret = %secret.record.id, %error, "a stored signing secret is unusable");
    match secret.record.kind {
        SecretKind::Shared => SigningSecret::from_bytes(secret.expose()).map(Signer::Secret).inspect_err(|error| unusable(error)).ok(),
        SecretKind::KeyPair => SecretKey::from_bytes(secret.expose()).map(Signer::Key).inspect_err(|error| unusable(error)).ok(),
    }
}

/// They were checked before they were stored: one that does not fit is a defect, and costs itself alone.
fn sendable(header: &CustomHeader) -> Option<(HeaderName, HeaderValue)> {
    let name = header.name.parse().ok();
    let value = HeaderValue::from_str(&header.value).ok().map(|mut value| {
        value.set_sensitive(true);
        value
    });
    if name.is_none() || value.is_none() {
        tracing::error!(header = header.name, "a stored header cannot be sent");
    }
    name.zip(value)
}
