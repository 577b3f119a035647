//! The operator's folder of rules and lists.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::LoadError;

/// The files with one of these extensions, in either case, that stand in `dir` itself, by name. Folders are not entered and names
/// that begin with a dot are passed over: a mounted configuration keeps its older and its real files behind such names. Links count
/// as what they point to.
pub(crate) fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, LoadError> {
    let refused = |cause: io::Error| LoadError::Read { path: dir.to_owned(), cause };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let named = path.extension().is_some_and(|found| extensions.iter().any(|extension| found.eq_ignore_ascii_case(extension)));
        if named && !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_only_the_named_files_of_the_folder_itself() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yar", "a.YAR", "c.yara", "d.txt", ".hidden.yar", "yar"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("folder.yar")).unwrap();
        let names: Vec<_> = files(dir.path(), &["yar", "yara"])
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.YAR", "b.yar", "c.yara"]);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let missing = tempfile::tempdir().unwrap().path().join("missing");
        assert!(matches!(files(&missing, &["yar"]), Err(LoadError::Read { path, .. }) if path == missing));
    }
}
