//! Signatures of webhooks after [Standard Webhooks](https://www.standardwebhooks.com): the symmetric scheme `v1`, and with the feature
//! `ed25519` the asymmetric `v1a`.
//!
//! A signature of `v1` is the base64 of an HMAC-SHA256 over `id.timestamp.body`, one of `v1a` that of an Ed25519 signature over the same.
//! Both cover the raw bytes of the body, so verify before parsing.

#[cfg(feature = "ed25519")]
mod asymmetric;

use std::{fmt, str::FromStr, time::Duration};

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

#[cfg(feature = "ed25519")]
pub use asymmetric::{KeyError, PublicKey, SecretKey, Signer, SignerError, Verifier, sign_with, verify_with};

/// The header that holds the event's id: the same for every attempt to deliver it.
pub const ID_HEADER: &str = "webhook-id";
/// The header that holds the time of the attempt, in whole seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header that holds the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How far a receiver's clock and the timestamp of an attempt may lie apart.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

const SECRET_PREFIX: &str = "whsec_";
const SCHEME: &str = "v1";

/// A sender rotates between two secrets; whoever sends more signatures than this only wants work done.
const MAX_SIGNATURES: usize = 16;

/// A shared secret of 24 to 64 bytes, written `whsec_` and base64. `Debug` does not show it; comparing takes the same time for all.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

/// Why a text or some bytes are no signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The prefix is missing.
    #[error("a signing secret starts with whsec_")]
    NoPrefix,
    /// What follows the prefix is not standard base64.
    #[error("what follows whsec_ is not base64")]
    NotBase64,
    /// Too weak, or longer than any receiver need keep.
    #[error("a signing secret has 24 to 64 bytes, this one {0}")]
    BadLength(usize),
}

/// The three headers of a webhook, each `None` when it is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// [`ID_HEADER`]
    pub id: Option<&'a str>,
    /// [`TIMESTAMP_HEADER`]
    pub timestamp: Option<&'a str>,
    /// [`SIGNATURE_HEADER`]
    pub signature: Option<&'a str>,
}

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is absent or empty.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// The timestamp is not a whole number of seconds.
    #[error("webhook-timestamp is not a number of seconds since 1970")]
    BadTimestamp,
    /// Signed longer ago than the tolerance: perhaps a replay, or this clock is fast.
    #[error("webhook-timestamp is {} s in the past, more than the {} s allowed", .by.as_secs(), .tolerance.as_secs())]
    TooOld {
        /// How far in the past.
        by: Duration,
        /// How far it might be.
        tolerance: Duration,
    },
    /// Signed further in the future than the tolerance: a clock is wrong.
    #[error("webhook-timestamp is {} s in the future, more than the {} s allowed", .by.as_secs(), .tolerance.as_secs())]
    TooNew {
        /// How far in the future.
        by: Duration,
        /// How far it might be.
        tolerance: Duration,
    },
    /// No signature is there of a scheme that the secrets or keys are for.
    #[error("webhook-signature holds no signature of the scheme at hand: v1,<base64> by a secret, v1a,<base64> by a key pair")]
    NoSignature,
    /// There are signatures, and none was made with these secrets over these bytes.
    #[error("no signature matches: another secret, or the body was changed")]
    Mismatch,
}

impl SigningSecret {
    /// The fewest bytes of a secret.
    pub const MIN_BYTES: usize = 24;
    /// The most bytes of a secret.
    pub const MAX_BYTES: usize = 64;

    /// A new secret out of 32 random bytes.
    pub fn generate(entropy: [u8; 32]) -> Self {
        Self(entropy.to_vec())
    }

