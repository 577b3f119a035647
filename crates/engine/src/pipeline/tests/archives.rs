//! Archives that real tools make, and ClamAV's own test files: both only where they are installed, and said so where they are not.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
};

use filesafety_model::{Password, Report, ScanTypes};

use super::{found, hidden};
use crate::{
    Config, Engine, Input, Limits, Unlimited,
    unpack::fixtures::{Member, eicar, noise, zip},
};

fn scan(engine: &Engine, name: &str, content: &[u8]) -> Report {
    let input = Input { content, name: Some(name), types: ScanTypes::VIRUS, passwords: &[] };
    engine.worker().scan(&input, &Unlimited).unwrap()
}

/// What a shell makes of `eicar.com`, `noise.bin` and `text.txt` in an empty folder, as `out.*`; `None` where the tool is not installed.
fn made_by(tool: &str, line: &str) -> Option<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    write("eicar.com", &eicar());
    write("noise.bin", &noise(60_000));
    write("text.txt", "some text that packs well, ".repeat(4_000).as_bytes());
    write("program", &fs::read("/bin/true").unwrap_or_default());
    let installed =
        Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    let shell = |line: &str| Command::new("sh").args(["-c", line]).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    if !installed {
        return None;
    }
    let output = shell(line);
    let made = fs::read_dir(folder.path()).unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        (name.starts_with("out") || name.starts_with("OUT")).then_some(name)
    });
    let name = made.min().unwrap_or_else(|| panic!("{line}: {}", String::from_utf8_lossy(&output.stderr)));
    Some((name.clone(), fs::read(folder.path().join(name)).unwrap()))
}

#[test]
fn what_real_tools_make_is_opened_whole() {
    let files = "eicar.com noise.bin text.txt program";
    let lines = [
        ("7z", format!("7z a out.7z {files}")),
        ("7z", format!("7z a -m0=lzma out.7z {files}")),
        ("7z", format!("7z a -m0=ppmd out.7z {files}")),
        ("7z", format!("7z a -m0=bzip2 out.7z {files}")),
        ("7z", format!("7z a -m0=deflate64 out.7z {files}")),
        ("7z", format!("7z a -m0=bcj2 -m1=lzma2 -m2=lzma -m3=lzma -mb0:1 -mb0s1:2 -mb0s2:3 out.7z {files}")),
        ("7z", format!("7z a -m0=arm64 -m1=lzma2 out.7z {files}")),
        ("7z", format!("7z a -m0=delta:4 -m1=lzma out.7z {files}")),
        ("7z", format!("7z a -ms=off -mhc=off out.7z {files}")),
        ("7z", format!("7z a -psesame out.7z {files}")),
        ("7z", format!("7z a -psesame -mhe=on out.7z {files}")),
        ("7z", format!("7z a -tzip -mm=deflate64 out.zip {files}")),
        ("7z", format!("7z a -tzip -mm=ppmd out.zip {files}")),
        ("7z", format!("7z a -tzip -mm=lzma out.zip {files}")),
        ("7z", format!("7z a -tzip -mm=bzip2 out.zip {files}")),
        ("7z", format!("7z a -tzip -psesame out.zip {files}")),
        ("7z", format!("7z a -tzip -psesame -mem=AES128 out.zip {files}")),
        ("7z", format!("7z a -tzip -psesame -mem=AES256 -mm=ppmd out.zip {files}")),
        ("zip", format!("zip -q -P sesame out.zip {files}")),
        ("zip", format!("zip -q - {files} | cat > out.zip")),
        ("gcab", format!("gcab -c out.cab {files}")),
        ("gcab", format!("gcab -z -c out.cab {files}")),
        ("arj", format!("arj a out.arj {files}")),
        ("arj", format!("arj a -m4 out.arj {files}")),
        ("arj", format!("arj a -m0 out.arj {files}")),
        ("jlha", format!("jlha aq out.lzh {files}")),
        ("jlha", format!("jlha ao6q out.lzh {files}")),
        ("jlha", format!("jlha ao7q out.lzh {files}")),
        ("genisoimage", format!("genisoimage -quiet -o out.iso {files}")),
        ("genisoimage", format!("genisoimage -quiet -J -r -o out.iso {files}")),
        ("genisoimage", format!("genisoimage -quiet -udf -r -o out.iso {files}")),
        ("xorriso", format!("xorriso -as mkisofs -quiet -J -r -o out.iso {files}")),
        ("compress", "tar cf out.tar eicar.com text.txt; compress out.tar".to_owned()),
        ("lz4", "tar cf out.tar eicar.com text.txt; lz4 -q out.tar out.tar.lz4; rm out.tar".to_owned()),
        ("mscompress", "mscompress eicar.com; mv eicar.com_ out.co_".to_owned()),
        ("cpio", format!("printf '%s\\n' {files} | tr ' ' '\\n' | cpio -o --quiet -H bin > out.cpio")),
        ("cpio", format!("printf '%s\\n' {files} | tr ' ' '\\n' | cpio -o --quiet -H crc > out.cpio")),
        ("makensis", nsis("zlib", files)),
        ("makensis", nsis("lzma", files)),
        ("makensis", nsis("/SOLID lzma", files)),
        ("makensis", nsis("/SOLID zlib", files)),
    ];
    let passwords = vec![Password::new("wrong").unwrap(), Password::new("sesame").unwrap()];
    let engine = Engine::load(Config { passwords, ..Config::default() }).unwrap();
    let (mut faults, mut skipped) = (String::new(), Vec::new());
    for (tool, line) in lines {
        let Some((name, content)) = made_by(tool, &line) else {
            skipped.push(tool);
            continue;
        };
        let report = scan(&engine, &name, &content);
        let is_found = found(&report).iter().any(|(signature, path)| *signature == "EICAR-Test-File" && !path.is_empty());
        if !is_found || !hidden(&report).is_empty() {
            writeln!(faults, "{line}: {:?} {:?}", found(&report), hidden(&report)).unwrap();
        }
        // Cut in the middle, it never passes for whole; a program cut before what it carries is a program that is cut.
        let program = if tool == "makensis" { content.len() * 2 / 3 } else { 0 };
        let lengths = [content.len() / 3, content.len() / 2, content.len() - content.len() / 7];
        for length in lengths.into_iter().filter(|length| *length > program) {
            let report = scan(&engine, &name, &content[..length]);
            if found(&report).is_empty() && hidden(&report).is_empty() {
                writeln!(faults, "{line} cut to {length} of {} is clean", content.len()).unwrap();
            }
        }
    }
    skipped.dedup();
    if !skipped.is_empty() {
        eprintln!("skipped, since they are not installed: {skipped:?}");
    }
    assert!(faults.is_empty(), "\n{faults}");
}

