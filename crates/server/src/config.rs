//! The only reader of the environment and of configuration files.
//!
//! Every setting has one name: flag `--data-dir`, environment `FILESAFETY_DATA_DIR`, file key `data_dir`. Flags win over the environment,
//! the environment over the file, the file over the defaults. [`Resolved`] keeps each raw value with its origin; [`Config`] is what they
//! mean, checked as a whole.

mod parse;
mod settings;
mod sources;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use filesafety_engine::{ClamdAddress, ClamdConfig, Limits, Oversize, PictureModel};
use filesafety_model::{Password, Policy, RetrySchedule, UnexaminedPolicy};
use filesafety_sandbox::Confinement;

use crate::egress::IpNet;
use parse::Reader;
pub use settings::{SETTINGS, Setting};
pub use sources::{Origin, Resolved, Sources, Value};

/// A setting that stops the start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{origin} is no setting of FileSafety{}", .near.map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    Unknown { origin: String, near: Option<&'static str> },
    #[error("{env}{} is {value:?}: {problem}", elsewhere(env, origin))]
    Bad { env: &'static str, origin: String, value: String, problem: String },
    #[error("{origin}: {problem}")]
    Unreadable { origin: String, problem: String },
    #[error("{0}")]
    Conflict(String),
}

/// Where a setting comes from, unless that is its own variable.
fn elsewhere(env: &str, origin: &str) -> String {
    if origin == env { String::new() } else { format!(" ({origin})") }
}

/// Everything that a running service was told.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub public_url: Option<String>,
    pub tls: Option<TlsFiles>,
    pub behind_proxy: bool,
    pub metrics_listen: Option<SocketAddr>,
    pub data_dir: PathBuf,
    pub master_key: Option<Secret>,
    pub api_key: Option<Secret>,
    pub webhook_secret: Option<Secret>,
    pub webhooks: WebhookConfig,
    pub fetch: FetchConfig,
    pub ca_file: Option<PathBuf>,
    pub policy: Policy,
    pub rules_dir: Option<PathBuf>,
    pub clamdb_pua: bool,
    pub picture_models: Vec<PictureModel>,
    /// What the processes that scan give up.
    pub confinement: Confinement,
    /// Tried on whatever is encrypted.
    pub archive_passwords: Vec<Password>,
    pub clamd: Option<ClamdConfig>,
    pub limits: Limits,
    pub intake: IntakeLimits,
    /// Submissions of one key: per second and at once; `None` is no limit.
    pub rate: Option<Rate>,
    /// Reads of one key, likewise.
    pub read_rate: Option<Rate>,
    pub scan_threads: NonZeroUsize,
    /// Bytes that all running scans hold together.
    pub scan_memory: u64,
    pub sync_wait: Duration,
    /// How young a finished scan must be to stand for another of the same file; zero switches deduplication off.
    pub deduplicate_for: Duration,
    pub retention: Duration,
    pub drain: Duration,
}

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whether TLS 1.2 is spoken as well as 1.3.
    pub allow_1_2: bool,
    /// What the two settings are called, for messages.
    pub names: [&'static str; 2],
}

#[derive(Clone, Debug)]
pub struct WebhookConfig {
    pub retry: RetrySchedule,
    pub timeout: Duration,
    /// How long after the answer that names a scan its first attempt leaves.
    pub grace: Duration,
    pub allow_nets: Vec<IpNet>,
    pub allow_http: bool,
}

#[derive(Clone, Debug)]
pub struct FetchConfig {
    pub enabled: bool,
    pub allow_nets: Vec<IpNet>,
    pub deadline: Duration,
}

/// Bounds of what is taken in.
#[derive(Clone, Debug)]
pub struct IntakeLimits {
    pub file: u64,
    pub metadata: usize,
    pub queue: u64,
    pub open_uploads: u64,
    pub upload_url_life: Duration,
    /// At least as many bytes over any window, and all of them within the deadline.
    pub pace_bytes: u64,
    pub pace_window: Duration,
    pub deadline: Duration,
    /// Files up to this size are judged without touching the disk.
    pub in_memory: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// A value that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Config {
    /// Where what the engines compile is kept.
    pub fn engine_cache(&self) -> PathBuf {
        self.data_dir.join("cache")
    }

