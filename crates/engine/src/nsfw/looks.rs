//! Which further looks a picture asks for, besides the whole of it as nsfwjs reduces it: the average of all its pixels, where that shows
//! something else, and tiles, where one square cannot do a shape justice.

use rten_tensor::{AsView, Layout};

use super::area::Part;
use super::network::Planes;

/// Tiles are no narrower, in pixels of the picture: less shows nothing.
pub(super) const NARROWEST: u32 = 48;

/// From this proportion of its sides on, a picture is judged in tiles.
const LONG: u32 = 2;

/// Two reductions of one picture show something else from here on; see [`disagreement`].
pub(super) const DISAGREEMENT: f32 = 0.08;

/// How much two reductions differ, 0 to 1: the mean difference of the averages of blocks (a 32nd of a side), over the sixteenth of the
/// picture in which they differ most.
///
/// Averages of blocks, since fine texture differs in single values and is the same picture all the same; the worst part, since it is
/// enough to hide something in one.
pub(super) fn disagreement(one: &Planes, other: &Planes) -> f32 {
    const BLOCKS: usize = 32;
    /// Blocks along a side of a cell.
    const CELL: usize = 4;
    const CELLS: usize = BLOCKS / CELL;
    let side = one.size(2);
    let mut blocks = vec![[0f32; 3]; BLOCKS * BLOCKS];
    let mut counts = vec![0f32; BLOCKS * BLOCKS];
    for y in 0..side {
        for x in 0..side {
            let at = y * BLOCKS / side * BLOCKS + x * BLOCKS / side;
            counts[at] += 1.0;
            for channel in 0..3 {
                blocks[at][channel] += one[[0, channel, y, x]] - other[[0, channel, y, x]];
            }
        }
    }
    let mut cells = vec![0f32; CELLS * CELLS];
    for (at, (block, count)) in blocks.iter().zip(&counts).enumerate() {
        let difference = block.iter().map(|sum| sum.abs()).sum::<f32>() / (3.0 * count.max(1.0));
        cells[at / BLOCKS / CELL * CELLS + at % BLOCKS / CELL] += difference / (CELL * CELL) as f32;
    }
    cells.sort_by(|a, b| b.total_cmp(a));
    let worst = CELLS * CELLS / 16;
    cells.iter().take(worst).sum::<f32>() / worst as f32
}

/// The tiles of a picture of this size, at most `most` of them, which together cover it; none where its shape does not ask for them.
/// `shown` is the whole picture reduced: seams that run all through it make it a collage.
pub(super) fn tiles(width: u32, height: u32, shown: &Planes, most: usize) -> Vec<Part> {
    let strips = strips(width, height, most);
    if strips.is_empty() { collage(width, height, shown, most) } else { strips }
}

/// Whether there is nothing to be seen: one colour, or nearly.
pub(super) fn is_plain(planes: &Planes) -> bool {
    const NEARLY: f32 = 0.03;
    (0..3).all(|channel| {
        let values = planes.slice((0, channel));
        let (low, high) = values.iter().fold((1f32, 0f32), |(low, high), value| (low.min(*value), high.max(*value)));
        high - low < NEARLY
    })
}

/// Squares along a long picture, which overlap where they must; longer than squares where those would be too many.
fn strips(width: u32, height: u32, most: usize) -> Vec<Part> {
    let (long, short) = (width.max(height), width.min(height));
    if short < NARROWEST || long / short < LONG || most < 2 {
        return Vec::new();
    }
    let count = long.div_ceil(short).min(u32::try_from(most).unwrap_or(u32::MAX));
    let length = short.max(long.div_ceil(count));
    let start = |index: u32| (u64::from(long - length) * u64::from(index) / u64::from(count - 1)) as u32;
    let part = |start: u32| {
        if width > height {
            Part { left: start, top: 0, width: length, height }
        } else {
            Part { left: 0, top: start, width, height: length }
        }
    };
    (0..count).map(|index| part(start(index))).collect()
}

