//! The schema and its versions. Each migration is a file, run once, in a transaction.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{
    OpenError, StoreError,
    secrets::{Purpose, Sealer},
};

/// What version `n` adds stands at place `n - 1`.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../migrations/sqlite/0001_first.sql"),
    include_str!("../../migrations/sqlite/0002_deliveries.sql"),
    include_str!("../../migrations/sqlite/0003_secrets.sql"),
    include_str!("../../migrations/sqlite/0004_passwords.sql"),
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    #[test]
    fn deliveries_of_the_first_version_stand_in_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = crate::sqlite::connect(&folder.path().join("t.db"), Access::Exclusive).unwrap();
        conn.execute_batch(MIGRATIONS[0]).unwrap();
        conn.pragma_update(None, "user_version", 1).unwrap();
        conn.pragma_update(None, "foreign_keys", "OFF").unwrap();
        for (row, scan, host, status, attempts) in [
            (1, "s1", "a.example", "pending", 0),
            (2, "s1", "a.example", "pending", 0),
            (3, "s2", "b.example:8443", "pending", 2),
            (4, "s3", "[::1]", "delivered", 1),
            (5, "s3", "[::1]", "pending", 1),
            (6, "s4", "[::1]:9", "delivering", 1),
        ] {
            conn.execute(
                "INSERT INTO deliveries (row, id, account, scan, event, host, status, attempts, due_at) VALUES (?1, 'd' || ?1, 'acc', ?2, 'e', ?3, ?4, ?5, ?1)",
                params![row, scan, host, status, attempts],
            )
            .unwrap();
        }
        migrate(&mut conn).unwrap();
        let read = |sql: &str| -> Vec<String> {
            let mut query = conn.prepare(sql).unwrap();
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(
            read("SELECT host || ' ' || lane || ' ' || blocked FROM deliveries ORDER BY row"),
            [
                "a.example:443 first 0",
                "a.example:443 first 1",
                "b.example:8443 retry 0",
                "[::1]:443 retry 0",
                "[::1]:443 retry 0",
                "[::1]:9 retry 0"
            ]
        );
        assert_eq!(
            read("SELECT host || ' ' || lane || ' ' || turn_at FROM lines ORDER BY row"),
            ["[::1]:443 retry 5", "a.example:443 first 1", "b.example:8443 retry 3"]
        );
    }
}
