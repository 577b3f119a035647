//! Animated PNG and WebP: the picture that a viewer without animation shows, and the frames.

use std::io::Cursor;

use filesafety_model::PictureFault;
use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, ColorType, Frames, ImageDecoder, ImageResult, Limits};

use super::decode::{check_size, fault, still};
use super::format::Format;
use super::gif::DECODED;
use super::judging::{Judging, Next};
use super::raster::Raster;
use super::{Memory, PictureLimits};

/// What a decoder of an animation holds for each pixel: the canvas, the one before, the frame as it is coded and as it is handed out.
const WORKING_BYTES_PER_PIXEL: u64 = 24;

/// The still picture, then frames of the animation if there is one. Frames beyond `limits.pixels` together are not decoded.
///
/// Damaged or out of time after some frames, it ends.
///
/// # Errors
/// As [`still`]; also when the frames are of a kind that is not decoded, or their memory is refused.
pub(super) fn judge(
    content: &[u8],
    format: Format,
    limits: &PictureLimits,
    memory: &mut Memory<'_>,
    judging: &mut Judging<'_>,
) -> Result<(), PictureFault> {
    let first = still(content, format, limits, memory)?;
    let count = if format == Format::Png { count_png_frames(content) } else { count_webp_frames(content) };
    // A single frame of a PNG may differ from the still picture; that of a WebP is the still picture.
    if count == 0 || (count == 1 && format == Format::WebP) {
        return judging.picture(&first);
    }
    judging.frame(0, &first)?;
    drop(first);
    let Some((frames, count)) = open(content, format, count, limits, memory)? else { return Ok(()) };
    for (index, frame) in frames.take(count).enumerate() {
        match frame {
            Ok(frame) => {
                let buffer = frame.into_buffer();
                let (width, height) = buffer.dimensions();
                let (orientation, pixels) = (Orientation::NoTransforms, buffer.into_raw());
                if judging.frame(index, &Raster { width, height, color: ColorType::Rgba8, orientation, pixels })? == Next::Stop {
                    break;
                }
            }
            Err(error) => match fault(&error) {
                PictureFault::Broken => break,
                known @ (PictureFault::TooLarge | PictureFault::Unsupported) => return Err(known),
            },
        }
    }
    Ok(())
}

/// The frames and how many of them may be decoded; `None` where the header has no animation, whatever chunks there are.
fn open<'a>(
    content: &'a [u8],
    format: Format,
    count: usize,
    limits: &PictureLimits,
    memory: &mut Memory<'_>,
) -> Result<Option<(Frames<'a>, usize)>, PictureFault> {
    let reader = Cursor::new(content);
    let mut affordable = |decoder: &dyn HasSize| -> Result<(usize, Limits), PictureFault> {
        let (width, height) = decoder.size();
        let pixels = check_size(width, height, limits)?;
        let claim = pixels.saturating_mul(WORKING_BYTES_PER_PIXEL);
        memory.reserve(claim)?;
        let mut bounds = Limits::no_limits();
        bounds.max_alloc = Some(claim.saturating_add(1 << 20));
        let most = usize::try_from(limits.pixels / pixels).unwrap_or(usize::MAX);
        Ok((count.min(most.max(1)), bounds))
    };
    let decoded = |error| fault(&error);
    if format == Format::WebP {
        let decoder = WebPDecoder::new(reader).map_err(decoded)?;
        if !decoder.has_animation() {
            return Ok(None);
        }
        let (count, _) = affordable(&decoder)?;
        return Ok(Some((decoder.into_frames(), count)));
    }
    let mut bounds = Limits::no_limits();
    bounds.max_alloc = Some(limits.bytes);
    let mut decoder = PngDecoder::with_limits(reader, bounds).map_err(decoded)?;
    if !decoder.is_apng().map_err(decoded)? {
        return Ok(None);
    }
    let (count, bounds) = affordable(&decoder)?;
    let frames: ImageResult<Frames<'a>> = decoder.set_limits(bounds).and_then(|()| decoder.apng()).map(AnimationDecoder::into_frames);
    Ok(Some((frames.map_err(decoded)?, count)))
}

/// Width and height of what a decoder will give.
trait HasSize {
    fn size(&self) -> (u32, u32);
}

impl<D: ImageDecoder> HasSize for D {
    fn size(&self) -> (u32, u32) {
        self.dimensions()
    }
}

/// Frames, up to [`DECODED`], by walking the chunks: length, type, data, checksum.
fn count_png_frames(content: &[u8]) -> usize {
    let mut rest = content.get(8..).unwrap_or_default();
    let mut count = 0;
    while let [a, b, c, d, kind @ ..] = rest
        && count < DECODED
    {
        count += usize::from(kind.starts_with(b"fcTL"));
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        rest = length.checked_add(12).and_then(|length| rest.get(length..)).unwrap_or_default();
    }
    count
}

/// Frames, up to [`DECODED`], by walking the chunks: type, length, data to an even number of bytes.
fn count_webp_frames(content: &[u8]) -> usize {
    let mut rest = content.get(12..).unwrap_or_default();
    let mut count = 0;
    while let [_, _, _, _, a, b, c, d, ..] = rest
        && count < DECODED
    {
        count += usize::from(rest.starts_with(b"ANMF"));
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let length = length.checked_add(length % 2 + 8);
        rest = length.and_then(|length| rest.get(length..)).unwrap_or_default();
    }
    count
}
