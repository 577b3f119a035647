//! Opening containers: one module per format, every byte through the budget.

mod active_mime;
mod ar;
mod arj;
mod bzip2;
mod cab;
mod chm;
mod cms;
mod codec;
mod compress;
mod cpio;
mod excel;
mod field;
#[cfg(test)]
pub(crate) mod fixtures;
mod gzip;
mod iso;
mod lha;
mod lz4;
mod lzfu;
mod lzh;
mod lzma;
mod mail;
mod nsis;
mod office_crypt;
mod office_xml;
mod ole;
mod pdf;
mod ranges;
mod rar;
mod rpm;
mod rtf;
mod sevenz;
mod solid;
mod source;
mod streams;
mod stretches;
mod szdd;
mod tar;
#[cfg(test)]
mod tests;
mod tnef;
mod udf;
mod vba;
mod xz;
mod zip;
mod zstd;

use std::{io::Read, rc::Rc};

use filesafety_model::{Password, Reason};

use crate::{budget::Deadline, facts::Fact, filetype::Format, nsfw::Pixels};

pub(crate) use arj::starts as arj_starts;
pub(crate) use bzip2::starts as bzip2_starts;
pub(crate) use cab::starts as cab_starts;
pub(crate) use cms::starts as cms_starts;
pub(crate) use compress::starts as compress_starts;
pub(crate) use cpio::starts as cpio_starts;
pub(crate) use iso::starts as iso_starts;
pub(crate) use lha::starts as lha_starts;
pub(crate) use lz4::starts_after_skippable as lz4_starts;
pub(crate) use lzma::is_alone as lzma_starts;
pub(crate) use mail::{base64_of, percent};
pub(crate) use nsis::{MARK as NSIS_MARK, open as open_nsis};
pub(crate) use ole::{open_embedded as open_embedded_ole, starts as ole_starts};
pub(crate) use rar::starts as rar_starts;
pub(crate) use rtf::starts as rtf_starts;
pub(crate) use sevenz::starts as sevenz_starts;
pub(crate) use streams::{Codec, Start, walk as walk_streams};
pub(crate) use szdd::starts as szdd_starts;
pub(crate) use tar::{Header as TarHeader, starts as tar_starts};
pub(crate) use tnef::starts as tnef_starts;
pub(crate) use zip::open_embedded as open_embedded_zip;
pub(crate) use zstd::starts_after_skippable as zstd_after_skippable;

/// The scan cannot go on: the budget is used up or memory is short. The pipeline knows which; an opener only passes it on with `?`.
#[derive(Debug)]
pub(crate) struct Stop;

/// How the decoding of one child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The reader reached its end.
    AtEnd,
    /// The reader failed after what was decoded; the opener says whether that is broken.
    InError,
}

/// A child's decoding, after the child itself has been examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Bytes that came out.
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    pub(crate) ended: Ended,
}

/// What a container's headers say of a member, be it opened or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// With its folders, as it stands there.
    pub(crate) name: &'a str,
    /// Bytes in the container.
    pub(crate) packed: Option<u64>,
    /// Bytes that are to come out.
    pub(crate) unpacked: Option<u64>,
    pub(crate) encrypted: bool,
    pub(crate) crc32: Option<u32>,
}