    /// A secret of 24 to 64 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        if (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(SecretError::BadLength(bytes.len()))
        }
    }

    /// The bytes of the key. Mind where they go.
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_` and base64. Mind where it goes.
    pub fn expose_text(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.0))
    }

    fn signature(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("{SCHEME},{}", BASE64.encode(&self.mac(id, timestamp, body)))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The value of [`SIGNATURE_HEADER`]: one signature for each secret, separated by spaces; empty without secrets.
/// `id` and `timestamp_secs` go into the two other headers as they are.
pub fn sign(secrets: &[SigningSecret], id: &str, timestamp_secs: i64, body: &[u8]) -> String {
    let timestamp = timestamp_secs.to_string();
    secrets.iter().map(|secret| secret.signature(id, &timestamp, body)).collect::<Vec<_>>().join(" ")
}

/// Proves that the webhook was signed with one of `secrets` over exactly these bytes, at most `tolerance` from `now_secs`
/// (seconds since 1970). Which secret it was, and where a wrong signature differs, does not show in the time it takes.
pub fn verify(
    secrets: &[SigningSecret],
    headers: &Headers<'_>,
    body: &[u8],
    now_secs: i64,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let claims = Claims::read(headers, now_secs, tolerance)?;
    let signatures = claims.symmetric();
    if signatures.is_empty() {
        return Err(VerifyError::NoSignature);
    }
    if claims.match_secrets(secrets, &signatures, body) { Ok(()) } else { Err(VerifyError::Mismatch) }
}

/// What the headers claim, at a time that can be believed.
struct Claims<'a> {
    id: &'a str,
    timestamp: &'a str,
    signature: &'a str,
}

impl<'a> Claims<'a> {
    fn read(headers: &Headers<'a>, now_secs: i64, tolerance: Duration) -> Result<Self, VerifyError> {
        let present = |value: Option<_>, name| value.filter(|text: &&str| !text.is_empty()).ok_or(VerifyError::MissingHeader(name));
        let claims = Self {
            id: present(headers.id, ID_HEADER)?,
            timestamp: present(headers.timestamp, TIMESTAMP_HEADER)?,
            signature: present(headers.signature, SIGNATURE_HEADER)?,
        };
        check_time(claims.timestamp, now_secs, tolerance)?;
        Ok(claims)
    }

    fn symmetric(&self) -> Vec<[u8; 32]> {
        self.signatures(SCHEME)
    }

    /// The signatures of a scheme and its length; what is none is passed over.
    fn signatures<const N: usize>(&self, scheme: &str) -> Vec<[u8; N]> {
        let parse = |text: &str| {
            let (found, encoded) = text.split_once(',')?;
            if found == scheme { decode_base64(encoded)?.try_into().ok() } else { None }
        };
        self.signature.split(' ').filter_map(parse).take(MAX_SIGNATURES).collect()
    }

    /// Whether one of the secrets made one of the signatures.
    fn match_secrets<'s>(&self, secrets: impl IntoIterator<Item = &'s SigningSecret>, signatures: &[[u8; 32]], body: &[u8]) -> bool {
        let mut matches = subtle::Choice::from(0);
        for secret in secrets {
            let expected = secret.mac(self.id, self.timestamp, body);
            for signature in signatures {
                matches |= expected.ct_eq(signature);
            }
        }
        matches.into()
    }
}

fn check_time(timestamp: &str, now_secs: i64, tolerance: Duration) -> Result<(), VerifyError> {
    // Digits alone: the text is signed as it stands, and "+5" or " 5" would be other spellings of one time.
    if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(VerifyError::BadTimestamp);
    }
    let sent: i64 = timestamp.parse().map_err(|_| VerifyError::BadTimestamp)?;
    let by = Duration::from_secs(sent.abs_diff(now_secs));
    match (by > tolerance, sent < now_secs) {
        (false, _) => Ok(()),
        (true, true) => Err(VerifyError::TooOld { by, tolerance }),
        (true, false) => Err(VerifyError::TooNew { by, tolerance }),
    }
}

/// With or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok()
}

impl FromStr for SigningSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::NoPrefix)?;
        Self::from_bytes(&decode_base64(encoded).ok_or(SecretError::NotBase64)?)
    }
}

impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SigningSecret {}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests;
