//! The SQLite backend: one writer with group commit, a pool of readers.
//!
//! The modules named like those above hold the SQL of their subject, as functions on a connection that is inside a transaction.

pub(crate) mod accounts;
pub(crate) mod columns;
pub(crate) mod deliveries;
pub(crate) mod delivery_log;
pub(crate) mod events;
pub(crate) mod lines;
pub(crate) mod queue;
mod readers;
pub(crate) mod retention;
pub(crate) mod scans;
pub(crate) mod schema;
pub(crate) mod signing;
pub(crate) mod verdicts;
mod writer;

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path, thread, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

pub(crate) use readers::Readers;
pub(crate) use writer::{Reply, Writer};

use crate::{Access, Result, StoreError};

/// How long a transaction waits for another process to end its own.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_micros(250);

/// Statements kept prepared; there are fewer.
const STATEMENTS: usize = 128;

/// A connection that may write. The file is made, readable by its owner alone, if it is not there.
pub(crate) fn connect(path: &Path, access: Access) -> Result<Connection> {
    fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(StoreError::unavailable)?;
    let mut conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    keep_statements(&conn)?;
    set_patience(&mut conn, access)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "foreign_keys", "ON")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -16 * 1024)?;
    // The writer checkpoints by itself, after it has answered.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// Statements are prepared once: a plan never looks at the values that are bound, or it would be made anew with each of them.
fn keep_statements(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Makes transactions wait for another process to end its own.
fn set_patience(conn: &mut Connection, access: Access) -> rusqlite::Result<()> {
    match access {
        Access::Exclusive => conn.busy_timeout(LOCK_PATIENCE),
        // The server's writer leaves the lock for moments only: SQLite's own waits, of up to 100 ms, would keep missing them.
        Access::Shared => conn.busy_handler(Some(|polls| {
            thread::sleep(LOCK_POLL);
            LOCK_POLL * u32::try_from(polls).unwrap_or(0) < LOCK_PATIENCE
        })),
    }
}

/// A connection that only reads, of a store that exists.
pub(crate) fn connect_to_read(path: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    keep_statements(&conn)?;
    conn.busy_timeout(LOCK_PATIENCE)?;
    conn.pragma_update(None, "query_only", "ON")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

/// Copies the database, as it is at one moment, to a file that must not exist.
pub(crate) fn backup(source: &Path, target: &Path) -> Result<()> {
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(target).map_err(StoreError::unavailable)?;
    let copied = copy(source, target).and_then(|()| file.sync_all().map_err(StoreError::unavailable));
    if copied.is_err() {
        // What stays would look like a backup. The first error is the one to tell.
        let _ = fs::remove_file(target);
    }
    copied
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    let from = connect_to_read(source)?;
    let mut to = Connection::open(target)?;
    let backup = rusqlite::backup::Backup::new(&from, &mut to)?;
    // All pages in one step: a copy in several begins anew with every write beside it.
    match backup.step(-1)? {
        rusqlite::backup::StepResult::Done => Ok(()),
        _ => Err(StoreError::unavailable("the copy did not come to its end")),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Self::NotFound,
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt(error.to_string()),
            rusqlite::Error::SqliteFailure(code, _) if is_damage(code.code) => Self::Corrupt(error.to_string()),
            _ => Self::unavailable(error),
        }
    }
}

fn is_damage(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn statements_are_prepared_once_whatever_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = connect(&folder.path().join("t.db"), Access::Exclusive).unwrap();
        schema::migrate(&mut conn).unwrap();
        for sql in [
            "UPDATE deliveries SET status = ?2, lease_until = ?3 WHERE row = ?1",
            "INSERT INTO attempts (delivery, number, started_at) SELECT id, ?2, ?3 FROM deliveries WHERE row = ?1 AND status = ?2",
        ] {
            let mut statement = conn.prepare(sql).unwrap();
            for value in 0..10_i64 {
                statement.execute(rusqlite::params![value, value.to_string(), value]).unwrap();
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}
