//! A scan that tells its reasons, for the people who write rules.

use filesafety_model::Report;

use super::{Findings, Walk};
use crate::{
    Engine, Input, MemoryShort, Unlimited,
    yara::{self, RuleMatch, Scanner},
};

/// A scan with the reasons of the rules.
#[derive(Clone, Debug)]
pub struct Explained {
    pub report: Report,
    /// The first objects in which rules match.
    pub objects: Vec<ObjectMatches>,
}

/// The rules that match in one object.
#[derive(Clone, Debug)]
pub struct ObjectMatches {
    /// As in the report.
    pub path: String,
    pub bytes: usize,
    /// Or why matching gave up.
    pub rules: Result<Vec<RuleMatch>, String>,
}

/// More objects are not explained.
const MAX_EXPLAINED: usize = 200;

/// Scans one file for malware, and tells which rules match where.
pub(crate) fn explain(engine: &Engine, scanner: &mut Scanner<'_>, input: &Input<'_>) -> Explained {
    let mut walk = Walk::new(engine, scanner, input, &Unlimited);
    walk.virus = Some(Findings { explained: Some(Vec::new()), ..Findings::default() });
    let (report, objects) = walk.run_explained(input);
    Explained { report, objects }
}

impl Walk<'_, '_> {
    fn run_explained(mut self, input: &Input<'_>) -> (Report, Vec<ObjectMatches>) {
        // Memory is granted without end: it is never short.
        let _never_short: Result<(), MemoryShort> = self.walk(input);
        let objects = self.virus.as_mut().and_then(|findings| findings.explained.take()).unwrap_or_default();
        (self.report(), objects)
    }

    /// Notes which rules match in the object in hand, where that is asked for.
    pub(super) fn explain_object(&mut self, content: &[u8]) {
        let explained = self.virus.as_mut().and_then(|findings| findings.explained.as_mut());
        let Some(explained) = explained.filter(|told| told.len() < MAX_EXPLAINED) else { return };
        let rules = yara::explain(&self.engine.rules, content);
        if rules.as_ref().map_or(true, |rules| !rules.is_empty()) {
            explained.push(ObjectMatches { path: self.path.clone(), bytes: content.len(), rules });
        }
    }
}
