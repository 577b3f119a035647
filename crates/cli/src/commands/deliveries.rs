//! `deliveries`: what became of webhooks, and delivering them again.

mod replay;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use filesafety_model::Timestamp;
use hyper::Method;
use serde_json::Value;

use super::{CLEAN, block_on, store, submit::scan_id};
use crate::{
    arguments::{DeliveriesCommand, DeliveryListArguments, DeliveryStatusArgument, Span},
    client::Client,
    settings::SettingFlags,
    terminal::{escaped, print_table},
};

/// Deliveries that the service gives in one answer.
const PAGE: u32 = 100;

pub(super) fn run(command: DeliveriesCommand, config: Option<PathBuf>) -> Result<u8> {
    let client = Client::new(&SettingFlags::default().resolve(config)?)?;
    block_on(async {
        match command {
            DeliveriesCommand::List(arguments) => list(&client, &arguments).await,
            DeliveriesCommand::Show { scan, json } => show(&client, &scan, json).await,
            DeliveriesCommand::Redeliver { scan } => redeliver(&client, &scan).await,
            DeliveriesCommand::Replay(arguments) => replay::run(client, &arguments).await,
        }
    })
}

async fn list(client: &Client, arguments: &DeliveryListArguments) -> Result<u8> {
    let status = arguments.status.map(|status| match status {
        DeliveryStatusArgument::Pending => "pending",
        DeliveryStatusArgument::Delivering => "delivering",
        DeliveryStatusArgument::Delivered => "delivered",
        DeliveryStatusArgument::Abandoned => "abandoned",
    });
    let mut pages = Pages::new(status, &arguments.span, store::now())?;
    let mut rows = Vec::new();
    let mut left = arguments.limit;
    while left > 0 {
        let page = pages.next(client, left).await?;
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        if arguments.json {
            for delivery in &page {
                writeln!(io::stdout(), "{delivery}")?;
            }
        } else {
            rows.extend(page.iter().map(delivery_row));
        }
        if pages.is_over() {
            break;
        }
    }
    if !arguments.json {
        if rows.is_empty() {
            writeln!(io::stderr(), "There is no such delivery.")?;
            return Ok(CLEAN);
        }
        print_table(&["scan", "made", "event", "to", "status", "attempts", "last outcome", "next attempt"], &rows)?;
    }
    if !pages.is_over() {
        writeln!(io::stderr(), "There are more; --limit shows up to 10000.")?;
    }
    Ok(CLEAN)
}

async fn show(client: &Client, scan: &str, json: bool) -> Result<u8> {
    let scan = scan_id(scan)?;
    let answer = client.call(Method::GET, &format!("/v1/scan/{scan}/deliveries")).await?.success()?;
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(CLEAN);
    }
    let attempts = answer.get("deliveries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if attempts.is_empty() {
        writeln!(io::stderr(), "No attempt was made, and none is planned.")?;
        return Ok(CLEAN);
    }
    let rows: Vec<_> = attempts.iter().map(attempt_row).collect();
    print_table(&["attempt", "when", "to", "address", "tls", "status", "ms", "error", "next attempt"], &rows)?;
    Ok(CLEAN)
}

async fn redeliver(client: &Client, scan: &str) -> Result<u8> {
    let scan = scan_id(scan)?;
    client.call(Method::POST, &format!("/v1/scan/{scan}/redeliver")).await?.success()?;
    writeln!(io::stderr(), "One attempt is made now; see `filesafety deliveries show {scan}`.")?;
    Ok(CLEAN)
}

/// The account's deliveries, a page at a time.
struct Pages {
    query: String,
    cursor: Option<String>,
    over: bool,
}

impl Pages {
    fn new(status: Option<&str>, span: &Span, now: Timestamp) -> Result<Self> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(status) = status {
            query.append_pair("status", status);
        }
        for (name, text) in [("since", &span.since), ("until", &span.until)] {
            if let Some(text) = text {
                query.append_pair(name, &time(name, text, now)?.to_string());
            }
        }
        Ok(Self { query: query.finish(), cursor: None, over: false })
    }

    /// Whether the last page was given.
    fn is_over(&self) -> bool {
        self.over
    }

    /// Up to `limit` more.
    async fn next(&mut self, client: &Client, limit: u32) -> Result<Vec<Value>> {
        let cursor = self.cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("/v1/deliveries?{}&limit={}{cursor}", self.query, limit.min(PAGE)).replace("?&", "?");
        let mut answer = client.call(Method::GET, &path).await?.success()?;
        // Whatever else it holds is no cursor, and ends the list.
        self.cursor = answer.get("next_cursor").and_then(Value::as_str).filter(|text| is_word(text)).map(str::to_owned);
        self.over = self.cursor.is_none();
        match answer.get_mut("deliveries").map(Value::take) {
            Some(Value::Array(deliveries)) => Ok(deliveries),
            _ => bail!("the service's answer has no deliveries; is this FileSafety?"),
        }
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// An instant, or so long before `now`.
fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp> {
    let ago = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        Some(now.minus(Duration::from_secs(number.checked_mul(seconds)?)))
    };
    ago().or_else(|| text.parse().ok()).with_context(|| {
        format!("--{name} is {:?}; give a time such as 2026-01-31T12:00:00Z, or how long ago such as 90m, 6h or 7d", escaped(text))
    })
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    }
}

