//! The way of an event: taken in, claimed, settled. Functions inside a transaction, of which others run beside.

use std::time::SystemTime;

use bytes::Bytes;
use deadpool_postgres::Transaction;
use tokio_postgres::Row;

use super::super::{
    Acceptance, Admission, Claim, Claimed, Claims, EventKey, NewEvent, Outcome, Settled, SignedHeaders, StoreError, from_millis, to_millis,
};
use super::lists::is_pending;

type Result<T> = std::result::Result<T, StoreError>;

pub(super) async fn accept(transaction: &Transaction<'_>, event: &NewEvent, admission: Admission, now: SystemTime) -> Result<Acceptance> {
    let key = &event.key;
    let known = transaction.prepare_cached("SELECT FROM processed_webhooks WHERE scan_id = $1 AND event = $2 AND sequence = $3").await?;
    let sequence = i64::from(key.sequence);
    if transaction.query_opt(&known, &[&key.scan_id, &key.event, &sequence]).await?.is_some() {
        return Ok(Acceptance::Duplicate);
    }
    if admission == Admission::PendingScans && !is_pending(transaction, &key.scan_id).await? {
        return Ok(Acceptance::UnknownScan);
    }
    // A newer one that is handled from now on is noticed when this one is claimed.
    let superseded = is_superseded(transaction, key).await?;
    let now = to_millis(now);
    let (state, due_at) = if superseded { ("superseded", None) } else { ("waiting", Some(now)) };
    let settled_at = superseded.then_some(now);
    let mark = transaction
        .prepare_cached(
            "INSERT INTO processed_webhooks (scan_id, event, sequence, state, received_at, settled_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .await?;
    // Waits for another process that takes the same event in.
    if transaction.execute(&mark, &[&key.scan_id, &key.event, &sequence, &state, &now, &settled_at]).await? == 0 {
        return Ok(Acceptance::Duplicate);
    }
    let insert = transaction
        .prepare_cached(
            "INSERT INTO filesafety_inbox (scan_id, event, sequence, state, due_at, verdict, webhook_id, webhook_timestamp,
             webhook_signature, received_at, settled_at, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .await?;
    let SignedHeaders { id, timestamp, signature } = &event.headers;
    let (verdict, body) = (event.verdict.as_str(), &event.body[..]);
    transaction
        .execute(
            &insert,
            &[&key.scan_id, &key.event, &sequence, &state, &due_at, &verdict, id, timestamp, signature, &now, &settled_at, &body],
        )
        .await?;
    Ok(if superseded { Acceptance::Superseded } else { Acceptance::Stored })
}

/// Of each scan the lowest sequence that is due, unless another of its events is claimed.
const DUE: &str = "
SELECT id, scan_id, event, sequence, attempts, fence, webhook_id, webhook_timestamp, webhook_signature, received_at, body
FROM filesafety_inbox AS mine
WHERE due_at <= $1 AND NOT EXISTS (
  SELECT FROM filesafety_inbox AS other
  WHERE other.scan_id = mine.scan_id AND other.id <> mine.id AND other.due_at IS NOT NULL
    AND (other.state = 'claimed' AND other.due_at > $1
      OR other.due_at <= $1 AND (other.sequence, other.event) < (mine.sequence, mine.event)))
ORDER BY due_at, id LIMIT $2 FOR UPDATE";

pub(super) async fn claim(transaction: &Transaction<'_>, most: usize, now: SystemTime, until: SystemTime) -> Result<Claims> {
    // One claims at a time, or two processes could hand out two events of one scan.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(7310034283826791018)").await?;
    let mut claims = Claims::default();
    let due = transaction.prepare_cached(DUE).await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    for row in transaction.query(&due, &[&to_millis(now), &most]).await? {
        let (id, mut claimed) = (row.try_get::<_, i64>(0)?, read_claimed(&row)?);
        if is_superseded(transaction, &claimed.claim.key).await? {
            set_aside(transaction, id, &claimed.claim.key, now).await?;
            claims.superseded += 1;
            continue;
        }
        let update = transaction
            .prepare_cached(
                "UPDATE filesafety_inbox SET state = 'claimed', due_at = $2, attempts = attempts + 1, fence = fence + 1 WHERE id = $1",
            )
            .await?;
        transaction.execute(&update, &[&id, &to_millis(until)]).await?;
        claimed.attempt = claimed.attempt.saturating_add(1);
        claimed.claim.fence += 1;
        claims.events.push(claimed);
    }
    let next = transaction.prepare_cached("SELECT min(due_at) FROM filesafety_inbox WHERE due_at IS NOT NULL").await?;
    claims.next_due = transaction.query_one(&next, &[]).await?.try_get::<_, Option<i64>>(0)?.map(from_millis);
    Ok(claims)
}

pub(super) async fn settle(transaction: &Transaction<'_>, claim: &Claim, outcome: &Outcome, now: SystemTime) -> Result<Settled> {
    let key = &claim.key;
    let find = transaction
        .prepare_cached(
            "SELECT id FROM filesafety_inbox
             WHERE scan_id = $1 AND event = $2 AND sequence = $3 AND fence = $4 AND state = 'claimed' FOR UPDATE",
        )
        .await?;
    let row = transaction.query_opt(&find, &[&key.scan_id, &key.event, &i64::from(key.sequence), &claim.fence]).await?;
    let Some(row) = row else { return Ok(Settled::Lost) };
    let id: i64 = row.try_get(0)?;
    let now = to_millis(now);
    match outcome {
        Outcome::Handled => {
            let delete = transaction.prepare_cached("DELETE FROM filesafety_inbox WHERE id = $1").await?;
            transaction.execute(&delete, &[&id]).await?;
            mark(transaction, key, "handled", now).await?;
            let done = transaction.prepare_cached("UPDATE filesafety_pending SET done = TRUE, changed_at = $2 WHERE scan_id = $1").await?;
            transaction.execute(&done, &[&key.scan_id, &now]).await?;
        }
        Outcome::Retry { at, error } => {
            let wait =
                transaction.prepare_cached("UPDATE filesafety_inbox SET state = 'waiting', due_at = $2, error = $3 WHERE id = $1").await?;
            transaction.execute(&wait, &[&id, &to_millis(*at), &storable(error)]).await?;
        }
        Outcome::Dead { error } => {
            let bury = transaction
                .prepare_cached("UPDATE filesafety_inbox SET state = 'dead', due_at = NULL, error = $2, settled_at = $3 WHERE id = $1")
                .await?;
            transaction.execute(&bury, &[&id, &storable(error), &now]).await?;
            mark(transaction, key, "dead", now).await?;
        }
    }
    Ok(Settled::Written)
}

/// PostgreSQL's texts hold no zero character.
fn storable(error: &str) -> String {
    error.replace('\0', "\u{fffd}")
}

async fn is_superseded(transaction: &Transaction<'_>, key: &EventKey) -> Result<bool> {
    let newer = transaction
        .prepare_cached("SELECT FROM processed_webhooks WHERE scan_id = $1 AND sequence > $2 AND state = 'handled' LIMIT 1")
        .await?;
    Ok(transaction.query_opt(&newer, &[&key.scan_id, &i64::from(key.sequence)]).await?.is_some())
}

async fn set_aside(transaction: &Transaction<'_>, id: i64, key: &EventKey, now: SystemTime) -> Result<()> {
    let now = to_millis(now);
    let update = transaction
        .prepare_cached("UPDATE filesafety_inbox SET state = 'superseded', due_at = NULL, settled_at = $2 WHERE id = $1")
        .await?;
    transaction.execute(&update, &[&id, &now]).await?;
    mark(transaction, key, "superseded", now).await
}

async fn mark(transaction: &Transaction<'_>, key: &EventKey, state: &str, now: i64) -> Result<()> {
    let update = transaction
        .prepare_cached("UPDATE processed_webhooks SET state = $4, settled_at = $5 WHERE scan_id = $1 AND event = $2 AND sequence = $3")
        .await?;
    transaction.execute(&update, &[&key.scan_id, &key.event, &i64::from(key.sequence), &state, &now]).await?;
    Ok(())
}

/// In the order of the columns of [`DUE`], before it is counted.
fn read_claimed(row: &Row) -> Result<Claimed> {
    let key = EventKey { scan_id: row.try_get(1)?, event: row.try_get(2)?, sequence: small(row.try_get(3)?) };
    Ok(Claimed {
        claim: Claim { key, fence: row.try_get(5)? },
        attempt: small(row.try_get(4)?),
        headers: SignedHeaders { id: row.try_get(6)?, timestamp: row.try_get(7)?, signature: row.try_get(8)? },
        received_at: from_millis(row.try_get(9)?),
        body: Bytes::from(row.try_get::<_, Vec<u8>>(10)?),
    })
}

/// Of a column that was written from a `u32`.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
