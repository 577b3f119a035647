//! The receiver's tables.

use rusqlite::Connection;

use super::Result;
use crate::receiver::store::StoreError;

/// Raised with every change of the tables.
const VERSION: i64 = 1;

/// `processed_webhooks` has a row for every event that was ever taken in, for good. `filesafety_inbox` has those with work left, and
/// dead letters: `due_at` is when to hand one out, while it is claimed when the claim runs out, and NULL when it is to be left alone.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS filesafety_schema (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS processed_webhooks (
  scan_id TEXT NOT NULL,
  event TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'handled', 'superseded', 'dead')),
  received_at INTEGER NOT NULL,
  settled_at INTEGER,
  PRIMARY KEY (scan_id, event, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS filesafety_inbox (
  id INTEGER PRIMARY KEY,
  scan_id TEXT NOT NULL,
  event TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'claimed', 'superseded', 'dead')),
  due_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  fence INTEGER NOT NULL DEFAULT 0,
  verdict TEXT NOT NULL,
  webhook_id TEXT,
  webhook_timestamp TEXT,
  webhook_signature TEXT,
  received_at INTEGER NOT NULL,
  settled_at INTEGER,
  error TEXT,
  body BLOB NOT NULL,
  UNIQUE (scan_id, event, sequence)
);
CREATE INDEX IF NOT EXISTS filesafety_inbox_due ON filesafety_inbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS filesafety_inbox_dead ON filesafety_inbox (scan_id, event, sequence) WHERE state = 'dead';
CREATE TABLE IF NOT EXISTS filesafety_pending (
  scan_id TEXT PRIMARY KEY,
  changed_at INTEGER NOT NULL,
  done INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS filesafety_pending_open ON filesafety_pending (scan_id) WHERE done = 0;
CREATE INDEX IF NOT EXISTS filesafety_pending_changed ON filesafety_pending (changed_at);
";

/// Makes the tables where they are not there. Tables of a newer version are refused.
pub(super) fn prepare(conn: &Connection) -> Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let prepared = make(conn);
    conn.execute_batch(if prepared.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    prepared
}

fn make(conn: &Connection) -> Result<()> {
    conn.execute_batch(TABLES)?;
    let version: Option<i64> = conn.query_row("SELECT max(version) FROM filesafety_schema", [], |row| row.get(0))?;
    match version {
        None => Ok(conn.execute("INSERT INTO filesafety_schema VALUES (?1)", [VERSION]).map(drop)?),
        Some(VERSION) => Ok(()),
        Some(other) => {
            Err(StoreError::Corrupt(format!("its tables have version {other}, and this program knows {VERSION}; use the newer one")))
        }
    }
}
