//! Names that deceive: what an object is called, held against what it is.
//!
//! A name never decides a type. It only tells what somebody who sees it will take the file for, and what their system will do with it.

use crate::{
    facts::Fact,
    unpack::{u16_at, u32_at},
};

/// Endings of what is looked at, not run. Texts are missing: their names are given to anything.
const VIEWED: &[&str] = &[
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "odp", "rtf", "jpg", "jpeg", "png", "gif", "bmp", "webp", "tif",
    "tiff", "heic", "mp3", "mp4", "m4a", "mov", "avi", "wav",
];

/// Endings that a double click runs, on Windows or on a Linux desktop.
const RUN: &[&str] = &[
    "exe", "scr", "com", "pif", "cpl", "bat", "cmd", "ps1", "vbs", "vbe", "js", "jse", "wsf", "wsh", "hta", "msi", "jar", "lnk", "desktop",
];

/// In names that are shown from here on backwards.
const RIGHT_TO_LEFT_OVERRIDE: char = '\u{202e}';

/// The facts that a name and the start of the content tell together, each with what a person should know.
pub(crate) fn facts(name: &str, content: &[u8]) -> Vec<(Fact, String)> {
    let mut facts = Vec::new();
    let path: Vec<_> = name.split(['/', '\\']).collect();
    let base = path.last().copied().unwrap_or_default();
    let program = program_format(content);
    let disguise = reversed(base).or_else(|| doubled(base)).or_else(|| contradicted(base, program));
    let escapes = path.len() > 1 && path.contains(&"..");
    if let (true, Some(format)) = (disguise.is_some() || escapes, program) {
        facts.push((Fact::IsProgram, format!("for {format}")));
    } else if let Some(ending) = behind_its_own_name(&path) {
        // What the archiver unpacks beside the document that somebody double-clicks, and Windows then runs instead of it.
        facts.push((Fact::IsProgram, format!("its ending .{ending}, in a folder with the name of a document")));
    }
    facts.extend(disguise.map(|detail| (Fact::Disguised, detail)));
    if escapes {
        facts.push((Fact::Escapes, "its name climbs by ..".to_owned()));
    }
    facts
}

/// What of a file's name can change its report, so that the same bytes get another one: its ending, and what deceives in it or in the
/// name that a decompressor gives its content.
pub fn name_class(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut class = split(base).map(|(_, ending)| ending.to_lowercase()).unwrap_or_default();
    let mut inner = Some(base);
    for _ in 0..LAYERS {
        let Some(name) = inner else { break };
        if let Some(detail) = reversed(name).or_else(|| doubled(name)) {
            class = format!("{class};{detail}");
        }
        inner = split(name).map(|(rest, _)| rest);
        // A program that is called a document after its last layer.
        let ending = inner.and_then(split).map(|(_, ending)| ending).filter(|ending| is_one_of(VIEWED, ending));
        class.extend(ending.map(|ending| format!(";{}", ending.to_lowercase())));
    }
    class
}

/// Compressed in so many layers, a name still counts.
const LAYERS: usize = 3;

fn reversed(base: &str) -> Option<String> {
    base.contains(RIGHT_TO_LEFT_OVERRIDE).then(|| "a part of it is shown backwards".to_owned())
}

/// `invoice.pdf.exe`, also with many spaces before the last dot.
fn doubled(base: &str) -> Option<String> {
    let (rest, ending) = split(base)?;
    let (_, shown) = split(rest)?;
    (is_one_of(RUN, ending) && is_one_of(VIEWED, shown)).then(|| format!("the ending .{shown} stands before .{ending}").to_lowercase())
}

/// A program that is called a document or a picture.
fn contradicted(base: &str, program: Option<&str>) -> Option<String> {
    let (_, ending) = split(base)?;
    (program.is_some() && is_one_of(VIEWED, ending)).then(|| format!("the ending is .{ending}").to_lowercase())
}

/// `a.pdf /a.pdf .cmd`: the folder's name ends in a space, and the file's begins with it.
fn behind_its_own_name<'n>(path: &[&'n str]) -> Option<&'n str> {
    let [.., folder, base] = path else { return None };
    let (_, shown) = split(folder)?;
    let (_, ending) = split(base)?;
    (folder.ends_with(' ') && is_one_of(VIEWED, shown) && base.starts_with(folder.trim_end()) && is_one_of(RUN, ending)).then_some(ending)
}

/// What stands before the last dot, and the ending behind it. Windows drops dots and spaces at the end.
fn split(name: &str) -> Option<(&str, &str)> {
    let name = name.trim_end_matches(['.', ' ', '\0', '\u{a0}', '\u{2003}', '\u{3000}']);
    name.rsplit_once('.').filter(|(rest, ending)| !rest.is_empty() && !ending.is_empty())
}

