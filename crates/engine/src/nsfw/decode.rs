//! From the bytes of a picture to pixels, bounded before anything is allocated.

use std::io::Cursor;

use filesafety_model::PictureFault;
use image::codecs::{bmp::BmpDecoder, ico::IcoDecoder, jpeg::JpegDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageResult, Limits};

use super::format::Format;
use super::raster::Raster;
use super::{Memory, PictureLimits};

/// Decodes a picture of one frame, or the first frame of an animated PNG or WebP.
///
/// One whose data is damaged or ends early is what came of it until there, cut to the rows that decoded.
///
/// # Errors
/// `TooLarge` before any pixel is allocated, or when the memory is refused; `Unsupported` for a variant of the format that is not
/// decoded; `Broken` when not one row decodes.
pub(super) fn still(content: &[u8], format: Format, limits: &PictureLimits, memory: &mut Memory<'_>) -> Result<Raster, PictureFault> {
    // Decoders keep a copy of the file or read metadata that it claims.
    memory.reserve(content.len() as u64)?;
    match attempt(content, format, limits, memory, 0) {
        Ok(Attempt { raster, state: State::Whole }) => Ok(raster),
        Ok(Attempt { raster, state: State::Damaged }) => {
            let repaired = completed(content, format, &raster, memory)?;
            let again = repaired.and_then(|content| attempt(&content, format, limits, memory, 0).ok());
            let raster = again.map_or(raster, |attempt| attempt.raster);
            match single_colour(&raster) {
                None => raster.keep_decoded_rows().ok_or(PictureFault::Broken),
                Some(colour) if is_made_up(&colour, format) => Err(PictureFault::Broken),
                Some(colour) if colour.iter().any(|byte| *byte != 0) => Ok(raster),
                Some(_) => black_rows(content, format, limits, memory),
            }
        }
        Err(fault) => Err(fault),
    }
}

/// Checks what a header claims. Both sides must not be zero.
pub(super) fn check_size(width: u32, height: u32, limits: &PictureLimits) -> Result<u64, PictureFault> {
    let pixels = u64::from(width) * u64::from(height);
    match pixels {
        0 => Err(PictureFault::Broken),
        _ if pixels > limits.pixels => Err(PictureFault::TooLarge),
        _ => Ok(pixels),
    }
}

/// What decoding came to.
struct Attempt {
    raster: Raster,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// The decoder stopped in an error, or made up what the file does not have.
    Damaged,
}

/// The one pixel that a picture consists of.
fn single_colour(raster: &Raster) -> Option<Vec<u8>> {
    let size = usize::from(raster.color.bytes_per_pixel());
    let colour = raster.pixels.get(..size)?;
    raster.pixels.chunks_exact(size).all(|pixel| pixel == colour).then(|| colour.to_vec())
}

/// Whether this is what comes out of a decoder when there are no data: it writes every row all the same.
fn is_made_up(colour: &[u8], format: Format) -> bool {
    match format {
        Format::Jpeg => colour.iter().all(|byte| (127..=129).contains(byte)),
        Format::Tiff | Format::WebP => colour.iter().all(|byte| *byte == 0),
        Format::Bmp | Format::Gif | Format::Icon | Format::Jpeg2000 | Format::Png | Format::Foreign => false,
    }
}

/// The rows of a damaged black picture that come out black over white as well.
fn black_rows(content: &[u8], format: Format, limits: &PictureLimits, memory: &mut Memory<'_>) -> Result<Raster, PictureFault> {
    let mut raster = attempt(content, format, limits, memory, 0xFF)?.raster;
    let row_bytes = raster.width as usize * usize::from(raster.color.bytes_per_pixel());
    let rows = raster.pixels.chunks_exact(row_bytes).filter(|row| row.iter().all(|byte| *byte == 0)).count();
    raster.height = u32::try_from(rows).ok().filter(|rows| *rows > 0).ok_or(PictureFault::Broken)?;
    raster.pixels.truncate(rows * row_bytes);
    raster.pixels.fill(0);
    Ok(raster)
}

/// `fill` is what the rows have before they are decoded.
fn attempt(content: &[u8], format: Format, limits: &PictureLimits, memory: &mut Memory<'_>, fill: u8) -> Result<Attempt, PictureFault> {
    let mut decoder = open(content, format, limits).map_err(|error| fault(&error))?;
    let (width, height) = decoder.dimensions();
    let pixels = check_size(width, height, limits)?;
    let color = decoder.color_type();
    if !is_known(color) {
        return Err(PictureFault::Unsupported);
    }
    // The picture itself, and what the decoder works with beside it.
    let claim = pixels.saturating_mul(u64::from(color.bytes_per_pixel()) + working_bytes_per_pixel(format));
    memory.reserve(claim)?;
    let mut bounds = Limits::no_limits();
    bounds.max_alloc = Some(claim.saturating_add(content.len() as u64).saturating_add(SMALL_ALLOCATIONS));
    decoder.set_limits(bounds).map_err(|error| fault(&error))?;

    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let bytes = usize::try_from(decoder.total_bytes()).map_err(|_| PictureFault::TooLarge)?;
    let mut raster = Raster { width, height, color, orientation, pixels: vec![fill; bytes] };
    let state = match decoder.read_image_boxed(&mut raster.pixels) {
        Ok(()) if format == Format::Jpeg && !ends_as_jpeg(content) => State::Damaged,
        Ok(()) => State::Whole,
        Err(error) => match fault(&error) {
            PictureFault::Broken => State::Damaged,
            known @ (PictureFault::TooLarge | PictureFault::Unsupported) => return Err(known),
        },
    };
    if state == State::Damaged && format == Format::Png {
        correct_byte_order(&mut raster);
    }
    Ok(Attempt { raster, state })
}

