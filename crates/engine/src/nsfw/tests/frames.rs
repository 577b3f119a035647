//! Files with several pictures: animations, pages.

use super::*;
use crate::nsfw::judging::Next;

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
pub(super) fn animated_png(images: &[DynamicImage], counts: bool) -> Vec<u8> {
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

pub(super) fn animated_webp(images: &[DynamicImage]) -> Vec<u8> {
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
        // The second and the fourth show what the first does. The worst stands first.
        assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["frame 3", "frame 1"]);
        assert_eq!(scores, views[0].scores);
        assert!((scores.worst() - alone).abs() < 0.01);
        // Its end is missing: judged on what decodes.
        assert!(matches!(judge(&content[..content.len() - 40]), PictureOutcome::Judged { .. }));
    }
    // The only frame is not the picture that stands for it.
    let PictureOutcome::Judged { scores, views } = judge(&animated_png(&[shown.clone(), hidden], false)) else { panic!("unjudged") };
    assert!(views.len() == 2 && scores == views[0].scores);
}

#[test]
fn pixels_of_all_frames_of_an_animated_png_or_webp_are_bounded_together() {
    let side = |image: DynamicImage| DynamicImage::ImageRgb8(image.resize_exact(64, 64, image::imageops::FilterType::Nearest).to_rgb8());
    let (shown, hidden) = (side(open(SCENE)), side(open(PORN)));
    for (place, found) in [(19, vec!["frame 20", "frame 1"]), (20, vec![])] {
        let mut images = vec![shown.clone(); 40];
        images[place] = hidden.clone();
        let limits = PictureLimits { pixels: 64 * 64 * 20, ..LIMITS };
        for content in [animated_png(&images, true), animated_webp(&images)] {
            assert_eq!(view_names(classifier().judge_within(&content, &limits, LONG, &mut |_| true)), found);
        }
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
    // What was seen of the first counts all the same.
    let half_seen = classifier().judge_all(&two_pages(&hidden, fixture!("small_palette.tif")));
    assert_eq!(half_seen.len(), 2);
    assert!(matches!(&half_seen[0], PictureOutcome::Judged { scores, .. } if scores.porn > 0.7), "{half_seen:?}");
    assert_eq!(half_seen[1], PictureOutcome::Unjudged { fault: PictureFault::Unsupported });
    // A chain that bites its tail.
    let mut endless = two_pages(&shown, &hidden);
    let directory = |content: &[u8]| u32::from_le_bytes(content[4..8].try_into().unwrap()) as usize;
    let (first, second) = (directory(&shown), directory(&hidden) + shown.len() + shown.len() % 2);
    let next = second + 2 + 12 * usize::from(endless[second]);
    endless[next..next + 4].copy_from_slice(&(first as u32).to_le_bytes());
    assert_eq!(view_names(judge(&endless)), ["frame 2", "frame 1"]);
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

/// Of these names, each once and in order.
fn numbers(mut names: Vec<String>) -> Vec<usize> {
    names.retain(|name| name.starts_with("frame "));
    let mut numbers: Vec<usize> = names.iter().filter_map(|name| name["frame ".len()..].parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn of_ten_thousand_frames_those_are_judged_that_show_something_new() {
    // The colour changes little by little, and then from the start.
    let found = numbers(view_names(judge(&animation((16, 16), 10_000, |_, _| {}))));
    assert!(found.len() > 5 && found.len() <= 32, "{found:?}");
    assert!(found[0] == 1 && *found.last().unwrap() <= 250, "{found:?}");
}

#[test]
fn frames_that_show_the_same_are_judged_once() {
    assert!(view_names(judge(&animation((16, 16), 1, |_, _| {}))).is_empty());
    // One step of the palette is no scene.
    assert!(view_names(judge(&animation((16, 16), 2, |_, _| {}))).is_empty());
}

#[test]
fn pixels_of_all_frames_are_bounded_together() {
    let gif = animation((16, 16), 250, |_, _| {});
    let limits = PictureLimits { pixels: 16 * 16 * 20, ..LIMITS };
    let outcome = classifier().judge_within(&gif, &limits, LONG, &mut |_| true);
    let found = numbers(view_names(outcome));
    assert!(found.iter().all(|frame| *frame <= 20) && found.len() > 1, "{found:?}");
}

#[test]
fn a_frame_far_behind_is_found() {
    let (hidden, shown) = (open(PORN).to_rgba8(), open(SCENE).resize_exact(64, 64, image::imageops::FilterType::Nearest).to_rgba8());
    let mut out = Vec::new();
    let mut encoder = gif::Encoder::new(&mut out, 64, 64, &[]).unwrap();
    for index in 0..60 {
        let image = if index == 57 { &hidden } else { &shown };
        encoder.write_frame(&gif::Frame::from_rgba_speed(64, 64, &mut image.as_raw().clone(), 30)).unwrap();
    }
    drop(encoder);
    let PictureOutcome::Judged { scores, views } = judge(&out) else { panic!("unjudged") };
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["frame 58", "frame 1"]);
    assert_eq!(scores, views[0].scores);
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
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["frame 3", "frame 1"]);
    assert_eq!(scores, views[0].scores);
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
    let mut shots = Vec::new();
    let mut show = |frame: usize, canvas: &Raster| {
        assert_eq!(frame, shots.len());
        shots.push(canvas.reduce(SIDE));
        Ok(Next::Go)
    };
    crate::nsfw::gif::play(&gif, &LIMITS, &mut Memory { reserve: &mut |_| true }, &mut show).unwrap();
    let red = |shot: usize, x: usize| (shots[shot][[0, 0, 0, [0, 75, 148, 223][x]]] * 255.0).round() as i32;
    assert_eq!(shots.len(), 4);
    let near = |found: i32, expected: i32| assert!((found - expected).abs() <= 2, "{found} and {expected}");
    near(red(0, 3), 0);
    near(red(1, 1), 1);
    near(red(2, 1), 0);
    near(red(2, 2), 2);
    near(red(3, 2), 255);
    near(red(3, 3), 3);
}
