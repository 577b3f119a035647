//! What the source of macros does, by the words in it: starts by itself, fetches, executes.

use super::Sink;
use crate::facts::Fact;

/// Longer source is judged by its start.
const MOST: usize = 16 << 20;

/// Procedures that an application calls when a document is opened, made or closed.
const STARTS: &[&str] = &[
    "autoopen",
    "autoexec",
    "autoclose",
    "autonew",
    "autoexit",
    "auto_open",
    "auto_close",
    "auto_exec",
    "document_open",
    "document_close",
    "document_new",
    "documentopen",
    "workbook_open",
    "workbook_activate",
    "workbook_beforeclose",
    "workbook_deactivate",
    "document_beforeclose",
];

/// Words that fetch, wherever they stand.
const FETCHES: &[&str] = &[
    "urldownloadtofile",
    "urldownloadtocachefile",
    "msxml2.xmlhttp",
    "microsoft.xmlhttp",
    "msxml2.serverxmlhttp",
    "winhttp.winhttprequest",
    "internetopenurl",
    "internetexplorer.application",
    "downloadstring",
    "downloadfile",
    "invoke-webrequest",
    "start-bitstransfer",
];

/// Words that start a program, wherever they stand.
const EXECUTES: &[&str] = &[
    "shellexecute",
    "win32_process",
    "createprocess",
    "shell.application",
    "macscript(",
    "systemshellexecute",
    "powershell",
    "cmd.exe",
    "cmd /c",
    "mshta",
    "regsvr32",
    "rundll32",
    "wscript.exe",
    "cscript.exe",
    "createthread",
    "application.shell",
];

/// Judges the source of a module or of several.
pub(crate) fn judge(source: &[u8], sink: &mut dyn Sink) {
    let source = String::from_utf8_lossy(source.get(..MOST).unwrap_or(source)).to_ascii_lowercase();
    // Not gathered: a source of short lines would take many times its size.
    let code = || source.lines().map(str::trim).filter(|line| !is_comment(line));
    if let Some(name) = code().find_map(started) {
        sink.fact(Fact::RunsByItself, &format!("the macro {name}"));
    }
    let word = |words: &[&'static str]| words.iter().copied().find(|word| code().any(|line| line.contains(word)));
    if let Some(word) = word(FETCHES) {
        sink.fact(Fact::Fetches, &format!("{word} in a macro"));
    }
    let has_host = code().any(|line| line.contains("wscript.shell"));
    let runs_host = || code().any(|line| line.contains(".run") || line.contains(".exec"));
    if let Some(word) = word(EXECUTES) {
        sink.fact(Fact::Executes, &format!("{word} in a macro"));
    } else if has_host && runs_host() {
        sink.fact(Fact::Executes, "WScript.Shell in a macro");
    } else if code().any(calls_shell) {
        sink.fact(Fact::Executes, "Shell in a macro");
    }
}

fn is_comment(line: &str) -> bool {
    line.starts_with('\'') || line.strip_prefix("rem").is_some_and(|rest| rest.starts_with([' ', '\t']) || rest.is_empty())
}

/// The procedure that a line begins, if it starts by itself.
fn started(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("sub ").or_else(|| line.split_once("function "))?;
    let is_declaration = before.split_ascii_whitespace().all(|word| matches!(word, "private" | "public" | "static" | "friend"));
    let name = rest.trim_start();
    let name = name.get(..name.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(name.len()))?;
    (is_declaration && STARTS.contains(&name)).then_some(name)
}

/// `Shell "…"`, `x = Shell(…)`: the function, and not a word that ends in it, a member or a text.
fn calls_shell(line: &str) -> bool {
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find("shell")).map(|at| at + from) {
        from = at + "shell".len();
        let before = line.get(..at).unwrap_or_default();
        let after = line.get(from..).unwrap_or_default();
        let in_text = before.matches('"').count() % 2 == 1;
        let is_word = !before.ends_with(|character: char| character.is_alphanumeric() || matches!(character, '_' | '.'));
        let is_called = after.starts_with('(')
            || after.strip_prefix(' ').is_some_and(|rest| rest.trim_start().starts_with(['"', '(']) || starts_operand(rest));
        if !in_text && is_word && is_called {
            return true;
        }
    }
    false
}

fn starts_operand(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.starts_with(|character: char| character.is_alphabetic())
        && !["as ", "to ", "then", "and ", "or "].iter().any(|word| rest.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::Record;

    fn facts(source: &str) -> Vec<Fact> {
        let mut record = Record::default();
        judge(source.as_bytes(), &mut record);
        record.facts
    }

    #[test]
    fn macros_that_start_by_themselves_and_do_something_are_facts() {
        let source =
            "Private Sub Document_Open()\r\nSet x = CreateObject(\"MSXML2.XMLHTTP\")\r\nCreateObject(\"WScript.Shell\").Run f\r\nEnd Sub";
        assert_eq!(facts(source), [Fact::RunsByItself, Fact::Fetches, Fact::Executes]);
        for line in [
            "Shell \"calc\"",
            "x = Shell(p, 1)",
            "If a Then Shell p",
            "VBA.ShellExecute x",
            "GetObject(\"winmgmts:Win32_Process\").Create p",
            "a = \"powershell -e\"",
        ] {
            assert_eq!(facts(line), [Fact::Executes], "{line}");
        }
        for line in ["Sub AutoOpen()", "Public Sub Workbook_Open()", "sub auto_open", "Function AutoExec() As Long"] {
            assert_eq!(facts(line), [Fact::RunsByItself], "{line}");
        }
    }

    #[test]
    fn what_honest_macros_say_is_no_fact() {
        for line in [
            "' Sub AutoOpen() runs Shell \"calc\"",
            "Rem Shell \"calc\"",
            "MsgBox \"The shell (of a nut)\"",
            "Eggshell = 5",
            "Set shell = CreateObject(\"WScript.Shell\")\nx = shell.SpecialFolders(\"Desktop\")",
            "Dim shell As Object",
            "Call AutoOpener",
            "Sub AutoOpenReports()",
            "ActiveWorkbook.FollowHyperlink \"https://example.com\"",
            "sub.shell = 3",
        ] {
            assert!(facts(line).is_empty(), "{line}: {:?}", facts(line));
        }
    }
}
