//! Pictures inside documents.

use std::io::{Cursor, Write};

use filesafety_model::{PictureOutcome, Scores};
use image::ImageFormat;

use super::*;

const FOUND: &[u8] = include_bytes!("../../../tests/fixtures/pictures/porn_ellipse.png");

/// A document of these streams: entries of the dictionary, and data.
fn pdf(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n".to_vec();
    for (index, (entries, data)) in streams.iter().enumerate() {
        file.extend(format!("{} 0 obj\n<< {entries} /Length {} >>\nstream\n", index + 2, data.len()).bytes());
        file.extend_from_slice(data);
        file.extend(b"\nendstream\nendobj\n");
    }
    file.extend(b"trailer\n<< /Root 1 0 R >>\nstartxref\n0\n%%EOF\n");
    file
}

fn flate(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn pictures(content: &[u8]) -> Vec<(String, Scores)> {
    let engine = engine(Limits::default());
    let report = engine.worker().scan(&Input { content, name: None, types: ScanTypes::ALL, passwords: &[] }, &Unlimited).unwrap();
    assert!(hidden(&report).is_empty(), "{:?}", hidden(&report));
    let kept = report.pictures.unwrap();
    let judged = kept.kept().iter().map(|picture| match &picture.outcome {
        PictureOutcome::Judged { scores, .. } => (picture.path.clone(), *scores),
        PictureOutcome::Unjudged { fault } => panic!("{}: {fault:?}", picture.path),
    });
    judged.collect()
}

#[test]
fn pixels_of_a_pdf_are_judged_in_every_colour_space() {
    let image = image::load_from_memory(FOUND).unwrap().to_rgb8();
    let rgb = image.as_raw().clone();
    let cmyk: Vec<u8> = image.pixels().flat_map(|pixel| [255 - pixel[0], 255 - pixel[1], 255 - pixel[2], 0]).collect();
    let deep: Vec<u8> = rgb.iter().flat_map(|value| [*value, *value]).collect();
    let size = "/Subtype /Image /Width 64 /Height 64";
    for (entries, data) in [
        (format!("{size} /BitsPerComponent 8 /ColorSpace /DeviceRGB"), &rgb),
        (format!("{size} /BitsPerComponent 8 /ColorSpace [/ICCBased 9 0 R]"), &rgb),
        (format!("{size} /BitsPerComponent 8"), &rgb),
        (format!("{size} /BitsPerComponent 8 /ColorSpace /DeviceCMYK"), &cmyk),
        (format!("{size} /BitsPerComponent 16 /ColorSpace /CalRGB"), &deep),
    ] {
        for content in [pdf(&[(&entries, data)]), pdf(&[(&format!("{entries} /Filter /FlateDecode"), &flate(data))])] {
            let found = pictures(&content);
            assert_eq!(found.len(), 1, "{entries}");
            assert!(found[0].0 == "obj-2-0" && found[0].1.porn > 0.9, "{entries}: {found:?}");
        }
    }
}

#[test]
fn a_palette_longer_than_other_strings_is_read() {
    let image = image::load_from_memory(FOUND).unwrap().to_rgb8();
    let index = |pixel: &image::Rgb<u8>| (pixel[0] / 43) * 36 + (pixel[1] / 43) * 6 + pixel[2] / 43;
    let palette: String = (0..216u32).map(|at| format!("{:02x}{:02x}{:02x}", at / 36 * 51, at / 6 % 6 * 51, at % 6 * 51)).collect();
    let entries = format!("/Subtype /Image /Width 64 /Height 64 /BitsPerComponent 8 /ColorSpace [/Indexed /DeviceRGB 215 <{palette}>]");
    let found = pictures(&pdf(&[(&entries, &image.pixels().map(index).collect::<Vec<u8>>())]));
    // Of other colours, it is another picture to the model.
    let drawn = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb(image.get_pixel(x, y).0.map(|value| value / 43 * 51)));
    let mut png = Cursor::new(Vec::new());
    drawn.write_to(&mut png, ImageFormat::Png).unwrap();
    let expected = pictures(png.get_ref());
    assert!((found[0].1.porn - expected[0].1.porn).abs() < 1e-4, "{found:?} {expected:?}");
}

#[test]
fn jpeg_in_a_pdf_is_judged_and_stencils_and_ornaments_are_not() {
    let mut jpeg = Vec::new();
    let image = image::load_from_memory(FOUND).unwrap().to_rgb8();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(&image).unwrap();
    let found = pictures(&pdf(&[("/Subtype /Image /Width 64 /Height 64 /ColorSpace /DeviceRGB /Filter /DCTDecode", &jpeg)]));
    assert!(found.len() == 1 && found[0].1.porn > 0.7, "{found:?}");
    let nothing = [
        ("/Subtype /Image /ImageMask true /Width 64 /Height 64 /BitsPerComponent 1", [0x55; 512].as_slice()),
        ("/Subtype /Image /Width 8 /Height 64 /BitsPerComponent 8 /ColorSpace /DeviceGray", &[0x55; 512]),
        ("/Subtype /Form /Width 64 /Height 64", &[0x55; 512]),
        ("/Subtype /Image /Width 64 /Height 64 /BitsPerComponent 8 /ColorSpace /DeviceGray", &[0x55; 60]),
    ];
    assert_eq!(pictures(&pdf(&nothing)), []);
}
