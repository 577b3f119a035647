//! A scan that has its bytes, and no verdict yet: new, or come by an upload URL.

use filesafety_model::{AccountId, ScanId, ScanTypes, Timestamp};
use filesafety_store::{
    Accepted, ArchivePassword, Blob, DeliveryStatus, FileFacts, NewScan, Outcome, Place, Recorded, ScanRecord, StateRecord, Store,
    StoreError, WebhookState,
};

use crate::announce;

/// Either way a scan gets its bytes in a request.
#[derive(Clone)]
pub(crate) enum Ticket {
    New(Box<NewScan>),
    Upload(Box<ScanRecord>),
}

impl Ticket {
    pub(crate) fn id(&self) -> ScanId {
        match self {
            Self::New(new) => new.id,
            Self::Upload(scan) => scan.id,
        }
    }

    pub(crate) fn account(&self) -> AccountId {
        match self {
            Self::New(new) => new.account,
            Self::Upload(scan) => scan.account,
        }
    }

    pub(crate) fn types(&self) -> ScanTypes {
        match self {
            Self::New(new) => new.types,
            Self::Upload(scan) => scan.types,
        }
    }

    pub(crate) fn password(&self) -> Option<&ArchivePassword> {
        match self {
            Self::New(new) => new.password.as_ref(),
            Self::Upload(scan) => scan.password.as_ref(),
        }
    }

    pub(crate) fn metadata(&self) -> Option<&str> {
        match self {
            Self::New(new) => new.metadata.as_deref(),
            Self::Upload(scan) => scan.metadata.as_deref(),
        }
    }

    pub(crate) fn has_webhook(&self) -> bool {
        match self {
            Self::New(new) => new.webhook.is_some(),
            Self::Upload(scan) => scan.webhook.is_some(),
        }
    }

    /// Writes scan and verdict down at once.
    pub(crate) async fn record(self, store: &Store, outcome: Outcome, deduplicated: bool) -> Result<Recorded, StoreError> {
        match self {
            Self::New(new) => store.record_finished(*new, outcome, deduplicated).await,
            Self::Upload(scan) => store.record_upload_finished(scan.id, outcome, deduplicated).await,
        }
    }

    /// Writes the scan down with its bytes; the verdict follows.
    pub(crate) async fn accept(
        self,
        store: &Store,
        now: Timestamp,
        file: FileFacts,
        blob: Blob,
        place: Place,
    ) -> Result<Accepted, StoreError> {
        match self {
            Self::New(new) => store.accept(*new, file, blob, place).await,
            Self::Upload(scan) => store.accept_upload(scan.id, now, file, blob, place).await,
        }
    }

    /// The scan as it stands once `outcome` is recorded, without asking the store again.
    pub(crate) fn finished(&self, outcome: &Outcome, deduplicated: bool) -> ScanRecord {
        let state = StateRecord::Finished { at: outcome.at, judgement: Box::new(outcome.judgement.clone()) };
        let file = outcome.file.clone();
        match self {
            Self::Upload(scan) => {
                let webhook = scan.webhook.clone().map(|webhook| WebhookState { status: announced(&scan.events), ..webhook });
                ScanRecord { state, file, deduplicated, webhook, password: None, ..(**scan).clone() }
            }
            Self::New(new) => ScanRecord {
                id: new.id,
                account: new.account,
                key: new.key,
                created_at: new.created_at,
                lane: new.lane,
                source: new.source,
                types: new.types,
                metadata: new.metadata.clone(),
                file_name: new.file_name.clone(),
                file,
                events: new.events.clone(),
                policy: new.policy.clone(),
                fingerprint: new.fingerprint.clone(),
                state,
                deduplicated,
                sequence: 1,
                updated_at: None,
                webhook: new.webhook.as_ref().map(|webhook| WebhookState {
                    url_host: webhook.url_host.clone(),
                    status: announced(&new.events),
                    attempts: 0,
                    delivery: outcome.delivery.map(|delivery| delivery.id),
                    event: Some(outcome.announcement.event),
                }),
                password: None,
            },
        }
    }
}

/// Where the scan names its events, they tell whether a webhook follows its verdict. Else the account's do: by default it does.
fn announced(events: &[String]) -> Option<DeliveryStatus> {
    (events.is_empty() || events.iter().any(|name| name == announce::SCAN_COMPLETE)).then_some(DeliveryStatus::Pending)
}
