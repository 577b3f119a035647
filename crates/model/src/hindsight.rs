//! Verdicts seen again: what lists of digests make of content that was judged before they knew it.

use crate::{Detection, EngineName, Judgement, Kind, NsfwFinding, Primary, ScanTypes, Verdict, VirusFinding};

/// What lists of digests say of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    Unlisted,
    /// Known malware, by this name.
    Malware {
        signature: String,
    },
    /// The operator vouches for it: whatever is found in exactly this content does not count.
    Allowed,
}

/// The judgement of a finished scan whose content is listed now; `None` where its verdict stays. `required` are the engines without whose
/// answer nothing is clean.
///
/// Malware turns a verdict that held the file for clean of it. An allowance clears only what is known to have been found in the file's
/// own bytes, and only where nothing else stands against it: no finding in another object, nothing unexamined that counted, no engine
/// that did not answer, no finding that was cut from the list.
pub fn reconsider(before: &Judgement, types: ScanTypes, required: &[EngineName], listing: &Listing) -> Option<Judgement> {
    if !types.virus() {
        return None;
    }
    match listing {
        Listing::Unlisted => None,
        Listing::Malware { signature } => condemned(before, signature),
        Listing::Allowed => cleared(before, types, required),
    }
}

fn condemned(before: &Judgement, signature: &str) -> Option<Judgement> {
    let verdict = match before.verdict {
        Verdict::Clean => Verdict::Infected,
        Verdict::Nsfw => Verdict::Mixed,
        // Whoever sends it again after `failed` gets a verdict by the lists in force.
        Verdict::Infected | Verdict::Mixed | Verdict::Failed => return None,
    };
    let detection = Detection { signature: signature.to_owned(), engine: EngineName::Hashes, kind: Kind::Malware, path: String::new() };
    let primary = Primary {
        kind: detection.kind,
        engine: detection.engine,
        signature: detection.signature.clone(),
        path: String::new(),
        reason: None,
    };
    let mut coverage = before.coverage.clone();
    coverage.add_note("", "found by its digest, after the scan");
    let notes = before.virus.as_ref().map(|found| found.notes.clone()).unwrap_or_default();
    let virus = Some(VirusFinding { primary: Some(primary), detections: vec![detection], notes });
    Some(Judgement { verdict, virus, coverage, ..before.clone() })
}

