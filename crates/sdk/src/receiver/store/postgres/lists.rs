//! The pending set and the dead letters.

use std::time::SystemTime;

use bytes::Bytes;
use deadpool_postgres::{Client, GenericClient, Transaction};

use super::{
    super::{Counts, DeadLetter, EventKey, StoreError, from_millis, to_millis},
    inbox::small,
};
use crate::event::Verdict;

type Result<T> = std::result::Result<T, StoreError>;

pub(super) async fn add_pending(transaction: &Transaction<'_>, scan_ids: &[String], now: SystemTime) -> Result<()> {
    let insert = transaction
        .prepare_cached("INSERT INTO filesafety_pending (scan_id, changed_at) SELECT unnest($1::text[]), $2 ON CONFLICT DO NOTHING")
        .await?;
    transaction.execute(&insert, &[&scan_ids, &to_millis(now)]).await?;
    Ok(())
}

pub(super) async fn is_pending(client: &impl GenericClient, scan_id: &str) -> Result<bool> {
    let find = client.prepare_cached("SELECT FROM filesafety_pending WHERE scan_id = $1").await?;
    Ok(client.query_opt(&find, &[&scan_id]).await?.is_some())
}

pub(super) async fn dead_letters(client: &Client, after: Option<EventKey>, most: usize) -> Result<Vec<DeadLetter>> {
    let after = after.unwrap_or(EventKey { scan_id: String::new(), event: String::new(), sequence: 0 });
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let list = client
        .prepare_cached(
            "SELECT scan_id, event, sequence, verdict, attempts, error, received_at, settled_at, body FROM filesafety_inbox
             WHERE state = 'dead' AND (scan_id, event, sequence) > ($1, $2, $3) ORDER BY scan_id, event, sequence LIMIT $4",
        )
        .await?;
    let rows = client.query(&list, &[&after.scan_id, &after.event, &i64::from(after.sequence), &most]).await?;
    let read = |row: tokio_postgres::Row| {
        Ok(DeadLetter {
            key: EventKey { scan_id: row.try_get(0)?, event: row.try_get(1)?, sequence: small(row.try_get(2)?) },
            verdict: Verdict::of_stored(row.try_get(3)?)?,
            attempts: small(row.try_get(4)?),
            error: row.try_get::<_, Option<String>>(5)?.unwrap_or_default(),
            received_at: from_millis(row.try_get(6)?),
            died_at: from_millis(row.try_get(7)?),
            body: Bytes::from(row.try_get::<_, Vec<u8>>(8)?),
        })
    };
    rows.into_iter().map(read).collect()
}

pub(super) async fn replay(transaction: &Transaction<'_>, key: &EventKey, now: SystemTime) -> Result<bool> {
    let sequence = i64::from(key.sequence);
    let revive = transaction
        .prepare_cached(
            "UPDATE filesafety_inbox SET state = 'waiting', due_at = $4, attempts = 0, settled_at = NULL
             WHERE scan_id = $1 AND event = $2 AND sequence = $3 AND state = 'dead'",
        )
        .await?;
    if transaction.execute(&revive, &[&key.scan_id, &key.event, &sequence, &to_millis(now)]).await? == 0 {
        return Ok(false);
    }
    let mark = transaction
        .prepare_cached(
            "UPDATE processed_webhooks SET state = 'waiting', settled_at = NULL WHERE scan_id = $1 AND event = $2 AND sequence = $3",
        )
        .await?;
    transaction.execute(&mark, &[&key.scan_id, &key.event, &sequence]).await?;
    Ok(true)
}

pub(super) async fn counts(client: &Client) -> Result<Counts> {
    let count = client
        .prepare_cached(
            "SELECT (SELECT count(*) FROM filesafety_inbox WHERE due_at IS NOT NULL),
                    (SELECT count(*) FROM filesafety_inbox WHERE state = 'dead'),
                    (SELECT count(*) FROM filesafety_pending WHERE NOT done)",
        )
        .await?;
    let row = client.query_one(&count, &[]).await?;
    let [waiting, dead, pending] = [row.try_get::<_, i64>(0)?, row.try_get(1)?, row.try_get(2)?].map(i64::unsigned_abs);
    Ok(Counts { waiting, dead, pending })
}

pub(super) async fn sweep(client: &Client, before: SystemTime) -> Result<u64> {
    let before = to_millis(before);
    let forgotten = client.execute("DELETE FROM filesafety_pending WHERE changed_at < $1", &[&before]).await?;
    let set_aside = client.execute("DELETE FROM filesafety_inbox WHERE state = 'superseded' AND settled_at < $1", &[&before]).await?;
    Ok(forgotten.saturating_add(set_aside))
}