    /// What the resolved values mean together.
    pub fn new(resolved: &Resolved) -> Result<Self, ConfigError> {
        let read = Reader(resolved);
        refuse_what_this_build_lacks(&read)?;
        let policy: Policy = read.parsed("policy")?;
        let config = Self {
            listen: read.parsed("listen")?,
            public_url: read.optional_with("public_url", parse::base_url)?,
            tls: tls_files(&read)?,
            behind_proxy: read.flag("behind_proxy")?,
            metrics_listen: read.optional_parsed("metrics_listen")?,
            data_dir: read.path("data_dir")?,
            master_key: read.secret("master_key"),
            api_key: read.secret("api_key"),
            webhook_secret: read.secret("webhook_secret"),
            webhooks: WebhookConfig {
                retry: read.parsed("webhook_retry")?,
                timeout: read.with("webhook_timeout", parse::positive_duration)?,
                grace: read.with("webhook_grace", parse::duration)?,
                allow_nets: read.with("allow_nets", parse::nets)?,
                allow_http: read.flag("webhook_http")?,
            },
            fetch: FetchConfig {
                enabled: read.flag("fetch")?,
                allow_nets: read.with("fetch_allow_nets", parse::nets)?,
                deadline: read.with("fetch_timeout", parse::positive_duration)?,
            },
            ca_file: read.optional_path("ca_file"),
            policy,
            rules_dir: read.optional_path("rules_dir"),
            clamdb_pua: read.flag("clamdb_pua")?,
            picture_models: read.with("nsfw_model", parse::picture_models)?,
            confinement: confinement(&read)?,
            archive_passwords: read.passwords("archive_passwords")?,
            clamd: clamd(&read, &policy)?,
            limits: limits(&read)?,
            intake: intake(&read)?,
            rate: read.with("rate", parse::rate)?,
            read_rate: read.with("read_rate", parse::rate)?,
            scan_threads: read.optional_parsed("scan_threads")?.unwrap_or_else(cores),
            scan_memory: read.optional_with("scan_memory", parse::size)?.unwrap_or_else(half_of_memory),
            sync_wait: read.with("sync_wait", parse::positive_duration)?,
            deduplicate_for: read.with("dedupe_for", parse::duration)?,
            retention: read.with("retention", parse::positive_duration)?,
            drain: read.with("drain_timeout", parse::positive_duration)?,
        };
        config.check_listen()?;
        Ok(config)
    }

    fn check_listen(&self) -> Result<(), ConfigError> {
        if self.listen.ip().is_loopback() || self.tls.is_some() || self.behind_proxy {
            return Ok(());
        }
        Err(ConfigError::Conflict(format!(
            "FILESAFETY_LISTEN is {}, which other machines can reach, and keys and files would travel in clear. \
             Set FILESAFETY_TLS_CERT and FILESAFETY_TLS_KEY, or pass --behind-proxy when a proxy in front ends TLS.",
            self.listen
        )))
    }
}

fn refuse_what_this_build_lacks(read: &Reader<'_>) -> Result<(), ConfigError> {
    let refuse = |text: &str| Err(ConfigError::Conflict(text.to_owned()));
    if read.text("database_url").is_some() {
        return refuse(
            "FILESAFETY_DATABASE_URL is set, but this build keeps its store in SQLite only. Unset it; the store is filesafety.db in FILESAFETY_DATA_DIR.",
        );
    }
    if read.text("blob_url").is_some() {
        return refuse(
            "FILESAFETY_BLOB_URL is set, but this build keeps uploads in a folder only. Unset it; the folder is uploads in FILESAFETY_DATA_DIR.",
        );
    }
    let roles = read.text("roles").unwrap_or_default();
    let mut roles: Vec<_> = roles.split(',').map(str::trim).collect();
    roles.sort_unstable();
    if roles != ["api", "deliver", "scan"] {
        return refuse(
            "FILESAFETY_ROLES names other roles than api,scan,deliver, but this build plays all three in one process. Unset it.",
        );
    }
    Ok(())
}

