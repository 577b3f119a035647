use super::{Recorded, catalog, deflated, document, record, stream};
use crate::facts::Fact;

const SCRIPT: &str = "app.alert('hello, world'); // and more";

fn scripts(recorded: &Recorded) -> Vec<String> {
    let scripts = recorded.children.iter().filter(|(name, _)| name.contains("-script-"));
    scripts.map(|(_, content)| String::from_utf8_lossy(content).into_owned()).collect()
}

fn opening(action: &str) -> Vec<u8> {
    document(&[format!("<< /Type /Catalog /OpenAction {action} >>").into_bytes()])
}

#[test]
fn scripts_are_children_however_their_strings_are_written() {
    let literal = SCRIPT.replace('(', "\\(").replace(')', "\\051").replace('a', "\\141");
    let hex: String = SCRIPT.bytes().map(|byte| format!("{byte:02X} ")).collect();
    let wide: String = SCRIPT.encode_utf16().map(|unit| format!("{unit:04x}")).collect();
    for text in [format!("({literal})"), format!("<{hex}>"), format!("<FEFF{wide}>"), format!("<efbbbf{}>", hex.replace(' ', "\n"))] {
        let recorded = record(&opening(&format!("<< /S /J#61vaScript /J#53 {text} >>")));
        assert_eq!(scripts(&recorded), [SCRIPT], "{text}");
        assert!(recorded.is_complete());
        assert_eq!(recorded.facts, [Fact::RunsByItself]);
    }
}

#[test]
fn a_script_is_whole_wherever_it_stands() {
    let long = SCRIPT.repeat(200);
    let recorded = record(&opening(&format!("<< /S /JavaScript /JS ({}) >>", long.replace('(', "\\(").replace(')', "\\)"))));
    assert_eq!(scripts(&recorded), [long.as_str()]);
    // In an object of its own, in an object stream, in the revision before.
    let own = document(&[
        b"<< /Type /Catalog /OpenAction << /S /JavaScript /JS 2 0 R >> >>".to_vec(),
        format!("<{}>", SCRIPT.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()).into_bytes(),
    ]);
    let packed = format!("7 0 << /S /JavaScript /JS <{}> >>", SCRIPT.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
    let inside = document(&[catalog(), stream("/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", &deflated(packed.as_bytes()))]);
    for content in [own, inside] {
        let recorded = record(&content);
        assert_eq!(scripts(&recorded), [SCRIPT]);
    }
}

#[test]
fn actions_are_written_out_in_the_clear() {
    let target: String = "cmd.exe".bytes().map(|byte| format!("{byte:02x}")).collect();
    let recorded = record(&opening(&format!("<< /S /L#61unch /Win << /F <{target}> /P (/c start) >> >>")));
    let (_, actions) = recorded.children.iter().find(|(name, _)| name == "actions").unwrap();
    assert_eq!(String::from_utf8_lossy(actions), "<< /S /Launch /Win << /F (cmd.exe) /P (/c start) >> >>\n");
    assert_eq!(recorded.facts, [Fact::RunsByItself, Fact::Executes]);
}

#[test]
fn forms_and_links_are_no_facts() {
    for action in [
        "<< /S /URI /URI (https://example.com/) >>",
        "<< /S /SubmitForm /F (https://example.com/) >>",
        "<< /S /GoToR /F (other.pdf) >>",
        "<< /S /Named /N /Print >>",
        "[3 0 R /Fit]",
        "7 0 R",
    ] {
        assert!(record(&opening(action)).facts.is_empty(), "{action}");
    }
    // A field's own script waits for its user; a companion file is no program.
    let field = document(&[catalog(), b"<< /Type /Annot /AA << /K << /S /JavaScript /JS (event.value = 1;) >> >> >>".to_vec()]);
    assert!(record(&field).facts.is_empty());
    let companion = document(&[catalog(), b"<< /Type /Annot /A << /S /Launch /F (chapter 2.pdf) >> >>".to_vec()]);
    assert!(record(&companion).facts.is_empty());
    let program = document(&[catalog(), b"<< /Type /Annot /A << /S /Launch /F (SETUP.EXE) >> >>".to_vec()]);
    assert_eq!(record(&program).facts, [Fact::Executes]);
}
