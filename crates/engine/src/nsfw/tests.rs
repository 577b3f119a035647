use std::io::Cursor;
use std::time::Duration;

use filesafety_model::{PictureFault, PictureOutcome, Scores};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use rten_tensor::AsView;

use super::decode::still;
use super::format::{Format, recognise};
use super::raster::Raster;
use super::{Classifier, Memory, PictureLimits};

const LIMITS: PictureLimits = PictureLimits { bytes: 32 << 20, pixels: 120_000_000 };
const LONG: Duration = Duration::from_secs(3600);

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/fixtures/pictures/", $name)).as_slice()
    };
}

const PORN: &[u8] = fixture!("porn_ellipse.png");
const HENTAI: &[u8] = fixture!("hentai_ellipse.png");
const SCENE: &[u8] = fixture!("scene.png");
/// The same scene by encoders of other makes: progressive, CMYK, lossy, palette, LZW.
const SCENES: [&[u8]; 9] = [
    fixture!("scene_baseline.jpg"),
    fixture!("scene_progressive.jpg"),
    fixture!("scene_cmyk.jpg"),
    fixture!("scene_lossy.webp"),
    fixture!("small_lzw.tif"),
    fixture!("small_cmyk.tif"),
    fixture!("small_palette.gif"),
    fixture!("scene_palette.bmp"),
    SCENE,
];

fn classifier() -> Classifier {
    Classifier::load().unwrap()
}

fn judge(picture: &[u8]) -> PictureOutcome {
    classifier().judge(picture, &LIMITS, LONG, &mut |_| true)
}

fn scores(picture: &[u8]) -> Scores {
    match judge(picture) {
        PictureOutcome::Judged { scores, .. } => scores,
        PictureOutcome::Unjudged { fault } => panic!("{fault:?}"),
    }
}

fn fault(picture: &[u8]) -> Option<PictureFault> {
    match judge(picture) {
        PictureOutcome::Judged { .. } => None,
        PictureOutcome::Unjudged { fault } => Some(fault),
    }
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn open(content: &[u8]) -> DynamicImage {
    image::load_from_memory(content).unwrap()
}

fn raster(picture: &[u8]) -> Result<Raster, PictureFault> {
    still(picture, recognise(picture).unwrap(), &LIMITS, &mut Memory { reserve: &mut |_| true })
}

/// How many frames decode; no network.
fn frames(picture: &[u8]) -> Result<usize, PictureFault> {
    let limits = PictureLimits { pixels: 1_000_000, ..LIMITS };
    let mut grant = |_| true;
    let mut memory = Memory { reserve: &mut grant };
    match recognise(picture) {
        None | Some(Format::Foreign) => Err(PictureFault::Unsupported),
        Some(Format::Gif) => super::gif::shots(picture, &limits, super::Deadline(None), &mut memory).map(|shots| shots.len()),
        Some(Format::Icon) => super::pages::icon(picture, &limits, super::Deadline(None), &mut memory).map(|shots| shots.len()),
        Some(format) => still(picture, format, &limits, &mut memory).map(|_| 1),
    }
}

fn assert_close(a: Scores, b: Scores, tolerance: f32) {
    let list = |s: Scores| [s.drawing, s.hentai, s.neutral, s.porn, s.sexy];
    for (a, b) in list(a).into_iter().zip(list(b)) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }
}

