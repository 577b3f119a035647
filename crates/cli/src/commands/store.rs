//! Opening the store beside a running service.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use filesafety_model::Timestamp;
use filesafety_server::config::Config;
use filesafety_store::{Access, MasterKey, Options, Store, StoreError};

use crate::{arguments::DataDir, settings::SettingFlags};

const STORE_FILE: &str = "filesafety.db";
const MASTER_KEY_FILE: &str = "master.key";

/// A store, and the settings that led to it.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) config: Config,
}

/// The store in the data folder, which must be there: a command in the wrong folder must not found a second one.
pub(super) async fn open(data: DataDir, config: Option<PathBuf>) -> Result<Opened> {
    open_with(data.data_dir, None, config).await
}

/// Likewise, with the folder of rules that the command line names.
pub(super) async fn open_with(data_dir: Option<String>, rules_dir: Option<String>, config: Option<PathBuf>) -> Result<Opened> {
    let flags = SettingFlags::default().with("data_dir", data_dir).with("rules_dir", rules_dir);
    let config = flags.config_without_listening(config)?;
    let folder = &config.data_dir;
    if !folder.join(STORE_FILE).is_file() {
        bail!(
            "there is no store in {}. Give its folder by --data-dir or FILESAFETY_DATA_DIR; `filesafety serve` makes one.",
            folder.display()
        );
    }
    let master_key = match &config.master_key {
        Some(secret) => MasterKey::parse(secret.expose()).context("FILESAFETY_MASTER_KEY")?,
        None => MasterKey::load_or_create(&folder.join(MASTER_KEY_FILE))
            .with_context(|| format!("{MASTER_KEY_FILE} in {}", folder.display()))?,
    };
    let options = Options { data_dir: folder.clone(), master_key, access: Access::Shared };
    let store = Store::open(options).await.with_context(|| format!("the store in {} does not open", folder.display()))?;
    Ok(Opened { store, config })
}

/// Says what was not found.
pub(super) fn missing(error: StoreError, what: impl FnOnce() -> String) -> anyhow::Error {
    match error {
        StoreError::NotFound => anyhow::anyhow!(what()),
        StoreError::Conflict(_) | StoreError::LeaseLost | StoreError::Unavailable(_) | StoreError::Corrupt(_) => error.into(),
    }
}

pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

pub(super) fn entropy<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(bytes)
}
