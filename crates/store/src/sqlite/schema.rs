//! The schema and its versions. Each migration is a file, run once, in a transaction.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{
    OpenError, StoreError,
    secrets::{Purpose, Sealer},
};

/// What version `n` adds stands at place `n - 1`.
const MIGRATIONS: [&str; 2] =
    [include_str!("../../migrations/sqlite/0001_first.sql"), include_str!("../../migrations/sqlite/0003_secrets.sql")];

/// The schema this build writes.
pub(crate) const KNOWN: u32 = MIGRATIONS.len() as u32;

/// The version of the store; 0 is a fresh one.
pub(crate) fn version(conn: &Connection) -> Result<u32, OpenError> {
    let found = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(StoreError::from)?;
    if found > KNOWN { Err(OpenError::NewerSchema { found, known: KNOWN }) } else { Ok(found) }
}

/// Brings the store to this build's schema.
pub(crate) fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
    // Looked at again under the lock: another process may have been first.
    let found = version(&transaction)?;
    let run = || {
        for migration in MIGRATIONS.iter().skip(found as usize) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", KNOWN)
    };
    run().map_err(StoreError::from)?;
    transaction.commit().map_err(StoreError::from)?;
    Ok(())
}

/// A fresh store takes the master key for its own; any other opens with the same one only.
pub(crate) fn check_master_key(conn: &mut Connection, sealer: &Sealer) -> Result<(), OpenError> {
    const ROW: &str = "master_key_check";
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
    let query = "SELECT value FROM meta WHERE name = ?1";
    let sealed: Option<Vec<u8>> = transaction.query_row(query, [ROW], |row| row.get(0)).optional().map_err(StoreError::from)?;
    match sealed {
        Some(sealed) => match sealer.open(Purpose::Check, ROW, &sealed) {
            Ok(_) => Ok(()),
            Err(_) => Err(OpenError::WrongMasterKey),
        },
        None => {
            let sealed = sealer.seal(Purpose::Check, ROW, b"")?;
            transaction.execute("INSERT INTO meta VALUES (?1, ?2)", params![ROW, sealed]).map_err(StoreError::from)?;
            transaction.commit().map_err(StoreError::from)?;
            Ok(())
        }
    }
}