fn cleared(before: &Judgement, types: ScanTypes, required: &[EngineName]) -> Option<Judgement> {
    match before.verdict {
        Verdict::Infected | Verdict::Mixed => {}
        Verdict::Clean | Verdict::Nsfw | Verdict::Failed => return None,
    }
    let found = before.virus.as_ref()?;
    let of_the_file = |detection: &Detection| detection.path.is_empty() && detection.kind != Kind::Unexamined;
    let all_known = found.detections.len() < VirusFinding::MAX_DETECTIONS && found.detections.iter().all(of_the_file);
    let all_answered = required.iter().all(|engine| before.coverage.answered.contains(engine)) && (before.nsfw.is_some() || !types.nsfw());
    if !all_known || !all_answered {
        return None;
    }
    let unsafe_picture = before.nsfw.as_ref().is_some_and(NsfwFinding::is_finding);
    let mut coverage = before.coverage.clone();
    let names: Vec<_> = found.detections.iter().map(|detection| detection.signature.as_str()).collect();
    coverage.add_note("", format!("allowed by its digest, after the scan; found: {}", names.join(", ")));
    Some(Judgement {
        verdict: if unsafe_picture { Verdict::Nsfw } else { Verdict::Clean },
        virus: Some(VirusFinding { primary: None, detections: Vec::new(), notes: found.notes.clone() }),
        coverage,
        ..before.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ask, EngineOutcome, EngineReport, PictureOutcome, PictureReport, Pictures, Policy, Reason, Report, Scores, Unexamined, decide,
    };

    const REQUIRED: [EngineName; 2] = [EngineName::YaraX, EngineName::Hashes];

    struct Scanned(Report);

    impl Scanned {
        fn clean() -> Self {
            let examined = |engine| EngineReport { engine, outcome: EngineOutcome::Examined, detections: Vec::new() };
            Self(Report {
                engines: REQUIRED.map(examined).to_vec(),
                coverage: Default::default(),
                pictures: Some(Pictures::default()),
                notes: Vec::new(),
            })
        }

        fn found(mut self, path: &str) -> Self {
            let detection = Detection { signature: "Rule".into(), engine: EngineName::YaraX, kind: Kind::Malware, path: path.into() };
            self.0.engines[0].detections.push(detection);
            self
        }

        fn unexamined(mut self) -> Self {
            self.0.coverage.add_unexamined(Unexamined::new("a.zip", Reason::Encrypted, "Zip"));
            self
        }

        fn silent(mut self) -> Self {
            self.0.engines[1].outcome = EngineOutcome::Unavailable { message: "gone".into() };
            self
        }

        fn explicit(mut self) -> Self {
            let scores = Scores { drawing: 0.0, hentai: 0.0, neutral: 0.0, porn: 1.0, sexy: 0.0 };
            let outcome = PictureOutcome::Judged { scores, views: Vec::new() };
            self.0.pictures.as_mut().unwrap().add(PictureReport { path: String::new(), outcome });
            self
        }

        fn judged(&self) -> Judgement {
            decide(&Policy::STRICT, &Ask { types: ScanTypes::ALL, required: REQUIRED.to_vec() }, &self.0)
        }
    }

    fn listed() -> Listing {
        Listing::Malware { signature: "Trojan.Later".into() }
    }

    fn turned(scanned: &Scanned, listing: &Listing) -> Option<Verdict> {
        reconsider(&scanned.judged(), ScanTypes::ALL, &REQUIRED, listing).map(|judgement| judgement.verdict)
    }

    #[test]
    fn an_allowance_clears_nothing_that_lacks_proof() {
        for (scanned, why) in [
            (Scanned::clean().found("a.zip/b"), "another object"),
            (Scanned::clean().found("").found("b"), "another object besides the file"),
            (Scanned::clean().found("").unexamined(), "something unexamined"),
            (Scanned::clean().unexamined(), "only something unexamined"),
            (Scanned::clean().found("").silent(), "an engine that did not answer"),
            ((0..VirusFinding::MAX_DETECTIONS).fold(Scanned::clean(), |scanned, _| scanned.found("")), "a list that may have been cut"),
            (Scanned::clean(), "nothing to clear"),
            (Scanned::clean().explicit(), "nothing to clear of malware"),
            (Scanned::clean().silent(), "a scan that failed"),
        ] {
            assert_eq!(turned(&scanned, &Listing::Allowed), None, "{why}");
        }
        // Scans of older builds do not tell who answered.
        let mut older = Scanned::clean().found("").judged();
        older.coverage.answered.clear();
        assert_eq!(reconsider(&older, ScanTypes::ALL, &REQUIRED, &Listing::Allowed), None);
        let clamd = [REQUIRED.as_slice(), &[EngineName::Clamd]].concat();
        assert_eq!(reconsider(&Scanned::clean().found("").judged(), ScanTypes::ALL, &clamd, &Listing::Allowed), None);
        let without_pictures = Judgement { nsfw: None, ..Scanned::clean().found("").judged() };
        assert_eq!(reconsider(&without_pictures, ScanTypes::ALL, &REQUIRED, &Listing::Allowed), None);
    }

    #[test]
    fn an_allowance_clears_what_was_found_in_the_file_itself() {
        let before = Scanned::clean().found("").judged();
        let after = reconsider(&before, ScanTypes::ALL, &REQUIRED, &Listing::Allowed).unwrap();
        assert_eq!((after.verdict, after.virus), (Verdict::Clean, Some(VirusFinding::default())));
        assert!(after.coverage.notes[0].note.contains("Rule"), "{:?}", after.coverage.notes);
        assert_eq!(turned(&Scanned::clean().found("").explicit(), &Listing::Allowed), Some(Verdict::Nsfw));
    }

    #[test]
    fn a_list_condemns_what_was_held_for_clean_of_malware() {
        let after = reconsider(&Scanned::clean().judged(), ScanTypes::ALL, &REQUIRED, &listed()).unwrap();
        let primary = after.virus.unwrap().primary.unwrap();
        assert_eq!((after.verdict, primary.engine, primary.signature.as_str()), (Verdict::Infected, EngineName::Hashes, "Trojan.Later"));
        assert_eq!(turned(&Scanned::clean().explicit(), &listed()), Some(Verdict::Mixed));
        for scanned in [Scanned::clean().found("b"), Scanned::clean().unexamined(), Scanned::clean().silent()] {
            assert_eq!(turned(&scanned, &listed()), None);
        }
    }

    #[test]
    fn what_a_list_condemned_an_allowance_clears_and_the_other_way_round() {
        let clean = Scanned::clean().judged();
        let condemned = reconsider(&clean, ScanTypes::ALL, &REQUIRED, &listed()).unwrap();
        let cleared = reconsider(&condemned, ScanTypes::ALL, &REQUIRED, &Listing::Allowed).unwrap();
        assert_eq!((cleared.verdict, &cleared.virus), (Verdict::Clean, &clean.virus));
        assert_eq!(reconsider(&cleared, ScanTypes::ALL, &REQUIRED, &listed()).map(|again| again.verdict), Some(Verdict::Infected));
    }

    #[test]
    fn nothing_turns_where_malware_was_not_asked_for_or_nothing_is_listed() {
        let pictures_only = ScanTypes::parse(["nsfw"]).unwrap();
        assert_eq!(reconsider(&Scanned::clean().judged(), pictures_only, &REQUIRED, &listed()), None);
        assert_eq!(turned(&Scanned::clean(), &Listing::Unlisted), None);
        assert_eq!(turned(&Scanned::clean().found(""), &Listing::Unlisted), None);
    }
}