/// Files of a hundred bytes or so that claim 50,000 × 50,000 pixels.
fn bombs() -> Vec<(Format, Vec<u8>)> {
    const SIDE: u32 = 50_000;
    let small = DynamicImage::ImageRgb8(RgbImage::new(8, 8));
    let mut png = encode(&small, ImageFormat::Png);
    png[16..20].copy_from_slice(&SIDE.to_be_bytes());
    png[20..24].copy_from_slice(&SIDE.to_be_bytes());
    let crc = crc32fast::hash(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let mut jpeg = encode(&small, ImageFormat::Jpeg);
    let frame = memchr::memmem::find(&jpeg, b"\xFF\xC0").unwrap();
    jpeg[frame + 5..frame + 7].copy_from_slice(&(SIDE as u16).to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&(SIDE as u16).to_be_bytes());
    let mut gif = encode(&small, ImageFormat::Gif);
    gif[6..8].copy_from_slice(&(SIDE as u16).to_le_bytes());
    gif[8..10].copy_from_slice(&(SIDE as u16).to_le_bytes());
    let mut bmp = encode(&small, ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&SIDE.to_le_bytes());
    bmp[22..26].copy_from_slice(&SIDE.to_le_bytes());
    let mut tiff = encode(&small, ImageFormat::Tiff);
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    for entry in tiff[directory + 2..].chunks_exact_mut(12) {
        // Width, height, rows in a strip.
        if matches!(u16::from_le_bytes([entry[0], entry[1]]), 256 | 257 | 278) {
            entry[2..4].copy_from_slice(&4u16.to_le_bytes());
            entry[8..12].copy_from_slice(&SIDE.to_le_bytes());
        }
    }
    // WebP holds 14 bits for each side; 16,383 squared is beyond the limit as well.
    let mut webp = encode(&small, ImageFormat::WebP);
    let stream = memchr::memmem::find(&webp, b"VP8L").unwrap() + 9;
    webp[stream..stream + 4].copy_from_slice(&0x0FFF_BFFE_u32.to_le_bytes());
    vec![(Format::Png, png), (Format::Jpeg, jpeg), (Format::Gif, gif), (Format::Bmp, bmp), (Format::Tiff, tiff), (Format::WebP, webp)]
}

#[test]
fn a_tiny_file_that_claims_huge_sides_is_too_large_before_pixels_are_allocated() {
    let classifier = classifier();
    for (format, bomb) in bombs() {
        assert_eq!(recognise(&bomb), Some(format));
        let mut reserved = 0;
        let outcome = classifier.judge(&bomb, &LIMITS, LONG, &mut |bytes| {
            reserved += bytes;
            true
        });
        assert_eq!(outcome, PictureOutcome::Unjudged { fault: PictureFault::TooLarge }, "{format:?}");
        assert!(reserved < 16 << 20, "{format:?} reserved {reserved}");
    }
}

#[test]
fn a_gif_frame_larger_than_its_screen_is_bounded_too() {
    let mut gif = encode(&DynamicImage::ImageRgb8(RgbImage::new(8, 8)), ImageFormat::Gif);
    let frame = memchr::memmem::find(&gif, b"\x2C\0\0\0\0\x08\0\x08\0").unwrap();
    gif[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    assert_eq!(fault(&gif), Some(PictureFault::TooLarge));
}

#[test]
fn refused_memory_is_too_large_at_every_step() {
    let classifier = classifier();
    for picture in SCENES {
        let mut steps = 0;
        classifier.judge(picture, &LIMITS, LONG, &mut |_| {
            steps += 1;
            true
        });
        for refused in 0..steps {
            let mut step = 0;
            let outcome = classifier.judge(picture, &LIMITS, LONG, &mut |_| {
                step += 1;
                step - 1 != refused
            });
            assert_eq!(outcome, PictureOutcome::Unjudged { fault: PictureFault::TooLarge });
        }
        assert!(steps >= 2);
    }
}

#[test]
fn limits_hold() {
    let few_bytes = PictureLimits { bytes: 100, ..LIMITS };
    let few_pixels = PictureLimits { pixels: 30 * 20 - 1, ..LIMITS };
    let enough = PictureLimits { bytes: 1 << 20, pixels: 96 * 64 };
    let classifier = classifier();
    for picture in SCENES {
        let judged = |limits| matches!(classifier.judge(picture, &limits, LONG, &mut |_| true), PictureOutcome::Judged { .. });
        assert_eq!((judged(few_bytes), judged(few_pixels), judged(enough)), (false, false, true));
        let late = classifier.judge(picture, &LIMITS, Duration::ZERO, &mut |_| true);
        assert_eq!(late, PictureOutcome::Unjudged { fault: PictureFault::TooLarge });
    }
}

#[test]
fn what_is_recognised_but_not_decoded_is_unsupported() {
    assert_eq!(fault(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Some(PictureFault::Unsupported));
    assert_eq!(fault(b"\0\0\0\x1Cftypavif\0\0\0\0"), Some(PictureFault::Unsupported));
    assert_eq!(fault(fixture!("small_palette.tif")), Some(PictureFault::Unsupported));
}

#[test]
fn a_header_alone_is_broken() {
    assert_eq!(fault(b"\x89PNG\r\n\x1A\n"), Some(PictureFault::Broken));
    assert_eq!(fault(b"\xFF\xD8\xFF\xE0"), Some(PictureFault::Broken));
    assert_eq!(fault(b"GIF89a"), Some(PictureFault::Broken));
    assert_eq!(fault(b"GIF89a\0\0\0\0\0\0\0;"), Some(PictureFault::Broken));
}

#[test]
fn no_truncation_panics_and_a_missing_tail_is_judged() {
    for picture in SCENES {
        for end in (32..picture.len()).step_by(10) {
            let outcome = frames(&picture[..end]);
            assert!(matches!(outcome, Ok(1..) | Err(PictureFault::Broken)), "{:?} cut at {end}: {outcome:?}", recognise(picture));
        }
        // A TIFF with its directory at the end has nothing left without it.
        let directory_first = recognise(picture) != Some(Format::Tiff) || picture[4..8] == [8, 0, 0, 0];
        assert_eq!(frames(&picture[..picture.len() * 9 / 10]).is_ok(), directory_first, "{:?}", recognise(picture));
    }
}

#[test]
fn flipped_bytes_do_not_panic() {
    for picture in SCENES {
        for at in (0..picture.len()).step_by(17) {
            let mut damaged = picture.to_vec();
            damaged[at] ^= 0x55;
            let _ = frames(&damaged);
        }
    }
}

#[test]
fn of_a_cut_picture_the_rows_that_decode_are_kept() {
    let whole = open(SCENE).to_rgb8();
    for format in [ImageFormat::Png, ImageFormat::Bmp] {
        let content = encode(&DynamicImage::ImageRgb8(whole.clone()), format);
        let cut = raster(&content[..content.len() / 2]).unwrap();
        assert!((20..60).contains(&cut.height), "{format:?} {}", cut.height);
        let offset = if format == ImageFormat::Bmp { whole.height() - cut.height } else { 0 };
        let middle = cut.height / 2;
        let row = &cut.pixels[(middle * 96 * 3) as usize..((middle + 1) * 96 * 3) as usize];
        let expected = &whole.as_raw()[((middle + offset) * 96 * 3) as usize..((middle + offset + 1) * 96 * 3) as usize];
        assert_eq!(row, expected, "{format:?}");
    }
}

#[test]
fn sixteen_bit_samples_of_a_cut_png_are_in_order() {
    let image = DynamicImage::ImageRgb8(open(SCENE).to_rgb8()).to_rgb16();
    let content = encode(&DynamicImage::ImageRgb16(image.clone()), ImageFormat::Png);
    let cut = raster(&content[..content.len() / 2]).unwrap();
    let sample = |at: usize| u16::from_ne_bytes([cut.pixels[2 * at], cut.pixels[2 * at + 1]]);
    assert_eq!((0..288).map(sample).collect::<Vec<_>>(), image.as_raw()[..288]);
}

#[test]
fn positives_are_found() {
    let near = |found: f32, expected: f32| assert!((found - expected).abs() <= 0.005, "{found} and {expected}");
    let porn = scores(PORN);
    near(porn.porn, 0.972);
    let hentai = scores(HENTAI);
    near(hentai.hentai, 0.885);
    for (picture, sexy) in [(fixture!("sexy_ellipse.png"), 0.916), (fixture!("sexy_noise.png"), 0.840)] {
        let found = scores(picture);
        near(found.sexy, sexy);
        assert!(found.porn < 0.7 && found.hentai < 0.7);
    }
}

#[test]
fn every_lossless_format_gives_the_same_scores() {
    let image = open(PORN);
    let expected = scores(PORN);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        assert_close(scores(&encode(&DynamicImage::ImageRgb8(image.to_rgb8()), format)), expected, 1e-4);
    }
    for deep in [DynamicImage::ImageRgb16(image.to_rgb16()), DynamicImage::ImageRgba16(image.to_rgba16())] {
        assert_close(scores(&encode(&deep, ImageFormat::Png)), expected, 1e-4);
    }
    for grey in [DynamicImage::ImageLuma8(image.to_luma8()), DynamicImage::ImageLuma16(image.to_luma16())] {
        let same = scores(&encode(&DynamicImage::ImageRgb8(DynamicImage::ImageLuma8(image.to_luma8()).to_rgb8()), ImageFormat::Png));
        assert_close(scores(&encode(&grey, ImageFormat::Png)), same, 0.01);
    }
}

#[test]
fn other_encodings_look_alike() {
    let expected = raster(SCENE).unwrap().reduce();
    let expected: Vec<f32> = expected.iter().copied().collect();
    for picture in SCENES.into_iter().filter(|picture| !matches!(recognise(picture), Some(Format::Gif | Format::Tiff))) {
        let found = raster(picture).unwrap().reduce();
        let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum::<f32>() / expected.len() as f32;
        // The bitmap has sixteen colours.
        assert!(difference < 0.08, "{:?} {difference}", recognise(picture));
    }
}

#[test]
fn transparent_is_white() {
    let clear = RgbaImage::from_pixel(20, 10, Rgba([0, 0, 0, 0]));
    let half = RgbaImage::from_pixel(20, 10, Rgba([0, 0, 0, 51]));
    for (image, value) in [(clear, 1.0), (half, 0.8)] {
        let content = encode(&DynamicImage::ImageRgba8(image), ImageFormat::Png);
        assert!(raster(&content).unwrap().reduce().iter().all(|found| (found - value).abs() < 1e-6));
    }
}

#[test]
fn orientations_are_those_of_a_viewer() {
    let upright = open(SCENE).to_rgb8();
    for exif in 1..=8 {
        let orientation = Orientation::from_exif(exif).unwrap();
        let mut turned = DynamicImage::ImageRgb8(upright.clone());
        turned.apply_orientation(orientation);
        let plain = |image: &RgbImage, orientation| Raster {
            width: image.width(),
            height: image.height(),
            color: ColorType::Rgb8,
            orientation,
            pixels: image.as_raw().clone(),
        };
        let expected = plain(&turned.to_rgb8(), Orientation::NoTransforms).reduce();
        let found = plain(&upright, orientation).reduce();
        assert!(found.iter().eq(expected.iter()), "{exif}");
    }
}

#[test]
fn the_orientation_of_a_jpeg_is_read() {
    let mut jpeg = fixture!("scene_baseline.jpg").to_vec();
    let exif = b"\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    assert_eq!(raster(&jpeg).unwrap().orientation, Orientation::Rotate90);
}

#[test]
fn reduction_is_bilinear_with_corners_aligned() {
    let pixel = |value: u8| Rgb([value, 0, 255 - value]);
    let image = RgbImage::from_fn(2, 1, |x, _| pixel(if x == 0 { 0 } else { 255 }));
    let planes = raster(&encode(&DynamicImage::ImageRgb8(image), ImageFormat::Png)).unwrap().reduce();
    for x in 0..224 {
        let expected = x as f32 / 223.0;
        assert!((planes[[0, 0, 100, x]] - expected).abs() < 1e-6);
        assert!((planes[[0, 2, 7, x]] - (1.0 - expected)).abs() < 1e-6);
    }
    let exact = RgbImage::from_fn(224, 224, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let planes = raster(&encode(&DynamicImage::ImageRgb8(exact), ImageFormat::Png)).unwrap().reduce();
    assert!((0..224).all(|at| planes[[0, 0, 223 - at, at]] == at as f32 / 255.0 && planes[[0, 1, at, 3]] == at as f32 / 255.0));
}

/// An icon of these pictures, each a bitmap or a PNG.
fn icon(pictures: &[(u8, &[u8])]) -> Vec<u8> {
    let mut icon = vec![0, 0, 1, 0, pictures.len() as u8, 0];
    let mut start = 6 + 16 * pictures.len();
    for (side, picture) in pictures {
        icon.extend([*side, *side, 0, 0, 1, 0, 32, 0]);
        icon.extend((picture.len() as u32).to_le_bytes());
        icon.extend((start as u32).to_le_bytes());
        start += picture.len();
    }
    icon.extend(pictures.iter().flat_map(|(_, picture)| picture.iter()));
    icon
}

#[test]
fn icons_are_judged() {
    let shown = open(SCENE).resize_exact(64, 64, image::imageops::FilterType::Nearest).to_rgb8();
    // Palette and plain RGB are common in favicons.
    let shown = encode(&DynamicImage::ImageRgb8(shown), ImageFormat::Png);
    assert!(view_names(judge(&icon(&[(64, &shown)]))).is_empty());
    let PictureOutcome::Judged { scores, views } = judge(&icon(&[(64, &shown), (0, PORN)])) else { panic!("unjudged") };
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["frame 2", "frame 1"]);
    assert!(scores.porn > 0.9);

    // A bitmap without its file header, the height doubled for the mask; the directory may say another size.
    let file = encode(&DynamicImage::ImageRgb8(RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8 * 8, y as u8 * 8, 0]))), ImageFormat::Bmp);
    let mut bitmap = file[14..].to_vec();
    bitmap[8..12].copy_from_slice(&64u32.to_le_bytes());
    bitmap.extend([0; 4 * 32]);
    for side in [32, 48] {
        assert!(view_names(judge(&icon(&[(side, &bitmap)]))).is_empty());
    }
    assert_eq!(fault(&icon(&[(32, &bitmap[..40])])), Some(PictureFault::Broken));
    assert!(fault(&icon(&[(32, &[7; 60])])).is_some());
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let named = [kind, data].concat();
    [&(data.len() as u32).to_be_bytes(), named.as_slice(), &crc32fast::hash(&named).to_be_bytes()].concat()
}

