//! When a frame of an animation shows something that no judged one does.

use super::network::Planes;
use super::raster::Raster;

/// More frames of one file are not judged.
pub(super) const JUDGED: usize = 32;

/// Frames that differ less from one that was judged show the same; 0 to 1, see [`Glance::difference`].
const DIFFERENCE: f32 = 0.05;

/// The frames that were judged, as they look from afar.
#[derive(Default)]
pub(super) struct Scenes {
    seen: Vec<Glance>,
}

impl Scenes {
    /// Whether the frame is to be judged; from then on it counts as seen. The fuller the list, the more a frame must differ.
    pub(super) fn is_new(&mut self, frame: &Raster) -> bool {
        let least = match self.seen.len() {
            0..16 => DIFFERENCE,
            16..24 => 2.0 * DIFFERENCE,
            24..JUDGED => 4.0 * DIFFERENCE,
            _ => return false,
        };
        let glance = Glance::of(frame);
        let new = self.seen.iter().all(|seen| seen.difference(&glance) >= least);
        if new {
            self.seen.push(glance);
        }
        new
    }

    /// Whether no further frame can be new.
    pub(super) fn is_full(&self) -> bool {
        self.seen.len() >= JUDGED
    }
}

/// A frame in 16 by 16 cells: of each its colour, and how much happens inside. Without the latter a blurred frame could stand for the
/// sharp one that follows it.
struct Glance(Vec<[f32; 4]>);

impl Glance {
    const CELLS: usize = 16;
    /// Values along a side of a cell.
    const FINER: usize = 4;

    fn of(frame: &Raster) -> Self {
        let planes: Planes = frame.average(frame.whole(), Self::CELLS * Self::FINER);
        let cell = |at: usize| {
            let (left, top) = (at % Self::CELLS * Self::FINER, at / Self::CELLS * Self::FINER);
            let values = (0..Self::FINER * Self::FINER).map(|at| (left + at % Self::FINER, top + at / Self::FINER));
            let (mut sum, mut squares) = ([0f32; 3], 0f32);
            for (x, y) in values {
                let colour = [0, 1, 2].map(|channel| planes[[0, channel, y, x]]);
                let light = colour.iter().sum::<f32>() / 3.0;
                squares += light * light;
                for (sum, value) in sum.iter_mut().zip(colour) {
                    *sum += value;
                }
            }
            let count = (Self::FINER * Self::FINER) as f32;
            let [red, green, blue] = sum.map(|sum| sum / count);
            let light = (red + green + blue) / 3.0;
            [red, green, blue, (squares / count - light * light).max(0.0).sqrt()]
        };
        Self((0..Self::CELLS * Self::CELLS).map(cell).collect())
    }

    /// The mean difference over the quarter of the cells that differ most.
    fn difference(&self, other: &Self) -> f32 {
        let of_cell = |(one, other): (&[f32; 4], &[f32; 4])| {
            let colour = one.iter().zip(other).take(3).map(|(a, b)| (a - b).abs()).sum::<f32>() / 3.0;
            colour.max(2.0 * (one[3] - other[3]).abs())
        };
        let mut cells: Vec<f32> = self.0.iter().zip(&other.0).map(of_cell).collect();
        cells.sort_by(|a, b| b.total_cmp(a));
        let worst = cells.len() / 4;
        cells.iter().take(worst).sum::<f32>() / worst.max(1) as f32
    }
}
