use super::{Value, parse};

fn dictionary(text: &[u8]) -> super::Dictionary {
    parse(text, 0).value.as_dictionary().expect("a dictionary").clone()
}

#[test]
fn malformed_values_are_stepped_over() {
    for text in ["", ">>", "]", "<<", "[", "(", "<", "/", "<< /A", "<< /A <<", "((((", "\\", "%", "--", "<</A#", "1 0", "(\\", "(\\7"] {
        let _ = parse(text.as_bytes(), 0);
    }
    let found = dictionary(b"<< 12 /Length junk 7 [1 2 /Filter /A >> ");
    assert_eq!(found.get("Filter"), None, "inside the unclosed array");
    let found = dictionary(b"<< (x) << /Z 1 >> /Length 5 stream");
    assert_eq!(found.get("Length"), Some(&Value::Integer(5)));
}

#[test]
fn deep_nests_do_not_recurse_and_hide_nothing_after_them() {
    let mut text = b"<< /A ".to_vec();
    text.extend(b"[".repeat(100_000));
    text.extend(b"]".repeat(100_000));
    text.extend(b"/Filter /Fl >>");
    assert_eq!(dictionary(&text).get("Filter"), Some(&Value::Name(b"Fl".to_vec())));
    let parsed = parse(&b"<</A".repeat(100_000), 0);
    assert!(parsed.cut);
}

#[test]
fn names_strings_and_references_are_read() {
    let found = dictionary(b"<</F#69lter/Fl%c]\n/S(a\\(b\\101(c)\\\nd)/H<4 1 4>/R 12 0 R/N -3/L[1 0 R 2 3 true null]/F 12.0>>");
    assert_eq!(found.get("Filter"), Some(&Value::Name(b"Fl".to_vec())));
    assert_eq!(found.get("S"), Some(&Value::Text(b"a(bA(c)d".to_vec())));
    assert_eq!(found.get("H"), Some(&Value::Text(b"A@".to_vec())));
    assert_eq!(found.get("R"), Some(&Value::Reference(12)));
    assert_eq!(found.get("N"), Some(&Value::Integer(-3)));
    let list = [Value::Reference(1), Value::Integer(2), Value::Integer(3), Value::Bool(true), Value::Null];
    assert_eq!(found.get("L"), Some(&Value::Array(list.to_vec())));
    assert_eq!(found.get("F"), Some(&Value::Integer(12)));
}

#[test]
fn too_many_values_are_counted_not_kept() {
    let parsed = parse(format!("[{}]", "1 ".repeat(20_000)).as_bytes(), 0);
    assert!(parsed.overflow);
}
