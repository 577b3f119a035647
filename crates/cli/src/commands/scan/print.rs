//! Showing outcomes: a table for people, one JSON object per line for programs; progress on a terminal.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write},
    time::{Duration, Instant},
};

use anyhow::Result;
use filesafety_model::{Judgement, Note, Verdict};
use filesafety_server::views::{CoverageView, FailureView, NsfwView, VirusView};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::judge::{Judged, Outcome, Unread};
use crate::terminal::{Colours, Tone, escaped, escaped_path};

/// Columns of the verdict and of the finding; longer findings push the path aside.
const VERDICT: usize = 9;
const FINDING: usize = 34;

pub(super) struct Printer {
    json: bool,
    quiet: bool,
    colours: Colours,
    out: BufWriter<Stdout>,
    progress: ProgressBar,
    tally: Tally,
    begun: Instant,
}

/// How many of each there were.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    clean: u64,
    infected: u64,
    nsfw: u64,
    mixed: u64,
    failed: u64,
}

/// The API's result, without what only a service knows, and with the path.
#[derive(Serialize)]
struct Line<'a> {
    path: String,
    status: &'static str,
    verdict: &'static str,
    virus: Option<VirusView>,
    nsfw: Option<NsfwView>,
    coverage: Option<CoverageView>,
    file_hash: Option<String>,
    file: Option<FileLine<'a>>,
    failure: Option<FailureLine<'a>>,
}

#[derive(Serialize)]
struct FileLine<'a> {
    name: Option<String>,
    size: u64,
    r#type: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FailureLine<'a> {
    OfScan(FailureView),
    OfReading { code: &'a str, message: &'a str, retryable: bool },
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let progress = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{elapsed} {bar:30} {pos} of {len} files {msg}") {
            progress.set_style(style);
        }
        Self {
            json,
            quiet,
            colours: Colours::of_stdout(),
            out: BufWriter::new(io::stdout()),
            progress,
            tally: Tally::default(),
            begun: Instant::now(),
        }
    }

    /// Counts what is found, for others to advance.
    pub(super) fn progress(&self) -> ProgressBar {
        self.progress.clone()
    }

    pub(super) fn print(&mut self, outcome: &Outcome) -> Result<()> {
        self.tally.add(outcome);
        self.progress.inc(1);
        let is_clean = outcome.judged.as_ref().is_ok_and(|judged| judged.judgement.verdict == Verdict::Clean);
        if self.quiet && is_clean {
            return Ok(());
        }
        let line = if self.json { serde_json::to_string(&Line::of(outcome))? } else { row(outcome, self.colours) };
        let out = &mut self.out;
        // Flushed each time: whoever reads along sees a finding when it is made.
        self.progress.suspend(|| writeln!(out, "{line}").and_then(|()| out.flush()))?;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.progress.finish_and_clear();
        if !self.json {
            let summary = self.tally.summary(self.begun.elapsed());
            writeln!(self.out, "{}", self.colours.paint(Tone::Faint, &summary, 0))?;
        }
        Ok(self.out.flush()?)
    }
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.files += 1;
        let Ok(judged) = &outcome.judged else {
            self.failed += 1;
            return;
        };
        self.bytes = self.bytes.saturating_add(judged.size);
        match judged.judgement.verdict {
            Verdict::Clean => self.clean += 1,
            Verdict::Infected => self.infected += 1,
            Verdict::Nsfw => self.nsfw += 1,
            Verdict::Mixed => self.mixed += 1,
            Verdict::Failed => self.failed += 1,
        }
    }

    fn summary(&self, took: Duration) -> String {
        let counts = [(self.infected, "infected"), (self.nsfw, "nsfw"), (self.mixed, "mixed"), (self.failed, "could not be told")];
        let mut parts = vec![format!("{} clean", self.clean)];
        parts.extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        let files = if self.files == 1 { "1 file".to_owned() } else { format!("{} files", self.files) };
        format!("{files}, {} in {:.1} s: {}", size(self.bytes), took.as_secs_f64(), parts.join(", "))
    }
}

