//! All that the compiler, and we, have to say of one file of rules.

use std::path::Path;

use memchr::memmem;
use yara_x::{Compiler, SourceCode};

use super::{Report, text_meta, texts_meta};
use crate::{
    check::{Problem, Weight},
    facts::Fact,
};

pub(crate) fn check(path: &Path, content: &[u8]) -> Vec<Problem> {
    let problem = |at, message: String, weight| Problem::in_file(path, content, at, message, weight);
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => return vec![problem(error.valid_up_to(), "not UTF-8".to_owned(), Weight::Error)],
    };
    let mut compiler = Compiler::new();
    compiler.enable_includes(false);
    // What does not compile is among the errors below as well.
    let _told: Result<&mut Compiler<'_>, _> = compiler.add_source(SourceCode::from(text));
    let mut problems = Vec::new();
    for error in compiler.errors() {
        let (at, detail) = error.labels().next().map(|label| (label.span().start(), label.text().to_owned())).unwrap_or_default();
        problems.push(problem(at, with_detail(error.title(), &detail), Weight::Error));
    }
    for warning in compiler.warnings() {
        let (at, detail) = warning.labels().next().map(|label| (label.span().start(), label.text().to_owned())).unwrap_or_default();
        problems.push(problem(at, with_detail(warning.title(), &detail), Weight::Warning));
    }
    if problems.iter().all(|problem| problem.weight != Weight::Error) {
        for (word, message) in unknown_words(&compiler.build()) {
            // The compiler keeps no place of metadata; the word in quotes has one.
            let at = memmem::find(content, format!("\"{word}\"").as_bytes()).unwrap_or_default();
            problems.push(problem(at, message, Weight::Warning));
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

fn with_detail(title: &str, detail: &str) -> String {
    if detail.is_empty() || detail == title { title.to_owned() } else { format!("{title}: {detail}") }
}

/// Metadata of ours with a word that says nothing.
fn unknown_words(rules: &yara_x::Rules) -> Vec<(String, String)> {
    let mut words = Vec::new();
    for rule in rules.iter() {
        let kind = text_meta(&rule, "kind").filter(|word| Report::parse(word).is_none());
        words.extend(kind.map(|word| (word.to_owned(), format!("{word} is no kind: the rule {} reports malware", rule.identifier()))));
        let facts = texts_meta(&rule, "fact").filter(|word| Fact::parse(word).is_none());
        words.extend(facts.map(|word| (word.to_owned(), format!("{word} is no fact: it does not count"))));
    }
    words
}
