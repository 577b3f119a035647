//! Events whose handler kept failing.

use std::sync::Arc;

use super::{
    Core,
    store::{DeadLetter, EventKey, StoreError},
};

/// The dead letters of a receiver: listed in the order of their keys, and replayed.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    core: Arc<Core>,
}

impl DeadLetters {
    pub(super) fn of(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// At most `most`, behind `after`.
    pub async fn list(&self, after: Option<EventKey>, most: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.core.store.dead_letters(after, most).await
    }

    /// Hands one to its handler again, now, with all its tries. `false`: there is no such dead letter.
    /// One that is older than the newest handled event of its scan is set aside instead.
    pub async fn replay(&self, key: EventKey) -> Result<bool, StoreError> {
        let revived = self.core.store.replay(key, self.core.now()).await?;
        if revived {
            self.core.arrived.notify_one();
        }
        Ok(revived)
    }
}
