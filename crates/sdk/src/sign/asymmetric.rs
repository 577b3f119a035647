//! Signatures with a key pair: scheme `v1a` of Standard Webhooks, Ed25519. Whoever verifies cannot sign.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{Claims, SecretError, SigningSecret, decode_base64};

const SECRET_KEY_PREFIX: &str = "whsk_";
const PUBLIC_KEY_PREFIX: &str = "whpk_";
const SCHEME: &str = "v1a";

const SEED_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// An Ed25519 key that signs, written `whsk_` and the base64 of its seed and public key. `Debug` does not show it.
#[derive(Clone)]
pub struct SecretKey {
    seed: [u8; SEED_BYTES],
    public: PublicKey,
}

/// An Ed25519 key that verifies, written `whpk_` and base64. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; PublicKey::BYTES]);

/// Why a text or some bytes are no key of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The prefix is missing.
    #[error("the key starts with {0}")]
    NoPrefix(&'static str),
    /// What follows the prefix is not standard base64.
    #[error("what follows the prefix is not base64")]
    NotBase64,
    /// Another length than such a key has.
    #[error("the key has {0} bytes; a public key has 32, a secret key 32, or 64 with its public key")]
    BadLength(usize),
    /// The public key beside the seed is of another pair.
    #[error("the public key is not the secret key's own")]
    OtherPair,
}

/// Whatever signs webhooks: `whsec_…` or `whsk_…`. `Debug` does not show it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Signer {
    /// Signs by `v1`.
    Secret(SigningSecret),
    /// Signs by `v1a`.
    Key(SecretKey),
}

/// Whatever proves webhooks: `whsec_…` or `whpk_…`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verifier {
    /// Proves signatures of `v1`.
    Secret(SigningSecret),
    /// Proves signatures of `v1a`.
    Key(PublicKey),
}

/// Why a text is no [`Signer`] or [`Verifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// It has another prefix than any of them.
    #[error("a secret starts with whsec_, the key that signs with whsk_, the key that verifies with whpk_")]
    NoPrefix,
    /// A secret that is none.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SecretKey {
    /// A new key pair out of 32 random bytes.
    pub fn generate(entropy: [u8; SEED_BYTES]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&entropy).expect("any 32 bytes are a seed");
        let mut public = [0; PublicKey::BYTES];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { seed: entropy, public: PublicKey(public) }
    }

    /// The seed alone, or the seed and the public key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bad_length = || KeyError::BadLength(bytes.len());
        let (seed, public) = bytes.split_first_chunk::<SEED_BYTES>().ok_or_else(bad_length)?;
        let key = Self::generate(*seed);
        match public {
            [] => Ok(key),
            public if public == key.public.0 => Ok(key),
            public if public.len() == PublicKey::BYTES => Err(KeyError::OtherPair),
            _ => Err(bad_length()),
        }
    }

    /// The key that proves what this one signs.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Seed and public key. Mind where they go.
    pub fn expose_bytes(&self) -> Vec<u8> {
        [self.seed, self.public.0].concat()
    }

    /// `whsk_` and base64. Mind where it goes.
    pub fn expose_text(&self) -> String {
        format!("{SECRET_KEY_PREFIX}{}", BASE64.encode(&self.expose_bytes()))
    }

    fn sign(&self, message: &[u8]) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("any 32 bytes are a seed");
        format!("{SCHEME},{}", BASE64.encode(pair.sign(message).as_ref()))
    }
}

impl PublicKey {
    /// The bytes of a public key.
    pub const BYTES: usize = 32;

    /// A public key of 32 bytes. Whether it is a point of the curve shows when it verifies: one that is none proves nothing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_| KeyError::BadLength(bytes.len()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn proves(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// As [`sign`](super::sign()), by secrets and keys alike.
pub fn sign_with(signers: &[Signer], id: &str, timestamp_secs: i64, body: &[u8]) -> String {
    let timestamp = timestamp_secs.to_string();
    let sign = |signer: &Signer| match signer {
        Signer::Secret(secret) => secret.signature(id, &timestamp, body),
        Signer::Key(key) => key.sign(&message(id, &timestamp, body)),
    };
    signers.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// As [`verify`](super::verify()), by secrets and public keys alike: one proof suffices.
pub fn verify_with(
    verifiers: &[Verifier],
    headers: &super::Headers<'_>,
    body: &[u8],
    now_secs: i64,
    tolerance: std::time::Duration,
) -> Result<(), super::VerifyError> {
    let claims = Claims::read(headers, now_secs, tolerance)?;
    let secrets: Vec<&SigningSecret> = verifiers.iter().filter_map(Verifier::secret).collect();
    let keys: Vec<&PublicKey> = verifiers.iter().filter_map(Verifier::key).collect();
    let symmetric = claims.symmetric();
    let asymmetric: Vec<[u8; SIGNATURE_BYTES]> = claims.signatures(SCHEME);
    let comparable = (!secrets.is_empty() && !symmetric.is_empty()) || (!keys.is_empty() && !asymmetric.is_empty());
    if !comparable {
        return Err(super::VerifyError::NoSignature);
    }
    let message = message(claims.id, claims.timestamp, body);
    let proven = claims.match_secrets(secrets, &symmetric, body)
        | keys.iter().any(|key| asymmetric.iter().any(|signature| key.proves(&message, signature)));
    if proven { Ok(()) } else { Err(super::VerifyError::Mismatch) }
}

fn message(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

impl Verifier {
    fn secret(&self) -> Option<&SigningSecret> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::Key(_) => None,
        }
    }

    fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Secret(_) => None,
        }
    }
}

fn decode(text: &str, prefix: &'static str) -> Result<Vec<u8>, KeyError> {
    let encoded = text.strip_prefix(prefix).ok_or(KeyError::NoPrefix(prefix))?;
    decode_base64(encoded).ok_or(KeyError::NotBase64)
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode(text, SECRET_KEY_PREFIX)?)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&decode(text, PUBLIC_KEY_PREFIX)?)
    }
}

/// `whsec_…` or `whsk_…`.
impl FromStr for Signer {
    type Err = SignerError;

    fn from_str(text: &str) -> Result<Self, SignerError> {
        if text.starts_with(super::SECRET_PREFIX) {
            Ok(Self::Secret(text.parse()?))
        } else if text.starts_with(SECRET_KEY_PREFIX) {
            Ok(Self::Key(text.parse()?))
        } else {
            Err(SignerError::NoPrefix)
        }
    }
}

/// `whsec_…` or `whpk_…`.
impl FromStr for Verifier {
    type Err = SignerError;

    fn from_str(text: &str) -> Result<Self, SignerError> {
        if text.starts_with(super::SECRET_PREFIX) {
            Ok(Self::Secret(text.parse()?))
        } else if text.starts_with(PUBLIC_KEY_PREFIX) {
            Ok(Self::Key(text.parse()?))
        } else {
            Err(SignerError::NoPrefix)
        }
    }
}

impl From<SigningSecret> for Signer {
    fn from(secret: SigningSecret) -> Self {
        Self::Secret(secret)
    }
}

impl From<SigningSecret> for Verifier {
    fn from(secret: SigningSecret) -> Self {
        Self::Secret(secret)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_KEY_PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests;
