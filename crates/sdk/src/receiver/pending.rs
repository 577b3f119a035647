//! The pending set: which scans the application submitted.

use std::{sync::Arc, time::SystemTime};

use super::{
    builder::Clock,
    scan_event::is_scan_id,
    store::{Store, StoreError},
};

/// The most ids in one call.
const MOST: usize = 1000;

/// Which scans the application submitted. A receiver that minds it takes events of these alone, and asks to come again for others: a
/// webhook that is quicker than the answer to the submit is not lost, and a forged one never reaches a handler.
#[derive(Clone)]
pub struct PendingSet {
    store: Arc<dyn Store>,
    clock: Clock,
}

/// Why an id was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// It has not the shape of one.
    #[error("{0:?} is no scan id: scn_ and 26 letters and digits")]
    BadId(String),
    /// More than one call may add.
    #[error("{0} ids at once; add at most 1000 in one call")]
    TooMany(usize),
    /// The store did not take it. Add it again, or the scan's webhooks are refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PendingSet {
    /// The pending set in a store, for code that starts before the receiver is built.
    pub fn new(store: impl Store) -> Self {
        Self::of(Arc::new(store), Arc::new(SystemTime::now))
    }

    pub(super) fn of(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Adds a scan; durable once this is ready. To add one again changes nothing.
    pub async fn add(&self, scan_id: &str) -> Result<(), PendingError> {
        self.add_all([scan_id]).await
    }

    /// Adds several scans at once, at most 1,000.
    pub async fn add_all(&self, scan_ids: impl IntoIterator<Item = &str>) -> Result<(), PendingError> {
        let scan_ids: Vec<String> = scan_ids.into_iter().take(MOST + 1).map(str::to_owned).collect();
        if scan_ids.len() > MOST {
            return Err(PendingError::TooMany(scan_ids.len()));
        }
        if let Some(bad) = scan_ids.iter().find(|id| !is_scan_id(id)) {
            return Err(PendingError::BadId(bad.chars().take(80).collect()));
        }
        Ok(self.store.add_pending(scan_ids, (self.clock)()).await?)
    }

    /// Whether a scan is there, done or not.
    pub async fn contains(&self, scan_id: &str) -> Result<bool, StoreError> {
        self.store.is_pending(scan_id).await
    }
}

impl std::fmt::Debug for PendingSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingSet").finish_non_exhaustive()
    }
}
