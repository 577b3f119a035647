//! Where the settings of `receive` come from, and which one wins: flags over the environment over the file over defaults.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use crate::arguments::ReceiveArguments;

/// The file that is read when no other is named.
const FILE: &str = "filesafety-receive.toml";

const PREFIX: &str = "FILESAFETY_RECEIVE_";

/// The secret of the service, for a machine on which both run.
const SERVICE_SECRET: &str = "FILESAFETY_WEBHOOK_SECRET";

/// The longest settings file, and the longest file that `…_FILE` names.
const FILE_MAX: u64 = 64 * 1024;

/// Every setting that is one text, with its default; an empty one is none.
const KEYS: &[(&str, &str)] = &[
    ("listen", "127.0.0.1:8090"),
    ("path", "/webhooks/filesafety"),
    ("status_listen", "127.0.0.1:8091"),
    ("store", "filesafety-receive.db"),
    ("secrets", ""),
    ("token", ""),
    ("pending_set", "off"),
    ("tls_cert", ""),
    ("tls_key", ""),
    ("behind_proxy", "off"),
    ("forward_to", ""),
    ("retries", "1s,10s,1m,5m,30m,2h"),
    ("at_once", "4"),
    ("time_limit", "30s"),
    ("retention", "90d"),
    ("log", "info"),
    ("log_format", "text"),
];

/// A text, and where it stands: that is named when it is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: String,
}

/// Words of a command line, and where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenProgram {
    pub(super) words: Vec<String>,
    pub(super) origin: String,
}

/// The value in force of each setting.
#[derive(Debug, Default)]
pub(super) struct Sources {
    values: BTreeMap<&'static str, Given>,
    /// By verdict, or `any`.
    pub(super) on: BTreeMap<String, GivenProgram>,
    /// By context.
    pub(super) contexts: BTreeMap<String, GivenProgram>,
}

impl Sources {
    pub(super) fn of_process(arguments: &ReceiveArguments, config: Option<&Path>) -> Result<Self> {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut sources = Self::of_defaults();
        sources.read_file(config)?;
        sources.read_environment(environment)?;
        sources.read_flags(arguments)?;
        Ok(sources)
    }

    pub(super) fn of_defaults() -> Self {
        let given = |text: &str| Given { text: text.to_owned(), origin: "default".into() };
        Self { values: KEYS.iter().map(|(key, default)| (*key, given(default))).collect(), ..Self::default() }
    }

    pub(super) fn get(&self, key: &'static str) -> &Given {
        self.values.get(key).expect("every setting has a default")
    }

    /// `None`: empty.
    pub(super) fn optional(&self, key: &'static str) -> Option<&Given> {
        Some(self.get(key)).filter(|given| !given.text.is_empty())
    }

    fn set(&mut self, key: &str, text: String, origin: String) -> Result<()> {
        let Some((key, _)) = KEYS.iter().find(|(known, _)| *known == key) else {
            let known: Vec<_> = KEYS.iter().map(|(known, _)| *known).collect();
            bail!("{origin} is no setting of receive; there are {}, on and context", known.join(", "));
        };
        self.values.insert(key, Given { text: text.trim().to_owned(), origin });
        Ok(())
    }

    fn read_file(&mut self, config: Option<&Path>) -> Result<()> {
        let path = config.unwrap_or(Path::new(FILE));
        if config.is_none() && !path.exists() {
            return Ok(());
        }
        let text = read_bounded(path).with_context(|| format!("{} cannot be read", path.display()))?;
        self.read_toml(&text, &path.display().to_string())
    }

