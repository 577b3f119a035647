//! `rules test`: why a file is found, or is not.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use filesafety_engine::{Config as EngineConfig, Engine, Explained, Input, ObjectMatches, RuleMatch, StringMatch};
use filesafety_model::{Ask, Judgement, ScanTypes, Verdict, decide};
use filesafety_server::views::{CoverageView, VirusView};
use serde::Serialize;

use super::{
    super::{CLEAN, FOUND, UNSURE, scan::cache_dir},
    name_of,
};
use crate::{arguments::RulesFolder, settings::SettingFlags, terminal::escaped};

#[derive(Serialize)]
struct Line {
    verdict: &'static str,
    virus: Option<VirusView>,
    coverage: CoverageView,
    objects: Vec<ObjectLine>,
}

#[derive(Serialize)]
struct ObjectLine {
    path: String,
    bytes: usize,
    rules: Vec<RuleLine>,
    /// Why matching gave up.
    gave_up: Option<String>,
}

#[derive(Serialize)]
struct RuleLine {
    rule: String,
    source: String,
    signature: String,
    kind: &'static str,
    facts: Vec<&'static str>,
    strings: Vec<StringLine>,
}

#[derive(Serialize)]
struct StringLine {
    identifier: String,
    offset: usize,
    length: usize,
    text: String,
}

pub(super) fn run(file: &Path, json: bool, folder: RulesFolder, config: Option<PathBuf>) -> Result<u8> {
    let config = SettingFlags::default().with("rules_dir", folder.rules_dir).config_without_listening(config)?;
    let size = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    if size > config.intake.file {
        bail!("{} has more than FILESAFETY_FILE_MAX, {} bytes", file.display(), config.intake.file);
    }
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (rules_dir, cache_dir) = (config.rules_dir.clone(), cache_dir());
    let engine = EngineConfig {
        rules_dir,
        cache_dir,
        clamdb_pua: config.clamdb_pua,
        clamd: None,
        limits: config.limits,
        passwords: config.archive_passwords.clone(),
        // No picture is judged.
        picture_models: Vec::new(),
    };
    let engine = Engine::load(engine).context("the rules do not load")?;
    let name = name_of(file);
    let explained = engine.explain(&Input { content: &content, name: Some(&name), types: ScanTypes::VIRUS, passwords: &[] });
    let judgement = decide(&config.policy, &Ask { types: ScanTypes::VIRUS, required: engine.required() }, &explained.report);
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&line(&judgement, explained))?)?;
    } else {
        print(&judgement, &explained)?;
    }
    Ok(match judgement.verdict {
        Verdict::Clean => CLEAN,
        Verdict::Infected | Verdict::Nsfw | Verdict::Mixed => FOUND,
        Verdict::Failed => UNSURE,
    })
}

fn line(judgement: &Judgement, explained: Explained) -> Line {
    Line {
        verdict: judgement.verdict.as_str(),
        virus: judgement.virus.as_ref().map(VirusView::of),
        coverage: CoverageView::of(judgement),
        objects: explained.objects.into_iter().map(ObjectLine::of).collect(),
    }
}

impl ObjectLine {
    fn of(object: ObjectMatches) -> Self {
        let (rules, gave_up) = match object.rules {
            Ok(rules) => (rules, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        Self { path: object.path, bytes: object.bytes, rules: rules.into_iter().map(RuleLine::of).collect(), gave_up }
    }
}

impl RuleLine {
    fn of(rule: RuleMatch) -> Self {
        let RuleMatch { rule, source, signature, kind, facts, strings } = rule;
        Self { rule, source, signature, kind, facts, strings: strings.into_iter().map(StringLine::of).collect() }
    }
}

impl StringLine {
    fn of(place: StringMatch) -> Self {
        let StringMatch { identifier, offset, length, bytes } = place;
        Self { identifier, offset, length, text: bytes.escape_ascii().to_string() }
    }
}

/// Objects with the rules that match in them, then what all that comes to.
fn print(judgement: &Judgement, explained: &Explained) -> Result<()> {
    let mut out = io::stdout().lock();
    for object in &explained.objects {
        let path = if object.path.is_empty() { "(the file itself)".to_owned() } else { escaped(&object.path) };
        writeln!(out, "{path}, {} bytes", object.bytes)?;
        match &object.rules {
            Ok(rules) => rules.iter().try_for_each(|rule| print_rule(&mut out, rule))?,
            Err(reason) => writeln!(out, "  matching gave up: {}", escaped(reason))?,
        }
    }
    if let Some(virus) = &judgement.virus {
        for detection in &virus.detections {
            let place = if detection.path.is_empty() { String::new() } else { format!(" in {}", escaped(&detection.path)) };
            writeln!(out, "{}: {} by {}{place}", detection.kind.as_str(), escaped(&detection.signature), detection.engine.as_str())?;
        }
        for note in &virus.notes {
            let place = if note.path.is_empty() { String::new() } else { format!(" in {}", escaped(&note.path)) };
            writeln!(out, "note: {}{place}", escaped(&note.note))?;
        }
    }
    Ok(writeln!(out, "{}", judgement.verdict.as_str())?)
}

fn print_rule(out: &mut impl io::Write, rule: &RuleMatch) -> io::Result<()> {
    let facts = if rule.facts.is_empty() { String::new() } else { format!(", states {}", rule.facts.join(", ")) };
    writeln!(out, "  {} ({}, {}{facts})", escaped(&rule.rule), escaped(&rule.source), rule.kind)?;
    for place in &rule.strings {
        let text = place.bytes.escape_ascii();
        writeln!(out, "    {} at {}, {} bytes: {text}", escaped(&place.identifier), place.offset, place.length)?;
    }
    Ok(())
}
