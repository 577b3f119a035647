//! `worker`: this program as a sandbox, started by itself. Nobody types it.

use std::{ffi::OsString, path::PathBuf};

use filesafety_sandbox::Program;

/// This same program, also when another one has taken its place on the disk meanwhile.
pub(super) fn program() -> Program {
    Program { path: PathBuf::from("/proc/self/exe"), arguments: vec![OsString::from("worker")], shown: Some(OsString::from("filesafety")) }
}