/// What an opener tells of the container that it walks.
pub(crate) trait Sink {
    /// What the headers say of the member that comes next: called once for each, before its content, and for those that stay closed.
    /// What a container is without headers (a gzip, the rest behind an end) is no member.
    fn member(&mut self, _member: &Member<'_>) {}

    /// Reads `content` to its end under the budget, then examines it as a child called `name` (nested containers included).
    /// What was decoded before an error is examined as well.
    fn child(&mut self, name: &str, content: &mut dyn Read) -> Result<Decoded, Stop>;

    /// As [`Sink::child`], for bytes that stand in the container as they are, so that no copy is needed.
    fn part(&mut self, name: &str, mut content: &[u8]) -> Result<Decoded, Stop> {
        self.child(name, &mut content)
    }

    /// As [`Sink::child`], for a picture that is nothing but pixels.
    fn pixels(&mut self, name: &str, _pixels: &Pixels, content: &mut dyn Read) -> Result<Decoded, Stop> {
        self.child(name, content)
    }

    /// A part of this container stays unseen; `detail` ends the signature: `Zip` in `Heuristics.Broken.Zip`.
    fn unexamined(&mut self, reason: Reason, detail: &str);

    /// The same of a part with a name of its own.
    fn member_unexamined(&mut self, name: &str, reason: Reason, detail: &str);

    /// Worth knowing, and examined all the same: trailing bytes, a repaired index.
    fn note(&mut self, note: &str);

    /// The container in hand does something that honest files do as well; two independent facts together are a detection (see
    /// [`Fact`]). `detail` names what was seen, for a person: `the macro AutoOpen`. A sink that judges nothing passes over it.
    fn fact(&mut self, _fact: Fact, _detail: &str) {}

    /// To be called now and then in long walks that decode nothing: time and the count of entries.
    fn tick(&mut self) -> Result<(), Stop>;

    /// Decoders that keep a large window ask for it here, and give it back by [`Sink::release`]. A sink that counts no memory grants it.
    fn hold(&mut self, _bytes: u64) -> Result<(), Stop> {
        Ok(())
    }

    fn release(&mut self, _bytes: u64) {}

    /// To be called before and after what takes long.
    fn clock(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    /// For decoders that cannot call [`Sink::clock`] themselves.
    fn deadline(&self) -> Option<Deadline> {
        None
    }

    /// How many bytes may still be unpacked, for the same decoders.
    fn room(&self) -> u64 {
        u64::MAX
    }

    /// What may open an encrypted member or document, the likeliest first.
    fn passwords(&self) -> Rc<[Password]> {
        Rc::new([])
    }

    /// Decodes to nothing, to learn whether and to what it decodes.
    fn probe(&mut self, content: &mut dyn Read) -> Result<Decoded, Stop> {
        let mut buffer = vec![0; PROBE_BYTES];
        let mut crc = crc32fast::Hasher::new();
        let mut bytes = 0u64;
        let ended = loop {
            self.tick()?;
            match content.read(&mut buffer) {
                Ok(0) => break Ended::AtEnd,
                Ok(count) => {
                    crc.update(buffer.get(..count).unwrap_or_default());
                    bytes = bytes.saturating_add(count as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break Ended::InError,
            }
        };
        Ok(Decoded { bytes, crc32: crc.finalize(), ended })
    }
}

const PROBE_BYTES: usize = 64 << 10;

/// What an opener reads to understand a container: headers and tables, which are no objects.
pub(crate) struct Gathered {
    pub(crate) bytes: Vec<u8>,
    /// To be given back by [`Sink::release`].
    pub(crate) held: u64,
    /// At its end, or in error; also where there was more than asked for.
    pub(crate) ended: Ended,
}

/// Reads at most so many bytes, each counted against memory before it is kept.
pub(crate) fn gather(content: &mut dyn Read, most: u64, sink: &mut dyn Sink) -> Result<Gathered, Stop> {
    let (mut step, mut gathered) = (vec![0; PROBE_BYTES], Gathered { bytes: Vec::new(), held: 0, ended: Ended::AtEnd });
    loop {
        sink.tick()?;
        match content.read(&mut step) {
            Ok(0) => return Ok(gathered),
            Ok(count) if gathered.bytes.len() as u64 + count as u64 <= most => {
                // A vector at most doubles.
                let needed = (gathered.bytes.len() + count) * 2;
                if needed as u64 > gathered.held {
                    sink.hold(needed as u64 - gathered.held)?;
                    gathered.held = needed as u64;
                }
                gathered.bytes.extend_from_slice(step.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => {
                gathered.ended = Ended::InError;
                return Ok(gathered);
            }
        }
    }
}

/// Opens a container whose type its first bytes tell. `name` is what the container itself is called, if anything.
pub(crate) fn open(format: Format, content: &[u8], name: Option<&str>, sink: &mut dyn Sink) -> Result<(), Stop> {
    match format {
        Format::Zip => zip::open(content, sink),
        Format::Gzip => streams::open(&Codec::GZIP, content, name, sink),
        Format::Bzip2 => streams::open(&Codec::BZIP2, content, name, sink),
        Format::Xz => streams::open(&Codec::XZ, content, name, sink),
        Format::Zstd => streams::open(&Codec::ZSTD, content, name, sink),
        Format::Lzma => streams::open(&Codec::LZMA, content, name, sink),
        Format::Lzip => streams::open(&Codec::LZIP, content, name, sink),
        Format::Tar => tar::open(content, sink),
        Format::Ar => ar::open(content, sink),
        Format::Cpio => cpio::open(content, sink),
        Format::Rpm => rpm::open(content, sink),
        Format::Pdf => pdf::open(content, sink),
        Format::Compress => streams::open(&Codec::COMPRESS, content, name, sink),
        Format::Lz4 => streams::open(&Codec::LZ4, content, name, sink),
        Format::Snappy => streams::open(&Codec::SNAPPY, content, name, sink),
        Format::Szdd => szdd::open(content, name, sink),
        Format::Lha => lha::open(content, sink),
        Format::Arj => arj::open(content, sink),
        Format::Chm => chm::open(content, sink),
        Format::Cab => cab::open(content, sink),
        Format::Iso => iso::open(content, sink),
        Format::Rar => rar::open(content, sink),
        Format::SevenZip => sevenz::open(content, sink),
        Format::Ole => ole::open(content, sink),
        Format::Rtf => rtf::open(content, sink),
        Format::Mail => mail::open(content, sink),
        Format::Tnef => tnef::open(content, sink),
        Format::Cms => cms::open(content, sink),
    }
}

/// Looks at an object that is no container by its type, and yet a part of a document that holds or does something.
pub(crate) fn look(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    if excel::binary_starts(content) {
        return excel::open_binary(content, sink);
    }
    if active_mime::starts(content) {
        return active_mime::open(content, sink);
    }
    office_xml::open(content, sink)
}

/// The little-endian number at `at`, if all of it is there.
pub(crate) fn u16_at(content: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*content.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(content: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*content.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(content: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*content.get(at..)?.first_chunk()?))
}