/// The chunks of a PNG by this name, put together.
fn png_data(png: &[u8]) -> Vec<u8> {
    let (mut rest, mut data) = (&png[8..], Vec::new());
    while let Some(length) = rest.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) {
        if &rest[4..8] == b"IDAT" {
            data.extend_from_slice(&rest[8..8 + length]);
        }
        rest = &rest[12 + length..];
    }
    data
}

/// An animated PNG of pictures of one size; the first is the still picture, and a frame too if `counts`.
fn animated_png(images: &[DynamicImage], counts: bool) -> Vec<u8> {
    let first = encode(&images[0], ImageFormat::Png);
    let mut png = first[..33].to_vec();
    let frames = images.len() - usize::from(!counts);
    png.extend(chunk(b"acTL", &[(frames as u32).to_be_bytes(), [0; 4]].concat()));
    let mut sequence = 0u32;
    for (index, image) in images.iter().enumerate() {
        if index > 0 || counts {
            let mut control = sequence.to_be_bytes().to_vec();
            control.extend([image.width().to_be_bytes(), image.height().to_be_bytes(), [0; 4], [0; 4], [0, 1, 0, 10]].concat());
            control.extend([0, 0]);
            png.extend(chunk(b"fcTL", &control));
            sequence += 1;
        }
        let data = png_data(&encode(image, ImageFormat::Png));
        if index == 0 {
            png.extend(chunk(b"IDAT", &data));
        } else {
            png.extend(chunk(b"fdAT", &[&sequence.to_be_bytes(), data.as_slice()].concat()));
            sequence += 1;
        }
    }
    png.extend(chunk(b"IEND", &[]));
    png
}

