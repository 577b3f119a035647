//! Encryption of 7z: AES-256 in CBC, its key SHA-256 over the password so many times (7-Zip, "7zAES").

use std::io::{self, Read};

use aes::Aes256;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use filesafety_model::Password;
use sha2::{Digest, Sha256};

use super::header::{Folder, Method};
use crate::unpack::{Sink, Stop};

type Key = [u8; 32];

/// Of each coder of a folder, its key.
#[derive(Default)]
pub(super) struct CoderKeys(Vec<Option<Key>>);

/// Keys made before: making one takes long, and folders share them.
#[derive(Default)]
pub(super) struct Keys(Vec<(usize, Settings, Key)>);

#[derive(Clone, PartialEq, Eq)]
struct Settings {
    /// The binary logarithm of the rounds.
    cycles: u32,
    salt: Vec<u8>,
    vector: [u8; 16],
}

/// 7-Zip opens nothing that took more.
const MOST_CYCLES: u32 = 24;

/// Rounds are not done at all, and the password itself is the key.
const NO_CYCLES: u32 = 0x3f;

const KEPT_KEYS: usize = 256;

impl CoderKeys {
    pub(super) fn of(&self, coder: usize) -> Option<&Key> {
        self.0.get(coder)?.as_ref()
    }
}

impl Keys {
    /// The keys that the password at `index` gives; nothing where no password could open the folder.
    pub(super) fn of_folder(
        &mut self,
        folder: &Folder<'_>,
        index: usize,
        password: &Password,
        sink: &mut dyn Sink,
    ) -> Result<Option<CoderKeys>, Stop> {
        let mut keys = Vec::new();
        for coder in &folder.coders {
            if coder.method != Method::Aes {
                keys.push(None);
                continue;
            }
            let Some(settings) = Settings::parse(coder.properties) else { return Ok(None) };
            keys.push(Some(self.key(index, password, settings, sink)?));
        }
        Ok(Some(CoderKeys(keys)))
    }

    fn key(&mut self, index: usize, password: &Password, settings: Settings, sink: &mut dyn Sink) -> Result<Key, Stop> {
        let is_same =
            |(known, of, _): &&(usize, Settings, Key)| *known == index && of.cycles == settings.cycles && of.salt == settings.salt;
        if let Some((_, _, key)) = self.0.iter().find(is_same) {
            return Ok(*key);
        }
        let key = settings.derive(&password.reveal_utf16(), sink)?;
        if self.0.len() >= KEPT_KEYS {
            self.0.clear();
        }
        self.0.push((index, settings, key));
        Ok(key)
    }
}

impl Settings {
    fn parse(properties: &[u8]) -> Option<Self> {
        let first = *properties.first()?;
        let cycles = u32::from(first & 0x3f);
        let (salt_bytes, vector_bytes, rest) = if first & 0xc0 == 0 {
            (0, 0, &[][..])
        } else {
            let second = *properties.get(1)?;
            (
                usize::from(first >> 7) + usize::from(second >> 4),
                usize::from(first >> 6 & 1) + usize::from(second & 15),
                properties.get(2..)?,
            )
        };
        let (salt, rest) = rest.split_at_checked(salt_bytes)?;
        let mut vector = [0; 16];
        vector.get_mut(..vector_bytes)?.copy_from_slice(rest.get(..vector_bytes)?);
        (cycles <= MOST_CYCLES || cycles == NO_CYCLES).then_some(Self { cycles, salt: salt.to_vec(), vector })
    }

    fn derive(&self, password: &[u8], sink: &mut dyn Sink) -> Result<Key, Stop> {
        const BETWEEN_TICKS: u64 = 1 << 15;
        let mut key = [0; 32];
        if self.cycles == NO_CYCLES {
            key.iter_mut().zip(self.salt.iter().chain(password)).for_each(|(byte, given)| *byte = *given);
            return Ok(key);
        }
        let mut digest = Sha256::new();
        for round in 0..1u64 << self.cycles {
            if round.is_multiple_of(BETWEEN_TICKS) {
                sink.clock()?;
            }
            digest.update(&self.salt);
            digest.update(password);
            digest.update(round.to_le_bytes());
        }
        Ok(digest.finalize().into())
    }
}

/// Decrypts what a reader gives, in whole blocks.
pub(super) struct Decrypting<R> {
    inner: R,
    cipher: cbc::Decryptor<Aes256>,
    block: [u8; 16],
    /// How much of the block was given out.
    given: usize,
}

impl<R: Read> Decrypting<R> {
    pub(super) fn new(inner: R, properties: &[u8], key: &Key) -> Option<Self> {
        let settings = Settings::parse(properties)?;
        Some(Self { inner, cipher: cbc::Decryptor::new(key.into(), &settings.vector.into()), block: [0; 16], given: 16 })
    }
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        while let Some(rest) = buffer.get_mut(written..).filter(|rest| !rest.is_empty()) {
            if self.given == self.block.len() {
                let filled = fill(&mut self.inner, &mut self.block)?;
                if filled < self.block.len() {
                    break;
                }
                self.cipher.decrypt_block((&mut self.block).into());
                self.given = 0;
            }
            let left = self.block.get(self.given..).unwrap_or_default();
            let count = left.len().min(rest.len());
            rest.iter_mut().zip(left).for_each(|(byte, plain)| *byte = *plain);
            self.given += count;
            written += count;
        }
        Ok(written)
    }
}

/// Reads until the block is full or nothing comes any more.
fn fill(inner: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match inner.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
