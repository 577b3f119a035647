//! What lies in a data folder.

use std::fs;
use std::path::{Path, PathBuf};

/// Its files but for the store's own: uploads that nobody has judged yet.
pub(crate) fn uploads_in(data: &Path) -> Vec<PathBuf> {
    let mut files = files_in(data);
    files.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        !["db", "sqlite", "lock", "master.key"].iter().any(|own| name.contains(own))
    });
    files
}

/// Whether any file of the folder holds these bytes.
pub(crate) fn any_file_contains(folder: &Path, mark: &[u8]) -> bool {
    files_in(folder).iter().any(|path| fs::read(path).is_ok_and(|content| content.windows(mark.len()).any(|window| window == mark)))
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    // A file may go while we look.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}