fn riff_chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let padding = vec![0; data.len() % 2];
    [kind, &(data.len() as u32).to_le_bytes(), data, &padding].concat()
}

fn animated_webp(images: &[DynamicImage]) -> Vec<u8> {
    let side = |pixels: u32| (pixels - 1).to_le_bytes()[..3].to_vec();
    let (width, height) = (images[0].width(), images[0].height());
    let mut body = b"WEBP".to_vec();
    body.extend(riff_chunk(b"VP8X", &[vec![0x12, 0, 0, 0], side(width), side(height)].concat()));
    body.extend(riff_chunk(b"ANIM", &[0; 6]));
    for image in images {
        let still = encode(&DynamicImage::ImageRgba8(image.to_rgba8()), ImageFormat::WebP);
        let frame = [vec![0; 6], side(width), side(height), vec![100, 0, 0, 2], still[12..].to_vec()].concat();
        body.extend(riff_chunk(b"ANMF", &frame));
    }
    riff_chunk(b"RIFF", &body)
}

#[test]
fn frames_of_animated_png_and_webp_are_judged() {
    let hidden = open(PORN).resize_exact(64, 64, image::imageops::FilterType::Triangle);
    let shown = open(SCENE).resize_exact(64, 64, image::imageops::FilterType::Nearest);
    let [hidden, shown] = [hidden, shown].map(|image| DynamicImage::ImageRgb8(image.to_rgb8()));
    let alone = scores(&encode(&hidden, ImageFormat::Png)).worst();
    let images = [shown.clone(), shown.clone(), hidden.clone(), shown.clone()];
    for content in [animated_png(&images, true), animated_webp(&images)] {
        let PictureOutcome::Judged { scores, views } = judge(&content) else { panic!("unjudged") };
        assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["frame 1", "frame 2", "frame 3", "frame 4"]);
        assert_eq!(scores, views[2].scores);
        assert!((scores.worst() - alone).abs() < 0.01);
        // Its end is missing: judged on what decodes.
        assert!(matches!(judge(&content[..content.len() - 40]), PictureOutcome::Judged { .. }));
    }
    // The only frame is not the picture that stands for it.
    let PictureOutcome::Judged { scores, views } = judge(&animated_png(&[shown.clone(), hidden], false)) else { panic!("unjudged") };
    assert!(views.len() == 2 && scores == views[1].scores);
    let many = vec![shown; 120];
    let limits = PictureLimits { pixels: 64 * 64 * 20, ..LIMITS };
    for content in [animated_png(&many, true), animated_webp(&many)] {
        let outcome = classifier().judge(&content, &limits, LONG, &mut |_| true);
        assert_eq!(view_names(outcome), ["frame 1", "frame 5", "frame 10", "frame 15", "frame 20"]);
    }
}

