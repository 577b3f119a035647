//! Installers of NSIS: behind the program, a first header (NSIS, "Source/exehead/fileform.h"), then data in blocks, each packed by itself
//! or all together. The script that names the files is a block like the others; the blocks are examined without their names.

use std::io::{self, Read};

use filesafety_model::Reason;
use lzma_rust2::{LzmaReader, filter::bcj::BcjReader};

use super::{
    Sink, Stop,
    codec::{Fault, Foreign, Inflate, MAX_WINDOW, Stream},
    u32_at,
};

const DETAIL: &str = "Nsis";

/// What stands in the first header behind its flags.
pub(crate) const MARK: &[u8] = b"\xef\xbe\xad\xdeNullsoftInst";
const FLAGS: usize = 4;
const FIRST_HEADER: usize = 28;

/// A block's length, and whether it is packed.
const PACKED: u32 = 1 << 31;

/// Opens the installer whose mark stands at `mark`; nothing where its first header is none.
pub(crate) fn open(content: &[u8], mark: usize, sink: &mut dyn Sink) -> Result<(), Stop> {
    let Some((data, is_cut)) = data(content, mark) else { return Ok(()) };
    if is_cut {
        sink.unexamined(Reason::Broken, DETAIL);
    }
    match Packing::of(data) {
        Layout::Blocks => blocks(data, sink),
        Layout::Solid(packing) => solid(packing, data, sink),
    }
}

/// The data that the first header tells of, as far as its bytes reach, and whether they do not.
fn data(content: &[u8], mark: usize) -> Option<(&[u8], bool)> {
    const KNOWN_FLAGS: u32 = 0x1f;
    let start = mark.checked_sub(FLAGS)?;
    let header = content.get(start..)?;
    let (flags, length) = (u32_at(header, 0)?, u32_at(header, 24)? as usize);
    let rest = header.get(FIRST_HEADER..)?;
    // The length counts the first header too.
    let told = length.checked_sub(FIRST_HEADER)?;
    let data = rest.get(..told).unwrap_or(rest);
    (flags & !KNOWN_FLAGS == 0 && data.len() > 4).then_some((data, data.len() < told))
}

#[derive(Clone, Copy)]
enum Packing {
    Deflate,
    Lzma,
    /// LZMA, perhaps behind a filter for x86 code.
    FilteredLzma,
    /// A dialect of its own.
    Bzip2,
}

enum Layout {
    Blocks,
    Solid(Packing),
}

impl Packing {
    fn of(data: &[u8]) -> Layout {
        match Self::at_start(data) {
            Self::Deflate if data.get(3) == Some(&0x80) => Layout::Blocks,
            // A first block that is stored.
            Self::Deflate if u32_at(data, 0).is_some_and(|length| length > 0 && (length as usize) < data.len() && length < 1 << 24) => {
                Layout::Blocks
            }
            packing => Layout::Solid(packing),
        }
    }

    fn at_start(data: &[u8]) -> Self {
        let is_lzma = |data: &[u8]| matches!(data, [0x5d, 0, 0, _, _, 0, ..]);
        match data {
            _ if is_lzma(data) => Self::Lzma,
            [0 | 1, rest @ ..] if is_lzma(rest) => Self::FilteredLzma,
            [0x31, blocks, ..] if *blocks < 14 => Self::Bzip2,
            _ => Self::Deflate,
        }
    }

    fn memory(self, data: &[u8]) -> u64 {
        match self {
            Self::Deflate | Self::Bzip2 => 64 << 10,
            Self::Lzma => u32_at(data, 1).map_or(0, u64::from).min(MAX_WINDOW) + (8 << 20),
            Self::FilteredLzma => u32_at(data, 2).map_or(0, u64::from).min(MAX_WINDOW) + (8 << 20),
        }
    }

    fn stream<'a>(self, data: &'a [u8]) -> Box<dyn Stream + 'a> {
        match self {
            Self::Deflate => Box::new(Inflate::new(data)),
            Self::Lzma => Box::new(Foreign::new(data, lzma, |_| 0)),
            Self::FilteredLzma => Box::new(Foreign::new(data, filtered, |_| 0)),
            Self::Bzip2 => Box::new(Foreign::new(data, |_| Err::<&[u8], _>(Fault::Unsupported), |_| 0)),
        }
    }
}

/// Five bytes of properties, then a stream that ends in a mark.
fn lzma(data: &[u8]) -> Result<LzmaReader<&[u8]>, Fault> {
    let (properties, dictionary) = data.first().zip(u32_at(data, 1)).ok_or(Fault::Cut)?;
    if u64::from(dictionary) > MAX_WINDOW {
        return Err(Fault::Window);
    }
    let mut reader = LzmaReader::new_with_props(data.get(5..).ok_or(Fault::Cut)?, u64::MAX, *properties, dictionary, None)
        .map_err(|_| Fault::Damaged)?;
    reader.set_defer_errors(true);
    Ok(reader)
}

fn filtered(data: &[u8]) -> Result<Box<dyn Read + '_>, Fault> {
    let (is_filtered, data) = data.split_first().ok_or(Fault::Cut)?;
    let reader = lzma(data)?;
    Ok(if *is_filtered == 1 { Box::new(BcjReader::new_x86(reader, 0)) } else { Box::new(reader) })
}

