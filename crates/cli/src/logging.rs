//! What a running service says on stderr.

use std::io::{self, IsTerminal};

use anyhow::{Result, anyhow, bail};
use tracing_subscriber::EnvFilter;

/// How what happens is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => bail!("is {other:?}; give text or json"),
        }
    }
}

/// Starts logging; once in a process.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<()> {
    let remedy = "give a level such as info, or a filter such as filesafety_server=debug";
    let filter = EnvFilter::try_new(filter).map_err(|error| anyhow!("is {filter:?}: {error}; {remedy}"))?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => logging.init(),
        LogFormat::Json => logging.json().flatten_event(true).init(),
    }
    Ok(())
}