fn nsis(compressor: &str, files: &str) -> String {
    let files: String = files.split(' ').map(|file| format!("File {file}\\n")).collect();
    let script = format!("SetCompressor {compressor}\\nOutFile out.exe\\nSection\\nSetOutPath $TEMP\\n{files}SectionEnd\\n");
    format!("printf '{script}' > script.nsi; makensis -V1 script.nsi")
}

/// What clamd's defaults answer OK to, with the test file inside.
#[test]
fn what_clamd_answers_ok_to_is_found_or_told() {
    let evil = Member::deflated("eicar.com", &eicar());
    let zeros = Member::deflated("zeros", &vec![0; 90 << 20]);
    let many = (0..10_050).map(|index| Member::stored(&format!("{index}"), b"x")).chain([evil.clone()]);
    let whole = zip(std::slice::from_ref(&evil));
    let directory = memchr::memmem::find(&whole, b"PK\x01\x02").unwrap();
    let flagged = Member { flags: 1, ..evil.clone() };
    let cases: [(&str, Vec<u8>); 8] = [
        ("a file of 126 MB", [vec![0; 126 << 20], whole.clone()].concat()),
        ("a zip of six members of 90 MB before it", zip(&[vec![zeros; 6], vec![evil.clone()]].concat())),
        ("25 zips deep", (0..25).fold(whole.clone(), |inner, _| zip(&[Member::stored("in.zip", &inner)]))),
        ("10,050 members", zip(&many.collect::<Vec<_>>())),
        ("the encryption flag", zip(&[flagged])),
        ("a truncated directory", whole[..directory + 20].to_vec()),
        ("a missing directory", whole[..directory].to_vec()),
        ("a member behind one that is cut", [&noise(10), &whole[..], &whole[..40]].concat()),
    ];
    let engine = Engine::load(Config::default()).unwrap();
    for (name, content) in cases {
        let report = scan(&engine, "a.bin", &content);
        assert!(!found(&report).is_empty() || !hidden(&report).is_empty(), "{name} is clean");
    }
    let limits = Limits { cpu: std::time::Duration::ZERO, ..Limits::default() };
    let report = scan(&Engine::load(Config { limits, ..Config::default() }).unwrap(), "a.bin", &whole);
    assert!(!hidden(&report).is_empty(), "a scan cut by its time");
}

/// Those of ClamAV's test files whose inside no opener here sees: told, and by which word.
const TOLD: [(&str, &str); 7] = [
    ("clam-pespin.exe", "PackedProgram"),
    ("clam.ea05.exe", "AutoIt"),
    ("clam.ea06.exe", "AutoIt"),
    ("clam.sis", "Sis"),
    ("clam_IScab_int.exe", "InstallShield"),
    ("clam_ISmsi_ext.exe", "InstallShield"),
    ("clam_ISmsi_int.exe", "InstallShield"),
];

/// As the program comes, without any signatures of ClamAV. The table in `docs/verdicts.md` is what this prints.
#[test]
fn none_of_clamavs_test_files_passes_for_clean() {
    let Ok(folder) = fs::read_dir("/usr/share/clamav-testfiles") else {
        eprintln!("skipped: clamav-testfiles is not installed");
        return;
    };
    let engine = Engine::load(Config::default()).unwrap();
    let mut paths: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let (mut table, mut faults) = (String::new(), Vec::new());
    for path in &paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = scan(&engine, name, &fs::read(path).unwrap());
        let (found, hidden) = (found(&report), hidden(&report));
        writeln!(table, "{name:24} {found:?} {hidden:?}").unwrap();
        let expected = match TOLD.iter().find(|(told, _)| *told == name) {
            Some((_, word)) => hidden.iter().any(|signature| *signature == format!("Heuristics.Unsupported.{word}")),
            None => found.iter().any(|(signature, _)| *signature == "ClamAV-Test-File"),
        };
        if !expected {
            faults.push(name);
        }
    }
    eprintln!("{table}");
    assert!(faults.is_empty() && paths.len() >= 44, "{faults:?}\n{table}");
}
