//! Verdicts turned.

use filesafety_model::{ScanState, Timestamp};
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{
    accounts::bump,
    columns::{damaged, digest_if_any, parsed, time},
};
use crate::{Conflict, ContentPage, ContentPlace, KnownContent, Result, StoreError, VerdictTurn};

/// The index alone is read: rows with their judgements are a hundred times as large.
pub(crate) fn contents(conn: &Connection, after: Option<&ContentPlace>, since: Option<Timestamp>, limit: u32) -> Result<ContentPage> {
    let mut query = conn.prepare_cached(
        "SELECT account, sha256, created_at, id FROM scans INDEXED BY scans_by_hash WHERE sha256 IS NOT NULL \
         AND (account, sha256, created_at, id) > (:account, :sha256, :created_at, :scan) AND created_at >= :since \
         ORDER BY account, sha256, created_at, id LIMIT :limit",
    )?;
    let mut rows = query.query(named_params! {
        ":account": after.map_or("", |place| &place.account),
        ":sha256": after.map(|place| place.sha256.as_bytes().as_slice()).unwrap_or_default(),
        ":created_at": after.map_or(i64::MIN, |place| place.created_at.as_millis()),
        ":scan": after.map(|place| place.scan.to_string()).unwrap_or_default(),
        ":since": since.map_or(i64::MIN, |since| since.as_millis()),
        ":limit": limit,
    })?;
    let mut page = ContentPage { contents: Vec::new(), next: None };
    while let Some(row) = rows.next()? {
        let sha256 = digest_if_any(row, "sha256")?.ok_or_else(|| damaged("sha256"))?;
        let scan = parsed(row, "id")?;
        page.contents.push(KnownContent { scan, sha256 });
        if page.contents.len() == limit as usize {
            page.next = Some(ContentPlace { account: row.get("account")?, sha256, created_at: time(row, "created_at")?, scan });
        }
    }
    Ok(page)
}

/// Without a fingerprint the scan stands for no other.
pub(crate) fn turn(conn: &Connection, turn: &VerdictTurn, judgement: &str) -> Result<()> {
    let turned = conn
        .prepare_cached(
            "UPDATE scans SET verdict = :verdict, judgement = :judgement, sequence = sequence + 1, updated_at = :at, fingerprint = '' \
             WHERE id = :id AND sequence = :seen AND state = 'complete'",
        )?
        .execute(named_params! {
            ":id": turn.scan.to_string(),
            ":seen": turn.seen,
            ":verdict": turn.judgement.verdict.as_str(),
            ":judgement": judgement,
            ":at": turn.at.as_millis(),
        })?;
    if turned == 1 {
        // A command may do this beside the service, which is to tell of it soon.
        return bump(conn);
    }
    let mut query = conn.prepare_cached("SELECT state = ?2 FROM scans WHERE id = ?1")?;
    let complete = query.query_row(params![turn.scan.to_string(), ScanState::Complete.as_str()], |row| row.get(0)).optional()?;
    Err(if complete == Some(true) { Conflict::VerdictTurned.into() } else { StoreError::NotFound })
}
