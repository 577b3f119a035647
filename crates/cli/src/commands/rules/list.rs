//! `rules list`: a row for the rule pack and one for each file.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use filesafety_engine::{Config, RuleSource, inventory};
use filesafety_model::Timestamp;
use serde::Serialize;

use super::{super::CLEAN, age};
use crate::terminal::{escaped, print_table};

#[derive(Serialize)]
struct Line<'a> {
    /// Null for the rule pack.
    file: Option<&'a str>,
    engine: &'a str,
    /// Of the rule pack: the program's. Of a database: its own.
    version: Option<&'a str>,
    /// RFC 3339; when a database was built, else when the file was last changed.
    changed: Option<String>,
    in_force: &'a BTreeMap<&'static str, usize>,
    left_out: &'a BTreeMap<Cow<'static, str>, usize>,
}

pub(super) fn run(json: bool, config: &Config) -> Result<u8> {
    let sources = inventory(config).context("the rules do not load")?;
    if json {
        for source in &sources {
            writeln!(io::stdout(), "{}", serde_json::to_string(&line(source))?)?;
        }
    } else {
        let now = SystemTime::now();
        let rows: Vec<_> = sources.iter().map(|source| row(source, now)).collect();
        print_table(&["source", "engine", "version", "age", "in force", "left out"], &rows)?;
    }
    Ok(CLEAN)
}

fn line(source: &RuleSource) -> Line<'_> {
    let millis = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok());
    Line {
        file: source.file.as_deref(),
        engine: source.family.as_str(),
        version: version(source),
        changed: source.changed.and_then(millis).map(|millis| Timestamp::from_millis(millis).to_string()),
        in_force: &source.counts,
        left_out: &source.left_out,
    }
}

fn row(source: &RuleSource, now: SystemTime) -> Vec<String> {
    vec![
        source.file.as_deref().map_or_else(|| "(built in)".to_owned(), escaped),
        source.family.as_str().to_owned(),
        version(source).unwrap_or("-").to_owned(),
        source.changed.map_or_else(|| "-".to_owned(), |changed| age(changed, now)),
        listed(&source.counts),
        listed(&source.left_out),
    ]
}

fn listed<K: Display>(counts: &BTreeMap<K, usize>) -> String {
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if counts.is_empty() { "-".to_owned() } else { counts.join(", ") }
}

fn version(source: &RuleSource) -> Option<&str> {
    source.version.as_deref().or(source.file.is_none().then_some(env!("CARGO_PKG_VERSION")))
}
