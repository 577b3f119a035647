//! Archives written byte by byte, so that each may be wrong in its own way.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compress, Compression, FlushCompress};

/// One member of a zip.
#[derive(Clone)]
pub(crate) struct Member {
    name: Vec<u8>,
    content: Vec<u8>,
    central_name: Option<Vec<u8>>,
    central_size: Option<u32>,
    method: Method,
    password: Option<&'static [u8]>,
    crc: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
    /// A number that no opener knows.
    Unknown,
}

impl Member {
    pub(crate) fn stored(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            content: content.to_vec(),
            central_name: None,
            central_size: None,
            method: Method::Stored,
            password: None,
            crc: None,
        }
    }

    pub(crate) fn deflated(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self { method: Method::Deflated, ..Self::stored(name, content) }
    }

    pub(crate) fn of_unknown_method(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self { method: Method::Unknown, ..Self::stored(name, content) }
    }

    /// Encrypts it as PKZIP did first.
    pub(crate) fn encrypted(self, password: &'static [u8]) -> Self {
        Self { password: Some(password), ..self }
    }

    /// Another name in the directory than before the content.
    pub(crate) fn central_name(self, name: &str) -> Self {
        Self { central_name: Some(name.as_bytes().to_vec()), ..self }
    }

    /// Another size in the directory than before the content.
    pub(crate) fn central_size(self, size: u32) -> Self {
        Self { central_size: Some(size), ..self }
    }

    pub(crate) fn crc(self, crc: u32) -> Self {
        Self { crc: Some(crc), ..self }
    }

    fn method_number(&self) -> u16 {
        match self.method {
            Method::Stored => 0,
            Method::Deflated => 8,
            Method::Unknown => 77,
        }
    }

    fn packed(&self, crc: u32) -> Vec<u8> {
        let packed = match self.method {
            Method::Stored | Method::Unknown => self.content.clone(),
            Method::Deflated => deflate(&self.content),
        };
        match self.password {
            Some(password) => zip_encrypt(password, crc, &packed),
            None => packed,
        }
    }
}

/// A zip of these members.
pub(crate) fn zip(members: &[Member]) -> Vec<u8> {
    let mut archive = ZipWriter::default();
    for member in members {
        archive.add(member);
    }
    archive.finish()
}

/// A zip of one stored member.
pub(crate) fn zip_of(name: &str, content: &[u8]) -> Vec<u8> {
    zip(&[Member::stored(name, content)])
}

/// Archives within archives, `levels` of them.
pub(crate) fn nested(levels: usize, content: &[u8]) -> Vec<u8> {
    (0..levels).fold(content.to_vec(), |inner, level| zip(&[Member::deflated(format!("level{level}.zip"), &inner)]))
}

/// A zip under construction, open to lies.
#[derive(Default)]
pub(crate) struct ZipWriter {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u64,
}

impl ZipWriter {
    pub(crate) fn add(&mut self, member: &Member) {
        let crc = member.crc.unwrap_or_else(|| crc32fast::hash(&member.content));
        let packed = member.packed(crc);
        let sizes = (as_u32(packed.len()), as_u32(member.content.len()));
        let flags = u16::from(member.password.is_some());
        let offset = self.local(&member.name, flags, member.method_number(), crc, sizes, &packed);
        let name = member.central_name.as_ref().unwrap_or(&member.name);
        let size = member.central_size.unwrap_or(sizes.1);
        self.entry(name, flags, member.method_number(), crc, (sizes.0, size), offset);
    }

    /// A member whose packed bytes are given, as a bomb needs it.
    pub(crate) fn add_packed(&mut self, name: &str, packed: &[u8], crc: u32, size: u32) {
        let sizes = (as_u32(packed.len()), size);
        let offset = self.local(name.as_bytes(), 0, 8, crc, sizes, packed);
        self.entry(name.as_bytes(), 0, 8, crc, sizes, offset);
    }

    fn local(&mut self, name: &[u8], flags: u16, method: u16, crc: u32, sizes: (u32, u32), packed: &[u8]) -> u32 {
        let offset = as_u32(self.bytes.len());
        self.bytes.extend_from_slice(b"PK\x03\x04\x14\0");
        put(&mut self.bytes, &[flags, method, 0, 0x5821]);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(&sizes.0.to_le_bytes());
        self.bytes.extend_from_slice(&sizes.1.to_le_bytes());
        put(&mut self.bytes, &[as_u16(name.len()), 0]);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(packed);
        offset
    }

