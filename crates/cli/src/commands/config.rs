//! `config`: what is in force, and where each value came from.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use filesafety_server::config::{Config, Resolved, SETTINGS};

use super::{CLEAN, worker};
use crate::{settings::SettingFlags, terminal::print_table};

pub(super) fn run(flags: SettingFlags, config: Option<PathBuf>) -> Result<u8> {
    let resolved = flags.resolve(config)?;
    print_table(&["setting", "value", "from"], &rows(&resolved))?;
    // After the table: it shows where the value that is refused came from.
    let config = Config::new(&resolved)?;
    print_sandbox(&config)?;
    Ok(CLEAN)
}

/// What the processes that read files give up on this system, with these settings.
fn print_sandbox(config: &Config) -> Result<()> {
    let layers = filesafety_sandbox::probe(&worker::program(), config.confinement).context("no sandbox can be started")?;
    let in_force = layers.in_force.iter().map(|layer| vec![layer.to_string(), "in force".to_owned()]);
    let missing = layers.missing.iter().map(|(layer, reason)| vec![layer.to_string(), format!("missing: {reason}")]);
    writeln!(std::io::stdout())?;
    Ok(print_table(&["sandbox", ""], &in_force.chain(missing).collect::<Vec<_>>())?)
}

fn rows(resolved: &Resolved) -> Vec<Vec<String>> {
    let row = |setting: &filesafety_server::config::Setting| {
        let value = resolved.get(setting.key);
        let text = match value {
            Some(value) if !value.text.is_empty() => if setting.secret { "[redacted]" } else { &value.text }.to_owned(),
            Some(_) | None => "-".to_owned(),
        };
        let origin = value.map_or_else(|| "default".to_owned(), |value| value.origin.to_string());
        vec![setting.env.to_owned(), text, origin]
    };
    SETTINGS.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use filesafety_server::config::Sources;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let environment = BTreeMap::from([("FILESAFETY_API_KEY".to_owned(), "fs_live_topsecret".to_owned())]);
        let resolved = Resolved::new(&Sources { environment, ..Sources::default() }).unwrap();
        let row = rows(&resolved).into_iter().find(|row| row[0] == "FILESAFETY_API_KEY").unwrap();
        assert_eq!(row, ["FILESAFETY_API_KEY", "[redacted]", "FILESAFETY_API_KEY"]);
    }
}
