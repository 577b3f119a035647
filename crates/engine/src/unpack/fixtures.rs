//! Archives built in code, sound and unsound, and a sink that writes down what it is told.

pub(crate) mod office;
pub(crate) mod workbook;

use std::{
    io::{Read, Write},
    rc::Rc,
};

use filesafety_model::{Password, Reason};

use super::{Decoded, Ended, Sink, Stop};
use crate::facts::Fact;

/// The EICAR test file, by parts: this source is none.
pub(crate) fn eicar() -> Vec<u8> {
    [&br"X5O!P%@AP[4\PZX54(P^)7CC)7}$"[..], b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

/// Bytes that do not compress well and hold no magic number by design.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 23) as u8
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn gzip_named(name: &str, content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::GzBuilder::new().filename(name).write(Vec::new(), flate2::Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn xz(content: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An `.lzma` file; its size stands in the header, or its end is marked.
pub(crate) fn lzma(content: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::LzmaOptions::with_preset(1);
    let mut writer = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn lzip(content: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::LzipWriter::new(Vec::new(), lzma_rust2::LzipOptions::with_preset(1));
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn lz4(content: &[u8]) -> Vec<u8> {
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .content_checksum(true)
        .content_size(Some(content.len() as u64));
    let mut writer = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn snappy(content: &[u8]) -> Vec<u8> {
    let mut writer = snap::write::FrameEncoder::new(Vec::new());
    writer.write_all(content).unwrap();
    writer.into_inner().unwrap()
}

pub(crate) fn ar_member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut member = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).into_bytes();
    member.extend(content);
    member.extend(vec![b'\n'; content.len() % 2]);
    member
}

pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members = members.iter().flat_map(|(name, content)| ar_member(&format!("{name}/"), content));
    b"!<arch>\n".iter().copied().chain(members).collect()
}

/// With checksums.
pub(crate) fn cpio(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in members.iter().chain(&[("TRAILER!!!", &b""[..])]) {
        let sum: u32 = content.iter().map(|&byte| u32::from(byte)).sum();
        let sizes = format!("{:08X}{:032X}{:08X}", content.len(), 0, name.len() + 1);
        archive.extend(format!("070702{:048X}{sizes}{sum:08X}{name}\0", 0).into_bytes());
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

pub(crate) fn cpio_odc(members: &[(&str, &[u8])]) -> Vec<u8> {
    let trailer = [("TRAILER!!!", &b""[..])];
    let member = |(name, content): &(&str, &[u8])| {
        [format!("070707{:053o}{:06o}{:011o}{name}\0", 0, name.len() + 1, content.len()).as_bytes(), content].concat()
    };
    members.iter().chain(&trailer).flat_map(member).collect()
}

/// Lead, an empty signature, a header with one entry, the payload.
pub(crate) fn rpm(payload: &[u8]) -> Vec<u8> {
    let header = |entries: u32, bytes: u32| {
        let preamble = [&b"\x8e\xad\xe8\x01\0\0\0\0"[..], &entries.to_be_bytes(), &bytes.to_be_bytes()].concat();
        [preamble, vec![0; (entries * 16 + bytes) as usize]].concat()
    };
    let lead = [b"\xed\xab\xee\xdb".to_vec(), vec![0; 92]].concat();
    let signature = header(0, 4);
    let filling = vec![0; (lead.len() + signature.len()).next_multiple_of(8) - lead.len() - signature.len()];
    [lead, signature, filling, header(1, 8), payload.to_vec()].concat()
}

/// Raw LZMA behind the header that zip puts before it, ended by its mark.
pub(crate) fn zip_lzma(content: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::LzmaOptions::with_preset(1);
    let mut writer = lzma_rust2::LzmaWriter::new_no_header(Vec::new(), &options, true).unwrap();
    writer.write_all(content).unwrap();
    let data = writer.finish().unwrap();
    let mut packed = vec![9, 20, 5, 0, options.get_props()];
    packed.extend(options.dict_size.to_le_bytes());
    packed.extend(data);
    packed
}

/// A member of a [`Zip`]; the fields tell what the headers say, which need not be true.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc32: u32,
    pub(crate) packed: Vec<u8>,
    pub(crate) unpacked: u32,
    /// Method and packed size as the local header has them, if otherwise.
    pub(crate) local: Option<(u16, u32)>,
    pub(crate) extra: Vec<u8>,
}

impl Member {
    pub(crate) fn packed(name: &str, method: u16, packed: Vec<u8>, content: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            method,
            flags: 0,
            crc32: crc32fast::hash(content),
            packed,
            unpacked: content.len() as u32,
            local: None,
            extra: Vec::new(),
        }
    }

    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        Self::packed(name, 0, content.to_vec(), content)
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        Self::packed(name, 8, deflate(content), content)
    }

    pub(crate) fn with_descriptor(self) -> Self {
        Self { flags: self.flags | 8, ..self }
    }

    pub(crate) fn encrypted(self) -> Self {
        Self { flags: self.flags | 1, ..self }
    }

    /// As the traditional encryption has it.
    pub(crate) fn under_traditional(self, password: &str) -> Self {
        let mut keys = super::zip::Keys::new(password.as_bytes());
        let check = if self.flags & 8 == 0 { self.crc32.to_be_bytes()[0] } else { 0 };
        let header = [7; 11].into_iter().chain([check]);
        let packed = header.chain(self.packed).map(|byte| keys.encrypt(byte)).collect();
        Self { flags: self.flags | 1, packed, ..self }
    }

    /// As WinZip has it (AE-2).
    pub(crate) fn under_aes(self, password: &str, strength: u8) -> Self {
        let key_bytes = 8 + 8 * usize::from(strength);
        let salt = noise(key_bytes / 2);
        let mut derived = vec![0; key_bytes * 2 + 2];
        super::zip::derive(password.as_bytes(), &salt, &mut derived);
        let mut data = self.packed.clone();
        super::zip::counter_mode(&derived[..key_bytes], &mut data).unwrap();
        let mut code = <hmac::Hmac<sha1::Sha1> as hmac::KeyInit>::new_from_slice(&derived[key_bytes..key_bytes * 2]).unwrap();
        hmac::Mac::update(&mut code, &data);
        let code = hmac::Mac::finalize(code).into_bytes();
        let extra = [&[1, 0x99, 7, 0, 2, 0, b'A', b'E', strength][..], &self.method.to_le_bytes()].concat();
        let packed = [&salt, &derived[key_bytes * 2..], &data, &code[..10]].concat();
        Self { flags: self.flags | 1, method: 99, crc32: 0, packed, extra, ..self }
    }

    pub(crate) fn local_record(&self) -> Vec<u8> {
        let deferred = self.flags & 8 != 0;
        let (method, packed) = self.local.unwrap_or((self.method, self.packed.len() as u32));
        let mut record = b"PK\x03\x04\x14\0".to_vec();
        record.extend(self.flags.to_le_bytes());
        record.extend(method.to_le_bytes());
        record.extend([0; 4]);
        for value in [self.crc32, packed, self.unpacked] {
            record.extend(if deferred { 0u32 } else { value }.to_le_bytes());
        }
        record.extend((self.name.len() as u16).to_le_bytes());
        record.extend((self.extra.len() as u16).to_le_bytes());
        record.extend(&self.name);
        record.extend(&self.extra);
        record.extend(&self.packed);
        if deferred {
            record.extend(b"PK\x07\x08");
            for value in [self.crc32, self.packed.len() as u32, self.unpacked] {
                record.extend(value.to_le_bytes());
            }
        }
        record
    }

    pub(crate) fn central_record(&self, offset: u32) -> Vec<u8> {
        let mut record = b"PK\x01\x02\x14\0\x14\0".to_vec();
        record.extend(self.flags.to_le_bytes());
        record.extend(self.method.to_le_bytes());
        record.extend([0; 4]);
        for value in [self.crc32, self.packed.len() as u32, self.unpacked] {
            record.extend(value.to_le_bytes());
        }
        record.extend((self.name.len() as u16).to_le_bytes());
        record.extend((self.extra.len() as u16).to_le_bytes());
        record.extend([0; 10]);
        record.extend(offset.to_le_bytes());
        record.extend(&self.name);
        record.extend(&self.extra);
        record
    }
}

/// The members, then their directory, as an ordinary writer has it.
pub(crate) fn zip(members: &[Member]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut offsets = Vec::new();
    for member in members {
        offsets.push(archive.len() as u32);
        archive.extend(member.local_record());
    }
    let entries: Vec<_> = members.iter().zip(offsets).collect();
    finish_zip(archive, &entries)
}

/// Adds a directory of these entries and its end record.
pub(crate) fn finish_zip(mut archive: Vec<u8>, entries: &[(&Member, u32)]) -> Vec<u8> {
    let start = archive.len() as u32;
    for (member, offset) in entries {
        archive.extend(member.central_record(*offset));
    }
    let bytes = archive.len() as u32 - start;
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend((entries.len() as u16).to_le_bytes());
    archive.extend((entries.len() as u16).to_le_bytes());
    archive.extend(bytes.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

/// One stored member in a zip64, every number of which stands in the zip64 fields.
pub(crate) fn zip64(content: &[u8]) -> Vec<u8> {
    let member = Member::stored("a", content);
    let sizes = [content.len() as u64; 2];
    let field = |values: &[u64]| {
        let mut field = 1u16.to_le_bytes().to_vec();
        field.extend((values.len() as u16 * 8).to_le_bytes());
        field.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        field
    };
    let (local_field, central_field) = (field(&sizes), field(&[sizes[0], sizes[1], 0]));
    let mut local = member.local_record();
    local[18..26].fill(0xff);
    local[28] = local_field.len() as u8;
    local.splice(31..31, local_field);
    let mut central = member.central_record(u32::MAX);
    central[20..28].fill(0xff);
    central[30] = central_field.len() as u8;
    central.extend(central_field);
    let (start, bytes) = (local.len() as u64, central.len() as u64);
    let mut archive = [local, central].concat();
    let end64 = archive.len() as u64;
    archive.extend(b"PK\x06\x06");
    archive.extend(44u64.to_le_bytes());
    archive.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    archive.extend([1, 1, bytes, start].iter().flat_map(|value: &u64| value.to_le_bytes()));
    archive.extend(b"PK\x06\x07\0\0\0\0");
    archive.extend(end64.to_le_bytes());
    archive.extend(1u32.to_le_bytes());
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([0xff; 12]);
    archive.extend([0; 2]);
    archive
}

/// A ustar member: header and padded content.
pub(crate) fn tar_member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut member = block.to_vec();
    member.extend(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive: Vec<u8> = members.iter().flat_map(|(name, content)| tar_member(name, b'0', content)).collect();
    archive.extend([0; 1_024]);
    archive
}

/// Writes down what an opener says, and examines nothing.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) children: Vec<(String, Vec<u8>)>,
    pub(crate) unexamined: Vec<(Reason, String)>,
    pub(crate) notes: Vec<String>,
    pub(crate) passwords: Vec<Password>,
    pub(crate) facts: Vec<Fact>,
}

impl Record {
    pub(crate) fn contents(&self) -> Vec<&[u8]> {
        self.children.iter().map(|(_, content)| content.as_slice()).collect()
    }

    pub(crate) fn has(&self, content: &[u8]) -> bool {
        self.children.iter().any(|(_, child)| child == content)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.unexamined.is_empty()
    }

    pub(crate) fn says(&self, reason: Reason, detail: &str) -> bool {
        self.unexamined.iter().any(|said| *said == (reason, detail.to_owned()))
    }
}

impl Sink for Record {
    fn child(&mut self, name: &str, content: &mut dyn Read) -> Result<Decoded, Stop> {
        let mut bytes = Vec::new();
        let ended = match content.read_to_end(&mut bytes) {
            Ok(_) => Ended::AtEnd,
            Err(_) => Ended::InError,
        };
        let decoded = Decoded { bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes), ended };
        self.children.push((name.to_owned(), bytes));
        Ok(decoded)
    }

    fn unexamined(&mut self, reason: Reason, detail: &str) {
        self.unexamined.push((reason, detail.to_owned()));
    }

    fn member_unexamined(&mut self, _: &str, reason: Reason, detail: &str) {
        self.unexamined(reason, detail);
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    fn fact(&mut self, fact: Fact, _: &str) {
        self.facts.push(fact);
    }

    fn tick(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn passwords(&self) -> Rc<[Password]> {
        self.passwords.as_slice().into()
    }
}
