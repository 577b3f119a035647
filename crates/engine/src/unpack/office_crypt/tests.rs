use aes::{Aes128, Aes256};
use cbc::cipher::{BlockCipherEncrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher};
use filesafety_model::Reason;
use rc4::Rc4;

use super::{Hash, open_package, wide};
use crate::unpack::{
    fixtures::{
        Member, Record, eicar, noise,
        office::{compound, hexadecimal},
        workbook::{call_token, record, text_token, workbook},
        zip,
    },
    ole,
};

const SALT: [u8; 16] = *b"0123456789abcdef";

fn document() -> Vec<u8> {
    zip(&[Member::stored("word/document.xml", &[eicar(), noise(9_000)].concat())])
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    bits.chunks(6)
        .map(|six| char::from(DIGITS[six.iter().chain(&[0; 5]).take(6).fold(0, |sum, bit| sum << 1 | usize::from(*bit))]))
        .collect()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

fn chained(key: &[u8], vector: &[u8], data: &[u8]) -> Vec<u8> {
    let mut data = padded(data);
    let mut cipher = cbc::Encryptor::<Aes256>::new_from_slices(key, &vector[..16]).unwrap();
    data.as_chunks_mut::<16>().0.iter_mut().for_each(|block| cipher.encrypt_block(block.into()));
    data
}

/// As Office encrypts since 2010.
fn agile(password: &str, content: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (spins, key) = (1_000, [7; 32]);
    let spun = Hash::Sha512.spun(&SALT, password, spins, &mut Record::default()).unwrap();
    let wrapped = |purpose: [u8; 8], data: &[u8]| base64(&chained(&Hash::Sha512.of(&[&spun, &purpose])[..32], &SALT, data));
    let verifier = [5; 16];
    let method = format!(
        "saltSize=\"16\" blockSize=\"16\" keyBits=\"256\" hashSize=\"64\" cipherAlgorithm=\"AES\" cipherChaining=\"ChainingModeCBC\" hashAlgorithm=\"SHA512\" saltValue=\"{}\"",
        base64(&SALT)
    );
    let info = format!(
        "<encryption xmlns:p=\"p\"><keyData {method}/><keyEncryptors><keyEncryptor><p:encryptedKey spinCount=\"{spins}\" {method} \
         encryptedVerifierHashInput=\"{}\" encryptedVerifierHashValue=\"{}\" encryptedKeyValue=\"{}\"/></keyEncryptor></keyEncryptors></encryption>",
        wrapped([0xfe, 0xa7, 0xd2, 0x76, 0x3b, 0x4b, 0x9e, 0x79], &verifier),
        wrapped([0xd7, 0xaa, 0x0f, 0x6d, 0x30, 0x61, 0x34, 0x4e], &Hash::Sha512.of(&[&verifier])),
        wrapped([0x14, 0x6e, 0x0b, 0xe7, 0xab, 0xac, 0xd0, 0xd6], &key),
    );
    let segment = |(number, segment): (usize, &[u8])| chained(&key, &Hash::Sha512.of(&[&SALT, &(number as u32).to_le_bytes()]), segment);
    let body: Vec<u8> = content.chunks(4_096).enumerate().flat_map(segment).collect();
    ([&[4, 0, 4, 0, 0x40, 0, 0, 0][..], info.as_bytes()].concat(), [&(content.len() as u64).to_le_bytes()[..], &body].concat())
}

/// As Office 2007 encrypts.
fn standard(password: &str, content: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let spun = Hash::Sha1.spun(&SALT, password, 50_000, &mut Record::default()).unwrap();
    let last = Hash::Sha1.of(&[&spun, &[0; 4]]);
    let mut filled = [0x36; 64];
    filled.iter_mut().zip(&last).for_each(|(place, byte)| *place ^= byte);
    let cipher = Aes128::new_from_slice(&Hash::Sha1.of(&[&filled])[..16]).unwrap();
    let blocks = |data: &[u8]| {
        let mut data = padded(data);
        data.as_chunks_mut::<16>().0.iter_mut().for_each(|block| cipher.encrypt_block(block.into()));
        data
    };
    let header = [0x24u32, 0, 0x660e, 0x8004, 128, 0x18, 0, 0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let verifier = [5; 16];
    let info = [
        &[4, 0, 2, 0, 0x24, 0, 0, 0][..],
        &(header.len() as u32).to_le_bytes(),
        &header,
        &16u32.to_le_bytes(),
        &SALT,
        &blocks(&verifier),
        &20u32.to_le_bytes(),
        &blocks(&Hash::Sha1.of(&[&verifier])),
    ]
    .concat();
    (info, [&(content.len() as u64).to_le_bytes()[..], &blocks(content)].concat())
}

#[test]
fn a_package_opens_with_a_password_that_everybody_knows() {
    for encrypt in [agile, standard] {
        for password in ["VelvetSweatshop", ""] {
            let (info, package) = encrypt(password, &document());
            let mut record = Record::default();
            ole::open(&compound(&[("EncryptionInfo", &info), ("EncryptedPackage", &package)]), &mut record).unwrap();
            assert!(record.has(&document()) && record.is_complete(), "{:?}", record.unexamined);
        }
        let (info, package) = encrypt("secret", &document());
        let mut record = Record::default();
        ole::open(&compound(&[("EncryptionInfo", &info), ("EncryptedPackage", &package)]), &mut record).unwrap();
        assert!(record.says(Reason::Encrypted, "Office"));
        let (info, package) = encrypt("", &document());
        let mut record = Record::default();
        open_package(&info, &package[..package.len() - 100], &mut record).unwrap();
        assert!(record.says(Reason::Broken, "Office"));
    }
}

#[test]
fn encryption_that_is_cut_or_unknown_is_encrypted() {
    let (info, package) = standard("", &document());
    let (modern, _) = agile("", b"");
    for info in [&info[..info.len() - 20], &modern[..modern.len() - 150]] {
        for length in (0..info.len()).step_by(7) {
            let mut record = Record::default();
            open_package(&info[..length], &package, &mut record).unwrap();
            assert!(record.says(Reason::Encrypted, "Office"), "{length}");
        }
    }
}

/// The header of RC4 encryption, and what its keys are made of.
fn rc4_header(is_api: bool, password: &str) -> (Vec<u8>, impl Fn(u32) -> Vec<u8>) {
    let base = if is_api {
        Hash::Sha1.of(&[&SALT, &wide(password)])
    } else {
        let short = Hash::Md5.of(&[&wide(password)])[..5].to_vec();
        Hash::Md5.of(&[&[short, SALT.to_vec()].concat().repeat(16)])[..5].to_vec()
    };
    let hash = if is_api { Hash::Sha1 } else { Hash::Md5 };
    let key = move |block: u32| hash.of(&[&base, &block.to_le_bytes()])[..16].to_vec();
    let mut verifier = [vec![5; 16], hash.of(&[&[5; 16]])].concat();
    Rc4::new_from_slice(&key(0)).unwrap().apply_keystream(&mut verifier);
    let header = if is_api {
        let header = [4u32, 0, 0x6801, 0x8004, 128, 1, 0, 0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let start = [&[2, 0, 2, 0, 4, 0, 0, 0][..], &(header.len() as u32).to_le_bytes(), &header, &16u32.to_le_bytes(), &SALT].concat();
        [&start, &verifier[..16], &20u32.to_le_bytes(), &verifier[16..]].concat()
    } else {
        [&[1, 0, 1, 0][..], &SALT, &verifier].concat()
    };
    (header, key)
}

fn encrypted(stream: &[u8], block: usize, key: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut stream = stream.to_vec();
    for (number, bytes) in stream.chunks_mut(block).enumerate() {
        Rc4::new_from_slice(&key(number as u32)).unwrap().apply_keystream(bytes);
    }
    stream
}

fn macros() -> Vec<u8> {
    let text = String::from_utf8(eicar()).unwrap();
    [text_token(&text), call_token(1, 110)].concat()
}

#[test]
fn an_encrypted_workbook_opens() {
    for (is_api, password, opens) in
        [(false, "VelvetSweatshop", true), (true, "VelvetSweatshop", true), (true, "", true), (false, "secret", false)]
    {
        let (header, key) = rc4_header(is_api, password);
        let file_pass = record(0x002f, &[&[1, 0][..], &header].concat());
        let plain = workbook(&file_pass, &[macros()]);
        let mut stream = encrypted(&plain, 1_024, key);
        let mut at = 0;
        while at < plain.len() {
            let (kind, length) =
                (u16::from_le_bytes([plain[at], plain[at + 1]]), usize::from(u16::from_le_bytes([plain[at + 2], plain[at + 3]])));
            let clear = match kind {
                0x0809 | 0x002f => length,
                0x0085 => 4,
                _ => 0,
            };
            stream[at..at + 4 + clear].copy_from_slice(&plain[at..at + 4 + clear]);
            at += 4 + length;
        }
        let mut record = Record::default();
        ole::open(&compound(&[("Workbook", &stream)]), &mut record).unwrap();
        assert_eq!(
            record.children.iter().any(|(name, text)| name == "XLM/Macro1.txt" && text.windows(68).any(|part| part == eicar())),
            opens,
            "{is_api}"
        );
        assert_eq!(record.says(Reason::Encrypted, "Office"), !opens);
    }
}

#[test]
fn a_workbook_under_xor_opens() {
    // What Excel writes for the password that everybody knows.
    let array = super::xor::Array::of("VelvetSweatshop", 0x9a0a).unwrap();
    assert!(super::xor::Array::of("velvetSweatshop", 0x9a0a).is_none());
    let plain = workbook(&record(0x002f, &[0, 0, 0x59, 0xb3, 0x0a, 0x9a]), &[macros()]);
    let obscure = |byte: u8, index: usize| (0..=255).find(|candidate| array.reveal(*candidate, index) == byte).unwrap();
    let (mut stream, mut at) = (plain.clone(), 0);
    while at < plain.len() {
        let (kind, length) =
            (u16::from_le_bytes([plain[at], plain[at + 1]]), usize::from(u16::from_le_bytes([plain[at + 2], plain[at + 3]])));
        let clear = match kind {
            0x0809 | 0x002f => length,
            0x0085 => 4,
            _ => 0,
        };
        for offset in clear..length {
            stream[at + 4 + offset] = obscure(plain[at + 4 + offset], at + 4 + length + offset);
        }
        at += 4 + length;
    }
    let mut record = Record::default();
    ole::open(&compound(&[("Workbook", &stream)]), &mut record).unwrap();
    assert!(record.children.iter().any(|(name, _)| name == "XLM/Macro1.txt") && record.is_complete(), "{:?}", record.unexamined);
}

#[test]
fn an_encrypted_document_opens() {
    for is_api in [false, true] {
        let (header, key) = rc4_header(is_api, "VelvetSweatshop");
        let mut document = noise(6_000);
        document[0..2].copy_from_slice(&0xa5ecu16.to_le_bytes());
        document[0x0a..0x0c].copy_from_slice(&0x0300u16.to_le_bytes());
        document[2_000..2_068].copy_from_slice(&eicar());
        let mut stream = encrypted(&document, 512, &key);
        stream[..0x44].copy_from_slice(&document[..0x44]);
        let mut table = header;
        table.extend(noise(5_000));
        let mut record = Record::default();
        ole::open(&compound(&[("WordDocument", &stream), ("1Table", &table)]), &mut record).unwrap();
        assert!(record.has(&document) && record.is_complete(), "{:?} {}", record.unexamined, hexadecimal(&table[..8]));
        let mut record = Record::default();
        ole::open(&compound(&[("WordDocument", &stream)]), &mut record).unwrap();
        assert!(record.says(Reason::Encrypted, "Office"));
    }
}
