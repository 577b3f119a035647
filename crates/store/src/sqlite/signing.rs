//! Signing secrets: added, rotated, revoked.

use filesafety_model::{AccountId, SecretId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    accounts::{bump, by_id},
    columns::{all, parsed, time, time_if_any},
};
use crate::{Conflict, NewSecret, Result, SecretKind, SecretRecord, StoreError};

/// A signing secret, sealed.
pub(crate) struct SecretRow {
    pub(crate) record: SecretRecord,
    pub(crate) sealed: Vec<u8>,
}

const SECRET: &str = "SELECT id, account, kind, public_key, created_at, expires_at, revoked_at, sealed FROM secrets ";

pub(crate) fn of_account(conn: &Connection, account: AccountId) -> Result<Vec<SecretRow>> {
    let mut query = conn.prepare_cached(&format!("{SECRET}WHERE account = ?1 ORDER BY created_at DESC, id DESC"))?;
    all(query.query([account.to_string()])?, |row| Ok(SecretRow { record: record(row)?, sealed: row.get("sealed")? }))
}

pub(crate) fn records(conn: &Connection, account: Option<AccountId>) -> Result<Vec<SecretRecord>> {
    let mut query = conn.prepare_cached(&format!("{SECRET}WHERE ?1 IS NULL OR account = ?1 ORDER BY created_at, id"))?;
    all(query.query([account.map(String::from)])?, record)
}

fn record(row: &Row<'_>) -> Result<SecretRecord> {
    Ok(SecretRecord {
        id: parsed(row, "id")?,
        account: parsed(row, "account")?,
        kind: parsed(row, "kind")?,
        public_key: row.get("public_key")?,
        created_at: time(row, "created_at")?,
        expires_at: time_if_any(row, "expires_at")?,
        revoked_at: time_if_any(row, "revoked_at")?,
    })
}

pub(crate) fn insert(conn: &Connection, new: &NewSecret, sealed: &[u8]) -> Result<()> {
    by_id(conn, new.account)?;
    let signing = records(conn, Some(new.account))?.iter().filter(|record| record.signs(new.created_at)).count();
    if signing >= NewSecret::MAX_SIGNING {
        return Err(Conflict::TooManySecrets.into());
    }
    let inserted = conn
        .prepare_cached("INSERT INTO secrets (id, account, sealed, created_at, kind, public_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            new.id.to_string(),
            new.account.to_string(),
            sealed,
            new.created_at.as_millis(),
            new.kind.as_str(),
            new.public_key
        ]);
    inserted.map_err(|error| if super::scans::is_duplicate(&error) { Conflict::IdExists.into() } else { StoreError::from(error) })?;
    bump(conn)
}

/// Lets the secrets of a kind that have no end yet, or a later one, end at `until`.
pub(crate) fn expire(conn: &Connection, account: AccountId, kind: SecretKind, until: Timestamp) -> Result<()> {
    conn.prepare_cached(
        "UPDATE secrets SET expires_at = min(coalesce(expires_at, ?3), ?3) WHERE account = ?1 AND kind = ?2 AND revoked_at IS NULL",
    )?
    .execute(params![account.to_string(), kind.as_str(), until.as_millis()])?;
    Ok(())
}

pub(crate) fn revoke(conn: &Connection, id: SecretId, now: Timestamp) -> Result<SecretRecord> {
    let id = id.to_string();
    conn.prepare_cached("UPDATE secrets SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1")?.execute(params![id, now.as_millis()])?;
    bump(conn)?;
    let mut query = conn.prepare_cached(&format!("{SECRET}WHERE id = ?1"))?;
    let mut rows = query.query([id])?;
    record(rows.next()?.ok_or(StoreError::NotFound)?)
}
