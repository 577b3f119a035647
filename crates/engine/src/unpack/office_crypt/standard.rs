//! Standard encryption of packages (MS-OFFCRYPTO 2.3.4.5 and following): AES by blocks, SHA-1 50,000 times.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{BlockCipherDecrypt, KeyInit};

use super::{Hash, passwords};
use crate::unpack::{Sink, Stop, u32_at};

const SPINS: u32 = 50_000;
const BLOCK: usize = 16;

/// A key for blocks.
pub(super) enum Blocks {
    Aes128(Box<Aes128>),
    Aes192(Box<Aes192>),
    Aes256(Box<Aes256>),
}

impl Blocks {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Box::new).map(Self::Aes128),
            24 => Aes192::new_from_slice(key).ok().map(Box::new).map(Self::Aes192),
            32 => Aes256::new_from_slice(key).ok().map(Box::new).map(Self::Aes256),
            _ => None,
        }
    }

    /// Whole blocks; what is left of one stays as it is.
    pub(super) fn decrypt(&self, data: &mut [u8]) {
        for block in data.as_chunks_mut::<BLOCK>().0 {
            match self {
                Self::Aes128(cipher) => cipher.decrypt_block(block.into()),
                Self::Aes192(cipher) => cipher.decrypt_block(block.into()),
                Self::Aes256(cipher) => cipher.decrypt_block(block.into()),
            }
        }
    }
}

/// The key of a package whose `EncryptionInfo`, after version and flags, is `info`; nothing if no known password gives it.
pub(super) fn key(info: &[u8], sink: &mut dyn Sink) -> Result<Option<Blocks>, Stop> {
    let Some(verifier) = Verifier::of(info) else { return Ok(None) };
    for password in passwords(sink) {
        if let Some(key) = verifier.key(&password, sink)? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

struct Verifier<'a> {
    key_bytes: usize,
    salt: &'a [u8],
    verifier: &'a [u8],
    hash: &'a [u8],
}

impl<'a> Verifier<'a> {
    fn of(info: &'a [u8]) -> Option<Self> {
        let header = usize::try_from(u32_at(info, 0)?).ok()?;
        let key_bytes = usize::try_from(u32_at(info, 4 + 16)? / 8).ok()?;
        let rest = info.get(4..)?.get(header..)?;
        let salt_bytes = usize::try_from(u32_at(rest, 0)?).ok()?;
        let rest = rest.get(4..)?;
        let (salt, rest) = rest.split_at_checked(salt_bytes)?;
        let (verifier, rest) = rest.split_at_checked(BLOCK)?;
        Some(Self { key_bytes, salt, verifier, hash: rest.get(4..4 + 2 * BLOCK)? })
    }

    fn key(&self, password: &str, sink: &mut dyn Sink) -> Result<Option<Blocks>, Stop> {
        let spun = Hash::Sha1.spun(self.salt, password, SPINS, sink)?;
        let last = Hash::Sha1.of(&[&spun, &[0; 4]]);
        let half = |byte: u8| {
            let mut filled = [byte; 64];
            filled.iter_mut().zip(&last).for_each(|(place, byte)| *place ^= byte);
            Hash::Sha1.of(&[&filled])
        };
        let derived = [half(0x36), half(0x5c)].concat();
        let Some(key) = derived.get(..self.key_bytes).and_then(Blocks::new) else { return Ok(None) };
        let (mut verifier, mut hash) = (self.verifier.to_vec(), self.hash.to_vec());
        key.decrypt(&mut verifier);
        key.decrypt(&mut hash);
        let expected = Hash::Sha1.of(&[&verifier]);
        Ok((hash.get(..expected.len()) == Some(&expected)).then_some(key))
    }
}
