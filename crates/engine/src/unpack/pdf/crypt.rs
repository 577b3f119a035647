//! The standard security handler (ISO 32000-2, 7.6) with the passwords that are tried: which key one gives, and streams decrypted with it.

use std::io::{self, Read};

use aes::{Aes128, Aes256};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher};
use md5::{Digest, Md5};
use rc4::Rc4;
use sha2::{Sha256, Sha384, Sha512};

use super::blocks::{Blocks, Bytes, Decode, cut_short};
use super::lexer::{Dictionary, Value};
use super::objects::Objects;

/// What stands for a password, or fills it up to 32 bytes (7.6.4.3.2).
const PADDING: [u8; 32] = [
    0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08, 0x2e, 0x2e, 0x00, 0xb6, 0xd0, 0x68,
    0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a,
];
const BLOCK: usize = 16 * 1024;

/// The key of a document.
#[derive(Debug)]
pub(super) struct Decryption {
    key: Vec<u8>,
    streams: Method,
    strings: Method,
    embedded_files: Method,
    named: Vec<(Vec<u8>, Method)>,
    metadata: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Identity,
    Rc4,
    Aes128,
    Aes256,
}

/// The password does not open the document, or another handler than the standard one guards it.
#[derive(Debug)]
pub(super) struct Locked;

/// One stream's cipher.
#[derive(Clone, Debug)]
pub(super) struct StreamKey {
    method: Method,
    key: Vec<u8>,
}

impl Decryption {
    /// Tries the password as that of the user and that of the owner against the `Encrypt` dictionary; `id` is the first file identifier.
    pub(super) fn open(encrypt: &Dictionary, id: &[u8], objects: &Objects<'_>, password: &[u8]) -> Result<Self, Locked> {
        let number = |key: &str| objects.lookup(encrypt, key).and_then(|value| value.as_integer());
        if objects.lookup(encrypt, "Filter").as_ref().and_then(Value::as_name) != Some(b"Standard") {
            return Err(Locked);
        }
        let version = number("V").unwrap_or(0);
        let metadata = objects.lookup(encrypt, "EncryptMetadata") != Some(Value::Bool(false));
        let named = match version {
            4 | 5 => crypt_filters(encrypt, objects),
            _ => Vec::new(),
        };
        let default = |key: &str| -> Result<Method, Locked> {
            let name = objects.lookup(encrypt, key);
            let name = name.as_ref().and_then(Value::as_name).unwrap_or(b"Identity");
            method_named(&named, name).ok_or(Locked)
        };
        let (streams, strings, embedded_files) = match version {
            1 | 2 => (Method::Rc4, Method::Rc4, Method::Rc4),
            4 | 5 => {
                let streams = default("StmF")?;
                // Strings that cannot be decrypted hide less than a document that is not opened.
                let strings = default("StrF").unwrap_or(Method::Identity);
                (streams, strings, if encrypt.get("EFF").is_some() { default("EFF")? } else { streams })
            }
            _ => return Err(Locked),
        };
        let key = match version {
            5 => modern_key(encrypt, objects, password)?,
            _ => {
                let declared = number("Length").and_then(|bits| usize::try_from(bits / 8).ok()).unwrap_or(5);
                let lengths = if version == 1 { [5, 5, 5] } else { [declared, 16, 5] };
                classic_key(encrypt, Sealed { id, metadata, password }, &lengths, objects)?
            }
        };
        Ok(Self { key, streams, strings, embedded_files, named, metadata })
    }

    /// Whether a stream of this kind may stand in the clear all the same. `EncryptMetadata` says so of the document's metadata,
    /// which nothing in the stream tells from that of a page.
    pub(super) fn may_be_clear(&self, kind: Option<&[u8]>) -> bool {
        !self.metadata && kind == Some(b"Metadata")
    }

    /// The key of the stream object `number generation`. `crypt_filter` is the one it names itself, if any.
    pub(super) fn stream_key(&self, number: u32, generation: u32, kind: Option<&[u8]>, crypt_filter: Option<&[u8]>) -> Option<StreamKey> {
        let method = match (crypt_filter, kind) {
            (Some(name), _) => method_named(&self.named, name)?,
            (None, Some(b"XRef")) => Method::Identity,
            (None, Some(b"EmbeddedFile")) => self.embedded_files,
            (None, _) => self.streams,
        };
        Some(self.object_key(method, number, generation))
    }

