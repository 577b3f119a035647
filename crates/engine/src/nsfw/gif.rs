//! GIF: the frames of the animation, composed as a viewer shows them.

use std::num::NonZeroU64;

use filesafety_model::PictureFault;
use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};
use image::ColorType;
use image::metadata::Orientation;

use super::decode::check_size;
use super::judging::{Judging, Next};
use super::raster::Raster;
use super::{Memory, PictureLimits};

/// Frames beyond these are not decoded: time is bounded.
pub(super) const DECODED: usize = 1000;

/// Decodes at most [`DECODED`] frames of at most `limits.pixels` pixels together (the first in any case), and has those judged that show
/// something new.
///
/// Damaged or out of time after some frames, it ends; a frame that decodes in part is the last.
///
/// # Errors
/// `TooLarge` before any pixel is allocated, or when the memory is refused for the first frame; `Broken` when nothing decodes.
pub(super) fn judge(
    content: &[u8],
    limits: &PictureLimits,
    memory: &mut Memory<'_>,
    judging: &mut Judging<'_>,
) -> Result<(), PictureFault> {
    if is_animated(content) {
        play(content, limits, memory, &mut |frame, canvas| judging.frame(frame, canvas))
    } else {
        play(content, limits, memory, &mut |_, canvas| judging.picture(canvas).map(|()| Next::Stop))
    }
}

/// Walks the blocks without decoding them.
fn is_animated(content: &[u8]) -> bool {
    let mut options = DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut walker) = options.read_info(content) else { return false };
    (0..2).all(|_| matches!(walker.next_frame_info(), Ok(Some(_))))
}

/// Shows each frame as a viewer would.
pub(super) fn play(
    content: &[u8],
    limits: &PictureLimits,
    memory: &mut Memory<'_>,
    show: &mut dyn FnMut(usize, &Raster) -> Result<Next, PictureFault>,
) -> Result<(), PictureFault> {
    let mut animation = Animation::open(content, limits, memory)?;
    for frame in 0..DECODED {
        let next = match animation.advance(memory) {
            Ok(Step::Whole) => show(frame, &animation.canvas)?,
            Ok(Step::Partial) if frame > 0 => return show(frame, &animation.canvas).map(drop),
            Ok(Step::Partial) => {
                let rows = animation.canvas.keep_decoded_rows().ok_or(PictureFault::Broken)?;
                return show(frame, &rows).map(drop);
            }
            Ok(Step::End) if frame > 0 => Next::Stop,
            Ok(Step::End) => return Err(PictureFault::Broken),
            // What was taken so far is judged: only a first frame that does not fit leaves nothing.
            Err(_) if frame > 0 => Next::Stop,
            Err(fault) => return Err(fault),
        };
        match next {
            Next::Go => animation.dispose(),
            Next::Stop => break,
        }
    }
    Ok(())
}

/// How far one frame came.
enum Step {
    Whole,
    Partial,
    End,
}

struct Animation<'a> {
    decoder: Decoder<&'a [u8]>,
    canvas: Raster,
    /// Pixels of frames that may still be decoded.
    pixels_left: u64,
    first: bool,
    frame: Patch,
}

/// The frame decoded last: what it put where, and what goes back when it ends.
#[derive(Default)]
struct Patch {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    disposal: Disposal,
    pixels: Vec<u8>,
    before: Vec<u8>,
    reserved: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Disposal {
    #[default]
    Keep,
    Clear,
    Restore,
}

const CHANNELS: usize = 4;

impl<'a> Animation<'a> {
    fn open(content: &'a [u8], limits: &PictureLimits, memory: &mut Memory<'_>) -> Result<Self, PictureFault> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options.set_memory_limit(NonZeroU64::new(limits.bytes).map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
        let decoder = options.read_info(content).map_err(|_| PictureFault::Broken)?;
        let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
        let pixels = check_size(width, height, limits)?;
        memory.reserve(pixels * CHANNELS as u64)?;
        let bytes = usize::try_from(pixels * CHANNELS as u64).map_err(|_| PictureFault::TooLarge)?;
        let canvas = Raster { width, height, color: ColorType::Rgba8, orientation: Orientation::NoTransforms, pixels: vec![0; bytes] };
        Ok(Self { decoder, canvas, pixels_left: limits.pixels, first: true, frame: Patch::default() })
    }