    pub(super) fn read_toml(&mut self, text: &str, file: &str) -> Result<()> {
        let table: toml::Table = text.parse().with_context(|| format!("{file} is no TOML"))?;
        for (key, value) in table {
            let origin = format!("{key} in {file}");
            match (key.as_str(), value) {
                ("on", value) => self.on.extend(programs("on", value, file)?),
                ("context", value) => self.contexts.extend(programs("context", value, file)?),
                (_, toml::Value::String(text)) => self.set(&key, text, origin)?,
                (_, toml::Value::Integer(number)) => self.set(&key, number.to_string(), origin)?,
                (_, toml::Value::Boolean(on)) => self.set(&key, if on { "on" } else { "off" }.into(), origin)?,
                (_, toml::Value::Array(items)) => self.set(&key, words(items, &origin)?.join(","), origin)?,
                (_, toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_)) => {
                    bail!("{origin} must be a text, a whole number, true, false or a list of texts")
                }
            }
        }
        Ok(())
    }

    pub(super) fn read_environment(&mut self, environment: impl Iterator<Item = (String, String)>) -> Result<()> {
        let mut service_secret = None;
        for (name, value) in environment {
            let (stem, value) = match name.strip_suffix("_FILE") {
                Some(stem) if name.starts_with(PREFIX) || stem == SERVICE_SECRET => {
                    (stem, read_bounded(Path::new(&value)).with_context(|| format!("{name} is {value}, which cannot be read"))?)
                }
                _ => (name.as_str(), value),
            };
            if stem == SERVICE_SECRET {
                service_secret = Some((value, name));
            } else if let Some(key) = stem.strip_prefix(PREFIX) {
                self.set(&key.to_ascii_lowercase(), value, name.clone())?;
            }
        }
        if let (Some((secret, origin)), None) = (service_secret, self.optional("secrets")) {
            self.set("secrets", secret, origin)?;
        }
        Ok(())
    }

    fn read_flags(&mut self, arguments: &ReceiveArguments) -> Result<()> {
        let behind_proxy = arguments.behind_proxy.then(|| "on".to_owned());
        for (key, value) in [
            ("listen", &arguments.listen),
            ("path", &arguments.path),
            ("status_listen", &arguments.status_listen),
            ("store", &arguments.inbox.store),
            ("pending_set", &arguments.pending_set),
            ("tls_cert", &arguments.tls_cert),
            ("tls_key", &arguments.tls_key),
            ("forward_to", &arguments.forward_to),
            ("behind_proxy", &behind_proxy),
        ] {
            if let Some(value) = value {
                self.set(key, value.clone(), format!("--{}", key.replace('_', "-")))?;
            }
        }
        for (flag, given, programs) in [("--on", &arguments.on, &mut self.on), ("--on-context", &arguments.on_context, &mut self.contexts)]
        {
            for text in given {
                let Some((name, program)) = text.split_once('=') else {
                    bail!("{flag} {text}: give it as {flag} NAME=/path/to/program; arguments can stand in the settings file");
                };
                programs.insert(name.to_owned(), GivenProgram { words: vec![program.to_owned()], origin: format!("{flag} {name}") });
            }
        }
        Ok(())
    }

    pub(super) fn set_store(&mut self, store: Option<&str>) {
        if let Some(store) = store {
            self.values.insert("store", Given { text: store.to_owned(), origin: "--store".into() });
        }
    }
}

/// A table of programs, each a list of words, or a text that is the program alone.
fn programs(table: &str, value: toml::Value, file: &str) -> Result<BTreeMap<String, GivenProgram>> {
    let toml::Value::Table(entries) = value else {
        bail!("{table} in {file} must have entries such as {table}.infected = [\"/usr/local/bin/on-infected\"]");
    };
    let read = |(name, value): (String, toml::Value)| {
        let origin = format!("{table}.{name} in {file}");
        let words = match value {
            toml::Value::Array(items) => words(items, &origin)?,
            toml::Value::String(program) => vec![program],
            _ => bail!("{origin} must be a list of texts: the program and its arguments"),
        };
        Ok((name, GivenProgram { words, origin }))
    };
    entries.into_iter().map(read).collect()
}

fn words(items: Vec<toml::Value>, origin: &str) -> Result<Vec<String>> {
    let text = |item: toml::Value| match item {
        toml::Value::String(text) => Ok(text),
        _ => bail!("{origin} must be a list of texts"),
    };
    items.into_iter().map(text).collect()
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX { Err(io::Error::other(format!("longer than {FILE_MAX} bytes"))) } else { Ok(text) }
}