#[test]
fn frames_of_a_kind_that_is_not_decoded_are_unsupported() {
    let deep = DynamicImage::ImageRgb16(open(SCENE).to_rgb16());
    assert_eq!(fault(&animated_png(&[deep.clone(), deep], true)), Some(PictureFault::Unsupported));
}

/// A TIFF of two pages: the second one's offsets are moved behind the first.
fn two_pages(first: &[u8], second: &[u8]) -> Vec<u8> {
    let number = |content: &[u8], at: usize| u32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize;
    let size = |kind: u16| [0, 1, 1, 2, 4, 8].get(kind as usize).copied().unwrap_or(8);
    let end_of = |content: &[u8]| {
        let directory = number(content, 4);
        directory + 2 + 12 * usize::from(u16::from_le_bytes([content[directory], content[directory + 1]]))
    };
    let shift = first.len() + first.len() % 2;
    let mut moved = second.to_vec();
    let (start, end) = (number(second, 4) + 2, end_of(second));
    for entry in moved[start..end].chunks_exact_mut(12) {
        let (tag, kind) = (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]));
        let bytes = size(kind) * number(entry, 4);
        // Values that do not fit stand elsewhere; strips do in any case.
        if bytes > 4 || tag == 273 {
            let place = number(entry, 8) + shift;
            entry[8..12].copy_from_slice(&(place as u32).to_le_bytes());
        }
    }
    let mut file = first.to_vec();
    file.resize(shift, 0);
    file.extend(moved);
    let (next, page) = (end_of(first), number(second, 4) + shift);
    file[next..next + 4].copy_from_slice(&(page as u32).to_le_bytes());
    file
}

