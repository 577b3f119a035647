//! A name server that misbehaves, and servers that ask it.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Listens on port 53 of a loopback address of its own until it is dropped.
///
/// By the first label of a name: `good` has 127.0.0.1, `mixed` a private address as well, `servfail` a server that fails, `silent` no
/// answer; anything else does not exist.
pub(crate) struct NameServer {
    address: Ipv4Addr,
    stopped: Arc<AtomicBool>,
}

impl NameServer {
    /// `None` where the port is not to be had, or a process cannot be given a name server of its own.
    pub(crate) fn start(address: Ipv4Addr) -> Option<Self> {
        let may = Command::new("unshare").args(["-m", "mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"]).output();
        may.ok().filter(|output| output.status.success())?;
        let socket = UdpSocket::bind((address, 53)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let stopped = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stopped);
        thread::spawn(move || {
            let mut question = [0; 512];
            while !until.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                if let Some(answer) = answer(&question[..length]) {
                    // Who has gone needs no answer.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Some(Self { address, stopped })
    }

    /// The words before a command that make it ask this server alone.
    pub(crate) fn wrapping(&self, folder: &Path) -> Vec<String> {
        let path = folder.join("resolv.conf");
        std::fs::write(&path, format!("nameserver {}\n", self.address)).expect("the folder can be written");
        let script = format!("mount --bind '{}' /etc/resolv.conf && exec \"$0\" \"$@\"", path.display());
        ["unshare", "-m", "sh", "-c"].map(str::to_owned).into_iter().chain([script]).collect()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// The answer to a question as RFC 1035 writes both, if there is to be one.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(*message.get(12)?);
    let label = String::from_utf8_lossy(message.get(13..13 + length)?).into_owned();
    let end = 12 + message.get(12..)?.iter().position(|&byte| byte == 0)? + 5;
    let asks_for_v4 = message.get(end - 4..end - 2)? == [0, 1];
    let kind = label.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let (code, addresses): (u8, &[[u8; 4]]) = match kind {
        "silent" => return None,
        "good" => (0, &[[127, 0, 0, 1]]),
        "mixed" => (0, &[[127, 0, 0, 1], [10, 0, 0, 1]]),
        "servfail" => (SERVFAIL, &[]),
        _ => (NXDOMAIN, &[]),
    };
    let addresses = if asks_for_v4 { addresses } else { &[] };
    let mut answer = message.get(..end)?.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    for address in addresses {
        // The name of the question, an address, class IN, kept for no time.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address);
    }
    Some(answer)
}
