//! From settings to a running service.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use filesafety::SigningSecret;
use filesafety_engine::{Blueprint, LoadError};
use filesafety_model::{AccountId, KeyId, SecretId};
use filesafety_sandbox::{Pool, PoolConfig, Program, StartError, Warmth};
use filesafety_store::{Access, Account, Conflict, MasterKey, MasterKeyError, NewKey, OpenError, Options, Store, StoreError};
use sha2::Digest as _;
use tokio::sync::Notify;

use crate::{
    api::auth::{KEY_PREFIX, is_well_formed},
    clock,
    config::Config,
    egress::{Egress, EgressError, WebhookUrlPolicy},
    listen::Listener,
    metrics::Metrics,
    state::AppState,
    worker::{
        delivery::Deliverer,
        gate::Gates,
        judge::Judge,
        scan::{Desk, DeskParts},
    },
};

/// What keeps the service from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}. Is another program using the port? FILESAFETY_LISTEN chooses another.")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Tls(String),
    #[error("FILESAFETY_MASTER_KEY is {0}")]
    MasterKey(#[from] MasterKeyError),
    #[error("the store in {} does not open: {source}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: OpenError,
    },
    #[error("FILESAFETY_DATA_DIR is {}, which cannot be used: {cause}", path.display())]
    DataDir { path: PathBuf, cause: StoreError },
    #[error("FILESAFETY_RULES_DIR is {}, which is no folder", .0.display())]
    RulesDir(PathBuf),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    #[error("FILESAFETY_API_KEY {0}")]
    ApiKey(&'static str),
    #[error("FILESAFETY_WEBHOOK_SECRET {0}")]
    WebhookSecret(String),
    #[error("the engines do not load: {0}")]
    Engine(#[from] LoadError),
    #[error("the engines do not start: {0}")]
    Sandbox(#[from] StartError),
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What the operator is told once the service answers.
#[derive(Debug)]
pub struct Started {
    /// Where it listens.
    pub url: String,
    /// Made at the first start; shown once, never again.
    pub new_api_key: Option<String>,
    /// Likewise, the secret that signs webhooks.
    pub new_webhook_secret: Option<String>,
    /// YARA rules and hashes loaded.
    pub rules: usize,
    pub hashes: usize,
}

/// How often the rules folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Opens the store, loads the engines, and joins them.
pub(crate) async fn prepare(config: Config, program: Program, listener: &Listener) -> Result<(Arc<AppState>, Started), ServeError> {
    let url = listener.url()?;
    if let Some(folder) = config.rules_dir.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(ServeError::RulesDir(folder.clone()));
    }
    let engine_config = engine_config(&config);
    let pool_config = PoolConfig { program, size: config.scan_threads.get(), warmth: Warmth::All, confinement: config.confinement };
    // The engines load on another thread while the store opens.
    let engines = tokio::task::spawn_blocking(move || {
        let blueprint = Arc::new(Blueprint::load(engine_config)?);
        Ok::<_, ServeError>((blueprint.clone(), Pool::start(pool_config, blueprint)?))
    });
    let store = open_store(&config).await?;
    let account = store.ensure_default_account(AccountId::new(clock::now(), clock::entropy()), clock::now()).await?;
    let new_api_key = ensure_api_key(&store, &account, &config).await?;
    let new_webhook_secret = ensure_webhook_secret(&store, &account, &config).await?;
    let (blueprint, pool) = engines.await.map_err(std::io::Error::other)??;
    let summary = blueprint.summary();

    let metrics = Arc::new(Metrics::default());
    let gates = Gates::new(store.clone(), config.webhooks.grace);
    let egress = Egress::new(&config)?;
    let deliverer =
        Deliverer::new(store.clone(), egress.clone(), config.webhooks.retry.clone(), config.webhooks.timeout, Arc::new(Notify::new()));
    let judge = Judge::new(pool, config.scan_threads, config.scan_memory, config.policy)?;
    let parts = DeskParts {
        store: store.clone(),
        judge,
        gates: gates.clone(),
        egress,
        file_max: config.intake.file,
        fetch_timeout: config.fetch.deadline,
        metrics: metrics.clone(),
        threads: config.scan_threads,
    };
    let webhook_urls = WebhookUrlPolicy { allow_http: config.webhooks.allow_http, allow_nets: config.webhooks.allow_nets.clone() };
    let state = AppState {
        public_url: config.public_url.clone().unwrap_or_else(|| url.clone()),
        store,
        desk: Desk::new(parts),
        gates,
        deliverer,
        keys: Default::default(),
        submissions: Default::default(),
        reads: Default::default(),
        webhook_urls,
        metrics,
        idempotency: Default::default(),
        streams: Default::default(),
        started: std::time::Instant::now(),
        config,
    };
    let started = Started { url, new_api_key, new_webhook_secret, rules: summary.rules, hashes: summary.hashes };
    Ok((Arc::new(state), started))
}

/// A fresh API key: `fs_live_` and 32 random bytes in base64url.
pub fn new_api_key() -> String {
    format!("{KEY_PREFIX}{}", BASE64URL_NOPAD.encode(&clock::entropy::<32>()))
}

/// Loads the engines anew whenever a file of the rules folder changes; a set that does not load leaves the old one in force.
pub(crate) async fn watch_rules(state: Arc<AppState>, folder: PathBuf) {
    let mut seen = listing(&folder);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = listing(&folder);
        if now == seen {
            continue;
        }
        seen = now;
        let config = engine_config(&state.config);
        match tokio::task::spawn_blocking(move || Blueprint::load(config)).await {
            Ok(Ok(blueprint)) => {
                let summary = blueprint.summary();
                if let Err(error) = state.desk.judge.threads.replace(blueprint).await {
                    tracing::error!(%error, "the engines do not start with the changed rules; the former stay in force");
                    continue;
                }
                tracing::info!(rules = summary.rules, hashes = summary.hashes, signatures = summary.signatures, "rules reloaded");
            }
            Ok(Err(error)) => tracing::error!(%error, "the changed rules do not load; the former stay in force"),
            Err(error) => tracing::error!(%error, "loading the changed rules failed; the former stay in force"),
        }
    }
}

fn engine_config(config: &Config) -> filesafety_engine::Config {
    let clamdb_pua = config.clamdb_pua;
    let (rules_dir, cache_dir, passwords) = (config.rules_dir.clone(), Some(config.engine_cache()), config.archive_passwords.clone());
    let (clamd, limits, picture_models) = (config.clamd.clone(), config.limits, config.picture_models.clone());
    filesafety_engine::Config { rules_dir, cache_dir, clamdb_pua, clamd, limits, passwords, picture_models }
}

/// Names, sizes and times of the folder's files. `None` where it cannot be read: that it is back, and empty, is a change.
fn listing(folder: &std::path::Path) -> Option<Vec<(PathBuf, u64, Option<std::time::SystemTime>)>> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, metadata)| (path, metadata.len(), metadata.modified().ok()))
        .collect();
    files.sort();
    Some(files)
}

