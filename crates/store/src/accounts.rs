//! Accounts, their keys and quotas.

use std::fmt;

use filesafety_model::{AccountId, KeyId, Timestamp};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Store, StoreError, WebhookTarget,
    secrets::{Purpose, Sealer},
    sqlite::accounts as sql,
};

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
    /// What goes with each of them, besides the headers of the service.
    pub headers: Vec<CustomHeader>,
}

/// A header of an account's own. Its value may be a token: it is stored encrypted, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomHeader {
    pub name: String,
    pub value: String,
}

impl Account {
    /// The account that a fresh store has.
    pub const DEFAULT: &str = "default";

    fn fresh(id: AccountId, name: &str, now: Timestamp) -> Self {
        Self {
            id,
            name: name.to_owned(),
            created_at: now,
            plan: "default".to_owned(),
            quota: None,
            overage: Overage::Refuse,
            rate: None,
            events: vec!["scan.complete".to_owned()],
            webhook: None,
            headers: Vec::new(),
        }
    }

    /// As many headers of its own an account may have.
    pub const MAX_HEADERS: usize = 16;
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
    /// Names of headers to take away, in any case; before others are set.
    pub remove_headers: Vec<String>,
    /// Each replaces the one of its name.
    pub set_headers: Vec<CustomHeader>,
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

/// The account's calendar month, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub plan: String,
    pub used: u64,
    pub quota: Option<u64>,
    /// Scans past the quota.
    pub overage: u64,
    /// Whether scans past the quota are accepted.
    pub overage_allowed: bool,
    pub period_ends: Timestamp,
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

impl Store {
    /// The account `default`, made with `id` if it is not there.
    pub async fn ensure_default_account(&self, id: AccountId, now: Timestamp) -> Result<Account> {
        let fresh = sql::AccountRow { account: Account::fresh(id, Account::DEFAULT, now), webhook: None, headers: None };
        let job = move |conn: &Connection| match sql::by_name(conn, Account::DEFAULT)? {
            Some(row) => Ok(row),
            None => sql::insert(conn, &fresh).map(|()| fresh),
        };
        self.unseal_account(self.write(job).await?)
    }

    /// `Conflict::AccountExists` when the name is taken.
    pub async fn create_account(&self, id: AccountId, name: &str, change: AccountChange, now: Timestamp) -> Result<Account> {
        let mut row = sql::AccountRow { account: Account::fresh(id, name, now), webhook: None, headers: None };
        apply(self.sealer(), &mut row, change)?;
        let row = self.write(move |conn| sql::insert(conn, &row).map(|()| row)).await?;
        self.unseal_account(row)
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        let rows = self.read(sql::list).await?;
        rows.into_iter().map(|row| self.unseal_account(row)).collect()
    }

    pub async fn account(&self, id: AccountId) -> Result<Account> {
        self.unseal_account(self.read(move |conn| sql::by_id(conn, id)).await?)
    }

    pub async fn account_named(&self, name: &str) -> Result<Account> {
        let name = name.to_owned();
        let row = self.read(move |conn| sql::by_name(conn, &name)).await?;
        self.unseal_account(row.ok_or(StoreError::NotFound)?)
    }

    pub async fn set_account(&self, name: &str, change: AccountChange) -> Result<Account> {
        let (name, sealer) = (name.to_owned(), self.sealer().clone());
        let job = move |conn: &Connection| {
            let mut row = sql::by_name(conn, &name)?.ok_or(StoreError::NotFound)?;
            apply(&sealer, &mut row, change)?;
            sql::update(conn, &row)?;
            Ok(row)
        };
        self.unseal_account(self.write(job).await?)
    }

    /// Writes down a key by its digest. `Conflict::KeyRevoked` and `Conflict::KeyExists` when the digest is known.
    pub async fn create_key(&self, new: NewKey) -> Result<KeyRecord> {
        self.write(move |conn| sql::insert_key(conn, &new)).await
    }

    /// The account's keys, revoked ones too, oldest first; all accounts' for `None`.
    pub async fn keys(&self, account: Option<AccountId>) -> Result<Vec<KeyRecord>> {
        self.read(move |conn| sql::keys(conn, account)).await
    }