fn blocks(mut data: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut index = 0u32;
    while let Some(told) = u32_at(data, 0) {
        sink.tick()?;
        let (length, rest) = ((told & !PACKED) as usize, data.get(4..).unwrap_or_default());
        // Behind the blocks stands a checksum.
        let Some((block, behind)) = rest.split_at_checked(length) else {
            if rest.len() > 4 {
                sink.unexamined(Reason::Broken, DETAIL);
            }
            return Ok(());
        };
        let name = format!("nsis-{index}");
        if told & PACKED == 0 {
            sink.part(&name, block)?;
        } else {
            packed(&name, Packing::at_start(block), block, sink)?;
        }
        (data, index) = (behind, index.saturating_add(1));
    }
    Ok(())
}

fn packed(name: &str, packing: Packing, block: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let held = packing.memory(block);
    sink.hold(held)?;
    let mut stream = packing.stream(block);
    sink.child(name, &mut *stream)?;
    let fault = stream.fault();
    drop(stream);
    sink.release(held);
    if let Some(fault) = fault {
        super::streams::report(fault, DETAIL, sink);
    }
    Ok(())
}

/// One stream of blocks, each with its length before it.
fn solid(packing: Packing, data: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let held = packing.memory(data);
    sink.hold(held)?;
    let mut stream = packing.stream(data);
    let mut index = 0u32;
    let mut is_cut = false;
    loop {
        sink.tick()?;
        let mut length = [0; 4];
        match filled(&mut *stream, &mut length) {
            4 => {}
            0 => break,
            _ => {
                is_cut = true;
                break;
            }
        }
        let length = u64::from(u32::from_le_bytes(length) & !PACKED);
        let decoded = sink.child(&format!("nsis-{index}"), &mut (&mut stream as &mut dyn Read).take(length))?;
        if decoded.bytes < length {
            is_cut = true;
            break;
        }
        index = index.saturating_add(1);
    }
    let fault = stream.fault();
    drop(stream);
    sink.release(held);
    match fault {
        Some(fault) => super::streams::report(fault, DETAIL, sink),
        None if is_cut => sink.unexamined(Reason::Broken, DETAIL),
        None => {}
    }
    Ok(())
}

/// How much of the buffer could be read.
fn filled(stream: &mut dyn Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        search,
        unpack::fixtures::{Record, deflate, eicar, noise},
    };

    fn installer(data: &[u8]) -> Vec<u8> {
        let mut installer = b"MZ program".to_vec();
        installer.resize(512, 0);
        installer.extend([0; 4]);
        installer.extend(MARK);
        installer.extend(100u32.to_le_bytes());
        installer.extend((FIRST_HEADER as u32 + data.len() as u32).to_le_bytes());
        installer.extend(data);
        installer
    }

    fn block(packed: bool, content: &[u8]) -> Vec<u8> {
        let data = if packed { deflate(content) } else { content.to_vec() };
        [&(data.len() as u32 | if packed { PACKED } else { 0 }).to_le_bytes()[..], &data].concat()
    }

    fn opened(content: &[u8]) -> Record {
        let mut record = Record::default();
        search::embedded(content, &mut record).unwrap();
        record
    }

    #[test]
    fn blocks_alone_and_all_together() {
        let apart = [block(true, b"the script"), block(true, &eicar()), block(false, b"stored"), vec![1, 2, 3, 4]].concat();
        let record = opened(&installer(&apart));
        assert!(record.is_complete() && record.has(&eicar()) && record.has(b"stored"), "{:?}", record.unexamined);
        let together = [block(false, b"the script"), block(false, &eicar())].concat();
        let record = opened(&installer(&deflate(&together)));
        assert!(record.is_complete() && record.has(&eicar()), "{:?}", record.unexamined);
    }

    #[test]
    fn an_installer_that_is_cut_before_its_mark_is_told_by_its_manifest() {
        let manifest = b"<assemblyIdentity version=\"1.0.0.0\" name=\"Nullsoft.NSIS.exehead\" type=\"win32\"/>";
        let record = opened(&[b"MZ program ".to_vec(), manifest.to_vec(), b" and its icons".to_vec()].concat());
        assert!(record.says(Reason::Broken, "Nsis"));
        let record = opened(&[&b"MZ program "[..], b"rDlPtS\xcd\xe6\xd7\x7b\x0b\x2a", &[0; 40]].concat());
        assert!(record.says(Reason::Unsupported, "InnoSetup"));
        for honest in [&b"MZ program of NullsoftInst and nsis.sf.net"[..], b"a text about name=\"Nullsoft.NSIS.exehead\""] {
            assert!(opened(honest).is_complete());
        }
    }

    #[test]
    fn a_cut_installer_is_told() {
        let data = [block(true, &noise(900)), block(true, &noise(500))].concat();
        let whole = installer(&data);
        for length in (560..whole.len() - 8).step_by(7) {
            assert!(!opened(&whole[..length]).is_complete(), "cut to {length}");
        }
        let record = opened(&[b"a text about \xef\xbe\xad\xdeNullsoftInst".to_vec(), noise(30)].concat());
        assert!(record.is_complete() && record.children.is_empty());
    }
}
