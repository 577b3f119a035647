//! `submit` and `status`: the service, from a shell.

use std::{
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use filesafety_model::{ScanId, Verdict};
use hyper::Method;
use serde_json::Value;

use super::{CLEAN, FOUND, UNSURE, block_on};
use crate::{
    arguments::{StatusArguments, SubmitArguments},
    client::{Client, form},
    settings::SettingFlags,
    terminal::{escaped, escaped_path},
};

/// Between two looks at a scan that goes on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn submit(arguments: SubmitArguments, config: Option<PathBuf>) -> Result<u8> {
    let client = Client::new(&SettingFlags::default().resolve(config)?)?;
    block_on(async {
        let mut result = send(&client, &arguments).await?;
        if arguments.wait {
            result = wait_for_verdict(&client, result).await?;
        }
        print(&result)?;
        Ok(if arguments.respond_async && !arguments.wait { CLEAN } else { exit_code(&result) })
    })
}

pub(super) fn status(arguments: &StatusArguments, config: Option<PathBuf>) -> Result<u8> {
    let scan = scan_id(&arguments.scan)?;
    let client = Client::new(&SettingFlags::default().resolve(config)?)?;
    block_on(async {
        let result = client.call(Method::GET, &format!("/v1/scan/{scan}")).await?.success()?;
        print(&result)?;
        Ok(exit_code(&result))
    })
}

/// The scan that was named on the command line.
pub(super) fn scan_id(text: &str) -> Result<ScanId> {
    text.parse().with_context(|| format!("SCAN_ID is {:?}", escaped(text)))
}

async fn send(client: &Client, arguments: &SubmitArguments) -> Result<Value> {
    let mut fields = Vec::new();
    fields.extend(arguments.webhook_url.as_deref().map(|url| ("webhook_url", url)));
    fields.extend(arguments.password.as_deref().map(|password| ("archive_password", password)));
    fields.extend(arguments.metadata.as_deref().map(|metadata| ("metadata", metadata)));
    let (content_type, body) = if arguments.path.as_os_str() == "-" {
        form(&fields, "stdin", stdin()?, None)?
    } else {
        let (file, length) = open(&arguments.path).await?;
        let name = arguments.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        form(&fields, &name, file, Some(length))?
    };
    let path = if arguments.respond_async { "/v1/scan/async" } else { "/v1/scan" };
    client.send(Method::POST, path, &content_type, body).await?.success()
}

/// Standard input as a file: read where it may block without stopping anything else.
fn stdin() -> Result<tokio::fs::File> {
    let input = io::stdin().as_fd().try_clone_to_owned().context("cannot read standard input")?;
    Ok(tokio::fs::File::from_std(input.into()))
}

async fn open(path: &Path) -> Result<(tokio::fs::File, u64)> {
    let shown = || format!("cannot read {}", escaped_path(path.as_os_str()));
    let file = tokio::fs::File::open(path).await.with_context(shown)?;
    let facts = file.metadata().await.with_context(shown)?;
    if !facts.is_file() {
        bail!("{} is no file; - reads standard input", escaped_path(path.as_os_str()));
    }
    Ok((file, facts.len()))
}

async fn wait_for_verdict(client: &Client, mut result: Value) -> Result<Value> {
    let id = result.get("scan_id").and_then(Value::as_str).and_then(|id| id.parse::<ScanId>().ok());
    let id = id.context("the service's answer names no scan; is this FileSafety?")?;
    while result.get("verdict").and_then(Value::as_str).is_none() {
        tokio::time::sleep(LOOK_EVERY).await;
        result = client.call(Method::GET, &format!("/v1/scan/{id}")).await?.success()?;
    }
    Ok(result)
}

/// JSON escapes control characters itself; direction characters are escaped on a terminal.
fn print(result: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(result)?;
    let text: Vec<_> = text.lines().map(escaped).collect();
    writeln!(io::stdout(), "{}", text.join("\n"))?;
    Ok(())
}

/// Only a verdict that says so is clean; none, or one that this build does not know, cannot be told.
fn exit_code(result: &Value) -> u8 {
    match result.get("verdict").and_then(Value::as_str).and_then(|verdict| verdict.parse().ok()) {
        Some(Verdict::Clean) => CLEAN,
        Some(Verdict::Infected | Verdict::Nsfw | Verdict::Mixed) => FOUND,
        Some(Verdict::Failed) | None => UNSURE,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_clean_verdict_exits_zero() {
        let code = |verdict: Value| exit_code(&json!({ "verdict": verdict }));
        assert_eq!(code("clean".into()), CLEAN);
        assert_eq!(["infected", "nsfw", "mixed"].map(|verdict| code(verdict.into())), [FOUND; 3]);
        assert_eq!([Value::Null, "failed".into(), "harmless".into(), 1.into()].map(code), [UNSURE; 4]);
        assert_eq!(exit_code(&json!({ "status": "pending" })), UNSURE);
    }

    #[test]
    fn a_bad_id_is_named() {
        assert!(format!("{:#}", scan_id("scn_1\u{1b}").unwrap_err()).contains("SCAN_ID is"));
    }
}