/// Tables, rows and windows that do not grow with the picture, as a bound for the decoders.
const SMALL_ALLOCATIONS: u64 = 1 << 20;

/// What a decoder holds for each pixel beside its output, at worst: a progressive JPEG the coefficients of four components in 16 bits; WebP
/// its planes, the alpha plane and one more picture; TIFF its own copy of the picture, four samples of 16 bits or more. PNG and BMP hold rows.
fn working_bytes_per_pixel(format: Format) -> u64 {
    match format {
        Format::Jpeg => 8,
        Format::WebP => 8,
        Format::Tiff => 16,
        Format::Png | Format::Bmp | Format::Icon => 1,
        Format::Gif | Format::Jpeg2000 | Format::Foreign => 0,
    }
}

fn open<'a>(content: &'a [u8], format: Format, limits: &PictureLimits) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    let reader = Cursor::new(content);
    let mut bounds = Limits::no_limits();
    bounds.max_alloc = Some(limits.bytes);
    Ok(match format {
        Format::Jpeg => Box::new(JpegDecoder::new(reader)?),
        Format::Png => Box::new(PngDecoder::with_limits(reader, bounds)?),
        Format::WebP => Box::new(WebPDecoder::new(reader)?),
        Format::Bmp => Box::new(BmpDecoder::new(reader)?),
        Format::Icon => Box::new(IcoDecoder::new(reader)?),
        Format::Tiff => Box::new(TiffDecoder::new(reader)?),
        Format::Gif | Format::Jpeg2000 | Format::Foreign => {
            let hint = image::error::ImageFormatHint::Unknown;
            return Err(ImageError::Unsupported(hint.into()));
        }
    })
}

pub(super) fn fault(error: &ImageError) -> PictureFault {
    match error {
        ImageError::Unsupported(_) => PictureFault::Unsupported,
        ImageError::Limits(_) => PictureFault::TooLarge,
        ImageError::Decoding(_) | ImageError::Encoding(_) | ImageError::Parameter(_) | ImageError::IoError(_) => PictureFault::Broken,
    }
}

/// The kinds of pixel that a [`Raster`] can read; the decoders give no others today, but the type is open.
fn is_known(color: ColorType) -> bool {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgb32F, Rgba8, Rgba16, Rgba32F};
    matches!(color, L8 | La8 | Rgb8 | Rgba8 | L16 | La16 | Rgb16 | Rgba16 | Rgb32F | Rgba32F)
}

/// Whether a JPEG has its end marker, wherever it stands: cameras append whole films behind it. Segments are stepped over, since a
/// thumbnail inside of one has such a marker too.
fn ends_as_jpeg(content: &[u8]) -> bool {
    let mut rest = content;
    while let Some(at) = memchr::memchr(0xFF, rest) {
        rest = rest.get(at..).unwrap_or_default();
        let step = match rest {
            [_, 0xD9, ..] => return true,
            [_, 0xFF, ..] => 1,
            // A stuffed byte, or a marker that stands alone.
            [_, 0x00 | 0x01 | 0xD0..=0xD8, ..] => 2,
            [_, _, high, low, ..] => 2 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => return false,
        };
        rest = rest.get(step..).unwrap_or_default();
    }
    false
}

/// The PNG decoder turns 16-bit samples into native order at the end of its work, which it did not reach.
fn correct_byte_order(raster: &mut Raster) {
    if matches!(raster.color, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16) {
        for sample in raster.pixels.as_chunks_mut::<2>().0 {
            *sample = u16::from_be_bytes(*sample).to_ne_bytes();
        }
    }
}

/// The content with zeros for what was cut off, where a decoder gives nothing at all of a picture whose end is missing: most codes take
/// zeros for some pixels, so those before the cut come out.
fn completed(content: &[u8], format: Format, raster: &Raster, memory: &mut Memory<'_>) -> Result<Option<Vec<u8>>, PictureFault> {
    let claimed = match format {
        Format::WebP => content.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |size| u32::from_le_bytes(*size) as usize),
        Format::Tiff => content.len(),
        Format::Jpeg | Format::Png | Format::Bmp | Format::Gif | Format::Icon | Format::Jpeg2000 | Format::Foreign => {
            return Ok(None);
        }
    };
    // No code needs more than the pixels themselves, so a greater claim is a lie.
    let missing = claimed.saturating_sub(content.len()).max(1).min(raster.pixels.len());
    let missing = if format == Format::Tiff { raster.pixels.len() } else { missing };
    let length = content.len().saturating_add(missing).saturating_add(1024);
    memory.reserve(length as u64)?;
    let mut longer = Vec::with_capacity(length);
    longer.extend_from_slice(content);
    longer.resize(length, 0);
    Ok(Some(longer))
}
