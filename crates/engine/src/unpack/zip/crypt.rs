//! Encrypted members: the traditional way (APPNOTE section 6.1) and WinZip's AES ("AES Encryption Information", version 1.04).

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::records::{Aes, Facts};

/// What keeps a member closed.
pub(super) enum Lock<'a> {
    Traditional {
        data: &'a [u8],
        /// What the last byte of the decrypted header is: of the checksum, or of the time where the checksum stands behind the data.
        checks: [u8; 2],
    },
    WinZip {
        aes: Aes,
        salt: &'a [u8],
        verifier: &'a [u8],
        data: &'a [u8],
        code: &'a [u8],
    },
}

/// What a password becomes.
pub(super) enum Key {
    Traditional(Keys),
    WinZip { cipher: Vec<u8>, authentication: Vec<u8> },
}

/// Bytes before traditionally encrypted data.
const HEADER: usize = 12;

/// Of the authentication code, so many bytes are kept.
const CODE: usize = 10;
const VERIFIER: usize = 2;

impl<'a> Lock<'a> {
    /// `None` where no password could open it: another encryption, or data too short for its own.
    pub(super) fn of(facts: &Facts, input: &'a [u8]) -> Option<Self> {
        if facts.method != Facts::AES {
            let checks = [facts.crc32.to_be_bytes()[0], facts.time.to_be_bytes()[0]];
            let data = Some(input).filter(|input| input.len() >= HEADER && !facts.is_strongly_encrypted());
            return data.map(|data| Self::Traditional { data, checks });
        }
        let aes = facts.aes.filter(|aes| matches!(aes.strength, 1..=3))?;
        let (salt, rest) = input.split_at_checked(aes.salt_bytes())?;
        let (verifier, rest) = rest.split_at_checked(VERIFIER)?;
        let (data, code) = rest.split_at_checked(rest.len().checked_sub(CODE)?)?;
        Some(Self::WinZip { aes, salt, verifier, data, code })
    }

    /// The key that this password gives, unless the lock says at once that it is another.
    pub(super) fn key(&self, password: &[u8]) -> Option<Key> {
        match self {
            Self::Traditional { data, checks } => {
                let mut keys = Keys::new(password);
                let mut last = 0;
                for &byte in data.get(..HEADER)? {
                    last = keys.decrypt(byte);
                }
                checks.contains(&last).then_some(Key::Traditional(keys))
            }
            Self::WinZip { aes, salt, verifier, .. } => {
                let mut derived = vec![0; aes.key_bytes() * 2 + VERIFIER];
                derive(password, salt, &mut derived);
                let (keys, found) = derived.split_at_checked(aes.key_bytes() * 2)?;
                let (cipher, authentication) = keys.split_at_checked(aes.key_bytes())?;
                let key = || Key::WinZip { cipher: cipher.to_vec(), authentication: authentication.to_vec() };
                (found == *verifier).then(key)
            }
        }
    }

    /// The data in the clear; nothing where its authentication code is not that of the key.
    pub(super) fn open(&self, key: Key) -> Option<Vec<u8>> {
        match (self, key) {
            (Self::Traditional { data, .. }, Key::Traditional(mut keys)) => {
                Some(data.get(HEADER..)?.iter().map(|&byte| keys.decrypt(byte)).collect())
            }
            (Self::WinZip { data, code, .. }, Key::WinZip { cipher, authentication }) => {
                let found = Hmac::<Sha1>::new_from_slice(&authentication).ok()?.chain_update(data).finalize().into_bytes();
                let mut content = data.to_vec();
                found.starts_with(code).then(|| counter_mode(&cipher, &mut content))??;
                Some(content)
            }
            (Self::Traditional { .. }, Key::WinZip { .. }) | (Self::WinZip { .. }, Key::Traditional(_)) => None,
        }
    }

    /// What the header says of the data once it is open.
    pub(super) fn facts(&self, closed: &Facts, content: &[u8]) -> Facts {
        const ENCRYPTED: u16 = 1;
        let open = Facts { packed: content.len() as u64, flags: closed.flags & !ENCRYPTED, ..*closed };
        match self {
            Self::Traditional { .. } => open,
            Self::WinZip { aes, .. } => Facts { method: aes.method, is_proven: true, ..open },
        }
    }
}

impl Aes {
    fn key_bytes(self) -> usize {
        8 + 8 * usize::from(self.strength)
    }

    fn salt_bytes(self) -> usize {
        self.key_bytes() / 2
    }
}

/// The three keys of the traditional encryption.
pub(crate) struct Keys([u32; 3]);

impl Keys {
    pub(crate) fn new(password: &[u8]) -> Self {
        let mut keys = Self([0x1234_5678, 0x2345_6789, 0x3456_7890]);
        password.iter().for_each(|&byte| keys.update(byte));
        keys
    }

    fn update(&mut self, byte: u8) {
        let Self([first, second, third]) = self;
        *first = crc_step(*first, byte);
        *second = second.wrapping_add(*first & 0xff).wrapping_mul(134_775_813).wrapping_add(1);
        *third = crc_step(*third, second.to_be_bytes()[0]);
    }