impl<'a> Line<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let path = outcome.path.to_string_lossy().into_owned();
        match &outcome.judged {
            Ok(judged) => Self::of_judged(path, judged),
            Err(Unread { code, message }) => Self {
                path,
                status: "failed",
                verdict: Verdict::Failed.as_str(),
                virus: None,
                nsfw: None,
                coverage: None,
                file_hash: None,
                file: None,
                failure: Some(FailureLine::OfReading { code, message, retryable: false }),
            },
        }
    }

    fn of_judged(path: String, judged: &'a Judged) -> Self {
        let judgement = &judged.judgement;
        let name = std::path::Path::new(&path).file_name().filter(|_| path != "-").map(|name| name.to_string_lossy().into_owned());
        Self {
            path,
            status: if judgement.verdict == Verdict::Failed { "failed" } else { "complete" },
            verdict: judgement.verdict.as_str(),
            virus: judgement.virus.as_ref().map(VirusView::of),
            nsfw: judgement.nsfw.as_ref().map(NsfwView::of),
            coverage: Some(CoverageView::of(judgement)),
            file_hash: Some(judged.digest.to_string()),
            file: Some(FileLine { name, size: judged.size, r#type: judged.media_type }),
            failure: judgement.failure.as_ref().map(|failure| FailureLine::OfScan(FailureView::of(failure))),
        }
    }
}

/// Verdict, finding, path. Names come from strangers and are escaped.
fn row(outcome: &Outcome, colours: Colours) -> String {
    let path = escaped_path(&outcome.path);
    let (verdict, tone, finding, inside) = match &outcome.judged {
        Ok(judged) => {
            let verdict = judged.judgement.verdict;
            let tone = match verdict {
                Verdict::Clean => Tone::Good,
                Verdict::Infected | Verdict::Nsfw | Verdict::Mixed => Tone::Bad,
                Verdict::Failed => Tone::Unsure,
            };
            (verdict.as_str(), tone, finding(&judged.judgement), inside(&judged.judgement))
        }
        Err(unread) => (Verdict::Failed.as_str(), Tone::Unsure, unread.message.clone(), None),
    };
    let inside = inside.map(|inside| format!(" → {}", escaped(&inside))).unwrap_or_default();
    let notes: String = outcome.judged.iter().flat_map(|judged| &judged.judgement.virus).flat_map(|virus| &virus.notes).map(note).collect();
    let notes = if notes.is_empty() { notes } else { colours.paint(Tone::Faint, &notes, 0) };
    format!("{} {:<FINDING$} {path}{inside}{notes}", colours.paint(tone, verdict, VERDICT), escaped(&finding))
}

/// A line below the file's.
fn note(note: &Note) -> String {
    let inside = if note.path.is_empty() { String::new() } else { format!(" → {}", escaped(&note.path)) };
    format!("\n{:VERDICT$} note: {}{inside}", "", escaped(&note.note))
}

/// What there is to say of a judgement in one line; for a clean file, what the policy let pass.
fn finding(judgement: &Judgement) -> String {
    let virus = judgement.virus.as_ref().and_then(|virus| virus.primary.as_ref()).map(|primary| primary.signature.clone());
    let nsfw = judgement.nsfw.iter().filter(|nsfw| !nsfw.categories.is_empty()).map(|nsfw| {
        let categories: Vec<_> = nsfw.categories.iter().map(|category| category.as_str()).collect();
        if nsfw.applied { format!("{} {:.2}", categories.join(", "), nsfw.confidence) } else { categories.join(", ") }
    });
    let failure = judgement.failure.iter().map(|failure| failure.message.clone());
    let found: Vec<_> = virus.into_iter().chain(nsfw).chain(failure).collect();
    match judgement.coverage.unexamined.first() {
        Some(part) if found.is_empty() => format!("({} allowed)", part.signature),
        _ if found.is_empty() => "-".to_owned(),
        _ => found.join(", "),
    }
}

/// Where in the file the finding stands.
fn inside(judgement: &Judgement) -> Option<String> {
    let virus = judgement.virus.as_ref().and_then(|virus| virus.primary.as_ref()).map(|primary| primary.path.clone());
    let picture = || judgement.nsfw.as_ref().filter(|nsfw| !nsfw.categories.is_empty()).and_then(|nsfw| nsfw.path.clone());
    virus.or_else(picture).filter(|path| !path.is_empty())
}

fn size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{:.1} {name}", bytes as f64 / unit as f64))
}

#[cfg(test)]
mod tests {
    use filesafety_model::{Coverage, EngineName, FailureCode, Kind, Primary, Reason, Unexamined, VirusFinding};

    use super::*;

    fn outcome(path: &str, judgement: Judgement) -> Outcome {
        let digest = filesafety_model::Sha256::new([0; 32]);
        Outcome { path: path.into(), judged: Ok(Judged { size: 3, media_type: "text/plain", digest, judgement }) }
    }

    fn judgement(verdict: Verdict, primary: Option<Primary>, coverage: Coverage) -> Judgement {
        Judgement { verdict, virus: Some(VirusFinding { primary, ..VirusFinding::default() }), nsfw: None, coverage, failure: None }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_failed_line() {
        let unread = Outcome { path: "a\nb".into(), judged: Err(io::Error::from(io::ErrorKind::PermissionDenied).into()) };
        assert_eq!(row(&unread, Colours::Off), "failed    permission denied                  a\\u{a}b");
        let line = serde_json::to_value(Line::of(&unread)).unwrap();
        assert_eq!((&line["verdict"], &line["failure"]["code"]), (&"failed".into(), &"unreadable".into()));
    }

    #[test]
    fn rows_name_the_finding_and_where_it_stands() {
        let primary = Primary {
            kind: Kind::Malware,
            engine: EngineName::YaraX,
            signature: "Test".into(),
            path: "in\u{202e}ner.zip/x".into(),
            reason: None,
        };
        let infected = outcome("a.zip", judgement(Verdict::Infected, Some(primary), Coverage::default()));
        assert_eq!(row(&infected, Colours::Off), "infected  Test                               a.zip → in\\u{202e}ner.zip/x");
        let mut coverage = Coverage::default();
        coverage.add_unexamined(Unexamined::new("", Reason::Encrypted, "Zip"));
        let allowed = outcome("b.zip", judgement(Verdict::Clean, None, coverage));
        assert_eq!(row(&allowed, Colours::Off), "clean     (Heuristics.Encrypted.Zip allowed) b.zip");
        let mut noted = judgement(Verdict::Clean, None, Coverage::default());
        let note = Note { path: "word/vba".into(), note: "runs by itself: the macro A\nutoOpen".into() };
        noted.virus.as_mut().unwrap().notes.push(note);
        let lines =
            "clean     -                                  c.doc\n          note: runs by itself: the macro A\\u{a}utoOpen → word/vba";
        assert_eq!(row(&outcome("c.doc", noted), Colours::Off), lines);
    }

    #[test]
    fn the_summary_counts_everything() {
        let mut tally = Tally::default();
        tally.add(&outcome("a", judgement(Verdict::Clean, None, Coverage::default())));
        tally.add(&outcome("b", Judgement::failed(FailureCode::EngineUnavailable, "clamd is away")));
        assert_eq!(tally.summary(Duration::from_millis(1500)), "2 files, 6 bytes in 1.5 s: 1 clean, 1 could not be told");
    }
}
