//! `receive add` and `receive dead`: on the inbox's file, while a receiver runs or not. A running one looks at least every second.

use std::{
    io::{self, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use filesafety::receiver::{
    PendingSet,
    sqlite::SqliteStore,
    store::{DeadLetter, EventKey, Store as _},
};
use filesafety_model::Timestamp;
use serde_json::json;

use super::{
    settings::{self, verdict_name},
    sources::Sources,
};
use crate::{
    arguments::{DeadCommand, InboxArguments, ReceiveArguments},
    commands::{CLEAN, FAILED, block_on},
    terminal::{escaped, print_table},
};

/// Dead letters read at once.
const PAGE: usize = 200;

/// Ids added in one transaction.
const ADDED: usize = 1000;

pub(super) fn add(scans: &[String], inbox: &InboxArguments, config: Option<&Path>) -> Result<u8> {
    let store = open(inbox, config, Missing::Make)?;
    block_on(async {
        let pending = PendingSet::new(store.clone());
        for chunk in scans.chunks(ADDED) {
            pending.add_all(chunk.iter().map(String::as_str)).await?;
        }
        store.close().await?;
        Ok(CLEAN)
    })
}

pub(super) fn dead(command: DeadCommand, config: Option<&Path>) -> Result<u8> {
    match command {
        DeadCommand::List { json, inbox } => {
            let store = open(&inbox, config, Missing::Refuse)?;
            block_on(list(&store, json))
        }
        DeadCommand::Replay { scans, all, inbox } => {
            let store = open(&inbox, config, Missing::Refuse)?;
            block_on(replay(&store, &scans, all))
        }
    }
}

/// What to do when there is no inbox yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The application may add scans before the first start.
    Make,
    Refuse,
}

fn open(inbox: &InboxArguments, config: Option<&Path>, missing: Missing) -> Result<SqliteStore> {
    let mut sources = Sources::of_process(&ReceiveArguments::default(), config)?;
    sources.set_store(inbox.store.as_deref());
    let path = settings::store(&sources);
    if missing == Missing::Refuse && !path.exists() {
        bail!("there is no inbox at {}; --store names another", path.display());
    }
    SqliteStore::open_beside(&path).with_context(|| format!("store is {}", path.display()))
}

async fn list(store: &SqliteStore, as_json: bool) -> Result<u8> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = store.dead_letters(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for letter in page {
            if as_json {
                writeln!(io::stdout(), "{}", to_json(&letter))?;
            } else {
                rows.push(row(&letter));
            }
        }
    }
    if !as_json && rows.is_empty() {
        writeln!(io::stderr(), "No dead letters.")?;
    } else if !as_json {
        print_table(&["scan", "event", "sequence", "verdict", "died", "tries", "last error"], &rows)?;
    }
    Ok(CLEAN)
}

async fn replay(store: &SqliteStore, scans: &[String], all: bool) -> Result<u8> {
    let mut replayed = 0_u64;
    let mut unknown = Vec::new();
    if all {
        replayed += replay_from(store, None, |_| true).await?;
    }
    for scan in scans {
        let before = EventKey { scan_id: scan.clone(), event: String::new(), sequence: 0 };
        match replay_from(store, Some(before), |key| key.scan_id == *scan).await? {
            0 => unknown.push(escaped(scan)),
            count => replayed += count,
        }
    }
    store.close().await?;
    writeln!(io::stderr(), "{replayed} to be handled again.")?;
    if unknown.is_empty() {
        return Ok(CLEAN);
    }
    writeln!(io::stderr(), "No dead letter of {}.", unknown.join(", "))?;
    Ok(FAILED)
}

/// Replays those behind `after`, as long as they are `wanted`.
async fn replay_from(store: &SqliteStore, mut after: Option<EventKey>, wanted: impl Fn(&EventKey) -> bool) -> Result<u64> {
    let mut replayed = 0;
    loop {
        let page = store.dead_letters(after.clone(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(replayed) };
        after = Some(last.key.clone());
        for letter in page {
            if !wanted(&letter.key) {
                return Ok(replayed);
            }
            replayed += u64::from(store.replay(letter.key, SystemTime::now()).await?);
        }
    }
}

fn row(letter: &DeadLetter) -> Vec<String> {
    let key = &letter.key;
    vec![
        key.scan_id.clone(),
        key.event.clone(),
        key.sequence.to_string(),
        verdict_name(letter.verdict).to_owned(),
        shown(letter.died_at),
        letter.attempts.to_string(),
        letter.error.clone(),
    ]
}

fn to_json(letter: &DeadLetter) -> serde_json::Value {
    let key = &letter.key;
    json!({
        "scan_id": key.scan_id, "event": key.event, "sequence": key.sequence, "verdict": verdict_name(letter.verdict),
        "received_at": shown(letter.received_at), "died_at": shown(letter.died_at), "attempts": letter.attempts, "error": letter.error,
    })
}

fn shown(time: SystemTime) -> String {
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)).to_string()
}
