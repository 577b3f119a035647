//! The judgement of pictures: is one not safe for work?
//!
//! A picture is recognised by its content, decoded within its limits, reduced as nsfwjs does it and given to nsfwjs' network.
//! Whatever cannot be judged says so: no fault ends as harmless.

mod animation;
mod area;
mod decode;
mod format;
mod gif;
mod jpeg2000;
mod judging;
mod looks;
mod models;
mod network;
mod pages;
mod pixels;
mod raster;
mod scenes;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use filesafety_model::{PictureFault, PictureOutcome};

use crate::LoadError;
use format::Format;
use judging::Judging;
use models::Model;

pub(crate) use format::is_picture;
pub use models::PictureModel;
pub(crate) use models::{ModelPart, Models};
pub(crate) use pixels::{Colours, Pixels};

/// Larger pictures are not decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PictureLimits {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Width times height; of an animation also all frames that are decoded together.
    pub(crate) pixels: u64,
}

/// The image classifier, loaded once and shared by all threads.
pub(crate) struct Classifier {
    models: Vec<Model>,
}

impl Classifier {
    /// Loads the models; some 20 ms for the built-in one.
    ///
    /// # Errors
    /// [`LoadError::Model`] when the runtime does not take one.
    pub(crate) fn load(models: Models) -> Result<Self, LoadError> {
        Ok(Self { models: models.load()? })
    }

    /// Judges an even picture, so that whatever comes to be with the first judgement is there.
    pub(crate) fn warm_up(&self) {
        for model in &self.models {
            // What it says of nothing is of no interest.
            let _ = model.run(&network::Planes::zeros([1, 3, model.side(), model.side()]));
        }
    }

    /// Judges one picture on the calling thread. Alpha is laid over white, an orientation is applied, as a browser shows it. At least one
    /// outcome comes back: what was judged, and why a part of it was not.
    ///
    /// `reserve` is asked before memory is taken, several times, each time for so many bytes more; together
    /// `8 MiB + 160 × side² + file + width × height × (bytes a pixel + what the decoder works with)`, where `side` is that of the
    /// largest model; for a damaged picture, and for
    /// each page or frame beyond the first, the latter two once more; all of it is free again when this returns. Refused, the picture is
    /// `TooLarge`; so it is when `time_left` runs out before the first judgement. A single decoding is not interrupted.
    pub(crate) fn judge(
        &self,
        picture: &[u8],
        limits: &PictureLimits,
        time_left: Duration,
        reserve: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<PictureOutcome> {
        self.judge_by(time_left, reserve, &mut |memory, judging| look(picture, limits, memory, judging))
    }

    /// The same for a picture that is nothing but pixels. One without a single row shows nothing to anybody, and has no outcome.
    pub(crate) fn judge_pixels(
        &self,
        pixels: &Pixels,
        samples: &[u8],
        limits: &PictureLimits,
        time_left: Duration,
        reserve: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<PictureOutcome> {
        self.judge_by(time_left, reserve, &mut |memory, judging| {
            memory.reserve(FIXED + judging.memory())?;
            match pixels.raster(samples, limits, memory) {
                Ok(raster) => judging.picture(&raster),
                Err(PictureFault::Broken) => Ok(()),
                Err(fault @ (PictureFault::TooLarge | PictureFault::Unsupported)) => Err(fault),
            }
        })
    }

    fn judge_by(&self, time_left: Duration, reserve: &mut dyn FnMut(u64) -> bool, look: Looking<'_>) -> Vec<PictureOutcome> {
        let mut memory = Memory { reserve };
        let mut judging = Judging::new(&self.models, Deadline::after(time_left));
        // Decoders of pictures have panicked on malformed files before. A picture that makes one panic is a broken picture: it must not
        // take the scan with it. What the closure holds is dropped; what was judged before stands.
        let looked = catch_unwind(AssertUnwindSafe(|| look(&mut memory, &mut judging)));
        let fault = looked.unwrap_or(Err(PictureFault::Broken)).err();
        let judged = judging.outcome();
        // Where something was judged, a damaged rest is no news.
        let fault = fault.filter(|fault| judged.is_none() || *fault != PictureFault::Broken);
        judged.into_iter().chain(fault.map(|fault| PictureOutcome::Unjudged { fault })).collect()
    }
}

/// Decodes, and has judged what there is to see.
type Looking<'l> = &'l mut dyn FnMut(&mut Memory<'_>, &mut Judging<'_>) -> Result<(), PictureFault>;

/// Reductions of a picture, tables of the decoders; in bytes.
const FIXED: u64 = 8 << 20;

/// Decodes a picture and shows it to no model; a panic of a decoder comes through.
#[cfg(fuzzing)]
pub(crate) fn decode_only(picture: &[u8], limits: &PictureLimits, reserve: &mut dyn FnMut(u64) -> bool) {
    let _ = look(picture, limits, &mut Memory { reserve }, &mut Judging::new(&[], Deadline::after(Duration::from_secs(5))));
}

/// Decodes what there is to see, a picture at a time, and has it judged.
fn look(picture: &[u8], limits: &PictureLimits, memory: &mut Memory<'_>, judging: &mut Judging<'_>) -> Result<(), PictureFault> {
    let format = format::recognise(picture).ok_or(PictureFault::Unsupported)?;
    if format == Format::Foreign {
        return Err(PictureFault::Unsupported);
    }
    if picture.len() as u64 > limits.bytes {
        return Err(PictureFault::TooLarge);
    }
    memory.reserve(FIXED + judging.memory())?;
    match format {
        Format::Gif => gif::judge(picture, limits, memory, judging),
        Format::Png | Format::WebP => animation::judge(picture, format, limits, memory, judging),
        Format::Tiff => pages::tiff(picture, limits, memory, judging),
        Format::Jpeg2000 => judging.picture(&jpeg2000::raster(picture, limits, memory)?),
        Format::Icon => pages::icon(picture, limits, memory, judging),
        Format::Bmp | Format::Jpeg | Format::Foreign => judging.picture(&decode::still(picture, format, limits, memory)?),
    }
}

/// What the scan may still hold.
struct Memory<'a> {
    reserve: &'a mut dyn FnMut(u64) -> bool,
}

impl Memory<'_> {
    /// To be called before `bytes` more are allocated.
    fn reserve(&mut self, bytes: u64) -> Result<(), PictureFault> {
        if (self.reserve)(bytes) { Ok(()) } else { Err(PictureFault::TooLarge) }
    }
}

/// The end of the time given; `None` when it lies beyond what the clock can say.
#[derive(Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(time_left: Duration) -> Self {
        Self(Instant::now().checked_add(time_left))
    }

    fn has_passed(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}
