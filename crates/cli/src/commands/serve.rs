//! `serve`: the service, from its first word on stderr to its drain.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use filesafety_server::{
    Config, Started,
    config::{Resolved, Value},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{CLEAN, FAILED, worker};
use crate::{
    logging::{self, LogFormat},
    settings::SettingFlags,
};

/// Blocking calls that still run after the drain are not waited for longer.
const LAST_CALLS: Duration = Duration::from_secs(1);

pub(super) fn run(flags: SettingFlags, config: Option<PathBuf>) -> Result<u8> {
    let resolved = flags.resolve(config)?;
    let config = Config::new(&resolved)?;
    let format = start_logging(&resolved)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = stop_signal()?;
        filesafety_server::serve(config, worker::program(), stop, |started| greet(started, format)).await?;
        anyhow::Ok(CLEAN)
    });
    runtime.shutdown_timeout(LAST_CALLS);
    outcome
}

/// Connections of clients and to receivers, and uploads in flight, need more open files than shells grant at first.
fn raise_open_files() {
    const WANTED: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED, |most| most.min(WANTED));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Turns true at SIGTERM or Ctrl-C. A second one ends the process at once: what was accepted survives that, too.
pub(super) fn stop_signal() -> Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.send_replace(true) {
                std::process::exit(i32::from(FAILED));
            }
        }
    });
    Ok(stopping)
}

fn start_logging(resolved: &Resolved) -> Result<LogFormat> {
    let text = |key: &str| resolved.get(key).map_or("", |value: &Value| value.text.trim());
    let format = LogFormat::parse(text("log_format")).context("FILESAFETY_LOG_FORMAT")?;
    logging::start(text("log"), format).context("FILESAFETY_LOG")?;
    Ok(format)
}

/// Where the service is, whatever is logged; at the first start the key and the secret, which are never shown again.
fn greet(started: &Started, format: LogFormat) {
    let text = match format {
        LogFormat::Text => greeting(started),
        LogFormat::Json => {
            tracing::info!(rules = started.rules, hashes = started.hashes, "listening on {}", started.url);
            secrets(started)
        }
    };
    // A closed stderr is no reason not to serve.
    let _unheard = io::stderr().write_all(text.as_bytes());
}

fn greeting(started: &Started) -> String {
    let mut text =
        format!("listening on {0} ({1} rules, {2} hashes; the API is described at {0}/docs)\n", started.url, started.rules, started.hashes);
    text += &secrets(started);
    if let Some(key) = &started.new_api_key {
        // The test file stands here in two halves, so that neither this program nor its source is one.
        text += &format!(
            "\nTry it with EICAR, a harmless file that every scanner calls a virus:\n\n  printf '%s%s' 'X5O!P%@AP[4\\PZX54(P^)7CC)7}}$' 'EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*' | \
             curl -sS {}/v1/scan -H 'x-api-key: {key}' -F 'file=@-;filename=eicar.com'\n\n",
            started.url
        );
    }
    text
}

fn secrets(started: &Started) -> String {
    let key = started.new_api_key.as_ref().map(|key| format!("\nFirst start. Your API key, shown this once:\n\n  {key}\n"));
    let secret = started.new_webhook_secret.as_ref().map(|secret| format!("\nWhat signs your webhooks, shown this once:\n\n  {secret}\n"));
    key.into_iter().chain(secret).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(new_api_key: Option<&str>) -> Started {
        Started {
            url: "http://127.0.0.1:8080".into(),
            new_api_key: new_api_key.map(str::to_owned),
            new_webhook_secret: None,
            rules: 8,
            hashes: 0,
        }
    }

    #[test]
    fn the_first_start_shows_the_key_in_a_line_to_paste() {
        let text = greeting(&started(Some("fs_live_k")));
        assert!(text.starts_with("listening on http://127.0.0.1:8080 "));
        assert!(
            text.contains("| curl -sS http://127.0.0.1:8080/v1/scan -H 'x-api-key: fs_live_k' -F 'file=@-;filename=eicar.com'\n"),
            "{text}"
        );
        assert!(text.contains(r"'X5O!P%@AP[4\PZX54(P^)7CC)7}$' 'EICAR-"), "{text}");
    }

    #[test]
    fn later_starts_say_where_the_service_is_and_no_more() {
        assert_eq!(greeting(&started(None)).lines().count(), 1);
    }
}
