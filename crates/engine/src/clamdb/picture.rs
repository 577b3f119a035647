//! The perceptual hash of a picture, as `fuzzy_img` in logical signatures and `sigtool --fuzzy-img` have it.
//!
//! The picture in shades of grey is reduced to 32 by 32 dots; of its cosine transform the 64 lowest frequencies are compared with their
//! median, a bit each.

use std::{f64::consts::PI, io::Cursor};

use image::{GrayImage, ImageReader, Limits, imageops};

use crate::nsfw;

/// Pictures whose pixels take more are not hashed: what signatures look for are small ones, in mails and documents.
const MAX_PIXEL_BYTES: u64 = 24 << 20;
const SIDE: u32 = 32;
const FREQUENCIES: usize = 8;

/// `None` where the content is no picture that decodes.
pub(super) fn hash(content: &[u8]) -> Option<u64> {
    if !nsfw::is_picture(content) {
        return None;
    }
    let mut reader = ImageReader::new(Cursor::new(content)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXEL_BYTES);
    reader.limits(limits);
    let picture = reader.decode().ok()?.into_rgb8();
    let grey = GrayImage::from_vec(picture.width(), picture.height(), picture.pixels().map(|pixel| luma(pixel.0)).collect())?;
    drop(picture);
    let small = imageops::resize(&grey, SIDE, SIDE, imageops::FilterType::Lanczos3);
    let mut rows = small.rows().map(|row| row.map(|dot| f64::from(dot.0[0])).collect::<Vec<_>>());
    // Rows first: 32 lines of the lowest frequencies across, then those down each.
    let across: Vec<Vec<f64>> = rows.by_ref().map(|row| lowest(&row)).collect();
    let down: Vec<Vec<f64>> =
        (0..FREQUENCIES).map(|at| lowest(&across.iter().filter_map(|row| row.get(at).copied()).collect::<Vec<_>>())).collect();
    let frequencies: Vec<f64> = (0..FREQUENCIES).flat_map(|row| down.iter().filter_map(move |column| column.get(row).copied())).collect();
    let median = median(&frequencies)?;
    Some(frequencies.iter().fold(0, |hash, frequency| hash << 1 | u64::from(*frequency > median)))
}

/// ITU-R BT.601, rounded.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000;
    u8::try_from(sum >> 16).unwrap_or(u8::MAX)
}

/// The lowest frequencies of the cosine transform.
fn lowest(dots: &[f64]) -> Vec<f64> {
    let step = PI / (2.0 * dots.len() as f64);
    let term = |at: usize, frequency: usize| (step * ((2 * at + 1) * frequency) as f64).cos();
    (0..FREQUENCIES).map(|frequency| dots.iter().enumerate().map(|(at, dot)| dot * term(at, frequency)).sum()).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, process::Command};

    use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

    use super::*;

    pub(in crate::clamdb) fn picture(seed: u32, format: ImageFormat) -> Vec<u8> {
        let wave = |x: u32, y: u32, c: u32| {
            let (x, y, s) = (f64::from(x), f64::from(y), f64::from(seed % 7 + c));
            (127.0 + 120.0 * (s * x / 19.0 + y / 7.0).sin() * (s * y / 23.0).cos()) as u8
        };
        let picture = RgbImage::from_fn(40 + seed % 30, 35 + seed % 41, |x, y| Rgb([wave(x, y, 0), wave(x, y, 1), wave(y, x, 2)]));
        let mut bytes = Vec::new();
        DynamicImage::ImageRgb8(picture).write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    #[test]
    fn what_is_no_picture_has_no_hash() {
        let png = picture(1, ImageFormat::Png);
        for content in [&b""[..], b"text", b"\x89PNG\r\n\x1a\n", &png[..60]] {
            assert_eq!(hash(content), None);
        }
    }

    #[test]
    fn the_hash_is_the_one_of_sigtool() {
        let dir = tempfile::tempdir().unwrap();
        for seed in 0..24 {
            let format = if seed % 3 == 0 { ImageFormat::Bmp } else { ImageFormat::Png };
            let content = picture(seed, format);
            let path = dir.path().join(format!("p{seed}"));
            fs::write(&path, &content).unwrap();
            let Ok(said) = Command::new("sigtool").arg("--fuzzy-img").arg(&path).output() else {
                eprintln!("skipped: there is no sigtool on this machine");
                return;
            };
            let said = String::from_utf8_lossy(&said.stdout).trim().rsplit(' ').next().unwrap_or_default().to_owned();
            let (ours, theirs) = (hash(&content).unwrap(), u64::from_str_radix(&said, 16).unwrap());
            // Of two frequencies beside the median, rounding decides which is above it.
            assert!((ours ^ theirs).count_ones() <= 2, "{seed}: {ours:016x} {said}");
        }
    }
}
