//! The names of signatures not to use.

use std::{collections::HashMap, path::Path};

use md5::{Digest as _, Md5};

use super::{Refused, digests};
use crate::clamdb::UNOFFICIAL;

#[derive(Default)]
pub(super) struct Ignored {
    /// By name; with the MD5 of the line where only that one is meant.
    names: HashMap<String, Vec<Option<[u8; 16]>>>,
    /// By the file's name without extension, the line and the name.
    places: HashMap<(String, u64), String>,
}

impl Ignored {
    pub(super) fn add(&mut self, line: &str) -> Result<(), Refused> {
        let fields: Vec<_> = line.split(':').collect();
        match fields.as_slice() {
            [name] => self.names.entry(plain(name)).or_default().push(None),
            [name, digest] => match digests::AnyDigest::parse(digest) {
                Some(digests::AnyDigest::Md5(digest)) => self.names.entry(plain(name)).or_default().push(Some(digest)),
                _ => return Err(Refused::Invalid("after the name comes no MD5")),
            },
            [database, line, name] => {
                let line = line.parse().map_err(|_| Refused::Invalid("the second field is no line number"))?;
                self.places.insert((stem(database).to_owned(), line), plain(name));
            }
            _ => return Err(Refused::Invalid("neither a name, nor a name and an MD5, nor a database, a line and a name")),
        }
        Ok(())
    }

    /// Whether the signature of that name, which stands in `line`, the `number`th of its file, is not to be used.
    pub(super) fn holds(&self, name: &str, line: &str, path: &Path, number: u64) -> bool {
        let by_name = self
            .names
            .get(name)
            .is_some_and(|only| only.iter().any(|digest| digest.is_none_or(|digest| <[u8; 16]>::from(Md5::digest(line)) == digest)));
        let by_place = || {
            let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.places.get(&(file, number)).is_some_and(|ignored| ignored == name)
        };
        by_name || !self.places.is_empty() && by_place()
    }
}

/// Names are written as reports show them, too.
fn plain(name: &str) -> String {
    name.strip_suffix(UNOFFICIAL).unwrap_or(name).to_owned()
}

fn stem(database: &str) -> &str {
    database.rsplit_once('.').map_or(database, |(stem, _)| stem)
}
