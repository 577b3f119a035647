use std::{fs, path::PathBuf};

use super::*;

const AMPLE: Duration = Duration::from_secs(60);

fn load(files: &[(&str, &str)]) -> Result<Rules, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    Rules::load(Some(dir.path()))
}

fn names(matched: Result<Matched, GaveUp>) -> Vec<(Kind, String)> {
    matched.unwrap().hits.into_iter().map(|hit| (hit.kind, hit.signature)).collect()
}

fn refusal(files: &[(&str, &str)]) -> (PathBuf, usize, String) {
    match load(files) {
        Err(LoadError::Invalid { path, line, reason }) => (PathBuf::from(path.file_name().unwrap()), line, reason),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("loaded"),
    }
}

#[test]
fn a_bad_file_refuses_the_load_with_file_and_line() {
    let good = "rule good { condition: true }";
    let (path, line, reason) = refusal(&[("a.yar", good), ("b.yara", "rule x {\n  condition:\n    $missing\n}\n")]);
    assert_eq!((path, line), (PathBuf::from("b.yara"), 3), "{reason}");
    let (path, line, reason) = refusal(&[("c.yar", "rule x {\n\n strings: nonsense }")]);
    assert_eq!((path, line), (PathBuf::from("c.yar"), 3), "{reason}");
    assert_eq!(refusal(&[("d.yar", "import \"nothing\"\nrule x { condition: true }")]).1, 1);
}

#[test]
fn a_file_that_is_no_text_refuses_the_load() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yar"), b"rule a { condition: true }\n// \xff\n").unwrap();
    assert!(matches!(Rules::load(Some(dir.path())), Err(LoadError::Invalid { line: 2, .. })));
}

#[test]
fn includes_are_refused() {
    let (_, line, reason) = refusal(&[("a.yar", "include \"/etc/passwd\"\n")]);
    assert!(line == 1 && reason.contains("include"), "{reason}");
}

#[test]
fn no_time_left_gives_up() {
    let rules = Rules::load(None).unwrap();
    assert_eq!(rules.scanner().scan(b"text", Duration::ZERO), Err(GaveUp));
}

#[test]
fn time_that_runs_out_gives_up_and_the_scanner_goes_on() {
    let endless = "rule endless { condition: filesize == 6 and for any i in (0..1000000000000): (i == -1) }";
    let rules = load(&[("a.yar", endless), ("b.yar", "rule plain { strings: $a = \"needle\" condition: $a }")]).unwrap();
    let mut scanner = rules.scanner();
    assert_eq!(scanner.scan(b"needle", Duration::from_millis(1)), Err(GaveUp));
    assert_eq!(names(scanner.scan(b"a needle", AMPLE)), [(Kind::Malware, "plain".to_owned())]);
}

#[test]
fn matches_that_are_dropped_at_the_bound_give_up() {
    let counting = "rule many { strings: $a = \"abcd\" condition: #a == 11 }";
    let rules = load(&[("a.yar", counting)]).unwrap();
    let mut scanner = Scanner { rules: &rules, scanner: new_scanner(&rules.compiled, 10) };
    let scan = |scanner: &mut Scanner<'_>, object: &[u8]| scanner.scan_within(object, AMPLE, 10);
    assert_eq!(scan(&mut scanner, &b"abcd".repeat(11)), Err(GaveUp));
    assert_eq!(scan(&mut scanner, &b"abcd".repeat(9)), Ok(Matched::default()));
}

#[test]
fn a_private_rule_at_the_bound_gives_up_as_well() {
    let counting = "private rule many { strings: $a = \"abcd\" private condition: #a == 11 } rule public { condition: many }";
    let rules = load(&[("a.yar", counting)]).unwrap();
    let mut scanner = Scanner { rules: &rules, scanner: new_scanner(&rules.compiled, 10) };
    assert_eq!(scanner.scan_within(&b"abcd".repeat(20), AMPLE, 10), Err(GaveUp));
}

#[test]
fn what_was_found_stands_though_other_matches_were_dropped() {
    let counting = "rule many { strings: $a = \"abcd\" condition: #a == 1 } rule one { strings: $a = \"needle\" condition: $a }";
    let rules = load(&[("a.yar", counting)]).unwrap();
    let mut scanner = Scanner { rules: &rules, scanner: new_scanner(&rules.compiled, 10) };
    let object = [b"abcd".repeat(30), b"needle".to_vec()].concat();
    assert_eq!(names(scanner.scan_within(&object, AMPLE, 10)), [(Kind::Malware, "one".to_owned())]);
}

#[test]
fn matches_past_the_bound_do_not_hide_a_plain_pattern() {
    let rules = load(&[("a.yar", "rule both { strings: $a = \"abcd\" $b = \"needle\" condition: $a and $b }")]).unwrap();
    let mut scanner = Scanner { rules: &rules, scanner: new_scanner(&rules.compiled, 10) };
    let object = [b"abcd".repeat(100), b"needle".to_vec()].concat();
    assert_eq!(names(scanner.scan_within(&object, AMPLE, 10)), [(Kind::Malware, "both".to_owned())]);
}

