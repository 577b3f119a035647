//! What the fields and links of documents do: exchange data with a program, load a template or an object from elsewhere.

use super::Sink;
use crate::facts::Fact;

/// Programs that run what they are told; no source of data that a document is linked to.
const INTERPRETERS: &[&str] = &[
    "cmd",
    "powershell",
    "pwsh",
    "mshta",
    "wscript",
    "cscript",
    "rundll32",
    "regsvr32",
    "certutil",
    "bitsadmin",
    "msbuild",
    "installutil",
    "msiexec",
    "bash",
    "wmic",
    "schtasks",
    "forfiles",
    "python",
    "curl",
];

/// The instruction of a field, as it stands between its marks.
pub(crate) fn judge(instruction: &str, sink: &mut dyn Sink) {
    let instruction = instruction.trim_start();
    let word = instruction.split(|character: char| !character.is_ascii_alphanumeric()).next().unwrap_or_default();
    let rest = instruction.get(word.len()..).unwrap_or_default();
    match word.to_ascii_uppercase().as_str() {
        "DDEAUTO" => {
            sink.fact(Fact::RunsByItself, "a DDEAUTO field");
            exchange(rest, sink);
        }
        "DDE" => exchange(rest, sink),
        _ => {}
    }
}

/// Data exchange with a program that is started for it.
pub(crate) fn exchange(partner: &str, sink: &mut dyn Sink) {
    if names_program(partner) {
        sink.fact(Fact::Executes, &format!("data exchange with {}", cut(partner)));
    } else {
        sink.note("data exchange with another program");
    }
}

/// Where a document's template or an object in it is loaded from.
pub(crate) fn judge_template(address: &str, sink: &mut dyn Sink) {
    if is_remote(address) {
        sink.fact(Fact::Fetches, &format!("the template {}", cut(address)));
    }
}

pub(crate) fn judge_object(address: &str, sink: &mut dyn Sink) {
    /// What only pages are loaded by, whose scripts then run.
    const OF_PAGES: [&str; 2] = ["mhtml:", "!x-usc:"];
    if is_remote(address) {
        let lower = address.to_ascii_lowercase();
        if OF_PAGES.iter().any(|mark| lower.contains(mark)) {
            sink.fact(Fact::RunsByItself, "a page in place of an object");
        }
        sink.fact(Fact::Fetches, &format!("the object {}", cut(address)));
    }
}

/// An object that is brought up to date as the document opens.
pub(crate) fn updates_itself(sink: &mut dyn Sink) {
    sink.fact(Fact::RunsByItself, "an object that updates itself");
}

/// Whether a text names a program to run.
pub(crate) fn names_program(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains(".exe") || text.split(|character: char| !character.is_ascii_alphanumeric()).any(|word| INTERPRETERS.contains(&word))
}

/// Whether an address leads into the network, and not to a share of the house.
pub(crate) fn is_remote(address: &str) -> bool {
    const SCHEMES: &[&str] = &["http:", "https:", "ftp:", "mhtml:", "its:", "ms-its:", "script:", "search-ms:"];
    let address = address.trim().trim_start_matches(['"', '\'']).to_ascii_lowercase();
    SCHEMES.iter().any(|scheme| address.starts_with(scheme))
}

/// As much of a foreign text as a note has room for.
fn cut(text: &str) -> String {
    const MOST: usize = 120;
    text.trim().chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_sources_of_data() {
        for text in [
            "cmd /c calc",
            "\"C:\\\\Programs\\\\MSWord.exe\\\\..\\\\..\\\\windows\\\\system32\\\\cmd.exe\"",
            "PowerShell -nop",
            "mshta http://x",
        ] {
            assert!(names_program(text), "{text}");
        }
        for text in ["Excel.Sheet.12 \"C:\\\\data\\\\commander.xlsx\" Sheet1!R1C1", "Winword book.docx", ""] {
            assert!(!names_program(text), "{text}");
        }
    }

    #[test]
    fn addresses_in_the_network_are_told_from_those_of_the_house() {
        for address in ["http://x", " HTTPS://x", "\"ftp://x", "mhtml:http://x!y"] {
            assert!(is_remote(address), "{address}");
        }
        for address in ["C:\\x.dotm", "\\\\server\\x.dotm", "file:///x", "Normal.dotm", "mailto:a@b"] {
            assert!(!is_remote(address), "{address}");
        }
    }
}
