//! Pictures: harmless ones drawn here, and the abstract ellipses that the classifier takes for what they are not.

use std::io::Cursor;

use flate2::{Compress, Compression, FlushCompress};
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{Delay, Frame, ImageFormat, Rgb, RgbImage, RgbaImage};

pub(crate) const PORN: &[u8] = include_bytes!("../fixtures/porn_ellipse.png");
pub(crate) const HENTAI: &[u8] = include_bytes!("../fixtures/hentai_ellipse.png");
pub(crate) const SEXY: &[u8] = include_bytes!("../fixtures/sexy_ellipse.png");
pub(crate) const SEXY_NOISE: &[u8] = include_bytes!("../fixtures/sexy_noise.png");

/// A sky over a field.
pub(crate) fn landscape(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let ripple = u8::try_from((x * 7 + y * 3) % 16).expect("under 16");
        if y * 2 < height { Rgb([110 + ripple, 170 + ripple, 230]) } else { Rgb([60 + ripple, 140 + ripple, 60]) }
    })
}

pub(crate) fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("memory");
    bytes.into_inner()
}

pub(crate) fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(picture).expect("memory");
    bytes
}

/// A GIF of so many small frames.
pub(crate) fn gif(frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
        for number in 0..frames {
            let shade = u8::try_from(number % 200).expect("under 200");
            let picture = RgbaImage::from_pixel(8, 8, image::Rgba([shade, 200 - shade, 120, 255]));
            encoder.encode_frame(Frame::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(100, 1))).expect("memory");
        }
    }
    bytes
}

/// A whole and valid PNG of this size, black and white, all black.
pub(crate) fn black_png(width: u32, height: u32) -> Vec<u8> {
    let row = width.div_ceil(8) as u64 + 1;
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[1, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &zlib_zeros(row * u64::from(height)));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    let start = file.len() + 4;
    file.extend_from_slice(&u32::try_from(content.len()).expect("a chunk under 4 GiB").to_be_bytes());
    file.extend_from_slice(kind);
    file.extend_from_slice(content);
    let crc = crc32fast::hash(&file[start..]);
    file.extend_from_slice(&crc.to_be_bytes());
}

fn zlib_zeros(count: u64) -> Vec<u8> {
    let block = vec![0; 1 << 20];
    let mut once = Vec::with_capacity(1 << 16);
    Compress::new(Compression::best(), false).compress_vec(&block, &mut once, FlushCompress::Full).expect("room for the block");
    let rest = usize::try_from(count % (1 << 20)).expect("under 1 MiB");
    let mut last = Vec::with_capacity(1 << 16);
    Compress::new(Compression::best(), false).compress_vec(&block[..rest], &mut last, FlushCompress::Finish).expect("room for the block");
    let mut bytes = b"\x78\xda".to_vec();
    for _ in 0..count >> 20 {
        bytes.extend_from_slice(&once);
    }
    bytes.extend_from_slice(&last);
    // Adler-32 of zeros: the low half stays 1, the high half counts them.
    let sum = ((count % 65_521) << 16) | 1;
    bytes.extend_from_slice(&u32::try_from(sum).expect("two halves of 16 bits").to_be_bytes());
    bytes
}
