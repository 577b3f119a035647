//! What is loaded from where: a row for the rule pack and one for each file of the operator's folder.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    Config, LoadError, clamdb,
    hashes::HashLists,
    yara::{Rules, folder},
};

/// One file of rules, or the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// The file's name in the folder; `None` for the rule pack.
    pub file: Option<String>,
    pub family: Family,
    /// Of a database, and who vouches for it.
    pub version: Option<String>,
    /// Entries in force, by kind.
    pub counts: BTreeMap<&'static str, usize>,
    /// Entries that are not in force, by reason.
    pub left_out: BTreeMap<Cow<'static, str>, usize>,
    /// When a database was built; when a file was last changed.
    pub changed: Option<SystemTime>,
}

/// Who matches with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Yara,
    Hashes,
    ClamAv,
}

impl Family {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yara => "yara-x",
            Self::Hashes => "hashes",
            Self::ClamAv => "clamdb",
        }
    }
}

/// Everything that an engine of this configuration has, in the order of the files' names.
///
/// # Errors
/// The first file that does not load.
pub fn inventory(config: &Config) -> Result<Vec<RuleSource>, LoadError> {
    let dir = config.rules_dir.as_deref();
    let mut sources = Vec::new();
    let mut by_file = Rules::load(dir)?.counts_by_file();
    sources.push(RuleSource::new(None, Family::Yara, by_file.remove(&None).unwrap_or_default()));
    for (file, counts) in by_file {
        sources.push(RuleSource::new(file, Family::Yara, counts));
    }
    let Some(dir) = dir else { return Ok(sources) };
    for path in folder::files(dir, &["sha256", "sha1", "md5", "hashes"])? {
        let list = HashLists::of_file(&path)?;
        let counts = BTreeMap::from([("malware", list.count()), ("allowed", list.allowed_count())]);
        sources.push(RuleSource::new(Some(name_of(&path)), Family::Hashes, counts));
    }
    sources.extend(clamav(dir, &clamdb::Settings::new(config.clamdb_pua))?);
    for source in &mut sources {
        source.counts.retain(|_, count| *count > 0);
        source.left_out.retain(|_, count| *count > 0);
        source.changed = source.changed.or_else(|| {
            let path = dir.join(source.file.as_ref()?);
            fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
        });
    }
    Ok(sources)
}

fn clamav(dir: &Path, settings: &clamdb::Settings) -> Result<Vec<RuleSource>, LoadError> {
    let files: Vec<PathBuf> = folder::files(dir, &clamdb::extensions())?;
    let mut sources = Vec::new();
    for path in files {
        let read = clamdb::source_of_file(&path, settings)?;
        let counts = &read.counts;
        let in_force = [
            ("digests", counts.hashes),
            ("patterns", counts.bodies),
            ("logical", counts.logical),
            ("members", counts.members),
            ("passwords", counts.passwords),
            ("types", counts.magics),
            ("allowed", counts.allowed),
        ];
        let mut source = RuleSource::new(Some(name_of(&path)), Family::ClamAv, in_force.into());
        source.version = read.version.map(|version| format!("{version} {}", read.trust.as_str()));
        source.changed = read.built;
        source.left_out = counts.unsupported.clone();
        let others =
            [("invalid", counts.invalid), ("ignored", counts.ignored), ("other level", counts.other_level), ("unwanted", counts.unwanted)];
        source.left_out.extend(others.map(|(reason, count)| (Cow::Borrowed(reason), count)));
        sources.push(source);
    }
    Ok(sources)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl RuleSource {
    fn new(file: Option<String>, family: Family, counts: BTreeMap<&'static str, usize>) -> Self {
        Self { file, family, version: None, counts, left_out: BTreeMap::new(), changed: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_folder(dir: &Path, clamdb_pua: bool) -> Vec<RuleSource> {
        inventory(&Config { rules_dir: Some(dir.to_owned()), clamdb_pua, ..Config::default() }).unwrap()
    }

    #[test]
    fn what_is_possibly_unwanted_is_left_out_only_where_it_is_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.ndu"), "PUA.One:0:*:6162636465\n").unwrap();
        let [_, off] = &of_folder(dir.path(), false)[..] else { panic!() };
        assert_eq!((&off.counts, &off.left_out), (&BTreeMap::new(), &BTreeMap::from([("unwanted".into(), 1)])));
        let [_, on] = &of_folder(dir.path(), true)[..] else { panic!() };
        assert_eq!((&on.counts, &on.left_out), (&BTreeMap::from([("patterns", 1)]), &BTreeMap::new()));
    }

    #[test]
    fn each_file_has_a_row_and_the_pack_has_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("b.yar", "rule a { meta: fact = \"drops\" condition: filesize == 1 } rule b { condition: filesize == 1 }");
        write("allow.sha256", &"0".repeat(64));
        write("c.md5", &format!("{}\n{}\n", "1".repeat(32), "2".repeat(32)));
        write("d.ndb", "One:0:*:6162636465\nnonsense\n");
        let sources = of_folder(dir.path(), false);
        let rows: Vec<_> = sources.iter().map(|source| (source.file.as_deref(), source.family.as_str(), source.counts.clone())).collect();
        assert_eq!((rows[0].0, rows[0].1), (None, "yara-x"));
        assert!(rows[0].2["suspicious"] > 5 && rows[0].2["fact"] > 2 && rows[0].2["malware"] == 2, "{:?}", rows[0]);
        assert_eq!(rows[1], (Some("b.yar"), "yara-x", BTreeMap::from([("malware", 1), ("fact", 1)])));
        assert_eq!(rows[2], (Some("allow.sha256"), "hashes", BTreeMap::from([("allowed", 1)])));
        assert_eq!(rows[3], (Some("c.md5"), "hashes", BTreeMap::from([("malware", 2)])));
        assert_eq!(rows[4], (Some("d.ndb"), "clamdb", BTreeMap::from([("patterns", 1)])));
        assert_eq!(sources[4].left_out, BTreeMap::from([("invalid".into(), 1)]));
        assert!(sources[0].changed.is_none() && sources[1..].iter().all(|source| source.changed.is_some()));
        assert_eq!(inventory(&Config::default()).unwrap().len(), 1);
    }
}
