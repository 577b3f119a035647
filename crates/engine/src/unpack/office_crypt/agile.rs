//! Agile encryption of packages (MS-OFFCRYPTO 2.3.4.10 and following): described in XML, AES in chained blocks by segments.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};

use super::{Hash, passwords};
use crate::unpack::{
    Sink, Stop,
    office_xml::{Tag, base64, tags},
};

const VERIFIER: [u8; 8] = [0xfe, 0xa7, 0xd2, 0x76, 0x3b, 0x4b, 0x9e, 0x79];
const VERIFIER_HASH: [u8; 8] = [0xd7, 0xaa, 0x0f, 0x6d, 0x30, 0x61, 0x34, 0x4e];
const KEY: [u8; 8] = [0x14, 0x6e, 0x0b, 0xe7, 0xab, 0xac, 0xd0, 0xd6];
/// The specification allows as many.
const MOST_SPINS: u32 = 10_000_000;
/// What a vector or a key is filled up with.
const FILLING: u8 = 0x36;
const BLOCK: usize = 16;

/// The key of a package, and how the vector of each segment is made.
pub(super) struct Segments {
    key: Vec<u8>,
    salt: Vec<u8>,
    hash: Hash,
}

impl Segments {
    pub(super) fn decrypt(&self, number: u32, data: &mut [u8]) {
        let vector = filled(self.hash.of(&[&self.salt, &number.to_le_bytes()]), BLOCK);
        decrypt(&self.key, &vector, data);
    }
}

/// How something is encrypted.
struct Method {
    salt: Vec<u8>,
    hash: Hash,
    key_bytes: usize,
}

impl Method {
    /// Nothing where another cipher or mode than ours is asked for.
    fn of(tag: &Tag<'_>) -> Option<Self> {
        let is_ours = tag.attribute("cipherAlgorithm")? == "AES" && tag.attribute("cipherChaining")? == "ChainingModeCBC";
        let key_bits: usize = tag.attribute("keyBits")?.parse().ok()?;
        let hash = Hash::named(&tag.attribute("hashAlgorithm")?)?;
        (is_ours && matches!(key_bits, 128 | 192 | 256)).then_some(())?;
        Some(Self { salt: base64(&tag.attribute("saltValue")?), hash, key_bytes: key_bits / 8 })
    }
}

/// The key that a description gives; nothing if no known password does, or the method is none of ours.
pub(super) fn key(description: &[u8], sink: &mut dyn Sink) -> Result<Option<Segments>, Stop> {
    let text = String::from_utf8_lossy(description);
    let data = tags(&text).find(|tag| tag.name == "keyData").and_then(|tag| Method::of(&tag));
    let Some(data) = data else { return Ok(None) };
    for tag in tags(&text).filter(|tag| tag.name == "encryptedKey" && !tag.is_closing) {
        let Some(wrapped) = Wrapped::of(&tag) else { continue };
        for password in passwords(sink) {
            if let Some(key) = wrapped.key(&password, sink)? {
                let key = filled(key, data.key_bytes);
                return Ok(Some(Segments { key, salt: data.salt, hash: data.hash }));
            }
        }
        // More of them are no more than a way to be slow.
        break;
    }
    Ok(None)
}

/// The package's key, encrypted with one that a password gives.
struct Wrapped {
    method: Method,
    spins: u32,
    verifier: Vec<u8>,
    verifier_hash: Vec<u8>,
    key: Vec<u8>,
}

impl Wrapped {
    fn of(tag: &Tag<'_>) -> Option<Self> {
        Some(Self {
            method: Method::of(tag)?,
            spins: tag.attribute("spinCount")?.parse().ok().filter(|spins| *spins <= MOST_SPINS)?,
            verifier: base64(&tag.attribute("encryptedVerifierHashInput")?),
            verifier_hash: base64(&tag.attribute("encryptedVerifierHashValue")?),
            key: base64(&tag.attribute("encryptedKeyValue")?),
        })
    }

    fn key(&self, password: &str, sink: &mut dyn Sink) -> Result<Option<Vec<u8>>, Stop> {
        let Method { salt, hash, key_bytes } = &self.method;
        let spun = hash.spun(salt, password, self.spins, sink)?;
        let vector = filled(salt.clone(), BLOCK);
        let opened = |purpose: &[u8], data: &[u8]| {
            let key = filled(hash.of(&[&spun, purpose]), *key_bytes);
            let mut data = data.to_vec();
            decrypt(&key, &vector, &mut data);
            data
        };
        let verifier = opened(&VERIFIER, &self.verifier);
        let verifier = verifier.get(..salt.len()).unwrap_or(&verifier);
        let expected = hash.of(&[verifier]);
        let is_right = opened(&VERIFIER_HASH, &self.verifier_hash).get(..expected.len()) == Some(&expected);
        Ok(is_right.then(|| opened(&KEY, &self.key)))
    }
}

fn filled(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length, FILLING);
    bytes
}

fn decrypt(key: &[u8], vector: &[u8], data: &mut [u8]) {
    fn blocks<C: BlockModeDecrypt<BlockSize = cbc::cipher::typenum::U16> + KeyIvInit>(key: &[u8], vector: &[u8], data: &mut [u8]) {
        let Ok(mut cipher) = C::new_from_slices(key, vector) else { return };
        for block in data.as_chunks_mut::<BLOCK>().0 {
            cipher.decrypt_block(block.into());
        }
    }
    match key.len() {
        16 => blocks::<cbc::Decryptor<Aes128>>(key, vector, data),
        24 => blocks::<cbc::Decryptor<Aes192>>(key, vector, data),
        _ => blocks::<cbc::Decryptor<Aes256>>(key, vector, data),
    }
}
