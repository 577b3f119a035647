//! Settings as flags, and reading them together with the environment and the file.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use clap::{Arg, ArgMatches, Command};
use filesafety_server::config::{Config, Resolved, SETTINGS, Setting, Sources};

/// Flags of settings by their keys. Secrets have none: a command line shows in the list of processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags(BTreeMap<String, String>);

/// What `-h` shows; `--help` shows all.
const FIRST: &[&str] =
    &["listen", "public_url", "tls_cert", "tls_key", "behind_proxy", "data_dir", "policy", "rules_dir", "clamd", "scan_threads", "log"];

impl SettingFlags {
    pub(crate) fn with(mut self, key: &str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    /// Every value with its origin.
    pub(crate) fn resolve(self, config: Option<PathBuf>) -> Result<Resolved> {
        Ok(Resolved::new(&Sources::of_process(self.0, config))?)
    }

    /// The checked settings of a command that opens no port, whatever the service's address is.
    pub(crate) fn config_without_listening(self, config: Option<PathBuf>) -> Result<Config> {
        let resolved = self.with("behind_proxy", Some("on".to_owned())).resolve(config)?;
        Ok(Config::new(&resolved)?)
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().filter(|setting| !setting.secret).map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = SETTINGS.iter().filter(|setting| !setting.secret);
        let given = flags.filter_map(|setting| Some((setting.key.to_owned(), matches.get_one::<String>(setting.key)?.clone())));
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

fn flag(setting: &Setting) -> Arg {
    let default = setting.default.filter(|default| !default.is_empty()).map(|default| format!("default: {default}, ")).unwrap_or_default();
    // The parser wants names that live as long as the process; there are some fifty.
    let name: &'static str = Box::leak(setting.flag().into_boxed_str());
    let arg = Arg::new(setting.key)
        .long(name)
        .value_name("VALUE")
        .help(format!("{} [{default}env: {}]", setting.help, setting.env))
        .hide_short_help(!FIRST.contains(&setting.key));
    if setting.switch { arg.num_args(0..=1).require_equals(true).default_missing_value("on") } else { arg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_settings_names_each_with_its_default() {
        let page = include_str!("../../../docs/settings.md");
        for setting in SETTINGS {
            let default = setting.default.filter(|default| !default.is_empty()).map_or("none".to_owned(), |default| format!("`{default}`"));
            let row = format!("| `{}` | {default} |", setting.env);
            assert!(page.contains(&row), "docs/settings.md lacks the row {row}");
        }
    }
}