#[test]
fn later_pages_of_a_tiff_are_judged() {
    let one_strip = |image: DynamicImage| {
        let small = image.resize_exact(60, 60, image::imageops::FilterType::Triangle).to_rgb8();
        encode(&DynamicImage::ImageRgb8(small), ImageFormat::Tiff)
    };
    let (shown, hidden) = (one_strip(open(SCENE)), one_strip(open(PORN)));
    let alone = scores(&hidden);
    let PictureOutcome::Judged { scores, views } = judge(&two_pages(&shown, &hidden)) else { panic!("unjudged") };
    assert_eq!(views.len(), 2);
    assert_close(scores, alone, 1e-5);
    assert_eq!(fault(&two_pages(&shown, fixture!("small_palette.tif"))), Some(PictureFault::Unsupported));
    // A chain that bites its tail.
    let mut endless = two_pages(&shown, &hidden);
    let directory = |content: &[u8]| u32::from_le_bytes(content[4..8].try_into().unwrap()) as usize;
    let (first, second) = (directory(&shown), directory(&hidden) + shown.len() + shown.len() % 2);
    let next = second + 2 + 12 * usize::from(endless[second]);
    endless[next..next + 4].copy_from_slice(&(first as u32).to_le_bytes());
    assert_eq!(view_names(judge(&endless)), ["frame 1", "frame 2"]);
}