/// What went wrong, or why it waits.
fn problem(attempt: &Value) -> Option<String> {
    let part = |of: &str, key: &str| attempt.get(of).and_then(|error| error.get(key)).and_then(Value::as_str);
    let error = [part("error", "kind"), part("error", "message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    if error.is_empty() { part("postponed", "reason").map(|reason| format!("postponed: {reason}")) } else { Some(error) }
}

fn delivery_row(delivery: &Value) -> Vec<String> {
    let last = delivery.get("last_attempt").filter(|last| last.is_object());
    let outcome = last.map(|last| problem(last).unwrap_or_else(|| text(last, "status")));
    let postponed = delivery.get("postponed").and_then(|postponed| postponed.get("reason")).and_then(Value::as_str);
    let next = match postponed {
        Some(reason) => format!("{} ({reason})", text(delivery, "next_attempt_at")),
        None => text(delivery, "next_attempt_at"),
    };
    vec![
        text(delivery, "scan_id"),
        text(delivery, "created_at"),
        text(delivery, "event"),
        text(delivery, "url"),
        text(delivery, "status"),
        text(delivery, "attempts"),
        outcome.unwrap_or_else(|| "-".to_owned()),
        next,
    ]
}

fn attempt_row(attempt: &Value) -> Vec<String> {
    let planned = attempt.get("attempted_at").is_none_or(Value::is_null);
    let (when, next) = if planned {
        ("planned".to_owned(), text(attempt, "planned_at"))
    } else {
        (text(attempt, "attempted_at"), text(attempt, "next_attempt_at"))
    };
    vec![
        text(attempt, "attempt"),
        when,
        text(attempt, "url"),
        text(attempt, "address"),
        text(attempt, "tls_version"),
        text(attempt, "status"),
        text(attempt, "milliseconds"),
        problem(attempt).unwrap_or_else(|| "-".to_owned()),
        next,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attempt_is_one_row() {
        let attempt = json!({ "attempt": 2, "attempted_at": "2026-01-31T12:00:00.000Z", "planned_at": null, "url": "https://a.example/hook",
            "address": "192.0.2.1:443", "tls_version": "1.3", "status": null, "milliseconds": 10_000,
            "error": { "kind": "timeout", "message": "no answer" }, "next_attempt_at": null });
        assert_eq!(
            attempt_row(&attempt),
            ["2", "2026-01-31T12:00:00.000Z", "https://a.example/hook", "192.0.2.1:443", "1.3", "-", "10000", "timeout: no answer", "-"]
        );
        let planned = json!({ "attempt": 3, "attempted_at": null, "planned_at": "2026-01-31T12:01:00.000Z", "url": "https://a.example/hook",
            "postponed": { "reason": "circuit_open", "message": "…" } });
        assert_eq!(
            attempt_row(&planned),
            ["3", "planned", "https://a.example/hook", "-", "-", "-", "-", "postponed: circuit_open", "2026-01-31T12:01:00.000Z"]
        );
    }

    #[test]
    fn times_are_instants_or_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let of = |text: &str| time("since", text, now).map(|time| time.to_string());
        assert_eq!(of("90m").unwrap(), "2026-01-31T10:30:00.000Z");
        assert_eq!(of("1d").unwrap(), "2026-01-30T12:00:00.000Z");
        assert_eq!(of("2026-01-01T00:00:00Z").unwrap(), "2026-01-01T00:00:00.000Z");
        for text in ["", "m", "-1h", "1w", "yesterday", "1.5h", "ü", "99999999999999999999d"] {
            assert!(of(text).unwrap_err().to_string().contains("--since"), "{text}");
        }
    }

    #[test]
    fn a_query_has_what_was_asked_for() {
        let span = Span { since: Some("1h".to_owned()), until: None };
        let pages = Pages::new(Some("abandoned"), &span, "2026-01-31T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(pages.query, "status=abandoned&since=2026-01-31T11%3A00%3A00.000Z");
    }
}
