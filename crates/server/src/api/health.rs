//! `GET /healthz`, `/readyz`, `/metrics`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    extract::{ConnectInfo, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use filesafety_engine::{Blueprint, ClamDbCounts};
use filesafety_sandbox::{Layer, Layers};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorCode};
use crate::{metrics::Gauges, state::Shared};

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    version: &'static str,
}

/// Whether the service can take scans, and what it scans with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    ready: bool,
    store: &'static str,
    disk: &'static str,
    engines: EnginesView,
    sandbox: SandboxView,
    draining: bool,
    /// What the operator should know, though scans are taken: databases that are old.
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EnginesView {
    /// YARA rules loaded.
    rules: usize,
    /// Hashes loaded.
    hashes: usize,
    /// ClamAV signature files; null where there are none.
    clamdb: Option<ClamDbView>,
    /// `ok` or `unreachable`; null where none is configured.
    clamd: Option<&'static str>,
}

/// What the processes that read files gave up, and what they could not.
#[derive(Serialize, ToSchema)]
pub(crate) struct SandboxView {
    /// `parent_death`, `undumpable`, `landlock`, `seccomp`, `limits`.
    in_force: Vec<&'static str>,
    missing: Vec<MissingLayer>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MissingLayer {
    layer: &'static str,
    /// Why it is not in force.
    reason: String,
}

/// What was read of ClamAV signature files, and what was not.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClamDbView {
    /// Signatures in force.
    signatures: usize,
    /// Signatures left out.
    skipped: Skipped,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Skipped {
    /// Lines that are no signature; the log names the first.
    invalid: usize,
    /// Named by an `.ign` or `.ign2`.
    ignored: usize,
    /// Meant for other releases of ClamAV.
    other_level: usize,
    /// Of kinds that are not supported, by kind.
    unsupported: BTreeMap<String, usize>,
}

/// ClamAV's databases change every day; when the newest is older than this, something does not update them.
const FRESH_FOR: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Below so much free disk nothing is accepted.
const DISK_RESERVE: u64 = 64 << 20;

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "Service", responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether the service takes scans: engines loaded, store reachable, disk free, not draining
#[utoipa::path(get, path = "/readyz", operation_id = "readiness", tag = "Service", responses((status = 200, description = "It does", body = Readiness), (status = 503, description = "It does not", body = Readiness)))]
pub(crate) async fn ready(State(state): State<Shared>) -> Response {
    let store = state.store.ping().await.is_ok();
    let disk = free_disk(&state.config.data_dir).is_none_or(|free| free >= DISK_RESERVE);
    let draining = state.desk.is_draining();
    let blueprint = state.desk.judge.threads.blueprint();
    let summary = blueprint.summary();
    let clamdb = blueprint.clamdb().map(ClamDbView::of);
    let warnings = Vec::from_iter(database_age(&blueprint, SystemTime::now()).and_then(stale));
    let answers = move || blueprint.clamd().is_none_or(|clamd| clamd.ping().is_ok());
    let clamd = !summary.clamd || tokio::task::spawn_blocking(answers).await.unwrap_or(false);
    let ready = store && disk && clamd && !draining;
    let word = |good: bool, bad: &'static str| if good { "ok" } else { bad };
    let body = Readiness {
        ready,
        store: word(store, "unreachable"),
        disk: word(disk, "full"),
        engines: EnginesView {
            rules: summary.rules,
            hashes: summary.hashes,
            clamdb,
            clamd: summary.clamd.then_some(word(clamd, "unreachable")),
        },
        sandbox: SandboxView::of(&state.desk.judge.threads.layers()),
        draining,
        warnings,
    };
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

/// Prometheus metrics, to callers on this machine
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "Service", responses((status = 200, description = "Prometheus text", content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(State(state): State<Shared>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Result<Response, ApiError> {
    // Behind a proxy every caller comes from this machine.
    if !peer.ip().is_loopback() || state.config.behind_proxy {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            "Metrics are served to this machine alone; FILESAFETY_METRICS_LISTEN serves them elsewhere.",
        ));
    }
    Ok(render(&state).await)
}

/// The metrics' page.
pub(crate) async fn render(state: &Shared) -> Response {
    let gauges = Gauges {
        depths: state.store.depths().await.unwrap_or_default(),
        running: state.desk.judge.turns.running(),
        engine: state.desk.judge.threads.blueprint().summary(),
        uptime_seconds: state.started.elapsed().as_secs(),
        deliveries: state.deliverer.counts(),
        open_circuits: state.deliverer.open_circuits(),
        database_age: database_age(&state.desk.judge.threads.blueprint(), SystemTime::now()),
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render(&gauges)).into_response()
}

impl SandboxView {
    fn of(layers: &Layers) -> Self {
        let missing = |(layer, reason): &(Layer, String)| MissingLayer { layer: layer.as_str(), reason: reason.clone() };
        Self {
            in_force: layers.in_force.iter().map(|layer| layer.as_str()).collect(),
            missing: layers.missing.iter().map(missing).collect(),
        }
    }
}

/// How long ago the newest of ClamAV's databases was built; `None` where none is used. Plain signature files say nothing of their age.
fn database_age(blueprint: &Blueprint, now: SystemTime) -> Option<Duration> {
    // One from the future is as good as new.
    Some(now.duration_since(blueprint.newest_database()?).unwrap_or(Duration::ZERO))
}

fn stale(age: Duration) -> Option<String> {
    let days = age.as_secs() / (24 * 60 * 60);
    (age > FRESH_FOR).then(|| format!("The newest of ClamAV's databases is {days} days old; `filesafety rules update` fetches newer ones."))
}

impl ClamDbView {
    fn of(counts: &ClamDbCounts) -> Self {
        let skipped = Skipped {
            invalid: counts.invalid,
            ignored: counts.ignored,
            other_level: counts.other_level,
            unsupported: counts.unsupported.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
        };
        Self { signatures: counts.signatures(), skipped }
    }
}

fn free_disk(path: &std::path::Path) -> Option<u64> {
    let stats = rustix::fs::statvfs(path).ok()?;
    Some(stats.f_bavail.saturating_mul(stats.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_old_after_three_days() {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        assert_eq!(stale(Duration::ZERO), None);
        assert_eq!(stale(days(3)), None);
        assert!(stale(days(3) + Duration::from_secs(1)).is_some_and(|warning| warning.contains("3 days old")));
        assert!(stale(days(400)).is_some_and(|warning| warning.contains("400 days old")));
    }
}
