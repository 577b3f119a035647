//! Honest files are clean, and examined to their end. Python makes them (`honest.py`), where it is installed.

use std::{path::Path, process::Command};

use filesafety_engine::{Config, Engine, Input, Unlimited};
use filesafety_model::ScanTypes;

#[test]
fn honest_mails_and_documents_are_clean_and_complete() {
    let folder = tempfile::tempdir().unwrap();
    let count = if std::env::var_os("FILESAFETY_FULL").is_some() { "400" } else { "40" };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/honest.py");
    let Ok(status) = Command::new("python3").arg(script).arg(folder.path()).arg(count).status() else { return };
    assert!(status.success());
    let engine = Engine::load(Config::default()).unwrap();
    let mut worker = engine.worker();
    let mut files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut alarms = Vec::new();
    for path in &files {
        let content = std::fs::read(path).unwrap();
        let name = path.file_name().and_then(|name| name.to_str());
        let report = worker.scan(&Input { content: &content, name, types: ScanTypes::VIRUS, passwords: &[] }, &Unlimited).unwrap();
        let detections: Vec<_> = report.engines.iter().flat_map(|engine| &engine.detections).collect();
        if !detections.is_empty() || !report.coverage.unexamined.is_empty() {
            alarms.push(format!("{name:?}: {detections:?} {:?}", report.coverage.unexamined));
            if let Some(kept) = std::env::var_os("FILESAFETY_KEEP") {
                std::fs::copy(path, Path::new(&kept).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    assert!(alarms.is_empty(), "{} of {}:\n{}", alarms.len(), files.len(), alarms.join("\n"));
}