    /// For good. Revoking again changes nothing.
    pub async fn revoke_key(&self, key: KeyId, now: Timestamp) -> Result<KeyRecord> {
        self.write(move |conn| sql::revoke_key(conn, key, now)).await
    }

    /// Whom the key of this digest speaks for. Revoked keys are found, too.
    pub async fn key_by_hash(&self, sha256: [u8; 32]) -> Result<Option<Principal>> {
        let found = self.read(move |conn| sql::principal(conn, &sha256)).await?;
        let principal = |(key, revoked, row)| Ok(Principal { account: self.unseal_account(row)?, key, revoked });
        found.map(principal).transpose()
    }

    /// Writes down when keys were last used; never back in time.
    pub async fn touch_keys(&self, uses: &[(KeyId, Timestamp)]) -> Result<()> {
        let uses = uses.to_vec();
        self.write(move |conn| uses.into_iter().try_for_each(|(key, at)| sql::touch_key(conn, key, at))).await
    }

    /// The account's use of this calendar month.
    pub async fn usage(&self, account: AccountId, now: Timestamp) -> Result<Usage> {
        self.read(move |conn| sql::usage(conn, account, now)).await
    }

    /// A number that changes with every change of accounts, keys or secrets, by whichever process.
    pub async fn generation(&self) -> Result<u64> {
        self.read(sql::generation).await
    }

    fn unseal_account(&self, row: sql::AccountRow) -> Result<Account> {
        let id = row.account.id.to_string();
        let unseal = |(url, url_host): (Vec<u8>, String)| {
            let url = self.sealer().open_text(Purpose::AccountWebhook, &id, &url)?;
            Ok::<_, StoreError>(WebhookTarget { url, url_host })
        };
        let webhook = row.webhook.map(unseal).transpose()?;
        let headers = row.headers.map_or_else(|| Ok(Vec::new()), |sealed| open_headers(self.sealer(), &id, &sealed))?;
        Ok(Account { webhook, headers, ..row.account })
    }
}

fn apply(sealer: &Sealer, row: &mut sql::AccountRow, change: AccountChange) -> Result<()> {
    let account = &mut row.account;
    account.plan = change.plan.unwrap_or(std::mem::take(&mut account.plan));
    account.quota = change.quota.unwrap_or(account.quota);
    account.overage = change.overage.unwrap_or(account.overage);
    account.rate = change.rate.unwrap_or(account.rate);
    account.events = change.events.unwrap_or(std::mem::take(&mut account.events));
    match change.webhook {
        None => {}
        Some(None) => row.webhook = None,
        Some(Some(target)) => {
            let url = sealer.seal(Purpose::AccountWebhook, &account.id.to_string(), target.url.as_bytes())?;
            row.webhook = Some((url, target.url_host));
        }
    }
    if change.set_headers.is_empty() && change.remove_headers.is_empty() {
        return Ok(());
    }
    row.headers = change_headers(sealer, row, change.remove_headers, change.set_headers)?;
    Ok(())
}

/// The headers, sealed, after a change; `None` where none is left.
fn change_headers(sealer: &Sealer, row: &sql::AccountRow, remove: Vec<String>, set: Vec<CustomHeader>) -> Result<Option<Vec<u8>>> {
    let id = row.account.id.to_string();
    let mut headers = row.headers.as_ref().map_or_else(|| Ok(Vec::new()), |sealed| open_headers(sealer, &id, sealed))?;
    let gone = |header: &CustomHeader, name: &str| header.name.eq_ignore_ascii_case(name);
    headers.retain(|header| !remove.iter().any(|name| gone(header, name)));
    for header in set {
        headers.retain(|known| !gone(known, &header.name));
        headers.push(header);
    }
    if headers.len() > Account::MAX_HEADERS {
        return Err(crate::Conflict::TooManyHeaders.into());
    }
    if headers.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_vec(&headers).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    sealer.seal(Purpose::AccountHeaders, &id, &text).map(Some)
}

fn open_headers(sealer: &Sealer, account: &str, sealed: &[u8]) -> Result<Vec<CustomHeader>> {
    let text = sealer.open(Purpose::AccountHeaders, account, sealed)?;
    serde_json::from_slice(&text).map_err(|error| StoreError::Corrupt(format!("the headers of {account}: {error}")))
}

impl fmt::Debug for CustomHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomHeader").field("name", &self.name).field("value", &"[redacted]").finish()
    }
}