#[test]
fn counts_are_exact_below_the_bound() {
    let rules = load(&[("a.yar", "rule three { strings: $a = \"abcd\" condition: #a == 3 and @a[3] == 8 }")]).unwrap();
    assert_eq!(names(rules.scanner().scan(b"abcdabcdabcd", AMPLE)), [(Kind::Malware, "three".to_owned())]);
    assert_eq!(rules.scanner().scan(b"abcdabcd", AMPLE), Ok(Matched::default()));
}

#[test]
fn metadata_says_what_is_reported() {
    let rules = load(&[(
        "a.yar",
        r#"
        rule plain { condition: filesize == 1 }
        rule named { meta: signature = "Named.One" condition: filesize == 1 }
        rule odd { meta: kind = "strange" signature = "" condition: filesize == 1 }
        rule pua { meta: kind = "pua" condition: filesize == 1 }
        rule doubtful { meta: kind = "suspicious" condition: filesize == 1 }
        rule noted { meta: kind = "note" condition: filesize == 1 }
        rule tagged : note { condition: filesize == 1 }
        private rule hidden { condition: filesize == 1 }
        "#,
    )])
    .unwrap();
    let expected = [
        (Kind::Malware, "Named.One"),
        (Kind::Malware, "odd"),
        (Kind::Malware, "plain"),
        (Kind::Pua, "pua"),
        (Kind::Suspicious, "doubtful"),
    ];
    let found = names(rules.scanner().scan(b"x", AMPLE));
    assert_eq!(found.iter().map(|(kind, name)| (*kind, name.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn rules_state_facts_and_notes_without_being_detections() {
    let rules = load(&[(
        "a.yar",
        r#"
        rule first { meta: fact = "executes" description = "a shell" condition: filesize == 1 }
        rule second { meta: fact = "fetches" fact = "decodes" fact = "dances" signature = "Two.Facts" condition: filesize == 1 }
        rule third { meta: kind = "malware" fact = "drops" condition: filesize == 1 }
        rule fourth { meta: kind = "note" signature = "Seen.Before" description = "a form" condition: filesize == 1 }
        rule fifth : note { condition: filesize == 1 }
        rule sixth { meta: fact = "dances" condition: filesize == 2 }
        "#,
    )])
    .unwrap();
    let Matched { hits, statements } = rules.scanner().scan(b"x", AMPLE).unwrap();
    assert_eq!(hits, [Hit { kind: Kind::Malware, signature: "third".into() }]);
    let expected = [
        Statement::Fact(Fact::Executes, "a shell".into()),
        Statement::Fact(Fact::Fetches, "Two.Facts".into()),
        Statement::Fact(Fact::Decodes, "Two.Facts".into()),
        Statement::Fact(Fact::Drops, "third".into()),
        Statement::Note("Seen.Before: a form".into()),
        Statement::Note("fifth".into()),
    ];
    assert_eq!(statements, expected);
    // A word that is no fact makes no rule harmless.
    assert_eq!(names(rules.scanner().scan(b"xx", AMPLE)), [(Kind::Malware, "sixth".to_owned())]);
}

#[test]
fn files_may_share_names_of_rules_and_a_signature_counts_once() {
    let rule = "rule same { condition: filesize == 1 }";
    let rules = load(&[("a.yar", rule), ("b.yar", rule)]).unwrap();
    assert_eq!(rules.count(), Rules::load(None).unwrap().count() + 2);
    assert_eq!(names(rules.scanner().scan(b"x", AMPLE)), [(Kind::Malware, "same".to_owned())]);
}

#[test]
fn an_empty_object_is_matched() {
    let rules = load(&[("a.yar", "rule empty { condition: filesize == 0 }")]).unwrap();
    assert_eq!(names(rules.scanner().scan(b"", AMPLE)), [(Kind::Malware, "empty".to_owned())]);
}

#[test]
fn a_scanner_forgets_the_object_before() {
    let rules = load(&[("a.yar", "rule one { strings: $a = \"needle\" condition: $a }")]).unwrap();
    let mut scanner = rules.scanner();
    for _ in 0..3 {
        assert_eq!(scanner.scan(b"a needle", AMPLE).unwrap().hits.len(), 1);
        assert_eq!(scanner.scan(b"a noodle", AMPLE), Ok(Matched::default()));
    }
}

#[test]
fn the_fingerprint_follows_the_sources() {
    let one = load(&[("a.yar", "rule a { condition: true }")]).unwrap().fingerprint();
    assert_eq!(one, load(&[("a.yar", "rule a { condition: true }")]).unwrap().fingerprint());
    assert_ne!(one, load(&[("a.yar", "rule a { condition: false }")]).unwrap().fingerprint());
    assert_ne!(one, Rules::load(None).unwrap().fingerprint());
}
