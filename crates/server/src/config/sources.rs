//! Where values come from, and which one wins.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{ConfigError, SETTINGS, Setting};

/// What was given, before anything is read from it.
#[derive(Debug, Default)]
pub struct Sources {
    /// By setting key.
    pub flags: BTreeMap<String, String>,
    /// Every variable of the environment; others than `FILESAFETY_*` are ignored.
    pub environment: BTreeMap<String, String>,
    /// The configuration file's path, and whether it was asked for by name (then it must exist).
    pub file: Option<(PathBuf, bool)>,
}

impl Sources {
    /// The process's own environment, and `filesafety.toml` in the current folder or where `FILESAFETY_CONFIG` points.
    pub fn of_process(flags: BTreeMap<String, String>, config_flag: Option<PathBuf>) -> Self {
        let mut environment: BTreeMap<_, _> =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        let named = config_flag.or_else(|| environment.remove("FILESAFETY_CONFIG").map(PathBuf::from));
        environment.remove("FILESAFETY_CONFIG");
        let file = named.map_or_else(|| (PathBuf::from("filesafety.toml"), false), |path| (path, true));
        Self { flags, environment, file: Some(file) }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    /// `NAME_FILE` named a file that holds the value.
    ValueFile {
        variable: String,
        path: PathBuf,
    },
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::ValueFile { variable, path } => write!(f, "{} named by {variable}", path.display()),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A raw value with its origin.
#[derive(Clone, Debug)]
pub struct Value {
    pub text: String,
    pub origin: Origin,
}

/// The value in force of each setting that has one.
#[derive(Debug)]
pub struct Resolved {
    values: BTreeMap<&'static str, Value>,
}

/// The longest file that `NAME_FILE` may name.
const VALUE_FILE_MAX: u64 = 64 * 1024;

impl Resolved {
    pub fn new(sources: &Sources) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                values.insert(setting.key, Value { text: default.to_owned(), origin: Origin::Default });
            }
        }
        values.extend(from_file(sources)?);
        values.extend(from_environment(&sources.environment)?);
        for (key, text) in &sources.flags {
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            let setting = setting.ok_or_else(|| ConfigError::Unknown { origin: format!("--{}", key.replace('_', "-")), near: None })?;
            values.insert(setting.key, Value { text: text.clone(), origin: Origin::Flag(format!("--{}", setting.flag())) });
        }
        Ok(Self { values })
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }
}

/// Variables of `filesafety receive`, and what it gives the programs it runs, which may call this one.
fn is_of_receive(name: &str) -> bool {
    name.starts_with("FILESAFETY_RECEIVE_") || ["FILESAFETY_SCAN_ID", "FILESAFETY_VERDICT", "FILESAFETY_SIGNATURE"].contains(&name)
}

fn from_environment(environment: &BTreeMap<String, String>) -> Result<BTreeMap<&'static str, Value>, ConfigError> {
    let mut values = BTreeMap::new();
    for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("FILESAFETY_") && !is_of_receive(name)) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.env == name) {
            let value = Value { text: text.clone(), origin: Origin::Environment(name.clone()) };
            if values.insert(setting.key, value).is_some() {
                return Err(ConfigError::Conflict(format!("{name} and {name}_FILE are both set; set one of them.")));
            }
            continue;
        }
        let named = name.strip_suffix("_FILE").and_then(|stem| SETTINGS.iter().find(|setting| setting.env == stem));
        let setting = named.ok_or_else(|| ConfigError::Unknown { origin: name.clone(), near: nearest(name) })?;
        let path = PathBuf::from(text);
        let origin = Origin::ValueFile { variable: name.clone(), path: path.clone() };
        let text = read_bounded(&path).map_err(|problem| ConfigError::Unreadable { origin: origin.to_string(), problem })?;
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        if values.insert(setting.key, Value { text, origin }).is_some() {
            return Err(ConfigError::Conflict(format!("{} and {name} are both set; set one of them.", setting.env)));
        }
    }
    Ok(values)
}

fn from_file(sources: &Sources) -> Result<BTreeMap<&'static str, Value>, ConfigError> {
    let Some((path, must_exist)) = &sources.file else { return Ok(BTreeMap::new()) };
    if !must_exist && !path.exists() {
        return Ok(BTreeMap::new());
    }
    let unreadable = |problem| ConfigError::Unreadable { origin: path.display().to_string(), problem };
    let text = read_bounded(path).map_err(unreadable)?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| unreadable(error.to_string()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let setting = setting.ok_or_else(|| ConfigError::Unknown {
            origin: format!("{key} in {}", path.display()),
            near: nearest(&format!("FILESAFETY_{}", key.to_uppercase())),
        })?;
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(on) => if on { "on" } else { "off" }.to_owned(),
            toml::Value::Array(items) => {
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect::<Vec<_>>().join(",")
            }
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => {
                return Err(unreadable(format!("{key} must be a text, a whole number, true, false or a list of texts")));
            }
        };
        values.insert(setting.key, Value { text, origin: Origin::File(path.clone()) });
    }
    Ok(values)
}

fn read_bounded(path: &std::path::Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(VALUE_FILE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > VALUE_FILE_MAX { Err(format!("longer than {VALUE_FILE_MAX} bytes")) } else { Ok(text) }
}

/// The setting's variable whose name differs in the fewest letters, if only a few do.
fn nearest(name: &str) -> Option<&'static str> {
    let near = SETTINGS.iter().map(|setting: &Setting| (edits(name, setting.env), setting.env)).min()?;
    (near.0 <= 3).then_some(near.1)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
