//! The master key, and what it wraps.

use std::{
    fmt, fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};

use crate::{Result, StoreError};

/// Wraps upload keys, signing secrets and webhook URLs (AES-256-GCM). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; 32]);

/// The text is no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a master key: 32 bytes in base64")]
pub struct MasterKeyError;

/// What a sealed value is for. Together with its row's id it is authenticated: a value moved elsewhere does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Tells that the master key is the store's.
    Check,
    UploadKey,
    FetchUrl,
    ArchivePassword,
    ScanWebhook,
    AccountWebhook,
    AccountHeaders,
    SigningSecret,
}

/// Seals and opens with the master key, and derives from it; clones share it.
#[derive(Clone)]
pub(crate) struct Sealer(Arc<Keys>);

struct Keys {
    cipher: LessSafeKey,
    /// A key of its own, made of the master key, for what is derived.
    tokens: hmac::Key,
}

impl MasterKey {
    pub const BYTES: usize = 32;

    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Standard base64 of 32 bytes; white space around it is ignored.
    pub fn parse(text: &str) -> std::result::Result<Self, MasterKeyError> {
        let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).map_err(|_| MasterKeyError)?;
        bytes.try_into().map(Self).map_err(|_| MasterKeyError)
    }

    /// Reads the key from the file, or makes the file, readable by its owner alone, with a fresh one. The folder is made if need be.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => return Ok(Self::parse(&text)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::unavailable(error)),
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        create_private_folder(folder)?;
        let mut bytes = [0; Self::BYTES];
        fill_random(&mut bytes)?;
        match write_new(folder, path, &data_encoding::BASE64.encode(&bytes)) {
            Ok(()) => Ok(Self(bytes)),
            // Another process was first: its key is the key.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok(Self::parse(&fs::read_to_string(path).map_err(StoreError::unavailable)?)?)
            }
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }

    pub(crate) fn sealer(&self) -> Sealer {
        let master = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tokens = hmac::sign(&master, b"filesafety upload tokens");
        Sealer(Arc::new(Keys { cipher: cipher(&self.0), tokens: hmac::Key::new(hmac::HMAC_SHA256, tokens.as_ref()) }))
    }
}

/// The file appears whole and durable or not at all: a key cut short would lock everything away.
fn write_new(folder: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(std::io::Error::from)?;
    let partial = folder.join(format!(".{}.part", data_encoding::HEXLOWER.encode(&suffix)));
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&partial)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all());
    // A link, unlike a rename, never takes the place of a file.
    let linked = written.and_then(|()| fs::hard_link(&partial, path));
    fs::remove_file(&partial)?;
    linked?;
    fs::File::open(folder)?.sync_all()
}

pub(crate) fn create_private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::unavailable)
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| StoreError::unavailable(std::io::Error::from(error)))
}

pub(crate) fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes"))
}

impl Sealer {
    /// Nonce, ciphertext, tag.
    pub(crate) fn seal(&self, purpose: Purpose, row: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + secret.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(secret);
        let aad = Aad::from(purpose.bound_to(row));
        self.0
            .cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| StoreError::Corrupt("a secret is too long to be sealed".into()))?;
        sealed.splice(0..0, nonce);
        Ok(sealed)
    }

    pub(crate) fn open(&self, purpose: Purpose, row: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let damaged = || StoreError::Corrupt(format!("a sealed value of {row} does not open"));
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut secret = rest.to_vec();
        let aad = Aad::from(purpose.bound_to(row));
        let opened = self.0.cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut secret).map_err(|_| damaged())?;
        let length = opened.len();
        secret.truncate(length);
        Ok(secret)
    }

    /// The same for the same row, and nobody without the master key can tell it: 32 bytes in base64url.
    pub(crate) fn token(&self, row: &str) -> String {
        data_encoding::BASE64URL_NOPAD.encode(hmac::sign(&self.0.tokens, row.as_bytes()).as_ref())
    }

    pub(crate) fn open_text(&self, purpose: Purpose, row: &str, sealed: &[u8]) -> Result<String> {
        let secret = self.open(purpose, row, sealed)?;
        String::from_utf8(secret).map_err(|_| StoreError::Corrupt(format!("a sealed value of {row} is no text")))
    }
}

impl Purpose {
    fn bound_to(self, row: &str) -> Vec<u8> {
        let name = match self {
            Self::Check => "check",
            Self::UploadKey => "upload-key",
            Self::FetchUrl => "fetch-url",
            Self::ArchivePassword => "archive-password",
            Self::ScanWebhook => "scan-webhook",
            Self::AccountWebhook => "account-webhook",
            Self::AccountHeaders => "account-headers",
            Self::SigningSecret => "signing-secret",
        };
        [name.as_bytes(), b"\0", row.as_bytes()].concat()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

impl From<MasterKeyError> for StoreError {
    fn from(error: MasterKeyError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_key() {
        for text in ["", "AAAA", "not base64!", &data_encoding::BASE64.encode(&[1; 31]), &data_encoding::BASE64.encode(&[1; 33])] {
            assert_eq!(MasterKey::parse(text), Err(MasterKeyError), "{text}");
        }
        assert_eq!(MasterKey::parse(&format!(" {}\n", data_encoding::BASE64.encode(&[7; 32]))), Ok(MasterKey::new([7; 32])));
    }

    #[test]
    fn a_sealed_value_opens_only_where_it_belongs() {
        let sealer = MasterKey::new([7; 32]).sealer();
        let sealed = sealer.seal(Purpose::UploadKey, "scn_1", b"secret").unwrap();
        assert_eq!(sealer.open(Purpose::UploadKey, "scn_1", &sealed).unwrap(), b"secret");
        let mut flipped = sealed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let other = MasterKey::new([8; 32]).sealer();
        for opened in [
            sealer.open(Purpose::UploadKey, "scn_2", &sealed),
            sealer.open(Purpose::FetchUrl, "scn_1", &sealed),
            sealer.open(Purpose::UploadKey, "scn_1", &flipped),
            sealer.open(Purpose::UploadKey, "scn_1", &sealed[..11]),
            sealer.open(Purpose::UploadKey, "scn_1", &[]),
            other.open(Purpose::UploadKey, "scn_1", &sealed),
        ] {
            assert!(matches!(opened, Err(StoreError::Corrupt(_))));
        }
    }

    #[test]
    fn tokens_are_a_rows_and_a_master_keys_own() {
        let sealer = MasterKey::new([7; 32]).sealer();
        let token = sealer.token("scn_1");
        assert_eq!((token.len(), &token), (43, &MasterKey::new([7; 32]).sealer().token("scn_1")));
        assert!(token != sealer.token("scn_2") && token != MasterKey::new([8; 32]).sealer().token("scn_1"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let key = MasterKey::new([7; 32]);
        assert_eq!(format!("{key:?} {:?}", key.sealer()), "MasterKey([redacted]) Sealer([redacted])");
    }
}
