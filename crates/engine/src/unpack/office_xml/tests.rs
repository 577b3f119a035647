use filesafety_model::Reason;
use proptest::prelude::*;

use super::{base64, open};
use crate::{
    facts::Fact,
    unpack::fixtures::{Record, deflate, eicar, noise},
};

fn opened(text: &str) -> Record {
    let mut record = Record::default();
    open(text.as_bytes(), &mut record).unwrap();
    record
}

fn encoded(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().chain(&[0, 0]).take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |index: usize| if index <= chunk.len() { char::from(DIGITS[(bits >> (18 - 6 * index) & 63) as usize]) } else { '=' };
        [0, 1, 2, 3].map(digit).iter().collect::<String>()
    };
    bytes.chunks(3).map(group).collect::<Vec<_>>().chunks(19).map(|line| line.concat() + "\r\n").collect()
}

fn relationship(kind: &str, target: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" \
         Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}' Target=\"{target}\" TargetMode=\"External\"/></Relationships>"
    )
}

#[test]
fn a_template_or_an_object_from_elsewhere_is_a_fact() {
    for (kind, target) in [("attachedTemplate", "http://x/y.dotm"), ("attachedTemplate", "&#104;ttps://x/y"), ("frame", "HTTP://x")] {
        let text = relationship(kind, target);
        assert_eq!(opened(&text).facts, [Fact::Fetches], "{kind} {target}");
        let wide: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let mut record = Record::default();
        open(&wide, &mut record).unwrap();
        assert_eq!(record.facts, [Fact::Fetches]);
    }
}

#[test]
fn an_object_that_loads_itself_runs_by_itself() {
    let page = opened(&relationship("oleObject", "mhtml:http://x/y!x-usc:http://x/y"));
    assert_eq!(page.facts, [Fact::RunsByItself, Fact::Fetches]);
    let linked = |mode: &str| opened(&format!("<w:document><o:OLEObject Type=\"Link\" UpdateMode=\"{mode}\"/></w:document>")).facts;
    assert_eq!((linked("Always"), linked("OnCall")), (vec![Fact::RunsByItself], Vec::new()));
}

#[test]
fn links_and_pictures_from_elsewhere_are_no_facts() {
    for (kind, target) in [
        ("hyperlink", "https://example.com/"),
        ("image", "https://example.com/logo.png"),
        ("attachedTemplate", "file:///C:/Templates/Letter.dotx"),
        ("attachedTemplate", "\\\\server\\share\\Letter.dotx"),
        ("video", "https://example.com/v"),
    ] {
        let record = opened(&relationship(kind, target));
        assert!(record.facts.is_empty() && record.is_complete(), "{kind} {target}");
    }
}

#[test]
fn fields_that_run_programs_are_facts() {
    let document = |body: &str| format!("<w:document xmlns:w=\"w\"><w:body><w:p>{body}</w:p></w:body></w:document>");
    let cut = "<w:fldChar w:fldCharType=\"begin\"/><w:instrText> DDEA</w:instrText><w:instrText>UTO c:\\\\windows\\\\system32\\\\cm</w:instrText>\
               <w:instrText>d.exe &quot;/k calc&quot;</w:instrText><w:fldChar w:fldCharType=\"end\"/>";
    assert_eq!(opened(&document(cut)).facts, [Fact::RunsByItself, Fact::Executes]);
    let simple = "<w:fldSimple w:instr='DDE \"powershell\" \"x\"'><w:r/></w:fldSimple>";
    assert_eq!(opened(&document(simple)).facts, [Fact::Executes]);
    let honest = "<w:fldSimple w:instr=\"PAGE\"/><w:fldChar w:fldCharType=\"begin\"/><w:instrText>HYPERLINK \"http://x/cmd.exe\"</w:instrText><w:fldChar/>";
    assert!(opened(&document(honest)).facts.is_empty());
    let link = "<externalLink xmlns=\"x\"><ddeLink ddeService=\"cmd\" ddeTopic=\"/c calc\"/></externalLink>";
    assert_eq!(opened(link).facts, [Fact::Executes]);
}