fn tls_files(read: &Reader<'_>) -> Result<Option<TlsFiles>, ConfigError> {
    let allow_1_2 = read.with("tls_min", |text| match text {
        "1.2" => Ok(true),
        "1.3" => Ok(false),
        _ => Err("give 1.2 or 1.3".to_owned()),
    })?;
    match (read.optional_path("tls_cert"), read.optional_path("tls_key")) {
        (Some(certificate), Some(key)) => {
            let names = ["FILESAFETY_TLS_CERT", "FILESAFETY_TLS_KEY"];
            Ok(Some(TlsFiles { certificate, key, allow_1_2, names }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(ConfigError::Conflict("FILESAFETY_TLS_CERT is set without FILESAFETY_TLS_KEY; set both or neither.".to_owned()))
        }
        (None, Some(_)) => {
            Err(ConfigError::Conflict("FILESAFETY_TLS_KEY is set without FILESAFETY_TLS_CERT; set both or neither.".to_owned()))
        }
    }
}

fn clamd(read: &Reader<'_>, policy: &Policy) -> Result<Option<ClamdConfig>, ConfigError> {
    let address: Option<ClamdAddress> =
        read.optional_with("clamd", |text| text.parse::<ClamdAddress>().map_err(|error| error.to_string()))?;
    let max_bytes = read.with("clamd_max", parse::size)?;
    let oversize = match policy.clamd_limit {
        UnexaminedPolicy::Allow => Oversize::Note,
        UnexaminedPolicy::Infected => Oversize::Unexamined,
    };
    Ok(address.map(|address| ClamdConfig { address, max_bytes, oversize }))
}

fn confinement(read: &Reader<'_>) -> Result<Confinement, ConfigError> {
    match (read.flag("sandbox")?, read.flag("require_sandbox")?) {
        (true, false) => Ok(Confinement::On),
        (true, true) => Ok(Confinement::Required),
        (false, false) => Ok(Confinement::Off),
        (false, true) => Err(ConfigError::Conflict(
            "FILESAFETY_SANDBOX is off, and FILESAFETY_REQUIRE_SANDBOX asks for it; unset one of the two.".to_owned(),
        )),
    }
}

fn limits(read: &Reader<'_>) -> Result<Limits, ConfigError> {
    Ok(Limits {
        depth: read.parsed("unpack_depth")?,
        objects: read.parsed("unpack_objects")?,
        unpacked_bytes: read.with("unpack_bytes", parse::size)?,
        cpu: read.with("unpack_time", parse::positive_duration)?,
        picture_bytes: read.with("picture_bytes", parse::size)?,
        picture_pixels: read.parsed("picture_pixels")?,
        ..Limits::default()
    })
}

fn intake(read: &Reader<'_>) -> Result<IntakeLimits, ConfigError> {
    Ok(IntakeLimits {
        file: read.with("file_max", parse::size)?,
        metadata: usize::try_from(read.with("metadata_max", parse::size)?).unwrap_or(usize::MAX),
        queue: read.parsed("queue_max")?,
        open_uploads: read.parsed("open_uploads_max")?,
        upload_url_life: read.with("upload_url_life", parse::positive_duration)?,
        pace_bytes: read.with("upload_pace_bytes", parse::size)?,
        pace_window: read.with("upload_pace_window", parse::positive_duration)?,
        deadline: read.with("upload_timeout", parse::positive_duration)?,
        in_memory: 512 * 1024,
    })
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn half_of_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let total = info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)));
    (total / 2).max(256 << 20)
}

#[cfg(test)]
mod tests;
