//! Hears of what commands beside the service wrote into the store.

use std::{sync::Arc, time::Duration};

use crate::state::AppState;

/// Two seconds are promised for whatever a command changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until the service ends.
pub(crate) async fn run(state: Arc<AppState>) {
    let mut seen = None;
    loop {
        // A store that does not answer is told of by who needs it.
        if let Ok(generation) = state.store.generation().await {
            if seen.is_some_and(|seen| seen != generation) {
                state.store.signal_all();
            }
            seen = Some(generation);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
