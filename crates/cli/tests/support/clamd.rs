//! A real clamd with a small database of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;

use crate::support::clock::wait_for;
use crate::support::eicar::eicar;

/// Ends with the value.
pub(crate) struct Clamd {
    child: Child,
    socket: PathBuf,
}

impl Clamd {
    /// What its database knows besides EICAR.
    pub(crate) const MARK: &'static [u8] = b"the-clamd-mark";

    /// Starts one in a new folder below `folder`. `None`, said aloud, where it is not installed and `FILESAFETY_REQUIRE_CLAMD` is unset.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        let program = ["/usr/sbin/clamd", "/usr/bin/clamd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            assert!(std::env::var_os("FILESAFETY_REQUIRE_CLAMD").is_none(), "clamd is required and not installed");
            eprintln!("skipped: clamd is not installed");
            return None;
        };
        let folder = folder.join("clamd");
        fs::create_dir(&folder).expect("a folder");
        let database = format!("Local.Eicar:0:0:{}\nLocal.Marked:0:*:{}\n", HEXLOWER.encode(&eicar()), HEXLOWER.encode(Self::MARK));
        fs::write(folder.join("local.ndb"), database).expect("written");
        let socket = folder.join("socket");
        let settings = format!(
            "LocalSocket {}\nDatabaseDirectory {}\nForeground yes\nDisableCache yes\nStreamMaxLength 400M\nMaxFileSize 400M\nMaxScanSize 400M\n",
            socket.display(),
            folder.display()
        );
        let config = folder.join("clamd.conf");
        fs::write(&config, settings).expect("written");
        let child = Command::new(program).arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("clamd starts");
        let clamd = Self { child, socket };
        wait_for("clamd to listen", Duration::from_secs(60), || UnixStream::connect(&clamd.socket).ok());
        Some(clamd)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its answer on one file, by a connection of its own, as most wrappers ask it.
    pub(crate) fn scan(&self, content: &[u8]) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(b"zINSTREAM\0")?;
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(content)?;
        stream.write_all(&[0; 4])?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.trim_end_matches('\0').to_owned())
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
