//! Accounts, their keys, signing secrets and quotas.

use std::fmt;

use filesafety_model::{AccountId, KeyId, SecretId, Timestamp};

use crate::{Result, Store, WebhookTarget};

/// Who owns scans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub created_at: Timestamp,
    pub plan: String,
    /// Scans a calendar month; `None`: unlimited.
    pub quota: Option<u64>,
    pub overage: Overage,
    /// `None`: the server's default.
    pub rate: Option<Rate>,
    /// Which events its webhooks tell.
    pub events: Vec<String>,
    /// Where webhooks go when a scan names no other place.
    pub webhook: Option<WebhookTarget>,
}

impl Account {
    /// The account that a fresh store has.
    pub const DEFAULT: &str = "default";
}

/// What happens past the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overage {
    Allow,
    Refuse,
}

/// How many submissions a key may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    Off,
    Limit { per_second: u32, burst: u32 },
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    pub plan: Option<String>,
    pub quota: Option<Option<u64>>,
    pub overage: Option<Overage>,
    pub rate: Option<Option<Rate>>,
    pub events: Option<Vec<String>>,
    pub webhook: Option<Option<WebhookTarget>>,
}

/// An API key, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub id: KeyId,
    pub account: AccountId,
    pub name: String,
    /// Its first characters, fit to be shown.
    pub prefix: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Whom a key speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub account: Account,
    pub key: KeyId,
    pub revoked: bool,
}

/// A key that signs webhooks. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    pub id: SecretId,
    pub created_at: Timestamp,
    secret: Vec<u8>,
}

/// The account's calendar month, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub plan: String,
    pub used: u64,
    pub quota: Option<u64>,
    /// Scans past the quota.
    pub overage: u64,
    pub period_ends: Timestamp,
}

impl Store {
    /// The account `default`, made with `id` if it is not there.
    pub async fn ensure_default_account(&self, id: AccountId, now: Timestamp) -> Result<Account> {
        let _ = (id, now);
        todo!()
    }

    /// `Conflict::AccountExists` when the name is taken.
    pub async fn create_account(&self, id: AccountId, name: &str, change: AccountChange, now: Timestamp) -> Result<Account> {
        let _ = (id, name, change, now);
        todo!()
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        todo!()
    }

    pub async fn account(&self, id: AccountId) -> Result<Account> {
        let _ = id;
        todo!()
    }

    pub async fn account_named(&self, name: &str) -> Result<Account> {
        let _ = name;
        todo!()
    }

    pub async fn set_account(&self, name: &str, change: AccountChange) -> Result<Account> {
        let _ = (name, change);
        todo!()
    }

    /// Writes down a key by its digest. `Conflict::KeyRevoked` and `Conflict::KeyExists` when the digest is known.
    pub async fn create_key(&self, new: NewKey) -> Result<KeyRecord> {
        let _ = new;
        todo!()
    }

    /// The account's keys, revoked ones too, oldest first; all accounts' for `None`.
    pub async fn keys(&self, account: Option<AccountId>) -> Result<Vec<KeyRecord>> {
        let _ = account;
        todo!()
    }

    /// For good. Revoking again changes nothing.
    pub async fn revoke_key(&self, key: KeyId, now: Timestamp) -> Result<KeyRecord> {
        let _ = (key, now);
        todo!()
    }

    /// Whom the key of this digest speaks for. Revoked keys are found, too.
    pub async fn key_by_hash(&self, sha256: [u8; 32]) -> Result<Option<Principal>> {
        let _ = sha256;
        todo!()
    }

    /// Writes down when keys were last used; never back in time.
    pub async fn touch_keys(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        let _ = uses;
        todo!()
    }

    /// The account's signing secrets, newest first.
    pub async fn signing_secrets(&self, account: AccountId) -> Result<Vec<SigningSecret>> {
        let _ = account;
        todo!()
    }

    /// Adds a signing secret, stored encrypted.
    pub async fn add_signing_secret(&self, account: AccountId, id: SecretId, secret: &[u8], now: Timestamp) -> Result<()> {
        let _ = (account, id, secret, now);
        todo!()
    }

    /// The account's use of this calendar month.
    pub async fn usage(&self, account: AccountId, now: Timestamp) -> Result<Usage> {
        let _ = (account, now);
        todo!()
    }

    /// A number that changes with every change of accounts, keys or secrets, by whichever process.
    pub async fn generation(&self) -> Result<u64> {
        todo!()
    }
}

/// A key to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub id: KeyId,
    pub account: AccountId,
    pub name: String,
    pub sha256: [u8; 32],
    pub prefix: String,
    pub created_at: Timestamp,
}

impl SigningSecret {
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("id", &self.id).field("secret", &"[redacted]").finish_non_exhaustive()
    }
}
