//! JPEG 2000, in a file of its own or as PDF holds it.

use filesafety_model::PictureFault;
use hayro_jpeg2000::{ColorSpace, DecodeSettings, DecoderContext, Image};
use image::ColorType;
use image::metadata::Orientation;

use super::decode::check_size;
use super::raster::Raster;
use super::{Memory, PictureLimits};

/// What the decoder holds for each sample: it as a number, its coefficient, and what goes between the two.
const BYTES_PER_SAMPLE: u64 = 16;

/// # Errors
/// `TooLarge` before any pixel is allocated, or when the memory is refused; `Unsupported` for more colours than are known; `Broken` when
/// nothing decodes.
pub(super) fn raster(content: &[u8], limits: &PictureLimits, memory: &mut Memory<'_>) -> Result<Raster, PictureFault> {
    memory.reserve(content.len() as u64)?;
    let image = Image::new(content, &DecodeSettings::default()).map_err(|_| PictureFault::Broken)?;
    let (width, height) = (image.width(), image.height());
    let pixels = check_size(width, height, limits)?;
    let colours = image.color_space().num_channels();
    let samples = usize::from(colours) + usize::from(image.has_alpha());
    let color = match (colours, image.has_alpha()) {
        (1, false) => ColorType::L8,
        (1, true) => ColorType::La8,
        (3, false) | (4, _) => ColorType::Rgb8,
        (3, true) => ColorType::Rgba8,
        _ => return Err(PictureFault::Unsupported),
    };
    let is_cmyk = colours == 4 && !matches!(image.color_space(), ColorSpace::Unknown { .. });
    memory.reserve(pixels.saturating_mul(samples as u64 * (BYTES_PER_SAMPLE + 1)))?;

    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|_| PictureFault::Broken)?;
    // The components may be of several sizes, or fewer than their box tells.
    let whole =
        decoded.components().len() == samples && decoded.components().iter().all(|component| component.samples().len() as u64 == pixels);
    if !whole {
        return Err(PictureFault::Unsupported);
    }
    let interleaved = decoded.data_u8();
    let pixels = if colours == 4 { rgb_of(&interleaved, samples, is_cmyk) } else { interleaved };
    Ok(Raster { width, height, color, orientation: Orientation::NoTransforms, pixels })
}

/// Of four colours, and alpha, which is passed over.
fn rgb_of(interleaved: &[u8], samples: usize, is_cmyk: bool) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(interleaved.len() / samples * 3);
    for pixel in interleaved.chunks_exact(samples) {
        let &[first, second, third, fourth, ..] = pixel else { break };
        let light = if is_cmyk { 255 - u32::from(fourth) } else { 255 };
        let ink = |value: u8| if is_cmyk { 255 - u32::from(value) } else { u32::from(value) };
        rgb.extend([first, second, third].map(|value| u8::try_from(ink(value) * light / 255).unwrap_or(u8::MAX)));
    }
    rgb
}