async fn open_store(config: &Config) -> Result<Store, ServeError> {
    let master_key = match &config.master_key {
        Some(key) => MasterKey::parse(key.expose())?,
        None => {
            let unusable = |cause| ServeError::DataDir { path: config.data_dir.clone(), cause };
            MasterKey::load_or_create(&config.data_dir.join("master.key")).map_err(unusable)?
        }
    };
    let options = Options { data_dir: config.data_dir.clone(), master_key, access: Access::Exclusive };
    let store = Store::open(options).await.map_err(|source| ServeError::Open { path: config.data_dir.clone(), source })?;
    let recovered = store.recover().await?;
    if recovered.suspects + recovered.released > 0 {
        tracing::warn!(
            running = recovered.suspects,
            claimed = recovered.released,
            "the last stop was not clean; unfinished scans run again"
        );
    }
    Ok(store)
}

/// Creates the key that the settings name; without one, a store without any key gets one, which is returned.
async fn ensure_api_key(store: &Store, account: &Account, config: &Config) -> Result<Option<String>, ServeError> {
    let named = config.api_key.as_ref().map(|key| key.expose().to_owned());
    let fresh = match &named {
        Some(key) if !is_well_formed(key) => {
            return Err(ServeError::ApiKey("must be fs_live_ and at least 24 characters of A-Z a-z 0-9 - _"));
        }
        Some(_) => None,
        None if store.keys(None).await?.is_empty() => Some(new_api_key()),
        None => None,
    };
    let Some(key) = named.as_ref().or(fresh.as_ref()) else { return Ok(None) };
    let now = clock::now();
    let new = NewKey {
        id: KeyId::new(now, clock::entropy()),
        account: account.id,
        name: if named.is_some() { "FILESAFETY_API_KEY" } else { "first start" }.to_owned(),
        sha256: sha2::Sha256::digest(key).into(),
        prefix: key.chars().take(KEY_PREFIX.len() + 4).collect(),
        created_at: now,
    };
    match store.create_key(new).await {
        Ok(_) | Err(StoreError::Conflict(Conflict::KeyExists)) => Ok(fresh),
        Err(StoreError::Conflict(Conflict::KeyRevoked)) => {
            Err(ServeError::ApiKey("names a key that was revoked, and a revoked key never comes back; choose another"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds the secret that the settings name; without one, an account without any secret gets one, which is returned.
async fn ensure_webhook_secret(store: &Store, account: &Account, config: &Config) -> Result<Option<String>, ServeError> {
    let known = store.signing_secrets(account.id).await?;
    let now = clock::now();
    let (secret, fresh) = match &config.webhook_secret {
        Some(text) => {
            let secret: SigningSecret =
                text.expose().parse().map_err(|error: filesafety::sign::SecretError| ServeError::WebhookSecret(error.to_string()))?;
            (secret, false)
        }
        None if known.is_empty() => (SigningSecret::generate(clock::entropy()), true),
        None => return Ok(None),
    };
    match known.iter().find(|known| known.expose() == secret.expose_bytes()) {
        Some(known) if known.record.revoked_at.is_some() => {
            let message = "names a secret that was revoked, and a revoked secret never comes back; choose another".to_owned();
            return Err(ServeError::WebhookSecret(message));
        }
        Some(_) => return Ok(None),
        None => {}
    }
    store.add_signing_secret(account.id, SecretId::new(now, clock::entropy()), secret.expose_bytes(), now).await?;
    Ok(fresh.then(|| secret.expose_text()))
}