#[test]
fn a_film_behind_a_jpeg_does_not_damage_it() {
    let jpeg = fixture!("scene_baseline.jpg");
    let followed = [jpeg, &[0x5A; 200_000]].concat();
    assert_eq!(scores(&followed), scores(jpeg));
    // White all over and followed by much is white, not broken.
    let white = encode(&DynamicImage::ImageRgb8(RgbImage::from_pixel(40, 40, Rgb([255; 3]))), ImageFormat::Jpeg);
    assert!(raster(&[white.as_slice(), &[0; 200_000]].concat()).is_ok());
    // A marker inside of a segment is none.
    let cut = &jpeg[..jpeg.len() / 2];
    let thumbnail = [&cut[..2], b"\xFF\xE1\0\x06\xFF\xD9\0\0", &cut[2..]].concat();
    assert!(raster(&thumbnail).unwrap().height < raster(jpeg).unwrap().height);
}

#[test]
fn a_damaged_picture_of_one_colour_is_judged_where_rows_decode() {
    for colour in [[0; 3], [255; 3], [200, 30, 90]] {
        let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(600, 600, Rgb(colour)));
        for format in [ImageFormat::Png, ImageFormat::Bmp] {
            let content = encode(&image, format);
            let cut = raster(&content[..content.len() * 2 / 3]).unwrap_or_else(|fault| panic!("{format:?} {colour:?} {fault:?}"));
            assert!(cut.height > 0);
        }
        let mut content = encode(&image, ImageFormat::Png);
        let data = memchr::memmem::find(&content, b"IDAT").unwrap();
        content.truncate(data + 6);
        assert_eq!(raster(&content).err(), Some(PictureFault::Broken), "nothing decodes");
    }
}

