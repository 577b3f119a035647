//! The FileSafety service: the HTTP API, the workers behind it, and outgoing webhooks.

mod announce;
mod api;
mod clock;
pub mod config;
pub mod egress;
#[cfg(fuzzing)]
pub mod fuzzing;
mod intake;
pub mod listen;
mod metrics;
pub mod rescan;
mod startup;
mod state;
pub mod views;
mod worker;

use std::sync::Arc;

use filesafety_sandbox::Program;
use tokio::sync::watch;

pub use api::auth::{KEY_PREFIX, is_well_formed as is_well_formed_key};
pub use config::Config;
pub use startup::{ServeError, Started, new_api_key};

use listen::Listener;

/// For the store to write its log back at the end.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs the service until `stop` turns true, then drains: no new uploads, running scans finish or go back to the queue.
///
/// `program` is started once for each scan thread, as a sandbox. `started` is called once, when the service answers.
///
/// # Errors
/// What keeps the service from starting; nothing that happens later.
pub async fn serve(
    config: Config,
    program: Program,
    stop: watch::Receiver<bool>,
    started: impl FnOnce(&Started),
) -> Result<(), ServeError> {
    let listener = Listener::bind(config.listen, config.tls.as_ref()).await?;
    let metrics_listener = match config.metrics_listen {
        Some(address) => Some(Listener::bind(address, None).await?),
        None => None,
    };
    let (state, facts) = startup::prepare(config, program, &listener).await?;

    let mut chores = tokio::task::JoinSet::new();
    chores.spawn(state.desk.clone().serve_queue(state.config.scan_threads.get()));
    chores.spawn(state.deliverer.clone().run());
    chores.spawn(worker::retention::run(state.clone()));
    chores.spawn(worker::lookback::run(state.clone()));
    chores.spawn(worker::beside::run(state.clone()));
    if let Some(folder) = state.config.rules_dir.clone() {
        chores.spawn(startup::watch_rules(state.clone(), folder));
    }
    if let Some(listener) = metrics_listener {
        chores.spawn(listener.serve(api::metrics_router(state.clone()), stop.clone(), state.config.drain));
    }
    started(&facts);
    let serving = tokio::spawn(listener.serve(api::router(state.clone()), stop.clone(), state.config.drain));

    let mut stopping = stop;
    let _ = stopping.wait_for(|stop| *stop).await;
    drain(&state, serving).await;
    chores.abort_all();
    if tokio::time::timeout(CLOSING, state.store.close()).await.is_err() {
        tracing::warn!("the store takes long to close; what is committed is safe");
    }
    Ok(())
}

/// Requests under way are answered and running scans finish, as far as the time allows; the rest goes back to the queue.
async fn drain(state: &Arc<state::AppState>, serving: tokio::task::JoinHandle<()>) {
    tracing::info!("draining: no new uploads");
    state.desk.drain();
    state.deliverer.drain();
    let finished = async {
        let _ = serving.await;
        while state.desk.running_count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        state.deliverer.drained().await;
    };
    if tokio::time::timeout(state.config.drain, finished).await.is_err() {
        tracing::warn!(scans = state.desk.running_count(), "the time to drain is over; scans go back to the queue");
    }
    state.desk.release_all().await;
}
