use std::io::Cursor;
use std::time::Duration;

use filesafety_model::{PictureFault, PictureOutcome, Scores};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use rten_tensor::AsView;

use super::decode::still;
use super::format::{Format, recognise};
use super::judging::Judging;
use super::network::SIDE;
use super::raster::Raster;
use super::{Classifier, Deadline, Memory, Models, PictureLimits};

const LIMITS: PictureLimits = PictureLimits { bytes: 32 << 20, pixels: 120_000_000 };
const LONG: Duration = Duration::from_secs(3600);

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pictures/", $name)).as_slice()
    };
}

mod frames;
mod hostile;
mod views;

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
    Classifier::load(Models::read(&[]).unwrap()).unwrap()
}

impl Classifier {
    fn judge_all(&self, picture: &[u8]) -> Vec<PictureOutcome> {
        self.judge(picture, &LIMITS, LONG, &mut |_| true)
    }

    /// The first outcome.
    fn judge_within(&self, picture: &[u8], limits: &PictureLimits, time: Duration, reserve: &mut dyn FnMut(u64) -> bool) -> PictureOutcome {
        self.judge(picture, limits, time, reserve).into_iter().next().unwrap()
    }
}

fn judge(picture: &[u8]) -> PictureOutcome {
    classifier().judge_within(picture, &LIMITS, LONG, &mut |_| true)
}

fn scores(picture: &[u8]) -> Scores {
    match judge(picture) {
        PictureOutcome::Judged { scores, .. } => scores,
        PictureOutcome::Unjudged { fault } => panic!("{fault:?}"),
    }
}

