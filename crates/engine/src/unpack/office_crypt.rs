//! Encrypted documents (MS-OFFCRYPTO) as far as a known password opens them. Office itself encrypts with a password that everybody knows
//! when a document is only protected from changes.

mod agile;
mod legacy;
mod package;
mod standard;
#[cfg(test)]
mod tests;
mod xor;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{Sink, Stop};

pub(crate) use legacy::{Rc4Key, key_of_workbook};
pub(crate) use package::open as open_package;

/// What the signatures end with.
pub(crate) const DETAIL: &str = "Office";

/// What Office encrypts with by itself, and nothing at all.
const DEFAULTS: [&str; 2] = ["VelvetSweatshop", ""];

/// Every password that is tried: those that everybody knows, then those that came with the scan.
pub(crate) fn passwords(sink: &dyn Sink) -> Vec<String> {
    let given = sink.passwords();
    let given = given.iter().map(|password| String::from_utf8_lossy(password.reveal()).into_owned());
    DEFAULTS.iter().map(|password| (*password).to_owned()).chain(given).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().replace('-', "").as_str() {
            "MD5" => Some(Self::Md5),
            "SHA1" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            "SHA384" => Some(Self::Sha384),
            "SHA512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut digest = D::new();
            parts.iter().for_each(|part| digest.update(part));
            digest.finalize().to_vec()
        }
        match self {
            Self::Md5 => digest::<Md5>(parts),
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// A password's digest, digested again as often as is asked for.
    fn spun(self, salt: &[u8], password: &str, times: u32, sink: &mut dyn Sink) -> Result<Vec<u8>, Stop> {
        const BETWEEN_TICKS: u32 = 4_096;
        let mut digest = self.of(&[salt, &wide(password)]);
        for round in 0..times {
            if round.is_multiple_of(BETWEEN_TICKS) {
                sink.tick()?;
            }
            digest = self.of(&[&round.to_le_bytes(), &digest]);
        }
        Ok(digest)
    }
}

/// A password as it is digested.
fn wide(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
