use super::*;
use crate::{EngineReport, PictureReport};

const EVERYTHING: [EngineName; 3] = [EngineName::YaraX, EngineName::Hashes, EngineName::Clamd];

fn ask(types: ScanTypes) -> Ask {
    Ask { types, required: EVERYTHING.to_vec() }
}

fn examined(engine: EngineName) -> EngineReport {
    EngineReport { engine, outcome: EngineOutcome::Examined, detections: Vec::new() }
}

/// Every engine answered and found nothing; there was no picture.
fn nothing_found() -> Report {
    Report {
        engines: EVERYTHING.map(examined).to_vec(),
        coverage: Coverage::default(),
        pictures: Some(Pictures::default()),
        notes: Vec::new(),
    }
}

trait With {
    fn with_detection(self, kind: Kind, signature: &str) -> Self;
    fn with_silent_clamd(self) -> Self;
    fn with_unexamined(self, reason: Reason) -> Self;
    fn with_picture(self, porn: f32, sexy: f32) -> Self;
    fn with_fault(self, fault: PictureFault) -> Self;
}

impl With for Report {
    fn with_detection(mut self, kind: Kind, signature: &str) -> Self {
        self.engines[0].detections.push(Detection { signature: signature.into(), engine: EngineName::YaraX, kind, path: String::new() });
        self
    }

    fn with_silent_clamd(mut self) -> Self {
        self.engines[2].outcome = EngineOutcome::Unavailable { message: "connection refused".into() };
        self
    }

    fn with_unexamined(mut self, reason: Reason) -> Self {
        self.coverage.add_unexamined(Unexamined::new("a.zip", reason, "Zip"));
        self
    }

    fn with_picture(mut self, porn: f32, sexy: f32) -> Self {
        let scores = Scores { drawing: 0.0, hentai: 0.0, neutral: 0.0, porn, sexy };
        let outcome = PictureOutcome::Judged { scores, views: Vec::new() };
        self.pictures.as_mut().unwrap().add(PictureReport { path: "a.png".into(), outcome });
        self
    }

    fn with_fault(mut self, fault: PictureFault) -> Self {
        self.pictures.as_mut().unwrap().add(PictureReport { path: "b.png".into(), outcome: PictureOutcome::Unjudged { fault } });
        self
    }
}

fn verdict_of(report: Report) -> Verdict {
    decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report).verdict
}

#[test]
fn one_a_detection_outranks_whatever_else_failed() {
    let report = nothing_found().with_detection(Kind::Malware, "X").with_silent_clamd().with_unexamined(Reason::Broken);
    let judgement = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report);
    assert_eq!(judgement.verdict, Verdict::Infected);
    assert_eq!(judgement.failure, None);
    assert_eq!(judgement.virus.unwrap().primary.unwrap().signature, "X");
}

#[test]
fn one_with_an_unsafe_picture_it_is_mixed() {
    assert_eq!(verdict_of(nothing_found().with_detection(Kind::Pua, "X").with_picture(0.9, 0.0)), Verdict::Mixed);
    assert_eq!(
        verdict_of(nothing_found().with_detection(Kind::Suspicious, "X").with_silent_clamd().with_picture(0.9, 0.0)),
        Verdict::Mixed
    );
}

#[test]
fn two_a_silent_engine_fails_the_scan() {
    let report = nothing_found().with_silent_clamd().with_unexamined(Reason::Encrypted).with_picture(0.9, 0.0);
    let judgement = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report);
    assert_eq!(judgement.verdict, Verdict::Failed);
    assert_eq!(judgement.virus, None);
    assert!(judgement.nsfw.is_some());
    let failure = judgement.failure.unwrap();
    assert_eq!(failure.code, FailureCode::EngineUnavailable);
    assert!(failure.message.contains("clamd") && failure.message.contains("connection refused"));
}

#[test]
fn two_an_engine_without_any_report_fails_the_scan() {
    let mut report = nothing_found();
    report.engines.pop();
    assert_eq!(verdict_of(report), Verdict::Failed);
    let report = Report { pictures: None, ..nothing_found() };
    let judgement = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report);
    assert_eq!((judgement.verdict, judgement.nsfw), (Verdict::Failed, None));
    assert!(judgement.virus.is_some());
}

