//! `rules update`: freshclam, pointed at the rules folder. It checks what it fetches and puts it in place whole; a running service sees
//! the change within some seconds.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use filesafety_engine::is_rule_file;

use super::super::CLEAN;
use crate::terminal::escaped;

/// Where packages put it, also for those whose path leaves system folders out.
const ELSEWHERE: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];

pub(super) fn run(folder: &Path, config: Option<&Path>) -> Result<u8> {
    let Some(freshclam) = find_freshclam() else {
        bail!("there is no freshclam on this machine; it comes with ClamAV (on Debian the package clamav-freshclam)");
    };
    // It resolves relative names against its own folder.
    let folder = fs::canonicalize(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let before = databases(&folder)?;
    let mut command = Command::new(&freshclam);
    let mut datadir = OsString::from("--datadir=");
    datadir.push(&folder);
    command.arg(datadir);
    if let Some(config) = config {
        let mut file = OsString::from("--config-file=");
        file.push(fs::canonicalize(config).with_context(|| format!("cannot read {}", config.display()))?);
        command.arg(file);
    }
    let status = command.status().with_context(|| format!("{} does not start", freshclam.display()))?;
    if !status.success() {
        bail!("freshclam ended with {status}; what it said stands above. The databases in force are as before.");
    }
    let after = databases(&folder)?;
    let changed: Vec<_> = after.iter().filter(|(name, state)| before.get(*name) != Some(state)).map(|(name, _)| escaped(name)).collect();
    if changed.is_empty() {
        writeln!(io::stdout(), "Nothing new.")?;
    } else {
        writeln!(io::stdout(), "Updated: {}. A running service takes them over within some seconds.", changed.join(", "))?;
    }
    Ok(CLEAN)
}

fn find_freshclam() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(ELSEWHERE.map(PathBuf::from));
    folders.map(|folder| folder.join("freshclam")).find(|file| file.is_file())
}

/// Sizes and times of the folder's rule files.
fn databases(folder: &Path) -> Result<BTreeMap<String, (u64, Option<SystemTime>)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        if let Some(metadata) = fs::metadata(&path).ok().filter(|metadata| is_rule_file(&path) && metadata.is_file()) {
            found.insert(super::name_of(&path), (metadata.len(), metadata.modified().ok()));
        }
    }
    Ok(found)
}
