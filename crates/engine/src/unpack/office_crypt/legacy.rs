//! RC4 in documents of Office 97 to 2003 (MS-OFFCRYPTO 2.3.5 and 2.3.6): by blocks of a stream, each with a key of its own.

use cbc::cipher::{KeyInit, StreamCipher};
use rc4::Rc4;

use super::{Hash, wide, xor::Array};
use crate::unpack::{u16_at, u32_at};

/// What the keys of blocks are made of.
pub(crate) enum Rc4Key {
    /// With MD5 and 40 bits.
    Plain { base: Vec<u8> },
    /// Of the CryptoAPI: with SHA-1.
    Api { base: Vec<u8>, bytes: usize },
}

impl Rc4Key {
    /// What an encryption header gives with one of the passwords, version and all; nothing if none fits.
    pub(crate) fn of(header: &[u8], passwords: &[String]) -> Option<Self> {
        passwords.iter().find_map(|password| match (u16_at(header, 0)?, u16_at(header, 2)?) {
            (1, 1) => Self::plain(header.get(4..)?, password),
            (2..=4, 2) => Self::api(header.get(8..)?, password),
            _ => None,
        })
    }

    fn plain(verifier: &[u8], password: &str) -> Option<Self> {
        const SHORT: usize = 5;
        let (salt, rest) = verifier.split_at_checked(16)?;
        let digest = Hash::Md5.of(&[&wide(password)]);
        let salted = [digest.get(..SHORT)?, salt].concat().repeat(16);
        let base = Hash::Md5.of(&[&salted]).get(..SHORT)?.to_vec();
        Self::Plain { base }.verified(rest.get(..16)?, rest.get(16..32)?, Hash::Md5)
    }

    fn api(header: &[u8], password: &str) -> Option<Self> {
        const DEFAULT_BITS: u32 = 40;
        const RC4: u32 = 0x6801;
        let length = usize::try_from(u32_at(header, 0)?).ok()?;
        if u32_at(header, 4 + 8)? != RC4 {
            return None;
        }
        let bits = u32_at(header, 4 + 16)?;
        let bytes = usize::try_from(if bits == 0 { DEFAULT_BITS } else { bits } / 8).ok().filter(|bytes| (1..=16).contains(bytes))?;
        let rest = header.get(4..)?.get(length..)?;
        let salt = rest.get(4..20)?;
        let base = Hash::Sha1.of(&[salt, &wide(password)]);
        Self::Api { base, bytes }.verified(rest.get(20..36)?, rest.get(40..60)?, Hash::Sha1)
    }

    fn verified(self, verifier: &[u8], hash: &[u8], kind: Hash) -> Option<Self> {
        let mut data = [verifier, hash].concat();
        self.cipher(0)?.apply_keystream(&mut data);
        let (verifier, hash) = data.split_at_checked(verifier.len())?;
        (kind.of(&[verifier]) == hash).then_some(self)
    }

    fn cipher(&self, block: u32) -> Option<Rc4> {
        let key = match self {
            Self::Plain { base } => Hash::Md5.of(&[base, &block.to_le_bytes()]),
            Self::Api { base, bytes } => {
                let mut key = Hash::Sha1.of(&[base, &block.to_le_bytes()]);
                key.truncate(*bytes);
                // 40 bits are filled up with zeros.
                if *bytes == 5 {
                    key.resize(16, 0);
                }
                key
            }
        };
        Rc4::new_from_slice(&key).ok()
    }

    /// Decrypts a whole stream.
    fn apply(&self, stream: &mut [u8], block: usize) {
        for (number, bytes) in stream.chunks_mut(block).enumerate() {
            let cipher = u32::try_from(number).ok().and_then(|number| self.cipher(number));
            if let Some(mut cipher) = cipher {
                cipher.apply_keystream(bytes);
            }
        }
    }

    /// A stream of a document, the first bytes of which stand in the clear.
    pub(crate) fn document_stream(&self, stream: &[u8], clear: usize) -> Vec<u8> {
        const BLOCK: usize = 512;
        let mut plain = stream.to_vec();
        self.apply(&mut plain, BLOCK);
        let clear = clear.min(stream.len());
        if let (Some(to), Some(from)) = (plain.get_mut(..clear), stream.get(..clear)) {
            to.copy_from_slice(from);
        }
        plain
    }
}

/// What opens the records of a workbook.
pub(crate) enum Records {
    Rc4(Rc4Key),
    Xor(Array),
}

/// Of a workbook, in a record of its own.
pub(crate) fn key_of_workbook(file_pass: &[u8], passwords: &[String]) -> Option<Records> {
    const XOR: u16 = 0;
    // Excel 5 has no kind in front.
    if file_pass.len() == 4 {
        return xor(u16_at(file_pass, 2)?, passwords);
    }
    match u16_at(file_pass, 0)? {
        XOR => xor(u16_at(file_pass, 4)?, passwords),
        _ => Rc4Key::of(file_pass.get(2..)?, passwords).map(Records::Rc4),
    }
}

fn xor(verifier: u16, passwords: &[String]) -> Option<Records> {
    passwords.iter().find_map(|password| Array::of(password, verifier)).map(Records::Xor)
}

impl Records {
    /// The stream with all records in the clear. Their headers always are, and the whole of some.
    pub(crate) fn decrypt(&self, stream: &[u8]) -> Vec<u8> {
        const BLOCK: usize = 1_024;
        const BOUND_SHEET: u16 = 0x0085;
        const CLEAR: [u16; 7] = [0x0809, 0x002f, 0x0194, 0x0195, 0x00e1, 0x0196, 0x0138];
        let mut plain = stream.to_vec();
        if let Self::Rc4(key) = self {
            key.apply(&mut plain, BLOCK);
        }
        let mut at = 0;
        while let (Some(kind), Some(length)) = (u16_at(stream, at), u16_at(stream, at + 2).map(usize::from)) {
            let clear = if CLEAR.contains(&kind) {
                length
            } else if kind == BOUND_SHEET {
                // Where the sheet starts.
                length.min(4)
            } else {
                0
            };
            let kept = at..(at + 4 + clear).min(stream.len());
            if let (Some(to), Some(from)) = (plain.get_mut(kept.clone()), stream.get(kept)) {
                to.copy_from_slice(from);
            }
            if let Self::Xor(array) = self {
                let data = plain.get_mut(at + 4..).unwrap_or_default();
                for (offset, byte) in data.iter_mut().take(length).enumerate().skip(clear) {
                    *byte = array.reveal(*byte, at + 4 + length + offset);
                }
            }
            at += 4 + length;
        }
        plain
    }
}
