//! Accounts, keys, use.

use filesafety_model::{AccountId, KeyId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::columns::{all, from_json, json, number, number_if_any, parsed, parsed_if_any, signed, time, time_if_any};
use crate::{Account, Conflict, KeyRecord, NewKey, Overage, Result, StoreError, Usage};

/// An account with its webhook's URL and its headers still sealed.
pub(crate) struct AccountRow {
    pub(crate) account: Account,
    /// The sealed URL and its host.
    pub(crate) webhook: Option<(Vec<u8>, String)>,
    /// Sealed.
    pub(crate) headers: Option<Vec<u8>>,
}

const ACCOUNT: &str = "SELECT id, name, created_at, plan, quota, overage, rate, events, webhook_url, webhook_host, headers FROM accounts ";
const KEY: &str = "SELECT id, account, name, prefix, created_at, last_used_at, revoked_at FROM keys ";

/// Tells every process that something changed.
pub(crate) fn bump(conn: &Connection) -> Result<()> {
    conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE name = 'generation'")?.execute([])?;
    Ok(())
}

pub(crate) fn generation(conn: &Connection) -> Result<u64> {
    let mut query = conn.prepare_cached("SELECT value FROM meta WHERE name = 'generation'")?;
    Ok(query.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

pub(crate) fn insert(conn: &Connection, row: &AccountRow) -> Result<()> {
    let sql = "INSERT INTO accounts (id, name, created_at, plan, quota, overage, rate, events, webhook_url, webhook_host, headers) \
         VALUES (:id, :name, :created_at, :plan, :quota, :overage, :rate, :events, :webhook_url, :webhook_host, :headers)";
    write(conn, sql, row).map_err(|error| match error {
        StoreError::Conflict(_) => Conflict::AccountExists.into(),
        other => other,
    })
}

pub(crate) fn update(conn: &Connection, row: &AccountRow) -> Result<()> {
    let sql = "UPDATE accounts SET name = :name, created_at = :created_at, plan = :plan, quota = :quota, overage = :overage, rate = :rate, \
         events = :events, webhook_url = :webhook_url, webhook_host = :webhook_host, headers = :headers WHERE id = :id";
    write(conn, sql, row)
}

fn write(conn: &Connection, sql: &str, row: &AccountRow) -> Result<()> {
    let account = &row.account;
    let written = conn.prepare_cached(sql)?.execute(named_params! {
        ":id": account.id.to_string(),
        ":name": account.name,
        ":created_at": account.created_at.as_millis(),
        ":plan": account.plan,
        ":quota": account.quota.map(signed),
        ":overage": account.overage.as_str(),
        ":rate": account.rate.map(|rate| rate.to_string()),
        ":events": json(&account.events)?,
        ":webhook_url": row.webhook.as_ref().map(|(url, _)| url),
        ":webhook_host": row.webhook.as_ref().map(|(_, host)| host),
        ":headers": row.headers,
    });
    written.map_err(|error| if super::scans::is_duplicate(&error) { Conflict::IdExists.into() } else { StoreError::from(error) })?;
    bump(conn)
}

pub(crate) fn by_id(conn: &Connection, id: AccountId) -> Result<AccountRow> {
    one(conn, "WHERE id = ?1", &id.to_string())?.ok_or(StoreError::NotFound)
}

pub(crate) fn by_name(conn: &Connection, name: &str) -> Result<Option<AccountRow>> {
    one(conn, "WHERE name = ?1", name)
}

pub(crate) fn list(conn: &Connection) -> Result<Vec<AccountRow>> {
    let mut query = conn.prepare_cached(&format!("{ACCOUNT} ORDER BY name"))?;
    all(query.query([])?, account)
}

fn one(conn: &Connection, which: &str, value: &str) -> Result<Option<AccountRow>> {
    let mut query = conn.prepare_cached(&format!("{ACCOUNT}{which}"))?;
    let mut rows = query.query([value])?;
    rows.next()?.map(account).transpose()
}

fn account(row: &Row<'_>) -> Result<AccountRow> {
    let account = Account {
        id: parsed(row, "id")?,
        name: row.get("name")?,
        created_at: time(row, "created_at")?,
        plan: row.get("plan")?,
        quota: number_if_any(row, "quota")?,
        overage: parsed(row, "overage")?,
        rate: parsed_if_any(row, "rate")?,
        events: from_json(row, "events")?,
        webhook: None,
        headers: Vec::new(),
    };
    let webhook = row.get::<_, Option<Vec<u8>>>("webhook_url")?.zip(row.get("webhook_host")?);
    Ok(AccountRow { account, webhook, headers: row.get("headers")? })
}

pub(crate) fn insert_key(conn: &Connection, new: &NewKey) -> Result<KeyRecord> {
    let mut query = conn.prepare_cached("SELECT revoked_at IS NOT NULL FROM keys WHERE sha256 = ?1")?;
    match query.query_row([new.sha256], |row| row.get(0)).optional()? {
        Some(true) => return Err(Conflict::KeyRevoked.into()),
        Some(false) => return Err(Conflict::KeyExists.into()),
        None => {}
    }
    by_id(conn, new.account)?;
    conn.prepare_cached("INSERT INTO keys (id, account, name, sha256, prefix, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![new.id.to_string(), new.account.to_string(), new.name, new.sha256, new.prefix, new.created_at.as_millis()])?;
    bump(conn)?;
    key_by_id(conn, new.id)
}

fn key_by_id(conn: &Connection, id: KeyId) -> Result<KeyRecord> {
    let mut query = conn.prepare_cached(&format!("{KEY}WHERE id = ?1"))?;
    let mut rows = query.query([id.to_string()])?;
    key(rows.next()?.ok_or(StoreError::NotFound)?)
}

pub(crate) fn keys(conn: &Connection, account: Option<AccountId>) -> Result<Vec<KeyRecord>> {
    let mut query = conn.prepare_cached(&format!("{KEY}WHERE ?1 IS NULL OR account = ?1 ORDER BY created_at, id"))?;
    all(query.query([account.map(String::from)])?, key)
}

fn key(row: &Row<'_>) -> Result<KeyRecord> {
    Ok(KeyRecord {
        id: parsed(row, "id")?,
        account: parsed(row, "account")?,
        name: row.get("name")?,
        prefix: row.get("prefix")?,
        created_at: time(row, "created_at")?,
        last_used_at: time_if_any(row, "last_used_at")?,
        revoked_at: time_if_any(row, "revoked_at")?,
    })
}

pub(crate) fn revoke_key(conn: &Connection, id: KeyId, now: Timestamp) -> Result<KeyRecord> {
    conn.prepare_cached("UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1")?
        .execute(params![id.to_string(), now.as_millis()])?;
    bump(conn)?;
    key_by_id(conn, id)
}

/// The key of a digest with its account; whether it is revoked.
pub(crate) fn principal(conn: &Connection, sha256: &[u8; 32]) -> Result<Option<(KeyId, bool, AccountRow)>> {
    let mut query = conn.prepare_cached("SELECT id, account, revoked_at IS NOT NULL AS revoked FROM keys WHERE sha256 = ?1")?;
    let mut rows = query.query([sha256])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((parsed(row, "id")?, row.get("revoked")?, by_id(conn, parsed(row, "account")?)?)))
}

pub(crate) fn touch_key(conn: &Connection, id: KeyId, at: Timestamp) -> Result<()> {
    conn.prepare_cached("UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1")?
        .execute(params![id.to_string(), at.as_millis()])?;
    Ok(())
}

pub(crate) fn usage(conn: &Connection, account: AccountId, now: Timestamp) -> Result<Usage> {
    let mut query = conn.prepare_cached(
        "SELECT a.plan, a.quota, a.overage, coalesce(u.used, 0) AS used FROM accounts a \
         LEFT JOIN usage u ON u.account = a.id AND u.period = ?2 WHERE a.id = ?1",
    )?;
    let mut rows = query.query(params![account.to_string(), now.this_month().as_millis()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    let (quota, used): (Option<u64>, u64) = (number_if_any(row, "quota")?, number(row, "used")?);
    let overage = quota.map_or(0, |quota| used.saturating_sub(quota));
    let allowed = parsed::<Overage>(row, "overage")?;
    Ok(Usage { plan: row.get("plan")?, used, quota, overage, overage_allowed: allowed == Overage::Allow, period_ends: now.next_month() })
}