#[test]
fn three_content_not_examined_is_infected_unless_allowed() {
    for reason in Reason::ALL {
        let report = nothing_found().with_unexamined(reason);
        let judgement = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report);
        let primary = judgement.virus.unwrap().primary.unwrap();
        assert_eq!((judgement.verdict, primary.kind, primary.reason), (Verdict::Infected, Kind::Unexamined, Some(reason)));
        let allowed = matches!(reason, Reason::Encrypted | Reason::Unsupported);
        let balanced = decide(&Policy::BALANCED, &ask(ScanTypes::ALL), &report);
        assert_eq!(balanced.verdict, if allowed { Verdict::Clean } else { Verdict::Infected });
        assert!(!balanced.is_complete());
    }
    assert_eq!(verdict_of(nothing_found().with_unexamined(Reason::Limit).with_picture(0.9, 0.0)), Verdict::Mixed);
}

#[test]
fn three_a_name_outranks_a_heuristic() {
    let report = nothing_found().with_unexamined(Reason::Broken).with_detection(Kind::Suspicious, "S").with_detection(Kind::Malware, "M");
    let finding = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report).virus.unwrap();
    assert_eq!(finding.primary.unwrap().signature, "M");
    let names: Vec<_> = finding.detections.iter().map(|detection| detection.signature.as_str()).collect();
    assert_eq!(names, ["M", "S", "Heuristics.Broken.Zip"]);
}

#[test]
fn four_an_unsafe_picture_is_nsfw() {
    let judgement = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &nothing_found().with_picture(0.9, 0.0));
    let nsfw = judgement.nsfw.unwrap();
    assert_eq!((judgement.verdict, nsfw.clean, nsfw.confidence), (Verdict::Nsfw, Some(false), 0.9));
    assert_eq!(nsfw.categories, [Category::ExplicitNudity]);
}

#[test]
fn four_suggestive_counts_only_when_asked_for() {
    let report = nothing_found().with_picture(0.0, 0.92);
    assert_eq!(verdict_of(report.clone()), Verdict::Clean);
    let policy: Policy = "strict,nsfw.suggestive=0.8".parse().unwrap();
    let judgement = decide(&policy, &ask(ScanTypes::ALL), &report);
    assert_eq!((judgement.verdict, judgement.nsfw.unwrap().categories), (Verdict::Nsfw, vec![Category::Suggestive]));
}

#[test]
fn a_picture_that_cannot_be_judged_is_never_infected() {
    let report = nothing_found().with_fault(PictureFault::TooLarge);
    let strict = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &report);
    let nsfw = strict.nsfw.unwrap();
    assert_eq!((strict.verdict, nsfw.clean, nsfw.applied, nsfw.reason), (Verdict::Nsfw, None, false, Some(PictureFault::TooLarge)));
    assert_eq!(nsfw.categories, [Category::Unjudged]);
    let allowing = decide(&Policy::BALANCED, &ask(ScanTypes::ALL), &report);
    assert_eq!((allowing.verdict, allowing.nsfw.unwrap().clean), (Verdict::Clean, None));
}

#[test]
fn nothing_found_is_clean() {
    let judgement = decide(&Policy::STRICT, &ask(ScanTypes::ALL), &nothing_found());
    assert_eq!(judgement.verdict, Verdict::Clean);
    assert_eq!(judgement.virus.unwrap().primary, None);
    let nsfw = judgement.nsfw.unwrap();
    assert_eq!((nsfw.clean, nsfw.applied), (Some(true), false));
}

#[test]
fn what_was_not_asked_for_is_absent() {
    let report = nothing_found().with_detection(Kind::Malware, "X").with_picture(0.9, 0.0).with_silent_clamd();
    let nsfw_only = decide(&Policy::STRICT, &ask(ScanTypes::NSFW), &report);
    assert_eq!((nsfw_only.verdict, nsfw_only.virus), (Verdict::Nsfw, None));
    let virus_only = decide(&Policy::STRICT, &ask(ScanTypes::VIRUS), &report);
    assert_eq!((virus_only.verdict, virus_only.nsfw), (Verdict::Infected, None));
}

#[test]
fn pictures_that_stayed_hidden_are_not_clean_where_only_pictures_were_asked_for() {
    let report = nothing_found().with_unexamined(Reason::Encrypted);
    let judgement = decide(&Policy::STRICT, &ask(ScanTypes::NSFW), &report);
    let nsfw = judgement.nsfw.unwrap();
    assert_eq!((judgement.verdict, nsfw.clean, nsfw.categories), (Verdict::Nsfw, None, vec![Category::Unjudged]));
}
