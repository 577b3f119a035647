//! The developer's folder: where listening stopped, and the secret that signs what is forwarded.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use filesafety::SigningSecret;
use sha2::{Digest as _, Sha256};

use crate::{client::Client, commands::store, terminal::escaped_path};

const SECRET_FILE: &str = "listen.secret";
/// A longer place is none of the service's.
const PLACE_MAX: usize = 256;

/// The place reached, on disk and in hand. No second process listens for the same with it.
#[derive(Debug)]
pub(super) struct PlaceFile {
    path: PathBuf,
    place: Option<String>,
    saved: Option<String>,
    _lock: File,
}

impl PlaceFile {
    /// The place of one service, key and target.
    pub(super) fn open(folder: &Path, client: &Client, target: Option<&str>) -> Result<Self> {
        let mut digest = Sha256::new();
        for part in [client.url().as_str(), client.key(), target.unwrap_or_default()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let name: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self::at(folder.join(format!("listen-{name}.place")))
    }

    fn at(path: PathBuf) -> Result<Self> {
        let shown = escaped_path(path.as_os_str());
        let lock = private().create(true).truncate(false).write(true).open(path.with_extension("lock"));
        let lock = lock.with_context(|| format!("cannot write beside {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another `filesafety listen` runs for the same service, key and target; stop it, or forward to another URL")
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        }
        let place = match fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| is_place(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
        };
        Ok(Self { path, saved: place.clone(), place, _lock: lock })
    }

    pub(super) fn get(&self) -> Option<&str> {
        self.place.as_deref()
    }

    pub(super) fn is_known(&self) -> bool {
        self.place.is_some()
    }

    /// Moves the place, in hand; what is no place is passed over.
    pub(super) fn set(&mut self, place: &str) {
        if is_place(place) {
            self.place = Some(place.to_owned());
        }
    }

    /// Writes the place down; durable when it returns.
    pub(super) fn save(&mut self) -> Result<()> {
        let Some(place) = self.place.as_ref().filter(|place| Some(*place) != self.saved.as_ref()) else { return Ok(()) };
        let written = replace(&self.path, place);
        written.with_context(|| format!("cannot write down the place reached, in {}", escaped_path(self.path.as_os_str())))?;
        self.saved = Some(place.clone());
        Ok(())
    }

    pub(super) fn forget(&mut self) -> Result<()> {
        (self.place, self.saved) = (None, None);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot forget the place reached"),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// It becomes a header.
fn is_place(text: &str) -> bool {
    (1..=PLACE_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `filesafety` in the developer's folder for configuration; made, readable by its owner alone, if it is not there.
pub(super) fn folder() -> Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = of("XDG_CONFIG_HOME").or_else(|| Some(of("HOME")?.join(".config")));
    let folder = base.context("neither XDG_CONFIG_HOME nor HOME names a folder to remember things in; set one")?.join("filesafety");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("cannot make the folder {}", escaped_path(folder.as_os_str())))?;
    Ok(folder)
}

/// The secret of this machine, made at the first use, readable by its owner alone.
pub(super) fn secret(folder: &Path) -> Result<SigningSecret> {
    let path = folder.join(SECRET_FILE);
    let shown = escaped_path(path.as_os_str());
    if !path.exists() {
        let secret = SigningSecret::generate(store::entropy()?);
        replace(&path, &secret.expose_text()).with_context(|| format!("cannot write {shown}"))?;
        return Ok(secret);
    }
    let mode = fs::metadata(&path).with_context(|| format!("cannot read {shown}"))?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{shown} can be read by others: `chmod 600` it, or delete it to get a new secret");
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
    text.trim().parse().with_context(|| format!("{shown} holds no signing secret; delete it to get a new one"))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// The file has the old text or the new one, whatever happens.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("part");
    let mut file = private().create(true).truncate(true).write(true).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Once its lock is free: a process that another test starts at this moment holds it until it runs its own program.
    fn at(path: &Path) -> PlaceFile {
        let begun = Instant::now();
        loop {
            match PlaceFile::at(path.to_owned()) {
                Ok(file) => return file,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(5), "{error}"),
            }
        }
    }

    #[test]
    fn a_place_comes_back_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.place");
        let mut file = PlaceFile::at(path.clone()).unwrap();
        assert_eq!((file.get(), file.is_known()), (None, false));
        file.set("evt_1");
        file.set("two\r\nlines");
        file.set("");
        file.save().unwrap();
        assert!(PlaceFile::at(path.clone()).unwrap_err().to_string().contains("another `filesafety listen`"));
        drop(file);
        let mut file = at(&path);
        assert_eq!(file.get(), Some("evt_1"));
        file.forget().unwrap();
        assert!(!path.exists() && !file.is_known());
        file.forget().unwrap();
        drop(file);
        fs::write(&path, "\u{1b}[2J").unwrap();
        assert_eq!(at(&path).get(), None);
    }

    #[test]
    fn the_secret_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let secret = super::secret(folder.path()).unwrap();
        assert_eq!(super::secret(folder.path()).unwrap(), secret);
        let path = folder.path().join(SECRET_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(super::secret(folder.path()).unwrap_err().to_string().contains("chmod 600"));
        fs::write(&path, "rubbish").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(super::secret(folder.path()).unwrap_err().to_string().contains("holds no signing secret"));
    }
}
