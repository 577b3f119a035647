//! The page: plain HTML, no scripts, every foreign text escaped.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use super::LISTED;
use crate::receiver::{
    Metrics, Receiver,
    store::{Admission, Counts, DeadLetter},
};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8888; --bad: #c0392b; --good: #1e8449 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 0 .2rem } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p { margin: .3rem 0 } .soft { color: color-mix(in srgb, currentColor 65%, transparent) }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem; margin: 1.2rem 0 }
dl div { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem }
dt { font-size: .8rem } dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums }
.bad dd { color: var(--bad) } .good dd { color: var(--good) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line) }
th { font-size: .8rem; font-weight: 600 } td { overflow-wrap: anywhere } code { font-size: .85rem }
button { font: inherit; padding: .2rem .8rem; border-radius: .4rem; border: 1px solid var(--soft); background: none; color: inherit; cursor: pointer }
button:hover, button:focus-visible { background: var(--line) }
";

pub(super) fn render(receiver: &Receiver, counts: &Counts, dead: &[DeadLetter], now: SystemTime) -> String {
    let mut html = String::with_capacity(8 * 1024);
    html += "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">";
    html += "<title>FileSafety receiver</title><style>";
    html += STYLE;
    html += "</style><h1>FileSafety receiver</h1>";
    html += &format!("<p class=\"soft\">{}</p>", escaped(&describe(receiver)));
    tiles(&mut html, counts, &receiver.metrics());
    dead_letters(&mut html, counts, dead, now);
    refusals(&mut html, &receiver.metrics());
    html += "</html>";
    html
}

fn describe(receiver: &Receiver) -> String {
    let core = receiver.core();
    let signed = match core.checks.secrets.len() {
        0 => "Signatures are not checked: no secret is set.".to_owned(),
        1 => "Signatures are checked.".to_owned(),
        several => format!("Signatures are checked with {several} secrets."),
    };
    let admission = match core.admission {
        Admission::PendingScans => "Only scans in the pending set are taken.",
        Admission::AnyScan => "Events of any scan are taken.",
    };
    format!("{signed} {admission}")
}

fn tiles(html: &mut String, counts: &Counts, metrics: &Metrics) {
    *html += "<dl>";
    let refused: u64 = metrics.refused.values().sum();
    let accepted = metrics.received.get("accepted").copied().unwrap_or(0);
    let tone = |bad: u64| if bad > 0 { "bad" } else { "" };
    for (title, value, class) in [
        ("Dead letters", counts.dead, tone(counts.dead)),
        ("Waiting for a handler", counts.waiting, ""),
        ("Pending scans", counts.pending, ""),
        ("Accepted since start", accepted, ""),
        ("Handled since start", metrics.handled, if metrics.handled > 0 { "good" } else { "" }),
        ("Refused since start", refused, tone(refused)),
    ] {
        let _infallible = write!(html, "<div class=\"{class}\"><dt>{title}</dt><dd>{value}</dd></div>");
    }
    *html += "</dl>";
}

fn dead_letters(html: &mut String, counts: &Counts, dead: &[DeadLetter], now: SystemTime) {
    *html += "<h2>Dead letters</h2>";
    if dead.is_empty() {
        *html += "<p class=\"soft\">None. An event is here when its handler failed at every try.</p>";
        return;
    }
    *html += "<div class=\"wide\"><table><tr><th>Scan<th>Verdict<th>Died<th>Tries<th>Last error<th></tr>";
    for letter in dead {
        let key = &letter.key;
        let query = format!("scan_id={}&event={}&sequence={}", query_escaped(&key.scan_id), query_escaped(&key.event), key.sequence);
        let _infallible = write!(
            html,
            "<tr><td><code>{}</code><br><span class=\"soft\">{}, {}</span><td>{}<td>{} ago<td>{}<td>{}\
             <td><form method=\"post\" action=\"dead/replay?{}\"><button>Replay</button></form></tr>",
            escaped(&key.scan_id),
            escaped(&key.event),
            key.sequence,
            letter.verdict.as_str(),
            ago(now.duration_since(letter.died_at).unwrap_or_default()),
            letter.attempts,
            escaped(&letter.error),
            escaped(&query),
        );
    }
    *html += "</table></div>";
    if counts.dead > LISTED as u64 {
        let _infallible = write!(html, "<p class=\"soft\">The first {LISTED} of {}. GET /dead lists all.</p>", counts.dead);
    }
}

fn refusals(html: &mut String, metrics: &Metrics) {
    if metrics.refused.is_empty() {
        return;
    }
    *html += "<h2>Refused since start</h2><table><tr><th>Code<th>Webhooks</tr>";
    for (code, count) in &metrics.refused {
        let _infallible = write!(html, "<tr><td><code>{}</code><td>{count}</tr>", escaped(code));
    }
    *html += "</table><p class=\"soft\">The log says why, line by line.</p>";
}

fn ago(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..60 => format!("{secs} s"),
        secs @ 60..3600 => format!("{} min", secs / 60),
        secs @ 3600..86_400 => format!("{} h", secs / 3600),
        secs => format!("{} d", secs / 86_400),
    }
}

/// For text and for attributes in double quotes. Control and direction characters show as `\u{202e}`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() || is_deceptive(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Characters that show other text than there is: direction marks, invisible ones, line ends of Unicode.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn query_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_only_text() {
        assert_eq!(escaped("<script>\"&'\u{202e}\n"), "&lt;script&gt;&quot;&amp;&#39;\\u{202e}\\u{a}");
        assert_eq!(query_escaped("a b&c=\u{e9}"), "a%20b%26c%3D%C3%A9");
    }

    #[test]
    fn ages_read_like_ages() {
        let texts = [5, 61, 7200, 200_000].map(|secs| ago(Duration::from_secs(secs)));
        assert_eq!(texts, ["5 s", "1 min", "2 h", "2 d"]);
    }
}