    /// The key of the strings in the object `number generation`.
    pub(super) fn string_key(&self, number: u32, generation: u32) -> StreamKey {
        self.object_key(self.strings, number, generation)
    }

    fn object_key(&self, method: Method, number: u32, generation: u32) -> StreamKey {
        let salt: &[u8] = match method {
            Method::Identity | Method::Aes256 => return StreamKey { method, key: self.key.clone() },
            Method::Rc4 => b"",
            Method::Aes128 => b"sAlT",
        };
        let hash = Md5::new()
            .chain_update(&self.key)
            .chain_update(number.to_le_bytes().get(..3).unwrap_or_default())
            .chain_update(generation.to_le_bytes().get(..2).unwrap_or_default())
            .chain_update(salt)
            .finalize();
        let length = self.key.len().saturating_add(5).min(16);
        StreamKey { method, key: hash.get(..length).unwrap_or_default().to_vec() }
    }
}

impl StreamKey {
    /// A string, decrypted; what came before an error, where it fails.
    pub(super) fn decrypt(&self, text: &[u8]) -> Vec<u8> {
        let mut decrypted = Vec::new();
        let _: io::Result<usize> = self.reader(Box::new(text)).read_to_end(&mut decrypted);
        decrypted
    }

    pub(super) fn reader<'a>(&self, source: Bytes<'a>) -> Bytes<'a> {
        match self.method {
            Method::Identity => source,
            Method::Rc4 => match Rc4::new_from_slice(&self.key) {
                Ok(cipher) => Box::new(Blocks::new(Rc4Stream { source, cipher })),
                Err(_) => source,
            },
            Method::Aes128 | Method::Aes256 => {
                Box::new(Blocks::new(AesStream { source, key: self.clone(), cipher: None, carry: Vec::new(), ended: false }))
            }
        }
    }
}

fn method_named(named: &[(Vec<u8>, Method)], name: &[u8]) -> Option<Method> {
    if name == b"Identity" {
        return Some(Method::Identity);
    }
    named.iter().find(|(known, _)| known == name).map(|(_, method)| *method)
}

/// The crypt filters of the document that have a method we know.
fn crypt_filters(encrypt: &Dictionary, objects: &Objects<'_>) -> Vec<(Vec<u8>, Method)> {
    let Some(Value::Dictionary(filters)) = objects.lookup(encrypt, "CF") else { return Vec::new() };
    let method = |filter: &Value| {
        let filter = objects.resolve(filter);
        match objects.lookup(filter.as_dictionary()?, "CFM")?.as_name()? {
            b"V2" => Some(Method::Rc4),
            b"AESV2" => Some(Method::Aes128),
            b"AESV3" => Some(Method::Aes256),
            _ => None,
        }
    };
    filters.entries().filter_map(|(name, filter)| Some((name.to_vec(), method(filter)?))).collect()
}

fn text(encrypt: &Dictionary, key: &str, objects: &Objects<'_>) -> Vec<u8> {
    objects.lookup(encrypt, key).as_ref().and_then(Value::as_text).unwrap_or_default().to_vec()
}

/// What the key is made from, beside the dictionary.
struct Sealed<'a> {
    id: &'a [u8],
    metadata: bool,
    password: &'a [u8],
}

/// Revisions 2 to 4: MD5 and RC4 (algorithms 2, 4, 5 and 7).
fn classic_key(encrypt: &Dictionary, sealed: Sealed<'_>, lengths: &[usize], objects: &Objects<'_>) -> Result<Vec<u8>, Locked> {
    let Sealed { id, metadata, password } = sealed;
    let password = padded(password);
    let revision = objects.lookup(encrypt, "R").and_then(|value| value.as_integer()).unwrap_or(2);
    let permissions = objects.lookup(encrypt, "P").and_then(|value| value.as_integer()).unwrap_or(0);
    let (owner, user) = (text(encrypt, "O", objects), text(encrypt, "U", objects));
    let (Some(owner), true) = (owner.get(..32), user.len() >= 16) else { return Err(Locked) };
    for length in lengths.iter().copied().filter(|length| (5..=16).contains(length)) {
        for password in [password.clone(), user_password(&password, owner, revision, length)] {
            let mut hash = Md5::new().chain_update(&password).chain_update(owner);
            // The low 32 bits, whether written with a sign or without.
            hash.update(permissions.to_le_bytes().get(..4).unwrap_or_default());
            hash.update(id);
            if revision >= 4 && !metadata {
                hash.update([0xff; 4]);
            }
            let mut key = hash.finalize().to_vec();
            key.truncate(length);
            if revision >= 3 {
                for _ in 0..50 {
                    key = Md5::digest(&key).to_vec();
                    key.truncate(length);
                }
            }
            if is_user_key(&key, &user, id, revision) {
                return Ok(key);
            }
        }
    }
    Err(Locked)
}

