//! Finding the files under what was named.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Something to judge, or to say that it cannot be.
#[derive(Debug)]
pub(super) enum Target {
    Stdin,
    File { path: PathBuf, links: Links },
    Unreadable { path: PathBuf, error: io::Error },
}

/// What a symbolic link at the end of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// It was named: the file that it leads to is meant.
    Followed,
    /// It was met in a folder: it could lead anywhere.
    Refused,
}

/// Shows `take` every regular file, folders in the order of their names, until it says that it wants no more. At most one folder is open at a time.
pub(super) fn walk(named: &[PathBuf], take: &mut dyn FnMut(Target) -> bool) {
    for path in named {
        if path.as_os_str() == "-" {
            if !take(Target::Stdin) {
                return;
            }
            continue;
        }
        let go_on = match fs::metadata(path) {
            Ok(facts) if facts.is_dir() => walk_folder(path.clone(), take),
            Ok(facts) if facts.is_file() => take(Target::File { path: path.clone(), links: Links::Followed }),
            Ok(_) => take(Target::Unreadable {
                path: path.clone(),
                error: io::Error::other("neither a file nor a folder; - reads standard input"),
            }),
            Err(error) => take(Target::Unreadable { path: path.clone(), error }),
        };
        if !go_on {
            return;
        }
    }
}

fn walk_folder(top: PathBuf, take: &mut dyn FnMut(Target) -> bool) -> bool {
    let mut folders = vec![top];
    while let Some(folder) = folders.pop() {
        let (files, below, failure) = list(&folder);
        for path in files {
            if !take(Target::File { path, links: Links::Refused }) {
                return false;
            }
        }
        if let Some(error) = failure
            && !take(Target::Unreadable { path: folder, error })
        {
            return false;
        }
        folders.extend(below.into_iter().rev());
    }
    true
}

/// The files and the folders in a folder, by name, and the error that ended the listing early.
fn list(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>, Option<io::Error>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let mut read = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
            // Links lead elsewhere; sockets, pipes and devices hold no file.
        }
        Ok(())
    };
    let failure = read().err();
    files.sort_unstable();
    folders.sort_unstable();
    (files, folders, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(named: &[PathBuf]) -> Vec<String> {
        let mut found = Vec::new();
        walk(named, &mut |target| {
            found.push(match target {
                Target::Stdin => "-".to_owned(),
                Target::File { path, links } => format!("{links:?} {}", path.file_name().unwrap().display()),
                Target::Unreadable { path, error } => format!("{:?} {}", error.kind(), path.display()),
            });
            true
        });
        found
    }

    #[test]
    fn links_are_followed_only_where_they_are_named() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        for file in ["z", "a", "b/c/deep"] {
            fs::write(at(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        std::os::unix::fs::symlink(top.path(), at("b/loop")).unwrap();
        assert_eq!(walked(&[top.path().to_owned()]), ["Refused a", "Refused z", "Refused deep"]);
        assert_eq!(walked(&[at("link"), "-".into()]), ["Followed link", "-"]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(walked(&["/nowhere/at/all".into()]), ["NotFound /nowhere/at/all"]);
        assert!(walked(&["/dev/null".into()])[0].starts_with("Other"));
    }
}
