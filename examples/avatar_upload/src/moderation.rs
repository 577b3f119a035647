//! From an upload to its verdict: submitting, and what each webhook means here.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use filesafety::{
    Client, ClientError, FileSource, SigningSecret,
    client::Accepted,
    event::Verdict,
    receiver::{HandlerError, PendingSet, Receiver, ScanEvent, TransactionHandler, sqlite::SqliteStore},
};
use serde::{Deserialize, Serialize};

use crate::avatars::{self, Avatars, State};

/// What it takes to have a file judged.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) avatars: Avatars,
    pub(crate) files: PathBuf,
    pub(crate) pending: PendingSet,
    pub(crate) webhook_url: String,
}

/// What comes back with each webhook.
#[derive(Deserialize, Serialize)]
struct Origin {
    avatar: String,
    /// From 1. The scan's id would do as well, but is only known once the service has answered, and the webhook may be quicker.
    submission: u32,
}

/// What failed for a passing reason is submitted so many times more.
const RESUBMISSIONS: u32 = 3;

impl Desk {
    /// Submits a file. Its scan is in the receiver's pending set before the bytes are sent.
    pub(crate) async fn submit(&self, avatar: &str, submission: u32) -> Result<Accepted, ClientError> {
        let origin = Origin { avatar: avatar.to_owned(), submission };
        let file = FileSource::path(self.files.join(avatar));
        self.client.scan_async(file).webhook_url(&self.webhook_url).metadata(&origin).expected_by(&self.pending).await
    }

    /// Submits again what had no verdict when the application stopped: the stop may have come before the submission, and to be judged
    /// twice does no harm.
    pub(crate) async fn resume(self) {
        let unfinished = match self.avatars.unfinished().await {
            Ok(unfinished) => unfinished,
            Err(error) => return tracing::error!(%error, "the uploads cannot be read"),
        };
        for (avatar, submission) in unfinished {
            if let Err(error) = self.submit(&avatar, submission).await {
                tracing::error!(%avatar, %error, "not submitted; the next start tries again");
            }
        }
    }

    /// What to do about `failed`.
    async fn failed(self, event: Arc<ScanEvent>) -> Result<(), HandlerError> {
        let origin: Origin = event.metadata.read()?;
        if !event.retryable() || origin.submission > RESUBMISSIONS {
            let note = event.failure.as_ref().map_or_else(String::new, |failure| failure.message.clone());
            return self.avatars.give_up(origin.avatar, origin.submission, note).await.map_err(HandlerError::retry);
        }
        let next = origin.submission + 1;
        if self.avatars.resubmit(origin.avatar.clone(), next).await.map_err(HandlerError::retry)? {
            // A failure here is the handler's: it is tried again with backoff.
            self.submit(&origin.avatar, next).await?;
        }
        Ok(())
    }
}

/// Receives the service's webhooks.
pub(crate) fn receiver(desk: &Desk, store: SqliteStore, secret: SigningSecret) -> Result<Receiver> {
    let effect = |state, note: fn(&ScanEvent) -> String| becomes(&store, state, note);
    let (clean, infected) = (effect(State::Published, |_| String::new()), effect(State::Quarantined, signature));
    let (mixed, nsfw) = (effect(State::Quarantined, signature), effect(State::Review, categories));
    let desk = desk.clone();
    let builder = Receiver::builder(store)
        .secret(secret)
        .pending_set()
        .on_in_transaction(Verdict::Clean, clean)
        .on_in_transaction(Verdict::Infected, infected)
        .on_in_transaction(Verdict::Mixed, mixed)
        .on_in_transaction(Verdict::Nsfw, nsfw)
        .on_failed(move |event| desk.clone().failed(event));
    Ok(builder.build()?)
}

/// The upload's new state and the event's mark in one commit.
fn becomes(store: &SqliteStore, state: State, note: fn(&ScanEvent) -> String) -> TransactionHandler {
    store.in_transaction(move |conn, event| {
        let origin: Origin = event.metadata.read().map_err(HandlerError::give_up)?;
        Ok(avatars::judge(conn, &origin.avatar, origin.submission, state, &note(event))?)
    })
}

fn signature(event: &ScanEvent) -> String {
    event.virus.as_ref().and_then(|virus| virus.signature.clone()).unwrap_or_default()
}

fn categories(event: &ScanEvent) -> String {
    event.nsfw.as_ref().map(|nsfw| nsfw.categories.join(", ").replace('_', " ")).unwrap_or_default()
}
