//! The judgement of one file as it goes on: decoders bring pictures, one after the other, and each is gone when it has been looked at.

use std::{fmt, time::Duration};

use filesafety_model::{PictureFault, PictureOutcome, Scores, View};
use rten_tensor::Layout;

use super::Deadline;
use super::area::Part;
use super::looks::{DISAGREEMENT, NARROWEST, disagreement, is_plain, tiles};
use super::models::Model;
use super::network::{Planes, RunFault};
use super::raster::Raster;
use super::scenes::Scenes;

/// Looks at one file beyond the whole of its frames.
const FURTHER: usize = 6;
/// And at one frame of several, or at one page.
const FURTHER_OF_ONE: usize = 2;
/// Frames of one file are looked for no longer.
const FRAMES_TIME: Duration = Duration::from_secs(3);
/// More views are not told, the least unsafe left out.
const TOLD: usize = 40;

pub(super) struct Judging<'a> {
    models: &'a [Model],
    /// Of the scan.
    deadline: Deadline,
    /// Of all frames but the first.
    frames_until: Deadline,
    scenes: Scenes,
    further: usize,
    frames: usize,
    looks: Vec<Look>,
}

/// Whether a decoder is to bring more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    Stop,
}

/// One look, by one model.
struct Look {
    frame: usize,
    /// Its place among the models.
    model: usize,
    kind: Kind,
    scores: Scores,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    /// The average of all pixels, where nsfwjs takes four.
    Average,
    Tile(Part),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Average => f.write_str("average"),
            Self::Tile(Part { left, top, width, height }) => write!(f, "tile {left},{top} {width}x{height}"),
        }
    }
}

impl<'a> Judging<'a> {
    pub(super) fn new(models: &'a [Model], deadline: Deadline) -> Self {
        let frames_until = Deadline::after(FRAMES_TIME);
        Self { models, deadline, frames_until, scenes: Scenes::default(), further: FURTHER, frames: 0, looks: Vec::new() }
    }

    /// What the models take while they judge, in bytes; they do so one after the other.
    pub(super) fn memory(&self) -> u64 {
        self.models.iter().map(Model::memory).max().unwrap_or(0)
    }

    /// How many pictures were judged.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Judges the only picture of a file.
    ///
    /// # Errors
    /// `Unsupported` where a model fails, `TooLarge` where no time is left.
    pub(super) fn picture(&mut self, raster: &Raster) -> Result<(), PictureFault> {
        self.look(0, raster, self.further)
    }

    /// Judges one of several pictures, unless one that shows the same was.
    ///
    /// # Errors
    /// As [`Judging::picture`], for the first one.
    pub(super) fn frame(&mut self, index: usize, raster: &Raster) -> Result<Next, PictureFault> {
        if self.scenes.is_new(raster) {
            self.look(index, raster, FURTHER_OF_ONE.min(self.further))?;
        }
        let late = self.frames_until.has_passed() || self.deadline.has_passed();
        Ok(if self.scenes.is_full() || late { Next::Stop } else { Next::Go })
    }

    /// The whole as nsfwjs reduces it, then at most `most` further looks.
    fn look(&mut self, frame: usize, raster: &Raster, most: usize) -> Result<(), PictureFault> {
        if self.deadline.has_passed() {
            return if self.frames == 0 { Err(PictureFault::TooLarge) } else { Ok(()) };
        }
        self.frames += 1;
        let Some(side) = sides(self.models).next() else { return Ok(()) };
        let whole = raster.reduce(side);
        self.run(frame, Kind::Whole, &whole, side)?;
        for side in sides(self.models).skip(1) {
            self.run(frame, Kind::Whole, &raster.reduce(side), side)?;
        }
        for (kind, part) in further(raster, &whole, most) {
            let planes = raster.average(part, side);
            if is_plain(&planes) {
                continue;
            }
            if self.deadline.has_passed() {
                break;
            }
            self.further -= 1;
            self.run(frame, kind, &planes, side)?;
            for side in sides(self.models).skip(1) {
                self.run(frame, kind, &raster.average(part, side), side)?;
            }
        }
        Ok(())
    }

    /// What the models of this size say.
    fn run(&mut self, frame: usize, kind: Kind, planes: &Planes, side: usize) -> Result<(), PictureFault> {
        for (index, model) in self.models.iter().enumerate().filter(|(_, model)| model.side() == side) {
            let scores = model.run(planes).map_err(|RunFault| PictureFault::Unsupported)?;
            self.looks.push(Look { frame, model: index, kind, scores });
        }
        Ok(())
    }

    /// `None` where nothing was judged. The whole of the frame that the first model finds worst gives the scores; whatever else was
    /// seen is a view, the worst first.
    pub(super) fn outcome(mut self) -> Option<PictureOutcome> {
        let wholes = self.looks.iter().filter(|look| look.model == 0 && look.kind == Kind::Whole);
        let scores = wholes.map(|look| look.scores).reduce(|worst, next| if next.worst() > worst.worst() { next } else { worst })?;
        if self.looks.len() == 1 && self.looks.iter().all(|look| look.frame == 0) {
            self.looks.clear();
        }
        self.looks.sort_by(|a, b| b.scores.worst().total_cmp(&a.scores.worst()));
        let several = self.looks.iter().any(|look| look.frame > 0);
        let views = self.looks.iter().take(TOLD).map(|look| View { name: self.name(look, several), scores: look.scores }).collect();
        Some(PictureOutcome::Judged { scores, views })
    }

    fn name(&self, look: &Look, several: bool) -> String {
        let mut words = Vec::new();
        if several {
            words.push(format!("frame {}", look.frame + 1));
        }
        if !several || look.kind != Kind::Whole {
            words.push(look.kind.to_string());
        }
        if let Some(model) = self.models.get(look.model).filter(|_| look.model > 0) {
            words.push(format!("by {}", model.name()));
        }
        words.join(" ")
    }
}

/// The looks that a picture asks for beside the whole, at most `most`.
fn further(raster: &Raster, whole: &Planes, most: usize) -> Vec<(Kind, Part)> {
    let side = whole.size(2);
    let (width, height) = raster.upright_size();
    if most == 0 || width.max(height) < 2 * NARROWEST {
        return Vec::new();
    }
    let average = raster.average(raster.whole(), side);
    let mut looks = Vec::new();
    let skips_pixels = width.max(height) as usize > side;
    if skips_pixels && disagreement(whole, &average) > DISAGREEMENT {
        looks.push((Kind::Average, raster.whole()));
    }
    looks.extend(tiles(width, height, &average, most - looks.len()).into_iter().map(|part| (Kind::Tile(part), part)));
    looks
}

/// The sizes that the models take, each once.
fn sides(models: &[Model]) -> impl Iterator<Item = usize> {
    let is_first = |index: usize, side: usize| models.iter().take(index).all(|model| model.side() != side);
    models.iter().map(Model::side).enumerate().filter(move |(index, side)| is_first(*index, *side)).map(|(_, side)| side)
}
