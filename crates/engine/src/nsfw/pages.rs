//! Several pictures in one file: the pages of a TIFF, the sizes of an icon.

use std::cmp::Reverse;

use filesafety_model::PictureFault;

use super::decode::still;
use super::format::Format;
use super::judging::{Judging, Next};
use super::raster::Raster;
use super::{Memory, PictureLimits};

/// More pages of one file are not decoded.
const PAGES: usize = 100;
/// Nor are smaller pictures of an icon than the so many largest.
const SIZES: usize = 5;

/// The pages of a TIFF.
///
/// # Errors
/// As [`still`] for the first page, and when a later one is too large or of a kind that is not decoded: what is not seen is not harmless. A
/// later page that is broken is passed over.
pub(super) fn tiff(content: &[u8], limits: &PictureLimits, memory: &mut Memory<'_>, judging: &mut Judging<'_>) -> Result<(), PictureFault> {
    let directories = Directories::of(content);
    let pages = directories.map(|directories| directories.walk()).unwrap_or_default();
    let first = still(content, Format::Tiff, limits, memory)?;
    let (Some(directories), true) = (directories, pages.len() > 1) else { return judging.picture(&first) };
    if judging.frame(0, &first)? == Next::Stop {
        return Ok(());
    }
    drop(first);
    // The decoder reads the page that the header points to.
    memory.reserve(content.len() as u64)?;
    let mut turned = content.to_vec();
    for (index, page) in pages.into_iter().enumerate().skip(1) {
        directories.point_to(page, &mut turned);
        if add(judging, index, still(&turned, Format::Tiff, limits, memory))? == Next::Stop {
            break;
        }
    }
    Ok(())
}

/// The largest pictures of an icon.
///
/// # Errors
/// As [`tiff`]; `Broken` when none decodes.
pub(super) fn icon(content: &[u8], limits: &PictureLimits, memory: &mut Memory<'_>, judging: &mut Judging<'_>) -> Result<(), PictureFault> {
    let count = content.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |count| usize::from(u16::from_le_bytes(*count)));
    let entries = content.get(6..).unwrap_or_default().as_chunks::<16>().0;
    let mut entries: Vec<(usize, &[u8; 16])> = entries.iter().take(count).enumerate().collect();
    let side = |value: u8| if value == 0 { 256 } else { u32::from(value) };
    entries.sort_by_key(|(_, entry)| Reverse(side(entry[0]) * side(entry[1])));
    for (index, entry) in entries.into_iter().take(SIZES) {
        let [.., a, b, c, d, e, f, g, h] = *entry;
        let (length, start) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
        let Some(picture) = content.get(start..).map(|rest| rest.get(..length).unwrap_or(rest)) else { continue };
        let raster = if picture.starts_with(b"\x89PNG\r\n\x1A\n") {
            still(picture, Format::Png, limits, memory)
        } else {
            memory.reserve(picture.len() as u64)?;
            still(&alone(picture), Format::Icon, limits, memory)
        };
        if add(judging, index, raster)? == Next::Stop {
            break;
        }
    }
    if judging.frames() == 0 { Err(PictureFault::Broken) } else { Ok(()) }
}

fn add(judging: &mut Judging<'_>, frame: usize, raster: Result<Raster, PictureFault>) -> Result<Next, PictureFault> {
    match raster {
        Ok(raster) => judging.frame(frame, &raster),
        Err(PictureFault::Broken) => Ok(Next::Go),
        Err(known @ (PictureFault::TooLarge | PictureFault::Unsupported)) => Err(known),
    }
}

/// An icon of this bitmap alone. Its directory says what the bitmap does, since viewers do not mind where the two differ.
fn alone(bitmap: &[u8]) -> Vec<u8> {
    let number = |at: usize| bitmap.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u32::from_le_bytes(*number));
    // The height counts the mask as well. 256 and more are written as zero.
    let side = |pixels: u32| u8::try_from(pixels).unwrap_or(0);
    let mut icon = vec![0, 0, 1, 0, 1, 0, side(number(4)), side(number(8) / 2), 0, 0, 1, 0, 0, 0];
    icon.extend((bitmap.len() as u32).to_le_bytes());
    icon.extend(22u32.to_le_bytes());
    icon.extend_from_slice(bitmap);
    icon
}

/// How the directories of a TIFF are chained.
#[derive(Clone, Copy)]
struct Directories<'a> {
    content: &'a [u8],
    big_endian: bool,
    /// Offsets of eight bytes.
    big: bool,
}

impl<'a> Directories<'a> {
    fn of(content: &'a [u8]) -> Option<Self> {
        let (big_endian, version) = match content {
            [b'I', b'I', version, 0, ..] => (false, *version),
            [b'M', b'M', 0, version, ..] => (true, *version),
            _ => return None,
        };
        Some(Self { content, big_endian, big: version == 43 })
    }

    /// Where the pages stand, up to [`PAGES`] of them; a chain that bites its tail ends there.
    fn walk(&self) -> Vec<u64> {
        let mut pages: Vec<u64> = Vec::new();
        let mut next = self.offset(self.place());
        while let Some(page) = next.filter(|page| *page != 0 && !pages.contains(page))
            && pages.len() < PAGES
        {
            let Some(after) = self.after(page) else { break };
            pages.push(page);
            next = self.offset(after);
        }
        pages
    }

    /// Where the offset to the next directory stands.
    fn after(&self, page: u64) -> Option<usize> {
        let page = usize::try_from(page).ok()?;
        let (count_bytes, entry_bytes) = if self.big { (8, 20) } else { (2, 12) };
        let count = usize::try_from(self.number(page, count_bytes)?).ok()?;
        let after = count.checked_mul(entry_bytes)?.checked_add(page)?.checked_add(count_bytes)?;
        (after <= self.content.len()).then_some(after)
    }

    /// Where the offset to the first directory stands.
    fn place(&self) -> usize {
        if self.big { 8 } else { 4 }
    }

    fn offset(&self, at: usize) -> Option<u64> {
        self.number(at, if self.big { 8 } else { 4 })
    }

    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.content.get(at..at.checked_add(length)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    fn point_to(&self, page: u64, content: &mut [u8]) {
        let length = if self.big { 8 } else { 4 };
        let bytes = if self.big_endian { page.to_be_bytes() } else { page.to_le_bytes() };
        let bytes = if self.big_endian { bytes.get(8 - length..) } else { bytes.get(..length) };
        if let (Some(to), Some(from)) = (content.get_mut(self.place()..self.place() + length), bytes) {
            to.copy_from_slice(from);
        }
    }
}
