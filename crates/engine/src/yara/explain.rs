//! Which rules match an object, by which of their strings: for the people who write them.

use super::{Report, Rules, facts, signature};

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// The rule's identifier.
    pub rule: String,
    /// The file it stands in; those of the rule pack begin with `filesafety/`, those of the operator's folder with `operator/`.
    pub source: String,
    /// What is reported.
    pub signature: String,
    /// `malware`, `pua`, `suspicious`, or `note` for what is no detection.
    pub kind: &'static str,
    /// The words of the facts that it states.
    pub facts: Vec<&'static str>,
    /// The first places of its strings.
    pub strings: Vec<StringMatch>,
}

/// A place where a string of a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatch {
    /// With its `$`.
    pub identifier: String,
    pub offset: usize,
    pub length: usize,
    /// The first bytes.
    pub bytes: Vec<u8>,
}

/// Of one string so many places are told.
const PLACES: usize = 5;
/// And so many bytes of each.
const BYTES: usize = 48;

/// What the rules find in one object. An error says why matching gave up.
pub(crate) fn explain(rules: &Rules, object: &[u8]) -> Result<Vec<RuleMatch>, String> {
    // Not the scanner of the scans: that one is content with the first match of a string.
    let mut scanner = yara_x::Scanner::new(&rules.compiled);
    let results = scanner.scan(object).map_err(|error| error.to_string())?;
    let matched = results.matching_rules().map(|rule| RuleMatch {
        rule: rule.identifier().to_owned(),
        source: rule.namespace().to_owned(),
        signature: signature(&rule).to_owned(),
        kind: match Report::of(&rule) {
            Report::Detection(kind) => kind.as_str(),
            Report::Nothing => "note",
        },
        facts: facts(&rule).map(crate::facts::Fact::word).collect(),
        strings: rule.patterns().flat_map(|pattern| places(&pattern, object)).collect(),
    });
    Ok(matched.collect())
}

fn places(pattern: &yara_x::Pattern<'_, '_>, object: &[u8]) -> Vec<StringMatch> {
    let place = |found: yara_x::Match<'_, '_>| {
        let range = found.range();
        StringMatch {
            identifier: pattern.identifier().to_owned(),
            offset: range.start,
            length: range.len(),
            bytes: object.get(range).unwrap_or_default().iter().take(BYTES).copied().collect(),
        }
    };
    pattern.matches().take(PLACES).map(place).collect()
}