/// Filled up to 32 bytes, or cut to them.
fn padded(password: &[u8]) -> Vec<u8> {
    password.iter().chain(&PADDING).copied().take(PADDING.len()).collect()
}

/// The user password, padded, that this password of the owner, padded, unlocks.
fn user_password(password: &[u8], owner: &[u8], revision: i64, length: usize) -> Vec<u8> {
    let mut key = Md5::digest(password).to_vec();
    if revision >= 3 {
        for _ in 0..50 {
            key = Md5::digest(&key).to_vec();
        }
    }
    key.truncate(length);
    let mut password = owner.to_vec();
    for round in rounds(revision).rev() {
        rc4_round(&key, round, &mut password);
    }
    password
}

fn is_user_key(key: &[u8], user: &[u8], id: &[u8], revision: i64) -> bool {
    if revision < 3 {
        let mut expected = PADDING.to_vec();
        rc4_round(key, 0, &mut expected);
        return user.get(..32) == Some(expected.as_slice());
    }
    let mut expected = Md5::new().chain_update(PADDING).chain_update(id).finalize().to_vec();
    for round in rounds(revision) {
        rc4_round(key, round, &mut expected);
    }
    user.get(..16) == Some(expected.as_slice())
}

fn rounds(revision: i64) -> std::ops::Range<u8> {
    if revision < 3 { 0..1 } else { 0..20 }
}

fn rc4_round(key: &[u8], round: u8, data: &mut [u8]) {
    let key: Vec<u8> = key.iter().map(|byte| byte ^ round).collect();
    if let Ok(mut cipher) = Rc4::new_from_slice(&key) {
        cipher.apply_keystream(data);
    }
}

/// Revisions 5 and 6: SHA-2 and AES-256 (algorithm 2.A).
fn modern_key(encrypt: &Dictionary, objects: &Objects<'_>, password: &[u8]) -> Result<Vec<u8>, Locked> {
    let password = password.get(..LONGEST_PASSWORD).unwrap_or(password);
    let hardened = objects.lookup(encrypt, "R").and_then(|value| value.as_integer()) != Some(5);
    let hash = |salt: &[u8], user: &[u8]| if hardened { hardened_hash(password, salt, user) } else { plain_hash(password, salt, user) };
    let (owner, user) = (text(encrypt, "O", objects), text(encrypt, "U", objects));
    let user = user.get(..48).ok_or(Locked)?;
    let owner = owner.get(..48).unwrap_or_default();
    for (check, context, wrapped) in [(user, &b""[..], "UE"), (owner, user, "OE")] {
        let (Some(stored), Some(verify_salt), Some(key_salt)) = (check.get(..32), check.get(32..40), check.get(40..48)) else { continue };
        if hash(verify_salt, context) != stored {
            continue;
        }
        let wrapped = text(encrypt, wrapped, objects);
        let mut key = wrapped.get(..32).ok_or(Locked)?.to_vec();
        let mut cipher = cbc::Decryptor::<Aes256>::new_from_slices(&hash(key_salt, context), &[0; 16]).map_err(|_| Locked)?;
        each_block(&mut key, |block| cipher.decrypt_block(block.into()));
        return Ok(key);
    }
    Err(Locked)
}

/// Calls `work` for each whole AES block.
fn each_block(data: &mut [u8], mut work: impl FnMut(&mut [u8; 16])) {
    for block in data.as_chunks_mut::<16>().0 {
        work(block);
    }
}