#[test]
fn macros_of_a_workbook_are_text() {
    let record = opened(
        "<xm:macrosheet xmlns:xm=\"x\"><sheetData><row><c r=\"A1\"><f>EXEC(&quot;calc&quot;)</f></c></row></sheetData></xm:macrosheet>",
    );
    assert_eq!(record.children, [("XLM/macrosheet.txt".to_owned(), b"A1: =EXEC(\"calc\")\n".to_vec())]);
    assert_eq!(record.facts, [Fact::Executes]);
    let record = opened(
        "<workbook><definedNames><definedName name=\"_xlnm.Auto_Open\" hidden=\"1\">Macro1!$A$1</definedName></definedNames></workbook>",
    );
    assert_eq!(record.facts, [Fact::RunsByItself]);
    assert!(opened("<workbook><definedName name=\"_xlnm.Print_Area\">A</definedName></workbook>").facts.is_empty());
}

#[test]
fn binary_parts_of_a_flat_document_are_children() {
    let content = noise(10_000);
    let text = format!(
        "<pkg:package xmlns:pkg=\"p\"><pkg:part pkg:name=\"/word/vbaProject.bin\"><pkg:binaryData>{}</pkg:binaryData></pkg:part></pkg:package>",
        encoded(&content)
    );
    assert_eq!(opened(&text).children, [("word/vbaProject.bin".to_owned(), content.clone())]);
    let text =
        format!("<w:wordDocument xmlns:w=\"w\"><w:binData w:name=\"editdata.mso\">{}</w:binData></w:wordDocument>", encoded(&content));
    assert_eq!(opened(&text).children, [("editdata.mso".to_owned(), content)]);
    for length in 0..9 {
        let bytes = noise(length);
        assert_eq!(base64(&encoded(&bytes)), bytes);
    }
}

#[test]
fn active_mime_is_opened() {
    let packed = [&b"ActiveMime\0\0\x01\xf0"[..], &[4; 36], &[0x78, 0x9c], &deflate(&eicar())].concat();
    let mut record = Record::default();
    crate::unpack::look(&packed, &mut record).unwrap();
    assert!(record.has(&eicar()) && record.is_complete());
    let mut record = Record::default();
    crate::unpack::look(&packed[..packed.len() - 9], &mut record).unwrap();
    assert!(record.says(Reason::Broken, "ActiveMime"));
}

#[test]
fn open_documents_tell_of_macros_and_encryption() {
    let module = "<!DOCTYPE script:module PUBLIC \"x\" \"module.dtd\"><script:module script:name=\"M\" script:language=\"StarBasic\">Sub Main\nShell(&quot;x&quot;)\nEnd Sub</script:module>";
    let record = opened(module);
    assert_eq!(record.children, [("Basic/M.bas".to_owned(), b"Sub Main\nShell(\"x\")\nEnd Sub".to_vec())]);
    assert_eq!(record.facts, [Fact::Executes]);
    let event = "<office:document-content xmlns:office=\"o\"><script:event-listener script:event-name=\"dom:load\" xlink:href=\"vnd.sun.star.script:a.b?c\"/></office:document-content>";
    assert_eq!(opened(event).facts, [Fact::RunsByItself]);
    let manifest = "<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    assert!(opened(manifest).says(Reason::Encrypted, "OpenDocument"));
    assert!(opened("<manifest:manifest><manifest:file-entry/></manifest:manifest>").is_complete());
}

proptest! {
    #[test]
    fn any_markup_is_taken(text in "<(w:document|Relationships|workbook|pkg:package|externalLink|module)( [a-z]{1,3}=?[\"']?[^\"]{0,5}[\"']?){0,3}/?>?(<|>|&|;|\"|'|[a-z]|=| |<!--|<\\?|#x4){0,40}") {
        opened(&text);
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        open(&bytes, &mut Record::default()).unwrap();
        open(&[b"<", bytes.as_slice()].concat(), &mut Record::default()).unwrap();
    }
}