fn fault(picture: &[u8]) -> Option<PictureFault> {
    classifier().judge_all(picture).into_iter().find_map(|outcome| match outcome {
        PictureOutcome::Judged { .. } => None,
        PictureOutcome::Unjudged { fault } => Some(fault),
    })
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

/// How many frames decode and differ; no network.
fn frames(picture: &[u8]) -> Result<usize, PictureFault> {
    let limits = PictureLimits { pixels: 1_000_000, ..LIMITS };
    let mut judging = Judging::new(&[], Deadline(None));
    super::look(picture, &limits, &mut Memory { reserve: &mut |_| true }, &mut judging).map(|()| judging.frames())
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
        let outcome = classifier.judge_within(&bomb, &LIMITS, LONG, &mut |bytes| {
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
        classifier.judge_within(picture, &LIMITS, LONG, &mut |_| {
            steps += 1;
            true
        });
        for refused in 0..steps {
            let mut step = 0;
            let outcome = classifier.judge_within(picture, &LIMITS, LONG, &mut |_| {
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
        let judged = |limits| matches!(classifier.judge_within(picture, &limits, LONG, &mut |_| true), PictureOutcome::Judged { .. });
        assert_eq!((judged(few_bytes), judged(few_pixels), judged(enough)), (false, false, true));
        let late = classifier.judge_within(picture, &LIMITS, Duration::ZERO, &mut |_| true);
        assert_eq!(late, PictureOutcome::Unjudged { fault: PictureFault::TooLarge });
    }
}

#[test]
fn what_is_recognised_but_not_decoded_is_unsupported() {
    assert_eq!(fault(b"8BPS\0\x01\0\0"), Some(PictureFault::Unsupported));
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
    let expected = raster(SCENE).unwrap().reduce(SIDE);
    let expected: Vec<f32> = expected.iter().copied().collect();
    for picture in SCENES.into_iter().filter(|picture| !matches!(recognise(picture), Some(Format::Gif | Format::Tiff))) {
        let found = raster(picture).unwrap().reduce(SIDE);
        let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum::<f32>() / expected.len() as f32;
        // The bitmap has sixteen colours.
        assert!(difference < 0.08, "{:?} {difference}", recognise(picture));
    }
}

#[test]
fn jpeg_2000_is_judged_and_bounded() {
    let (classifier, lossless) = (classifier(), fixture!("scene_lossless.jp2"));
    assert_close(scores(lossless), scores(SCENE), 1e-4);
    let planes = |raster: Raster| raster.reduce(SIDE).iter().copied().collect::<Vec<f32>>();
    let decoded = |content: &[u8]| super::jpeg2000::raster(content, &LIMITS, &mut Memory { reserve: &mut |_| true });
    let expected = planes(raster(SCENE).unwrap());
    let found = planes(decoded(fixture!("scene_lossy.j2k")).unwrap());
    assert!(found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum::<f32>() / (expected.len() as f32) < 0.05);
    for content in [lossless, fixture!("scene_lossy.j2k")] {
        for end in (0..content.len()).step_by(7) {
            if recognise(&content[..end]).is_some() {
                assert!(matches!(frames(&content[..end]), Ok(1) | Err(PictureFault::Broken | PictureFault::Unsupported)), "{end}");
            }
            let mut damaged = content.to_vec();
            damaged[end] ^= 0x55;
            if recognise(&damaged).is_some() {
                let _ = frames(&damaged);
            }
        }
        // The size stands behind the marker and its length and capabilities.
        let mut bomb = content.to_vec();
        let size = memchr::memmem::find(&bomb, b"\xFF\x51").unwrap() + 6;
        bomb[size..size + 8].copy_from_slice(&[0, 0, 0xC3, 0x50, 0, 0, 0xC3, 0x50]);
        let mut reserved = 0;
        let outcome = classifier.judge_within(&bomb, &LIMITS, LONG, &mut |bytes| {
            reserved += bytes;
            true
        });
        assert!(matches!(outcome, PictureOutcome::Unjudged { .. }) && reserved < 24 << 20, "{outcome:?} {reserved}");
    }
}

#[test]
fn transparent_is_white() {
    let clear = RgbaImage::from_pixel(20, 10, Rgba([0, 0, 0, 0]));
    let half = RgbaImage::from_pixel(20, 10, Rgba([0, 0, 0, 51]));
    for (image, value) in [(clear, 1.0), (half, 0.8)] {
        let content = encode(&DynamicImage::ImageRgba8(image), ImageFormat::Png);
        assert!(raster(&content).unwrap().reduce(SIDE).iter().all(|found| (found - value).abs() < 1e-6));
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
        let expected = plain(&turned.to_rgb8(), Orientation::NoTransforms).reduce(SIDE);
        let found = plain(&upright, orientation).reduce(SIDE);
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
    let planes = raster(&encode(&DynamicImage::ImageRgb8(image), ImageFormat::Png)).unwrap().reduce(SIDE);
    for x in 0..224 {
        let expected = x as f32 / 223.0;
        assert!((planes[[0, 0, 100, x]] - expected).abs() < 1e-6);
        assert!((planes[[0, 2, 7, x]] - (1.0 - expected)).abs() < 1e-6);
    }
    let exact = RgbImage::from_fn(224, 224, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let planes = raster(&encode(&DynamicImage::ImageRgb8(exact), ImageFormat::Png)).unwrap().reduce(SIDE);
    assert!((0..224).all(|at| planes[[0, 0, 223 - at, at]] == at as f32 / 255.0 && planes[[0, 1, at, 3]] == at as f32 / 255.0));
}

fn view_names(outcome: PictureOutcome) -> Vec<String> {
    match outcome {
        PictureOutcome::Judged { views, .. } => views.into_iter().map(|view| view.name).collect(),
        PictureOutcome::Unjudged { fault } => panic!("{fault:?}"),
    }
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

#[test]
fn a_classifier_is_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let classifier = classifier();
    shared(&classifier);
    let judge = || classifier.judge_within(PORN, &LIMITS, LONG, &mut |_| true);
    let [one, two] = std::thread::scope(|scope| [scope.spawn(judge), scope.spawn(judge)].map(|thread| thread.join().unwrap()));
    assert_eq!(one, two);
    assert!(matches!(one, PictureOutcome::Judged { .. }));
}