/// Later bytes of a password do not count.
const LONGEST_PASSWORD: usize = 127;

fn plain_hash(password: &[u8], salt: &[u8], user: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(password).chain_update(salt).chain_update(user).finalize().to_vec()
}

/// Algorithm 2.B.
fn hardened_hash(password: &[u8], salt: &[u8], user: &[u8]) -> Vec<u8> {
    let mut key = plain_hash(password, salt, user);
    let mut last = 0;
    let mut round = 0_u32;
    // A last byte is at most 255, so this ends by round 287.
    while round < 64 || u32::from(last) > round - 32 {
        let mut data = [password, key.as_slice(), user].concat().repeat(64);
        let (Some(cipher_key), Some(vector)) = (key.get(..16), key.get(16..32)) else { break };
        let Ok(mut cipher) = cbc::Encryptor::<Aes128>::new_from_slices(cipher_key, vector) else { break };
        each_block(&mut data, |block| cipher.encrypt_block(block.into()));
        // The first 16 bytes as a number modulo 3: 256 is 1 there.
        let remainder = data.iter().take(16).map(|byte| u32::from(*byte)).sum::<u32>() % 3;
        last = data.last().copied().unwrap_or_default();
        key = match remainder {
            0 => Sha256::digest(&data).to_vec(),
            1 => Sha384::digest(&data).to_vec(),
            _ => Sha512::digest(&data).to_vec(),
        };
        round += 1;
    }
    key.truncate(32);
    key
}

struct Rc4Stream<'a> {
    source: Bytes<'a>,
    cipher: Rc4,
}

impl Decode for Rc4Stream<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        let available = self.source.fill_buf()?;
        block.extend(available.iter().take(BLOCK));
        self.source.consume(block.len());
        self.cipher.apply_keystream(block);
        Ok(())
    }
}

enum Cbc {
    Aes128(cbc::Decryptor<Aes128>),
    Aes256(cbc::Decryptor<Aes256>),
}

/// The first 16 bytes are the initialization vector, the last block is padded.
struct AesStream<'a> {
    source: Bytes<'a>,
    key: StreamKey,
    cipher: Option<Cbc>,
    carry: Vec<u8>,
    ended: bool,
}

impl AesStream<'_> {
    fn start(&mut self) {
        let Some(vector) = self.carry.get(..16) else { return };
        self.cipher = match self.key.method {
            Method::Aes256 => cbc::Decryptor::new_from_slices(&self.key.key, vector).ok().map(Cbc::Aes256),
            Method::Identity | Method::Rc4 | Method::Aes128 => cbc::Decryptor::new_from_slices(&self.key.key, vector).ok().map(Cbc::Aes128),
        };
        self.carry.drain(..16);
    }

    fn decrypt(&mut self, bytes: usize, block: &mut Vec<u8>) {
        let from = block.len();
        block.extend(self.carry.drain(..bytes.min(self.carry.len())));
        let data = block.get_mut(from..).unwrap_or_default();
        match &mut self.cipher {
            Some(Cbc::Aes128(cipher)) => each_block(data, |block| cipher.decrypt_block(block.into())),
            Some(Cbc::Aes256(cipher)) => each_block(data, |block| cipher.decrypt_block(block.into())),
            None => {}
        }
    }

    fn end(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        self.ended = true;
        self.decrypt(self.carry.len() / 16 * 16, block);
        if let Some(padding) = block.last().copied().map(usize::from).filter(|padding| (1..=16).contains(padding)) {
            block.truncate(block.len().saturating_sub(padding));
        }
        // Up to two bytes are a line end that the length took in.
        if self.carry.len() > 2 { Err(cut_short()) } else { Ok(()) }
    }
}

impl Decode for AesStream<'_> {
    fn decode(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        while !self.ended && block.is_empty() {
            let available = self.source.fill_buf()?;
            let length = available.len().min(BLOCK);
            self.carry.extend(available.iter().take(length));
            self.source.consume(length);
            if self.cipher.is_none() {
                self.start();
            }
            if length == 0 {
                return self.end(block);
            }
            // The last block waits, with a line end after it: its padding is not data.
            self.decrypt(self.carry.len().saturating_sub(18) / 16 * 16, block);
        }
        Ok(())
    }
}
