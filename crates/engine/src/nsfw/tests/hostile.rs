//! Small files of every format, cut anywhere, and what the memory of a picture comes to.

use super::frames::{animated_png, animated_webp};
use super::*;

fn small(side: u32) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_fn(side, side, |x, y| Rgb([(x * 19) as u8, (y * 23) as u8, ((x ^ y) * 31) as u8])))
}

/// One of each format, and of animations.
fn one_of_each() -> Vec<Vec<u8>> {
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP];
    let mut files: Vec<Vec<u8>> = formats.into_iter().map(|format| encode(&small(9), format)).collect();
    let inner = encode(&small(9), ImageFormat::Png);
    files.push(icon(&[(9, &inner), (9, &inner)]));
    files.push(animated_png(&[small(9), small(9)], true));
    files.push(animated_webp(&[small(9), small(9)]));
    files
}

#[test]
fn a_file_of_each_format_may_end_anywhere() {
    for content in one_of_each() {
        assert!(frames(&content).is_ok(), "{:?}", recognise(&content));
        for end in 0..content.len() {
            let Some(format) = recognise(&content[..end]) else { continue };
            let outcome = frames(&content[..end]);
            assert!(matches!(outcome, Ok(1..) | Err(PictureFault::Broken)), "{format:?} cut at {end}: {outcome:?}");
        }
    }
}

#[test]
fn icons_and_animations_that_claim_huge_sides_are_too_large() {
    const SIDE: [u8; 4] = 50_000u32.to_be_bytes();
    let resized = |mut png: Vec<u8>| {
        let header = memchr::memmem::find(&png, b"IHDR").unwrap();
        png[header + 4..header + 12].copy_from_slice(&[SIDE, SIDE].concat());
        let crc = crc32fast::hash(&png[header..header + 17]);
        png[header + 17..header + 21].copy_from_slice(&crc.to_be_bytes());
        png
    };
    let mut webp = animated_webp(&[small(9), small(9)]);
    let canvas = memchr::memmem::find(&webp, b"VP8X").unwrap() + 12;
    webp[canvas..canvas + 6].copy_from_slice(&[0x4F, 0xC3, 0, 0x4F, 0xC3, 0]);
    let png = resized(encode(&small(9), ImageFormat::Png));
    for content in [icon(&[(0, &png)]), resized(animated_png(&[small(9), small(9)], true)), webp] {
        let mut reserved = 0;
        let outcome = classifier().judge_within(&content, &LIMITS, LONG, &mut |bytes| {
            reserved += bytes;
            true
        });
        assert!(matches!(outcome, PictureOutcome::Unjudged { .. }) && reserved < 24 << 20, "{outcome:?} {reserved}");
    }
}

#[test]
fn what_is_reserved_is_what_the_formula_says() {
    let pixels = 96 * 64;
    for (content, pixel, working) in [
        (SCENE, 3, 1),
        (fixture!("scene_baseline.jpg"), 3, 8),
        (fixture!("scene_progressive.jpg"), 3, 8),
        (fixture!("scene_lossy.webp"), 3, 8),
        (fixture!("scene_palette.bmp"), 3, 1),
    ] {
        let mut reserved = 0;
        classifier().judge(content, &LIMITS, LONG, &mut |bytes| {
            reserved += bytes;
            true
        });
        let formula = (8 << 20) + 160 * (SIDE * SIDE) as u64 + content.len() as u64 + pixels * (pixel + working);
        assert_eq!(reserved, formula, "{:?}", recognise(content));
    }
}
