//! The stream `EncryptedPackage`: a whole document, encrypted, behind its size.

use std::io::{self, Read};

use filesafety_model::Reason;

use super::{
    DETAIL,
    agile::{self, Segments},
    standard::{self, Blocks},
};
use crate::unpack::{Ended, Sink, Stop, u16_at, u64_at};

/// Agile encryption starts anew after as many bytes.
const SEGMENT: usize = 4_096;

/// Opens it with the passwords that are known, or says that it is encrypted.
pub(crate) fn open(info: &[u8], package: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    /// Version, and flags; in the newer format a reserved number in their place.
    const HEADER: usize = 8;
    let body = info.get(HEADER..).unwrap_or_default();
    let cipher = match (u16_at(info, 0), u16_at(info, 2)) {
        (Some(4), Some(4)) => agile::key(body, sink)?.map(Cipher::Agile),
        (Some(2..=4), Some(2)) => standard::key(body, sink)?.map(Cipher::Standard),
        _ => None,
    };
    let Some(cipher) = cipher else {
        sink.unexamined(Reason::Encrypted, DETAIL);
        return Ok(());
    };
    let size = u64_at(package, 0).unwrap_or(u64::MAX);
    let data = package.get(8..).unwrap_or_default();
    let mut plain = Plain { data, cipher, left: size, segment: Vec::new(), given: 0, number: 0 };
    let decoded = sink.child("package", &mut plain)?;
    if decoded.ended == Ended::InError {
        sink.unexamined(Reason::Broken, DETAIL);
    }
    Ok(())
}

enum Cipher {
    Agile(Segments),
    Standard(Blocks),
}

struct Plain<'a> {
    data: &'a [u8],
    cipher: Cipher,
    left: u64,
    segment: Vec<u8>,
    given: usize,
    number: u32,
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        if self.given == self.segment.len() {
            let (segment, rest) = self.data.split_at_checked(SEGMENT).unwrap_or((self.data, &[]));
            self.data = rest;
            self.segment.clear();
            self.segment.extend_from_slice(segment);
            self.given = 0;
            match &self.cipher {
                Cipher::Agile(segments) => segments.decrypt(self.number, &mut self.segment),
                Cipher::Standard(blocks) => blocks.decrypt(&mut self.segment),
            }
            self.number = self.number.wrapping_add(1);
        }
        let ready = self.segment.get(self.given..).unwrap_or_default();
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = ready.len().min(wanted);
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        self.left -= count as u64;
        Ok(count)
    }
}
