//! `backup`: a consistent copy of the store, while the service runs.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};

use super::{CLEAN, block_on, store};
use crate::{arguments::BackupArguments, terminal::escaped_path};

pub(super) fn run(arguments: BackupArguments, config: Option<PathBuf>) -> Result<u8> {
    let path = arguments.path;
    let shown = escaped_path(path.as_os_str());
    if path.symlink_metadata().is_ok() {
        bail!("{shown} exists; a backup never overwrites a file");
    }
    block_on(async {
        let store = store::open(arguments.data, config).await?.store;
        store.backup(&path).await.with_context(|| format!("cannot write {shown}"))?;
        store.close().await;
        writeln!(io::stderr(), "Wrote {shown}. It opens only with the master key of this store, which is not part of it.")?;
        Ok(CLEAN)
    })
}
