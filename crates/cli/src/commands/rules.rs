//! `rules`: what is loaded, whether it is in order, what it finds, and whether it is up to date. No service is needed.

mod check;
mod list;
mod test;
mod update;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use filesafety_engine::Config as EngineConfig;

use crate::{
    arguments::{RulesCommand, RulesFolder},
    settings::SettingFlags,
};

pub(super) fn run(command: RulesCommand, config: Option<PathBuf>) -> Result<u8> {
    match command {
        RulesCommand::List { json, folder } => list::run(json, &rules_in_force(folder, config)?),
        RulesCommand::Check { paths, folder } => check::run(paths, || folder_in_force(folder, config)),
        RulesCommand::Test { file, json, folder } => test::run(&file, json, folder, config),
        RulesCommand::Update { freshclam_config, folder } => {
            let Some(folder) = folder_in_force(folder, config)? else {
                bail!("FILESAFETY_RULES_DIR is not set: there is no folder for the databases. Set it, or give --rules-dir.");
            };
            update::run(&folder, freshclam_config.as_deref())
        }
    }
}

fn folder_in_force(folder: RulesFolder, config: Option<PathBuf>) -> Result<Option<PathBuf>> {
    Ok(rules_in_force(folder, config)?.rules_dir)
}

/// What decides which rules the service loads.
fn rules_in_force(folder: RulesFolder, config: Option<PathBuf>) -> Result<EngineConfig> {
    let config = SettingFlags::default().with("rules_dir", folder.rules_dir).config_without_listening(config)?;
    match config.rules_dir {
        Some(folder) if !folder.is_dir() => bail!("there is no folder {}", folder.display()),
        rules_dir => Ok(EngineConfig { rules_dir, clamdb_pua: config.clamdb_pua, ..EngineConfig::default() }),
    }
}

/// How long ago, in the largest unit that fits.
fn age(since: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(since).unwrap_or(Duration::ZERO).as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let (count, unit) =
        units.into_iter().map(|(length, unit)| (seconds / length, unit)).find(|(count, _)| *count > 0).unwrap_or((seconds, "second"));
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The last part of a path.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_one_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (seconds, expected) in
            [(0, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (7_300, "2 hours"), (260_000, "3 days")]
        {
            assert_eq!(age(now - Duration::from_secs(seconds), now), expected);
        }
        assert_eq!(age(now + Duration::from_secs(5), now), "0 seconds");
    }
}
