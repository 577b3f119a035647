//! `rescan`: what the lists of digests say now of what was scanned before. On the store itself, while the service runs.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use filesafety_engine::Blueprint;
use filesafety_model::Timestamp;
use filesafety_server::rescan::{Mode, TurnedVerdict, look_back};

use super::{CLEAN, block_on, store};
use crate::{
    arguments::{DataDir, RescanArguments},
    terminal::escaped,
};

pub(super) fn run(arguments: RescanArguments, config: Option<PathBuf>) -> Result<u8> {
    let since = arguments.since.as_deref().map(|text| since(text, store::now())).transpose()?;
    let mode = if arguments.dry_run { Mode::DryRun } else { Mode::Turn };
    block_on(async {
        let DataDir { data_dir } = arguments.data;
        let opened = store::open_with(data_dir, arguments.rules_dir, config).await?;
        let Some(rules_dir) = opened.config.rules_dir.clone() else {
            bail!("FILESAFETY_RULES_DIR is not set: there are no lists to look back with. Set it, or give --rules-dir.");
        };
        let engine_config = filesafety_engine::Config {
            rules_dir: Some(rules_dir),
            clamdb_pua: opened.config.clamdb_pua,
            cache_dir: Some(opened.config.engine_cache()),
            clamd: opened.config.clamd.clone(),
            limits: opened.config.limits,
            passwords: opened.config.archive_passwords.clone(),
            picture_models: opened.config.picture_models.clone(),
        };
        let blueprint = Blueprint::load(engine_config).context("the rules do not load")?;
        let mut unheard = None;
        let told = |turned: &TurnedVerdict| {
            // What is turned is turned, whether or not someone reads of it.
            unheard = unheard.take().or(print(turned).err());
        };
        let looked_back = look_back(&opened.store, &blueprint, since, mode, told).await?;
        opened.store.close().await;
        let would = if mode == Mode::DryRun { "would be " } else { "" };
        writeln!(
            io::stderr(),
            "Looked at {} scans: {} {would}condemned, {} {would}cleared; {} webhooks.",
            looked_back.scans,
            looked_back.condemned,
            looked_back.cleared,
            looked_back.webhooks
        )?;
        unheard.map_or(Ok(CLEAN), |error| Err(error.into()))
    })
}

fn print(turned: &TurnedVerdict) -> io::Result<()> {
    let name = turned.signature.as_deref().map_or_else(String::new, |signature| format!("  {}", escaped(signature)));
    writeln!(io::stdout(), "{}  {} -> {}{name}", turned.scan, turned.previous.as_str(), turned.verdict.as_str())
}

/// An instant, or how long ago it was.
fn since(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return None,
        };
        Some(Duration::from_secs(number.parse::<u32>().ok().map(u64::from)?.checked_mul(seconds)?))
    };
    let ago = ago().with_context(|| {
        format!("--since is {:?}; give an instant such as 2026-01-31T12:00:00Z, or a span such as 30d, 12h, 90m", escaped(text))
    })?;
    Ok(now.minus(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_instant_or_a_span() {
        let now: Timestamp = "2026-09-15T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("1d", "2026-09-14T12:00:00Z"),
            ("12h", "2026-09-15T00:00:00Z"),
            ("30m", "2026-09-15T11:30:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["", "d", "yesterday", "-1d", "1.5h", "5", "5s", "99999999999d", "1\u{e9}"] {
            assert!(since(text, now).unwrap_err().to_string().contains("--since"), "{text}");
        }
    }
}
