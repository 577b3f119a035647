//! The judgement of pictures: is one not safe for work?
//!
//! A picture is recognised by its content, decoded within its limits, reduced as nsfwjs does it and given to nsfwjs' network.
//! Whatever cannot be judged says so: no fault ends as harmless.

mod animation;
mod decode;
mod format;
mod gif;
mod network;
mod pages;
mod raster;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use filesafety_model::{PictureFault, PictureOutcome, View};
use sha2::{Digest, Sha256};

use crate::LoadError;
use format::Format;
use gif::Shot;
use network::Network;

pub(crate) use format::is_picture;

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
    network: Network,
}

impl Classifier {
    /// Reads the model embedded in the binary; some 20 ms.
    ///
    /// # Errors
    /// [`LoadError::Model`] when the runtime does not take it.
    pub(crate) fn load() -> Result<Self, LoadError> {
        Ok(Self { network: Network::load()? })
    }

    /// Changes whenever the same picture might be judged differently.
    pub(crate) fn fingerprint() -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"judgement 2\0");
        hash.update(network::MODEL);
        hash.finalize().into()
    }

    /// Judges an even picture, so that whatever comes to be with the first judgement is there.
    pub(crate) fn warm_up(&self) {
        // What it says of nothing is of no interest.
        let _ = self.network.run(&network::Planes::zeros([1, 3, network::SIDE, network::SIDE]));
    }

    /// Judges one picture on the calling thread. Alpha is laid over white, an orientation is applied, as a browser shows it.
    ///
    /// `reserve` is asked before memory is taken, several times, each time for so many bytes more; together
    /// `8 MiB + file + width × height × (bytes a pixel + what the decoder works with)`, for a damaged picture, and for each page or frame beyond the first, once more; all of it is free
    /// again when this returns. Refused, the picture is `TooLarge`; so it is when `time_left` runs out before the first judgement. A single
    /// decoding is not interrupted.
    pub(crate) fn judge(
        &self,
        picture: &[u8],
        limits: &PictureLimits,
        time_left: Duration,
        reserve: &mut dyn FnMut(u64) -> bool,
    ) -> PictureOutcome {
        let deadline = Deadline::after(time_left);
        let mut memory = Memory { reserve };
        // Decoders of pictures have panicked on malformed files before. A picture that makes one panic is a broken picture: it must not
        // take the scan with it. What the closure holds is dropped; nothing half-changed survives.
        let shots = catch_unwind(AssertUnwindSafe(|| shots(picture, limits, deadline, &mut memory)));
        match shots.unwrap_or(Err(PictureFault::Broken)) {
            Ok(shots) => self.judge_shots(&shots, deadline),
            Err(fault) => PictureOutcome::Unjudged { fault },
        }
    }

    /// The worst frame counts.
    fn judge_shots(&self, shots: &[Shot], deadline: Deadline) -> PictureOutcome {
        let mut views: Vec<View> = Vec::with_capacity(shots.len());
        for shot in shots {
            if deadline.has_passed() {
                break;
            }
            match self.network.run(&shot.planes) {
                Ok(scores) => views.push(View { name: format!("frame {}", shot.frame + 1), scores }),
                Err(network::RunFault) => return PictureOutcome::Unjudged { fault: PictureFault::Unsupported },
            }
        }
        let Some(scores) = views.iter().map(|view| view.scores).max_by(|a, b| a.worst().total_cmp(&b.worst())) else {
            return PictureOutcome::Unjudged { fault: PictureFault::TooLarge };
        };
        if shots.len() == 1 {
            views.clear();
        }
        PictureOutcome::Judged { scores, views }
    }
}

/// Decodes a picture and drops the pixels; a panic of a decoder comes through.
#[cfg(fuzzing)]
pub(crate) fn decode_only(picture: &[u8], limits: &PictureLimits, reserve: &mut dyn FnMut(u64) -> bool) {
    let _ = shots(picture, limits, Deadline::after(Duration::from_secs(5)), &mut Memory { reserve });
}

/// Decodes and reduces; the pixels are gone when this returns.
fn shots(picture: &[u8], limits: &PictureLimits, deadline: Deadline, memory: &mut Memory<'_>) -> Result<Vec<Shot>, PictureFault> {
    /// The reduced frames, the network's layers, tables of the decoders.
    const FIXED: u64 = 8 << 20;

    let format = format::recognise(picture).ok_or(PictureFault::Unsupported)?;
    if format == Format::Foreign {
        return Err(PictureFault::Unsupported);
    }
    if picture.len() as u64 > limits.bytes {
        return Err(PictureFault::TooLarge);
    }
    memory.reserve(FIXED)?;
    match format {
        Format::Gif => gif::shots(picture, limits, deadline, memory),
        Format::Png | Format::WebP => animation::shots(picture, format, limits, deadline, memory),
        Format::Tiff => pages::tiff(picture, limits, deadline, memory),
        Format::Icon => pages::icon(picture, limits, deadline, memory),
        Format::Bmp | Format::Jpeg | Format::Foreign => {
            let planes = decode::still(picture, format, limits, memory)?.reduce();
            Ok(vec![Shot { frame: 0, planes }])
        }
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
