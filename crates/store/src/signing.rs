//! What an account's webhooks are signed with, and how that changes without a receiver refusing one.

use std::fmt;

use filesafety_model::{AccountId, SecretId, Timestamp};
use rusqlite::Connection;

use crate::{Result, Store, secrets::Purpose, sqlite::signing as sql};

/// How a secret signs (Standard Webhooks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// `v1`: HMAC-SHA256 with a secret that both sides have.
    Shared,
    /// `v1a`: Ed25519; receivers have the public key alone.
    KeyPair,
}

/// A secret that signs webhooks. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    pub record: SecretRecord,
    secret: Vec<u8>,
}

/// What may be shown of a signing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRecord {
    pub id: SecretId,
    pub account: AccountId,
    pub kind: SecretKind,
    /// Of a key pair.
    pub public_key: Option<Vec<u8>>,
    pub created_at: Timestamp,
    /// Until when it signs, where another took its place.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Where a signing secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    Active,
    /// It was rotated, and signs beside its successor until then.
    Expiring(Timestamp),
    Expired(Timestamp),
    Revoked(Timestamp),
}

/// A signing secret to be written down, encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSecret {
    pub id: SecretId,
    pub account: AccountId,
    pub kind: SecretKind,
    pub secret: Vec<u8>,
    pub public_key: Option<Vec<u8>>,
    pub created_at: Timestamp,
}

impl NewSecret {
    /// So many of an account sign at a time: each is a signature in the header.
    pub const MAX_SIGNING: usize = 8;

    /// A secret that both sides have.
    pub fn shared(id: SecretId, account: AccountId, secret: &[u8], created_at: Timestamp) -> Self {
        Self { id, account, kind: SecretKind::Shared, secret: secret.to_vec(), public_key: None, created_at }
    }
}

impl Store {
    /// The account's signing secrets, newest first; those that sign no more, too.
    pub async fn signing_secrets(&self, account: AccountId) -> Result<Vec<SigningSecret>> {
        let rows = self.read(move |conn| sql::of_account(conn, account)).await?;
        let unseal = |row: sql::SecretRow| {
            let secret = self.sealer().open(Purpose::SigningSecret, &row.record.id.to_string(), &row.sealed)?;
            Ok(SigningSecret { record: row.record, secret })
        };
        rows.into_iter().map(unseal).collect()
    }

    /// What may be shown of the account's signing secrets, oldest first; of all accounts' for `None`.
    pub async fn secret_records(&self, account: Option<AccountId>) -> Result<Vec<SecretRecord>> {
        self.read(move |conn| sql::records(conn, account)).await
    }

    /// Adds a secret; those that sign already go on.
    /// [`Conflict::TooManySecrets`](crate::Conflict::TooManySecrets) when [`NewSecret::MAX_SIGNING`] sign.
    pub async fn create_signing_secret(&self, new: NewSecret) -> Result<()> {
        let sealed = self.seal_secret(&new)?;
        self.write(move |conn| sql::insert(conn, &new, &sealed)).await
    }

    /// As [`Store::create_signing_secret`], with a secret that both sides have.
    pub async fn add_signing_secret(&self, account: AccountId, id: SecretId, secret: &[u8], now: Timestamp) -> Result<()> {
        self.create_signing_secret(NewSecret::shared(id, account, secret, now)).await
    }

    /// Adds a secret, and lets those of its kind that sign now end at `old_until`, at once. What ends sooner already still does.
    pub async fn rotate_signing_secret(&self, new: NewSecret, old_until: Timestamp) -> Result<()> {
        let sealed = self.seal_secret(&new)?;
        let job = move |conn: &Connection| {
            sql::expire(conn, new.account, new.kind, old_until)?;
            sql::insert(conn, &new, &sealed)
        };
        self.write(job).await
    }

    /// For good: it signs nothing from now on. Revoking again changes nothing.
    pub async fn revoke_signing_secret(&self, id: SecretId, now: Timestamp) -> Result<SecretRecord> {
        self.write(move |conn| sql::revoke(conn, id, now)).await
    }

    fn seal_secret(&self, new: &NewSecret) -> Result<Vec<u8>> {
        self.sealer().seal(Purpose::SigningSecret, &new.id.to_string(), &new.secret)
    }
}

impl SecretRecord {
    pub fn state(&self, now: Timestamp) -> SecretState {
        match (self.revoked_at, self.expires_at) {
            (Some(at), _) => SecretState::Revoked(at),
            (None, Some(at)) if at <= now => SecretState::Expired(at),
            (None, Some(at)) => SecretState::Expiring(at),
            (None, None) => SecretState::Active,
        }
    }

    /// Whether it signs at `now`.
    pub fn signs(&self, now: Timestamp) -> bool {
        match self.state(now) {
            SecretState::Active | SecretState::Expiring(_) => true,
            SecretState::Expired(_) | SecretState::Revoked(_) => false,
        }
    }
}

impl SigningSecret {
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("record", &self.record).field("secret", &"[redacted]").finish()
    }
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecret").field("id", &self.id).field("kind", &self.kind).field("secret", &"[redacted]").finish_non_exhaustive()
    }
}

impl SecretKind {
    /// The scheme's name in Standard Webhooks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "v1",
            Self::KeyPair => "v1a",
        }
    }
}

/// `v1` or `v1a`.
impl std::str::FromStr for SecretKind {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        [Self::Shared, Self::KeyPair].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}