/// The pictures of a collage. Where there are more than `most`, those with the faintest seams between them are taken together.
fn collage(width: u32, height: u32, shown: &Planes, most: usize) -> Vec<Part> {
    let side = shown.size(2);
    let mut seams = [seams(shown, Axis::Across), seams(shown, Axis::Down)];
    loop {
        let [columns, rows] = [(&seams[0], width), (&seams[1], height)].map(|(seams, length)| ranges(seams, side, length));
        let count = columns.len() * rows.len();
        if count <= 1 {
            return Vec::new();
        }
        if count <= most {
            let row = |&(top, height): &(u32, u32)| columns.iter().map(move |&(left, width)| Part { left, top, width, height });
            return rows.iter().flat_map(row).collect();
        }
        let faintest = |seams: &Vec<Seam>| seams.iter().map(|seam| seam.strength).fold(f32::INFINITY, f32::min);
        let axis = usize::from(faintest(&seams[1]) < faintest(&seams[0]));
        let least = faintest(&seams[axis]);
        seams[axis].retain(|seam| seam.strength > least);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    Across,
    Down,
}

/// A line at which nearly all pixels change.
struct Seam {
    /// Before this value of the reduction.
    at: usize,
    /// The share of its pixels that change.
    strength: f32,
}

/// Lines right through the picture, along `axis`, at which it changes at once and nearly all over, and more than around them.
fn seams(shown: &Planes, axis: Axis) -> Vec<Seam> {
    /// A pixel changes by so much in one of its colours.
    const CHANGE: f32 = 0.1;
    /// Of the pixels along the line, so many change.
    const NEARLY_ALL: f32 = 0.75;
    /// Further from it than this, no more than half as many do.
    const NEAR: usize = 4;
    let side = shown.size(2);
    let value = |channel: usize, along: usize, at: usize| match axis {
        Axis::Across => shown[[0, channel, along, at]],
        Axis::Down => shown[[0, channel, at, along]],
    };
    // The reduction spreads an edge over two values.
    let changes = |at: usize, along: usize| {
        (0..3).any(|channel| (value(channel, along, (at + 1).min(side - 1)) - value(channel, along, at - 1)).abs() > CHANGE)
    };
    let share = |at: usize| (0..side).filter(|along| changes(at, *along)).count() as f32 / side as f32;
    let shares: Vec<f32> = std::iter::once(0.0).chain((1..side).map(share)).collect();
    let around = |at: usize| {
        let far = (NEAR..=2 * NEAR).flat_map(|step| [at.checked_sub(step), Some(at + step)]);
        let far: Vec<f32> = far.filter_map(|at| shares.get(at?).copied()).collect();
        far.iter().sum::<f32>() / far.len().max(1) as f32
    };
    let mut seams: Vec<Seam> = Vec::new();
    for (at, &strength) in shares.iter().enumerate() {
        if strength < NEARLY_ALL || around(at) > strength / 2.0 {
            continue;
        }
        match seams.last_mut() {
            Some(seam) if at - seam.at < NEAR => {
                if strength >= seam.strength {
                    *seam = Seam { at, strength };
                }
            }
            _ => seams.push(Seam { at, strength }),
        }
    }
    seams
}

/// Start and length, in pixels of the picture, of what lies between seams; narrow ranges are borders between pictures.
fn ranges(seams: &[Seam], side: usize, length: u32) -> Vec<(u32, u32)> {
    /// Of a side.
    const NARROW: usize = 8;
    let ends = seams.iter().map(|seam| seam.at).chain([side]);
    let starts = std::iter::once(0).chain(seams.iter().map(|seam| seam.at));
    let pixel = |at: usize| (at as u64 * u64::from(length) / side as u64) as u32;
    let wide = starts.zip(ends).filter(|(start, end)| end - start >= side / NARROW);
    wide.map(|(start, end)| (pixel(start), pixel(end) - pixel(start))).filter(|(_, length)| *length >= NARROWEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rten_tensor::NdTensor;

    fn planes(colour: impl Fn(usize, usize) -> [f32; 3]) -> Planes {
        let mut planes = NdTensor::zeros([1, 3, 224, 224]);
        for y in 0..224 {
            for x in 0..224 {
                for channel in 0..3 {
                    planes[[0, channel, y, x]] = colour(x, y)[channel];
                }
            }
        }
        planes
    }

    /// Something that changes from place to place, as photographs do.
    fn texture(x: usize, y: usize) -> f32 {
        0.5 + 0.2 * ((x as f32 / 9.0).sin() + (y as f32 / 13.0).cos()) + 0.05 * ((x * 7 + y * 3) % 5) as f32
    }

    fn covered(parts: &[Part], width: u32, height: u32) -> bool {
        (0..height).step_by(7).all(|y| {
            (0..width).step_by(7).all(|x| {
                parts.iter().any(|part| (part.left..part.left + part.width).contains(&x) && (part.top..part.top + part.height).contains(&y))
            })
        })
    }

    #[test]
    fn long_pictures_are_covered_by_few_tiles() {
        let plain = planes(|_, _| [0.5; 3]);
        for (width, height, count) in [(640, 300, 3), (300, 640, 3), (100, 100_000, 6), (2000, 1000, 2), (999, 2000, 3), (48, 288, 6)] {
            let parts = tiles(width, height, &plain, 6);
            assert_eq!(parts.len(), count, "{width} × {height}");
            assert!(covered(&parts, width, height.min(5000)), "{width} × {height}");
            assert!(parts.iter().all(|part| part.left + part.width <= width && part.top + part.height <= height));
        }
        for (width, height) in [(640, 480), (1920, 1080), (40, 4000), (1, 1)] {
            assert_eq!(tiles(width, height, &plain, 6), [], "{width} × {height}");
        }
    }

    #[test]
    fn collages_are_cut_at_their_seams() {
        let two = planes(|x, y| if x < 112 { [texture(x, y); 3] } else { [1.0 - texture(y, x), 0.2, 0.9] });
        assert_eq!(
            tiles(1000, 800, &two, 6),
            [Part { left: 0, top: 0, width: 500, height: 800 }, Part { left: 500, top: 0, width: 500, height: 800 }]
        );
        // With white borders between them.
        let four = planes(|x, y| {
            let border = |at: usize| (108..116).contains(&at);
            if border(x) || border(y) { [1.0; 3] } else { [texture(x, y) * 0.7, texture(y, x) * 0.6, 0.3] }
        });
        assert_eq!(tiles(1000, 1000, &four, 6).len(), 4);
        // Nine are too many, so that some are taken together, and none is left out.
        let nine = planes(|x, y| {
            let (column, row) = (x / 75, y / 75);
            [texture(x, y) * 0.4 + 0.3 * ((column + row) % 3) as f32, 0.35 * column as f32, 0.3 * row as f32]
        });
        let parts = tiles(1000, 1000, &nine, 6);
        assert!((2..=6).contains(&parts.len()) && covered(&parts, 1000, 1000), "{parts:?}");
    }

    #[test]
    fn what_is_no_collage_is_not_cut() {
        let noise = planes(|x, y| [(x * 31 + y * 17) % 97, (x * 13 + y * 71) % 89, (x * 7 + y * 5) % 83].map(|value| value as f32 / 97.0));
        let stripes = planes(|x, _| [if x / 6 % 2 == 0 { 0.1 } else { 0.9 }; 3]);
        for shown in [planes(|_, _| [0.3; 3]), planes(|x, y| [texture(x, y); 3]), noise, stripes] {
            assert_eq!(tiles(1000, 1000, &shown, 6), []);
        }
    }

    #[test]
    fn texture_is_no_disagreement_and_another_picture_is() {
        let smooth = planes(|x, y| [texture(x, y); 3]);
        let rough = planes(|x, y| [texture(x, y) + if (x + y) % 2 == 0 { 0.2 } else { -0.2 }; 3]);
        assert!(disagreement(&smooth, &rough) < DISAGREEMENT / 2.0);
        let corner = planes(|x, y| if x < 56 && y < 56 { [1.0 - texture(y, x), 0.9, 0.1] } else { [texture(x, y); 3] });
        assert!(disagreement(&smooth, &corner) > DISAGREEMENT, "{}", disagreement(&smooth, &corner));
    }
}