    fn pad(&self) -> u8 {
        let [_, _, third] = self.0;
        let value = third & 0xffff | 2;
        (value.wrapping_mul(value ^ 1) >> 8).to_le_bytes()[0]
    }

    fn decrypt(&mut self, byte: u8) -> u8 {
        let plain = byte ^ self.pad();
        self.update(plain);
        plain
    }

    #[cfg(test)]
    pub(crate) fn encrypt(&mut self, plain: u8) -> u8 {
        let byte = plain ^ self.pad();
        self.update(plain);
        byte
    }
}

/// One byte of CRC-32 without its first and last inversion.
fn crc_step(crc: u32, byte: u8) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    let [low, ..] = (crc ^ u32::from(byte)).to_le_bytes();
    TABLE[usize::from(low)] ^ crc >> 8
}

/// PBKDF2 with HMAC-SHA-1 and 1,000 rounds (RFC 8018, section 5.2).
pub(crate) fn derive(password: &[u8], salt: &[u8], derived: &mut [u8]) {
    const ROUNDS: usize = 1_000;
    let Ok(keyed) = Hmac::<Sha1>::new_from_slice(password) else { return };
    for (block, index) in derived.chunks_mut(20).zip(1u32..) {
        let mut round = keyed.clone().chain_update(salt).chain_update(index.to_be_bytes()).finalize().into_bytes();
        let mut sum = round;
        for _ in 1..ROUNDS {
            round = keyed.clone().chain_update(round).finalize().into_bytes();
            sum.iter_mut().zip(&round).for_each(|(sum, byte)| *sum ^= byte);
        }
        block.iter_mut().zip(&sum).for_each(|(byte, sum)| *byte = *sum);
    }
}

/// AES in counter mode as WinZip has it: from one, low byte first. Encrypts and decrypts.
pub(crate) fn counter_mode(key: &[u8], content: &mut [u8]) -> Option<()> {
    match key.len() {
        16 => with_cipher(&aes::Aes128::new_from_slice(key).ok()?, content),
        24 => with_cipher(&aes::Aes192::new_from_slice(key).ok()?, content),
        32 => with_cipher(&aes::Aes256::new_from_slice(key).ok()?, content),
        _ => return None,
    }
    Some(())
}

fn with_cipher(cipher: &impl BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>, content: &mut [u8]) {
    for (chunk, counter) in content.chunks_mut(16).zip(1u128..) {
        let mut block = counter.to_le_bytes().into();
        cipher.encrypt_block(&mut block);
        chunk.iter_mut().zip(&block).for_each(|(byte, pad)| *byte ^= pad);
    }
}

#[cfg(test)]
mod tests {
    use filesafety_model::{Password, Reason};

    use crate::unpack::{
        fixtures::{Member, Record, eicar, noise, zip},
        zip::open,
    };

    fn opened(archive: &[u8], passwords: &[&str]) -> Record {
        let mut record = Record { passwords: passwords.iter().map(|text| Password::new(*text).unwrap()).collect(), ..Record::default() };
        open(archive, &mut record).unwrap();
        record
    }

    fn locked(content: &[u8], password: &str) -> Vec<Member> {
        let plain = [Member::stored("a", content), Member::deflated("b", content), Member::deflated("c", content).with_descriptor()];
        let traditional = plain.iter().map(|member| member.clone().under_traditional(password));
        let winzip = (1..=3).flat_map(|strength| plain.iter().map(move |member| member.clone().under_aes(password, strength)));
        traditional.chain(winzip).collect()
    }

    #[test]
    fn the_right_password_opens_every_kind() {
        for content in [eicar(), noise(70_000), b"x".to_vec()] {
            for (index, member) in locked(&content, "infected").into_iter().enumerate() {
                let record = opened(&zip(&[member]), &["wrong", "infected"]);
                assert!(record.contents() == [&content] && record.is_complete(), "{index}: {:?}", record.unexamined);
            }
        }
    }

    #[test]
    fn none_or_a_wrong_one_leaves_it_encrypted() {
        for (index, member) in locked(&eicar(), "infected").into_iter().enumerate() {
            for passwords in [&[][..], &["wrong", "Infected"]] {
                let record = opened(&zip(std::slice::from_ref(&member)), passwords);
                assert!(record.says(Reason::Encrypted, "Zip") && record.children.is_empty(), "{index}");
            }
        }
        // By chance a wrong password passes the check of one byte; the checksum of the content tells.
        let member = Member::deflated("a", &noise(900)).under_traditional("right");
        let many: Vec<_> = (0..2_000).map(|index| index.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(opened(&zip(&[member]), &many).says(Reason::Encrypted, "Zip"));
    }

    #[test]
    fn damage_and_cuts_under_a_lock_are_never_complete() {
        for member in locked(&noise(300), "p") {
            let archive = zip(std::slice::from_ref(&member));
            for length in 40..archive.len() {
                let record = opened(&archive[..length], &["p"]);
                assert!(record.has(&noise(300)) || !record.is_complete(), "cut to {length}");
            }
            for at in (0..member.packed.len()).step_by(7) {
                let mut member = member.clone();
                member.packed[at] ^= 1;
                assert!(!opened(&zip(&[member]), &["p"]).is_complete(), "{at}");
            }
        }
    }
}