/// Frames of one palette colour each, each a patch of the screen.
fn animation(screen: (u16, u16), frames: usize, mut shape: impl FnMut(usize, &mut gif::Frame<'static>)) -> Vec<u8> {
    let mut out = Vec::new();
    let palette: Vec<u8> = (0..=255).flat_map(|value: u8| [value, 255 - value, value / 2]).collect();
    let mut encoder = gif::Encoder::new(&mut out, screen.0, screen.1, &palette).unwrap();
    for index in 0..frames {
        let mut frame = gif::Frame { width: screen.0, height: screen.1, ..gif::Frame::default() };
        shape(index, &mut frame);
        let color = (index % 250) as u8;
        frame.buffer = vec![color; usize::from(frame.width) * usize::from(frame.height)].into();
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    out
}

fn view_names(outcome: PictureOutcome) -> Vec<String> {
    match outcome {
        PictureOutcome::Judged { views, .. } => views.into_iter().map(|view| view.name).collect(),
        PictureOutcome::Unjudged { fault } => panic!("{fault:?}"),
    }
}

#[test]
fn of_ten_thousand_frames_a_few_are_judged() {
    let gif = animation((16, 16), 10_000, |_, _| {});
    assert_eq!(view_names(judge(&gif)), ["frame 1", "frame 25", "frame 50", "frame 75", "frame 100"]);
}

#[test]
fn a_single_frame_has_no_views() {
    assert!(view_names(judge(&animation((16, 16), 1, |_, _| {}))).is_empty());
    assert_eq!(view_names(judge(&animation((16, 16), 2, |_, _| {}))), ["frame 1", "frame 2"]);
}

#[test]
fn pixels_of_all_frames_are_bounded_together() {
    let gif = animation((16, 16), 50, |_, _| {});
    let limits = PictureLimits { pixels: 16 * 16 * 20, ..LIMITS };
    let outcome = classifier().judge(&gif, &limits, LONG, &mut |_| true);
    assert_eq!(view_names(outcome), ["frame 1", "frame 13"]);
}

#[test]
fn the_worst_frame_of_an_animation_counts() {
    let (hidden, shown) = (open(PORN).to_rgba8(), open(SCENE).resize_exact(64, 64, image::imageops::FilterType::Nearest).to_rgba8());
    let mut out = Vec::new();
    let mut encoder = gif::Encoder::new(&mut out, 64, 64, &[]).unwrap();
    for image in [&shown, &shown, &hidden, &shown] {
        encoder.write_frame(&gif::Frame::from_rgba_speed(64, 64, &mut image.as_raw().clone(), 1)).unwrap();
    }
    drop(encoder);
    let PictureOutcome::Judged { scores, views } = judge(&out) else { panic!("unjudged") };
    assert_eq!(views.len(), 4);
    let worst = views.iter().map(|view| view.scores.worst()).fold(0.0, f32::max);
    assert_eq!(scores.worst(), worst);
    assert_eq!(scores, views[2].scores);
}

#[test]
fn frames_are_composed_as_they_ask() {
    use gif::DisposalMethod::{Background, Keep, Previous};
    let disposals = [Keep, Previous, Background, Keep];
    let gif = animation((4, 1), 4, |index, frame| {
        frame.dispose = disposals[index];
        if index > 0 {
            // The last one hangs over the edge of the screen.
            (frame.left, frame.width) = (index as u16, 1 + index as u16 / 3);
        }
    });
    let shots = super::gif::shots(&gif, &LIMITS, super::Deadline(None), &mut Memory { reserve: &mut |_| true }).unwrap();
    let red = |shot: usize, x: usize| (shots[shot].planes[[0, 0, 0, [0, 75, 148, 223][x]]] * 255.0).round() as i32;
    assert_eq!((0..4).map(|shot| shots[shot].frame).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let near = |found: i32, expected: i32| assert!((found - expected).abs() <= 2, "{found} and {expected}");
    near(red(0, 3), 0);
    near(red(1, 1), 1);
    near(red(2, 1), 0);
    near(red(2, 2), 2);
    near(red(3, 2), 255);
    near(red(3, 3), 3);
}

#[test]
fn a_classifier_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let classifier = classifier();
    shared(&classifier);
    let judge = || classifier.judge(PORN, &LIMITS, LONG, &mut |_| true);
    let [one, two] = std::thread::scope(|scope| [scope.spawn(judge), scope.spawn(judge)].map(|thread| thread.join().unwrap()));
    assert_eq!(one, two);
    assert!(matches!(one, PictureOutcome::Judged { .. }));
}
