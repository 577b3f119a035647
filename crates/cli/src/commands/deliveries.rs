//! `deliveries`: what became of a scan's webhook, and delivering it again.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use super::{CLEAN, block_on, submit::scan_id};
use crate::{arguments::DeliveriesArguments, client::Client, settings::SettingFlags, terminal::print_table};

pub(super) fn run(arguments: &DeliveriesArguments, config: Option<PathBuf>) -> Result<u8> {
    let scan = scan_id(&arguments.scan)?;
    let client = Client::new(&SettingFlags::default().resolve(config)?)?;
    block_on(async {
        if arguments.redeliver {
            client.call(Method::POST, &format!("/v1/scan/{scan}/redeliver")).await?.success()?;
            writeln!(io::stderr(), "One attempt is made now; see `filesafety deliveries {scan}`.")?;
            return Ok(CLEAN);
        }
        let answer = client.call(Method::GET, &format!("/v1/scan/{scan}/deliveries")).await?.success()?;
        if arguments.json {
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&answer)?)?;
        } else {
            show(&answer)?;
        }
        Ok(CLEAN)
    })
}

/// One row an attempt, oldest first.
fn show(answer: &Value) -> Result<()> {
    let attempts = answer.get("deliveries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if attempts.is_empty() {
        writeln!(io::stderr(), "No attempt was made.")?;
        return Ok(());
    }
    let rows: Vec<_> = attempts.iter().map(row).collect();
    Ok(print_table(&["attempt", "when", "to", "status", "ms", "error", "next attempt"], &rows)?)
}

fn row(attempt: &Value) -> Vec<String> {
    let text = |key: &str| match attempt.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    let part = |key: &str| attempt.get("error").and_then(|error| error.get(key)).and_then(Value::as_str);
    let error = [part("kind"), part("message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let error = if error.is_empty() { "-".to_owned() } else { error };
    vec![text("attempt"), text("attempted_at"), text("url"), text("status"), text("milliseconds"), error, text("next_attempt_at")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attempt_is_one_row() {
        let attempt = json!({ "attempt": 2, "attempted_at": "2026-01-31T12:00:00.000Z", "url": "https://a.example/hook", "status": null,
            "milliseconds": 10_000, "error": { "kind": "timeout", "message": "no answer" }, "next_attempt_at": null });
        assert_eq!(row(&attempt), ["2", "2026-01-31T12:00:00.000Z", "https://a.example/hook", "-", "10000", "timeout: no answer", "-"]);
    }
}
