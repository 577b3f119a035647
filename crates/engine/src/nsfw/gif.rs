//! GIF: a few frames of the animation, composed as a viewer shows them.

use std::num::NonZeroU64;

use filesafety_model::PictureFault;
use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};
use image::ColorType;
use image::metadata::Orientation;

use super::decode::check_size;
use super::network::Planes;
use super::raster::Raster;
use super::{Deadline, Memory, PictureLimits};

/// Frames beyond these are not decoded: an animation has the same things in it for many frames, and time is bounded.
pub(super) const DECODED: usize = 100;
/// As many frames, evenly spread over those decoded, are judged.
pub(super) const JUDGED: usize = 5;

/// A frame to be judged; the first has the index 0.
pub(super) struct Shot {
    pub(super) frame: usize,
    pub(super) planes: Planes,
}

/// Decodes at most [`DECODED`] frames of at most `limits.pixels` pixels together (the first in any case), and gives up to [`JUDGED`] of them.
///
/// Damaged or out of time after some frames, it gives what it has; a frame that decodes in part is the last.
///
/// # Errors
/// `TooLarge` before any pixel is allocated, or when the memory is refused for the first frame; `Broken` when nothing decodes.
pub(super) fn shots(
    content: &[u8],
    limits: &PictureLimits,
    deadline: Deadline,
    memory: &mut Memory<'_>,
) -> Result<Vec<Shot>, PictureFault> {
    let wanted = spread(count_frames(content));
    let mut animation = Animation::open(content, limits, memory)?;
    let mut shots: Vec<Shot> = Vec::new();
    for frame in 0..DECODED {
        if wanted.last().is_none_or(|last| frame > *last) || (frame > 0 && deadline.has_passed()) {
            break;
        }
        match animation.advance(memory) {
            Ok(Step::Whole) if wanted.contains(&frame) => shots.push(Shot { frame, planes: animation.canvas.reduce() }),
            Ok(Step::Whole) => {}
            Ok(Step::Partial) => {
                let planes = if frame == 0 { animation.decoded_rows() } else { Some(animation.canvas.reduce()) };
                shots.extend(planes.map(|planes| Shot { frame, planes }));
                break;
            }
            Ok(Step::End) => break,
            // What was taken so far is judged: only a first frame that does not fit leaves nothing.
            Err(_) if !shots.is_empty() => break,
            Err(fault) => return Err(fault),
        }
        animation.dispose();
    }
    if shots.is_empty() { Err(PictureFault::Broken) } else { Ok(shots) }
}

/// Frames, up to [`DECODED`], by walking the blocks without decoding them. One without its end counts.
fn count_frames(content: &[u8]) -> usize {
    let mut options = DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut walker) = options.read_info(content) else { return 0 };
    let mut count = 0;
    while count < DECODED && matches!(walker.next_frame_info(), Ok(Some(_))) {
        count += 1;
    }
    count
}

/// The indices to be judged of `count` frames: the first, the last, and some between.
pub(super) fn spread(count: usize) -> Vec<usize> {
    let Some(last) = count.checked_sub(1) else { return Vec::new() };
    let mut indices: Vec<usize> = (0..JUDGED).map(|step| step * last / (JUDGED - 1)).collect();
    indices.dedup();
    indices
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

    fn decoded_rows(self) -> Option<Planes> {
        self.canvas.keep_decoded_rows().map(|raster| raster.reduce())
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

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn judged_frames_are_spread() {
        assert_eq!(spread(0), [] as [usize; 0]);
        assert_eq!(spread(1), [0]);
        assert_eq!(spread(2), [0, 1]);
        assert_eq!(spread(5), [0, 1, 2, 3, 4]);
        assert_eq!(spread(100), [0, 24, 49, 74, 99]);
    }
}