    /// An entry of the directory, which may point anywhere.
    pub(crate) fn entry(&mut self, name: &[u8], flags: u16, method: u16, crc: u32, sizes: (u32, u32), offset: u32) {
        self.count += 1;
        self.directory.extend_from_slice(b"PK\x01\x02\x14\0\x14\0");
        put(&mut self.directory, &[flags, method, 0, 0x5821]);
        self.directory.extend_from_slice(&crc.to_le_bytes());
        self.directory.extend_from_slice(&sizes.0.to_le_bytes());
        self.directory.extend_from_slice(&sizes.1.to_le_bytes());
        put(&mut self.directory, &[as_u16(name.len()), 0, 0, 0, 0, 0, 0]);
        self.directory.extend_from_slice(&offset.to_le_bytes());
        self.directory.extend_from_slice(name);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len() as u64;
        let length = self.directory.len() as u64;
        self.bytes.append(&mut self.directory);
        if self.count > 0xfffe {
            let end = self.bytes.len() as u64;
            self.bytes.extend_from_slice(b"PK\x06\x06");
            self.bytes.extend_from_slice(&44_u64.to_le_bytes());
            put(&mut self.bytes, &[45, 45, 0, 0, 0, 0]);
            for value in [self.count, self.count, length, start] {
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            self.bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
            self.bytes.extend_from_slice(&end.to_le_bytes());
            self.bytes.extend_from_slice(&1_u32.to_le_bytes());
        }
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        put(&mut self.bytes, &[count, count]);
        self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(start as u32).to_le_bytes());
        put(&mut self.bytes, &[0]);
        self.bytes
    }
}

/// A zip without its directory: what remains when it is cut before it.
pub(crate) fn without_directory(zip: &[u8]) -> Vec<u8> {
    let start = zip.windows(4).position(|window| window == b"PK\x01\x02").expect("a directory");
    zip[..start].to_vec()
}

pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    gzip_packed(&deflate(content), crc32fast::hash(content), content.len() as u64)
}

fn gzip_packed(packed: &[u8], crc: u32, size: u64) -> Vec<u8> {
    let mut bytes = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    bytes.extend_from_slice(packed);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&(size as u32).to_le_bytes());
    bytes
}

/// Zeros, packed a thousand to one without ever holding them.
pub(crate) struct Zeros {
    pub(crate) packed: Vec<u8>,
    pub(crate) crc: u32,
    pub(crate) size: u64,
}

impl Zeros {
    /// So many MiB of them.
    pub(crate) fn mebibytes(count: u64) -> Self {
        let block = vec![0; 1 << 20];
        let mut once = Vec::with_capacity(1 << 16);
        Compress::new(Compression::best(), false).compress_vec(&block, &mut once, FlushCompress::Full).expect("room for the block");
        let mut hash = crc32fast::Hasher::new();
        let mut block_hash = crc32fast::Hasher::new();
        block_hash.update(&block);
        let mut packed = Vec::new();
        for _ in 0..count {
            packed.extend_from_slice(&once);
            hash.combine(&block_hash);
        }
        // An empty last block.
        packed.extend_from_slice(&[3, 0]);
        Self { packed, crc: hash.finalize(), size: count << 20 }
    }

    pub(crate) fn gzip(&self) -> Vec<u8> {
        gzip_packed(&self.packed, self.crc, self.size)
    }

    pub(crate) fn zip(&self) -> Vec<u8> {
        let mut archive = ZipWriter::default();
        archive.add_packed("zeros", &self.packed, self.crc, self.size as u32);
        archive.finish()
    }
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// The start of an image of squashfs, which carries files and is not opened.
pub(crate) fn squashfs() -> Vec<u8> {
    [b"hsqs".as_slice(), &[7; 124]].concat()
}

/// PKWARE's first encryption: three keys stirred by every byte of plain text.
fn zip_encrypt(password: &[u8], crc: u32, content: &[u8]) -> Vec<u8> {
    let mut keys = [0x1234_5678_u32, 0x2345_6789, 0x3456_7890];
    for &byte in password {
        stir(&mut keys, byte);
    }
    let mut header = [0x5a; 12];
    header[11] = (crc >> 24) as u8;
    header
        .iter()
        .chain(content)
        .map(|&plain| {
            let mixed = (keys[2] | 2) & 0xffff;
            let cipher = plain ^ ((mixed.wrapping_mul(mixed ^ 1) >> 8) as u8);
            stir(&mut keys, plain);
            cipher
        })
        .collect()
}

fn stir(keys: &mut [u32; 3], byte: u8) {
    keys[0] = crc_step(keys[0], byte);
    keys[1] = keys[1].wrapping_add(keys[0] & 0xff).wrapping_mul(134_775_813).wrapping_add(1);
    keys[2] = crc_step(keys[2], (keys[1] >> 24) as u8);
}

fn crc_step(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
}

fn put(bytes: &mut Vec<u8>, values: &[u16]) {
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn as_u32(length: usize) -> u32 {
    u32::try_from(length).expect("under 4 GiB")
}

fn as_u16(length: usize) -> u16 {
    u16::try_from(length).expect("under 64 KiB")
}
