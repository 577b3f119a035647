//! The processes in which a server scans.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The children of `server`, as far as they live.
pub(crate) fn of(server: u32) -> Vec<Pid> {
    let stats = fs::read_dir("/proc").expect("Linux").flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let children = stats.filter_map(|stat| {
        let pid = stat.split_once(' ')?.0.parse().ok()?;
        let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let (state, parent) = (rest.next()?, rest.next()?.parse::<u32>().ok()?);
        (parent == server && state != "Z").then_some(pid)
    });
    children.filter_map(Pid::from_raw).collect()
}

/// Whether it has given everything up, and is ready for a file.
pub(crate) fn is_confined(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).is_ok_and(|status| status.contains("Seccomp:\t2"))
}

/// Sends a signal; the process may be gone already.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// The resident memory of a process, the most it ever was, in bytes; `None` once it is gone.
pub(crate) fn peak(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}