fn is_one_of(endings: &[&str], ending: &str) -> bool {
    endings.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// Executables of Windows, Linux and macOS whose headers hold together; a text that begins with MZ is none.
fn program_format(content: &[u8]) -> Option<&'static str> {
    match content {
        [b'M', b'Z', ..] => {
            let at = usize::try_from(u32_at(content, 0x3c)?).ok()?;
            content.get(at..)?.starts_with(b"PE\0\0").then_some("Windows")
        }
        [0x7f, b'E', b'L', b'F', 1 | 2, 1 | 2, 1, ..] => Some("Linux"),
        [0xcf, 0xfa, 0xed, 0xfe, 0x07 | 0x0c, 0, 0, 1, ..] => u16_at(content, 30).is_some().then_some("macOS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows() -> Vec<u8> {
        let mut program = b"MZ".to_vec();
        program.resize(0x3c, 0);
        program.extend([0x40, 0, 0, 0]);
        program.extend(b"PE\0\0\x4c\x01");
        program
    }

    fn linux() -> Vec<u8> {
        [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 57]].concat()
    }

    fn stated(name: &str, content: &[u8]) -> Vec<Fact> {
        facts(name, content).into_iter().map(|(fact, _)| fact).collect()
    }

    #[test]
    fn honest_names_state_nothing() {
        let program = windows();
        for name in [
            "",
            ".",
            "..",
            ".pdf.exe.",
            "setup.exe",
            "setup-1.2.exe",
            "PDF.exe",
            "pdf.exe",
            "Nitro PDF.exe",
            "a.tar.gz",
            "lib.so.1",
            "app.min.js",
            "exe",
            "pdf/setup.exe",
            "report.pdf/setup.exe",
            "a.zip.exe",
            "notes.txt",
            "a.bin",
            "a.dat",
            "v1..2/a.exe",
        ] {
            assert_eq!(stated(name, &program), [], "{name}");
        }
        for name in ["report.pdf", "photo.JPG", "a.pdf.zip", "a.doc.txt", "\u{200f}\u{5d0}.pdf"] {
            assert_eq!(stated(name, b"%PDF-1.4"), [], "{name}");
        }
        assert_eq!(stated("letter.doc", b"MZ is how programs of Windows begin, and this letter, of more than sixty-four bytes"), []);
    }

    #[test]
    fn a_deceiving_name_is_one_fact_where_the_content_is_no_program() {
        for name in
            ["invoice.pdf.exe", "Invoice.PDF.Scr", "a/b.docx.js", "photo.jpg          .exe", "x.pdf .cmd", "report.pdf.lnk", "a.doc.exe. ."]
        {
            assert_eq!(stated(name, b"text"), [Fact::Disguised], "{name}");
        }
        assert_eq!(stated("exe.\u{202e}fdp.pdf", b"%PDF-1.4"), [Fact::Disguised]);
        assert_eq!(facts("a.PDF.exe", b"text")[0].1, "the ending .pdf stands before .exe");
    }

    #[test]
    fn a_program_with_a_deceiving_name_is_two_facts() {
        let both = [Fact::IsProgram, Fact::Disguised];
        for name in ["invoice.pdf.exe", "dir\\photo.jpg   .scr", "annexe\u{202e}fdp.exe", "invoice.pdf", "photo.JPEG", "song.mp3 "] {
            assert_eq!(stated(name, &windows()), both, "{name}");
        }
        assert_eq!(stated("invoice.pdf", &linux()), both);
        assert_eq!(stated("invoice.pdf", &linux()[..6]), []);
    }

    #[test]
    fn names_that_can_be_judged_otherwise_differ_in_class() {
        let names = ["a.exe", "a.pdf.exe", "a.docx.exe", "a.pdf", "a.gz", "a.pdf.gz", "a.pdf.exe.gz", "a\u{202e}.gz", "a"];
        for (index, one) in names.iter().enumerate() {
            for other in names.iter().skip(index + 1) {
                assert_ne!(name_class(one), name_class(other), "{one} {other}");
            }
        }
        for (one, other) in [("a.EXE", "b.exe"), ("dir/a.pdf", "b.PDF"), ("a b.gz", "c.gz"), ("1.2.zip", "1.3.zip")] {
            assert_eq!(name_class(one), name_class(other), "{one} {other}");
        }
    }

    #[test]
    fn a_script_in_a_folder_with_a_documents_name_is_two_facts() {
        assert_eq!(stated("a.pdf /a.pdf .cmd", b"start calc"), [Fact::IsProgram, Fact::Disguised]);
        assert_eq!(stated("a.pdf/a.pdf .cmd", b"start calc"), [Fact::Disguised]);
        assert_eq!(stated("a.pdf /b.cmd", b"start calc"), []);
    }

    #[test]
    fn a_program_that_climbs_out_of_its_folder_is_two_facts() {
        for name in ["../../bin/a", "..\\..\\Startup\\a.exe", "a/../../b"] {
            assert_eq!(stated(name, &windows()), [Fact::IsProgram, Fact::Escapes], "{name}");
            assert_eq!(stated(name, b"text"), [Fact::Escapes], "{name}");
        }
    }
}
