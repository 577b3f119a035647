//! Events as people read them, and as programs do.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::Result;
use hyper::StatusCode;
use serde_json::Value;

use super::sse::Message;
use crate::{
    commands::store,
    terminal::{Colours, Tone, escaped, escaped_json},
};

/// Where events are shown.
pub(super) struct Printer {
    json: bool,
    colours: Colours,
}

/// How a forwarded event was taken.
pub(super) struct Taken {
    pub(super) status: StatusCode,
    pub(super) within: Duration,
    pub(super) attempts: u32,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        Self { json, colours: Colours::of_stdout() }
    }

    pub(super) fn event(&self, message: &Message, body: &Value) -> Result<()> {
        let line = if self.json {
            json_line(message)
        } else {
            let now = store::now().to_string();
            line(self.colours, now.get(11..19).unwrap_or_default(), body)
        };
        print(&line)
    }

    pub(super) fn gap(&self, message: &Message) -> Result<()> {
        if self.json { print(&json_line(message)) } else { print(&self.colours.paint(Tone::Unsure, "gap: events may be missing here", 0)) }
    }

    pub(super) fn forwarded(&self, taken: &Taken) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let Taken { status, within, attempts } = taken;
        let tries = if *attempts > 1 { format!(", at attempt {attempts}") } else { String::new() };
        print(&self.colours.paint(Tone::Faint, &format!("          forwarded: {} in {} ms{tries}", status.as_u16(), within.as_millis()), 0))
    }
}

fn print(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The body stands in it as it came: numbers as written, keys in their order.
fn json_line(message: &Message) -> String {
    let id = message.id.as_ref().map_or_else(|| "null".to_owned(), |id| Value::from(id.as_str()).to_string());
    escaped_json(&format!("{{\"id\":{id},\"body\":{}}}", message.data))
}

/// Time, event, verdict, scan, and what was found where.
fn line(colours: Colours, time: &str, body: &Value) -> String {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(escaped).unwrap_or_default();
    let verdict = text("/verdict");
    let tone = match verdict.as_str() {
        "clean" => Tone::Good,
        "infected" | "mixed" | "nsfw" => Tone::Bad,
        _ => Tone::Unsure,
    };
    let mut facts = Vec::new();
    facts.extend(Some(text("/previous_verdict")).filter(|before| !before.is_empty()).map(|before| format!("was {before}")));
    facts.extend(Some(text("/virus/signature")).filter(|signature| !signature.is_empty()));
    facts.extend(Some(text("/virus/path")).filter(|path| !path.is_empty()).map(|path| format!("in {path}")));
    facts.extend(body.pointer("/nsfw/categories").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(escaped));
    facts.extend(Some(text("/failure/message")).filter(|message| !message.is_empty()));
    let line = format!(
        "{}  {:<20}  {}  {}  {}",
        colours.paint(Tone::Faint, time, 0),
        text("/event"),
        colours.paint(tone, &verdict, 8),
        text("/scan_id"),
        facts.join("  ")
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_tells_what_was_found_and_cannot_write_on_the_terminal() {
        let body = json!({ "event": "scan.verdict_updated", "verdict": "infected", "previous_verdict": "clean", "scan_id": "scn_1",
            "virus": { "signature": "Eicar\u{1b}[2J", "path": "a.zip/\u{202e}x" }, "nsfw": { "categories": ["suggestive"] } });
        let plain = line(Colours::Off, "12:00:01", &body);
        assert_eq!(plain, "12:00:01  scan.verdict_updated  infected  scn_1  was clean  Eicar\\u{1b}[2J  in a.zip/\\u{202e}x  suggestive");
        let coloured = line(Colours::On, "12:00:01", &body);
        assert!(coloured.contains("\u{1b}[1;31minfected\u{1b}[0m") && !coloured.contains("\u{1b}[2J"), "{coloured:?}");
        let clean =
            json!({ "event": "scan.complete", "verdict": "clean", "scan_id": "scn_1", "virus": { "signature": null }, "failure": null });
        assert_eq!(line(Colours::Off, "12:00:01", &clean), "12:00:01  scan.complete         clean     scn_1");
        assert_eq!(line(Colours::Off, "12:00:01", &json!({ "event": 7 })).trim_end(), "12:00:01");
    }

    #[test]
    fn json_keeps_the_body_as_it_came_and_harmless() {
        let data = "{\"z\":18446744073709551616,\"a\":1.10,\"name\":\"\u{202e}gpj\"}";
        let message = Message { id: Some("evt_1".into()), event: "scan.complete".into(), data: data.into() };
        assert_eq!(json_line(&message), "{\"id\":\"evt_1\",\"body\":{\"z\":18446744073709551616,\"a\":1.10,\"name\":\"\\u202egpj\"}}");
        let gap = Message { id: None, event: "gap".into(), data: "{\"event\":\"gap\"}".into() };
        assert_eq!(json_line(&gap), "{\"id\":null,\"body\":{\"event\":\"gap\"}}");
    }
}