    /// Draws the next frame onto the canvas.
    fn advance(&mut self, memory: &mut Memory<'_>) -> Result<Step, PictureFault> {
        let next = match self.decoder.next_frame_info() {
            Ok(Some(next)) => next,
            Ok(None) | Err(_) => return Ok(Step::End),
        };
        self.frame.left = usize::from(next.left);
        self.frame.top = usize::from(next.top);
        self.frame.width = usize::from(next.width);
        self.frame.height = usize::from(next.height);
        self.frame.disposal = match next.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => Disposal::Clear,
            DisposalMethod::Previous => Disposal::Restore,
        };
        let pixels = self.frame.width as u64 * self.frame.height as u64;
        self.pixels_left = match self.pixels_left.checked_sub(pixels) {
            Some(left) => left,
            None if self.first => return Err(PictureFault::TooLarge),
            None => return Ok(Step::End),
        };
        self.first = false;
        if pixels == 0 {
            return Ok(Step::Whole);
        }
        self.frame.make_room(pixels, memory)?;
        let whole = self.decoder.read_into_buffer(&mut self.frame.pixels).is_ok();
        self.draw();
        Ok(if whole { Step::Whole } else { Step::Partial })
    }

    /// Lays the frame over the canvas, cut to it.
    fn draw(&mut self) {
        let frame = &mut self.frame;
        let row_bytes = frame.width * CHANNELS;
        for (from, to) in
            frame.pixels.chunks_exact(row_bytes).zip(rows_mut(&mut self.canvas, frame.top, frame.left, frame.height, frame.width))
        {
            if frame.disposal == Disposal::Restore {
                frame.before.extend_from_slice(to);
            }
            for (from, to) in from.as_chunks::<CHANNELS>().0.iter().zip(to.as_chunks_mut::<CHANNELS>().0) {
                if from[3] != 0 {
                    *to = *from;
                }
            }
        }
    }

    /// Takes the frame away again, as it asks for.
    fn dispose(&mut self) {
        let frame = &mut self.frame;
        let mut before = frame.before.as_slice();
        for row in rows_mut(&mut self.canvas, frame.top, frame.left, frame.height, frame.width) {
            match frame.disposal {
                Disposal::Keep => break,
                Disposal::Clear => row.fill(0),
                Disposal::Restore => {
                    if let Some((saved, rest)) = before.split_at_checked(row.len()) {
                        row.copy_from_slice(saved);
                        before = rest;
                    }
                }
            }
        }
    }
}

impl Patch {
    /// Four bytes a pixel for the frame, as many for what it covers, one for the decoder's indices. Reserved as the largest frame needs.
    fn make_room(&mut self, pixels: u64, memory: &mut Memory<'_>) -> Result<(), PictureFault> {
        let bytes = pixels * (2 * CHANNELS as u64 + 1);
        memory.reserve(bytes.saturating_sub(self.reserved))?;
        self.reserved = self.reserved.max(bytes);
        let length = usize::try_from(pixels).ok().and_then(|pixels| pixels.checked_mul(CHANNELS)).ok_or(PictureFault::TooLarge)?;
        self.pixels.clear();
        self.pixels.resize(length, 0);
        self.before.clear();
        Ok(())
    }
}

/// The parts of the canvas' rows that lie in a rectangle, cut to the canvas.
fn rows_mut(canvas: &mut Raster, top: usize, left: usize, height: usize, width: usize) -> impl Iterator<Item = &mut [u8]> {
    let row_bytes = canvas.width as usize * CHANNELS;
    let start = (left * CHANNELS).min(row_bytes);
    let end = ((left + width) * CHANNELS).min(row_bytes);
    canvas.pixels.chunks_exact_mut(row_bytes).skip(top).take(height).filter_map(move |row| row.get_mut(start..end))
}
