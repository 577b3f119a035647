//! Further looks at one picture: they add, and never change its scores.

use image::imageops::{FilterType, overlay, resize};

use super::*;

/// Every sixth pixel of so many is one that nsfwjs takes, and no other is.
const SAMPLED: u32 = 6 * 223 + 1;

fn rgb(content: &[u8], side: u32) -> RgbImage {
    resize(&open(content).to_rgb8(), side, side, FilterType::Triangle)
}

fn harmless(width: u32, height: u32) -> RgbImage {
    resize(&open(SCENE).to_rgb8(), width, height, FilterType::Triangle)
}

fn png(image: RgbImage) -> Vec<u8> {
    encode(&DynamicImage::ImageRgb8(image), ImageFormat::Png)
}

fn judged(content: &[u8]) -> (Scores, Vec<(String, Scores)>) {
    match judge(content) {
        PictureOutcome::Judged { scores, views } => (scores, views.into_iter().map(|view| (view.name, view.scores)).collect()),
        PictureOutcome::Unjudged { fault } => panic!("{fault:?}"),
    }
}

/// Large it shows the one picture, reduced by four samples the other.
fn two_faced(large: &RgbImage, sampled: &RgbImage) -> RgbImage {
    let mut image = large.clone();
    for (x, y, pixel) in sampled.enumerate_pixels() {
        image.put_pixel(6 * x, 6 * y, *pixel);
    }
    image
}

/// What the model takes for what it is not, at the size that it takes.
fn hidden() -> RgbImage {
    // As nsfwjs reduces it, so that sampling gives exactly that.
    let planes = raster(PORN).unwrap().reduce(SIDE);
    RgbImage::from_fn(224, 224, |x, y| Rgb([0, 1, 2].map(|channel| (planes[[0, channel, y as usize, x as usize]] * 255.0).round() as u8)))
}

#[test]
fn an_attack_on_the_scaling_shows_in_either_reading() {
    let (safe, found) = (harmless(SAMPLED, SAMPLED), resize(&hidden(), SAMPLED, SAMPLED, FilterType::Triangle));
    let safe_sampled = harmless(224, 224);
    let alone = scores(&png(safe_sampled.clone()));
    assert!(alone.porn < 0.5, "{alone:?}");

    // What a person sees is found, though the sampling sees something else; the scores are those of the sampling.
    let (told, views) = judged(&png(two_faced(&found, &safe_sampled)));
    assert_close(told, alone, 0.01);
    let average = views.iter().find(|(name, _)| name == "average").unwrap_or_else(|| panic!("{views:?}"));
    assert!(average.1.porn > 0.7, "{average:?}");
    assert_eq!(views[0].0, "average", "the worst stands first");
    assert!(views.iter().any(|(name, scores)| name == "whole" && *scores == told));

    // And the other way round.
    let (told, views) = judged(&png(two_faced(&safe, &hidden())));
    assert!(told.porn > 0.7, "{told:?}");
    let average = views.iter().find(|(name, _)| name == "average").unwrap_or_else(|| panic!("{views:?}"));
    assert!(average.1.porn < 0.5, "{average:?}");
}

#[test]
fn what_is_seen_alike_is_looked_at_once() {
    for (width, height) in [(96, 64), (224, 224), (500, 400), (1200, 900), (448, 300)] {
        let (told, views) = judged(&png(harmless(width, height)));
        assert_eq!(views, [], "{width} × {height}: {told:?}");
    }
}

/// A picture between others of no interest, along a strip or in a square.
fn among(width: u32, height: u32, left: u32, top: u32) -> RgbImage {
    let mut image = RgbImage::from_fn(width, height, |x, y| {
        let wave = 20.0 * ((x as f32 / 40.0).sin() + (y as f32 / 55.0).cos());
        Rgb([(90.0 + wave) as u8, (140.0 + wave) as u8, (200.0 + wave / 2.0) as u8])
    });
    overlay(&mut image, &rgb(PORN, 300), i64::from(left), i64::from(top));
    image
}

#[test]
fn long_pictures_are_judged_in_tiles() {
    for (width, height, left, top, tile) in [(300, 1800, 0, 900, "tile 0,900 300x300"), (1800, 300, 1500, 0, "tile 1500,0 300x300")] {
        let content = png(among(width, height, left, top));
        let (told, views) = judged(&content);
        assert_eq!(views[0].0, tile, "{views:?}");
        assert!(views[0].1.porn > 0.7, "{views:?}");
        assert!(views.len() <= 7);
        // The scores are those of the whole.
        assert_eq!(Some(told), views.iter().find(|(name, _)| name == "whole").map(|(_, scores)| *scores));
        let planes = raster(&content).unwrap().reduce(SIDE);
        let models = Models::read(&[]).unwrap().load().unwrap();
        assert_eq!(models[0].run(&planes).unwrap(), told);
    }
}

#[test]
fn a_collage_is_judged_picture_by_picture() {
    let mut image = RgbImage::from_pixel(900, 600, Rgb([255; 3]));
    let photo = |shift: f32| {
        RgbImage::from_fn(290, 290, move |x, y| {
            let wave = 30.0 * ((x as f32 / 31.0 + shift).sin() + (y as f32 / 23.0).cos());
            Rgb([(60.0 + wave.abs()) as u8, (90.0 + wave.abs() + shift) as u8, (130.0 + wave) as u8])
        })
    };
    for (index, (column, row)) in [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1)].into_iter().enumerate() {
        overlay(&mut image, &photo(index as f32 * 9.0), column * 300 + 5, row * 300 + 5);
    }
    overlay(&mut image, &rgb(PORN, 290), 305, 305);
    let (told, views) = judged(&png(image));
    assert_eq!(views.len(), 7, "{views:?}");
    let place: Vec<u32> = views[0].0["tile ".len()..].split([',', ' ', 'x']).map(|number| number.parse().unwrap()).collect();
    assert!(place.iter().all(|number| (285..=315).contains(number)) && views[0].1.porn > 0.7, "{views:?}");
    assert!(views.iter().any(|(name, scores)| name == "whole" && *scores == told));
}

#[test]
fn at_most_six_further_looks_are_taken() {
    for (width, height) in [(60, 6000), (3000, 100)] {
        let mut image = among(width, height, 0, 0);
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            // Sampling sees something else.
            if y % 27 == 0 || x % 13 == 0 {
                *pixel = Rgb([255, 40, 0]);
            }
        }
        assert!(judged(&png(image)).1.len() <= 7);
    }
}

#[test]
fn tiles_of_a_turned_picture_are_those_of_a_viewer() {
    let upright = among(300, 1500, 0, 600);
    let part = |name: &str| name.strip_prefix("tile ").map(str::to_owned);
    let worst = |raster: &Raster| {
        let models = Models::read(&[]).unwrap().load().unwrap();
        let mut judging = Judging::new(&models, Deadline(None));
        judging.picture(raster).unwrap();
        match judging.outcome() {
            Some(PictureOutcome::Judged { views, .. }) => part(&views[0].name),
            other => panic!("{other:?}"),
        }
    };
    for exif in [1, 3, 6, 7] {
        let orientation = Orientation::from_exif(exif).unwrap();
        // Stored so that turning it gives the upright picture.
        let inverse = match exif {
            6 => Orientation::Rotate270,
            _ => orientation,
        };
        let mut stored = DynamicImage::ImageRgb8(upright.clone());
        stored.apply_orientation(inverse);
        let stored = stored.to_rgb8();
        let raster =
            Raster { width: stored.width(), height: stored.height(), color: ColorType::Rgb8, orientation, pixels: stored.into_raw() };
        assert_eq!(worst(&raster).as_deref(), Some("0,600 300x300"), "{exif}");
    }
}

#[test]
fn a_second_model_adds_views_and_leaves_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("turned.onnx");
    std::fs::write(&onnx, crate::nsfw::network::MODEL).unwrap();
    // What the first calls sexy, the second calls explicit.
    let description = r#"
        name = "second"
        size = 224
        labels = ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"]
        [categories]
        Drawing = "drawing"
        Hentai = "explicit_drawing"
        Neutral = "neutral"
        Porn = "suggestive"
        Sexy = "explicit_nudity"
    "#;
    std::fs::write(folder.path().join("turned.toml"), description).unwrap();
    let own = crate::PictureModel::File(onnx);
    let of = |models: &[crate::PictureModel], content: &[u8]| {
        let outcome = Classifier::load(Models::read(models).unwrap()).unwrap().judge_all(content).remove(0);
        match outcome {
            PictureOutcome::Judged { scores, views } => (scores, views),
            PictureOutcome::Unjudged { fault } => panic!("{fault:?}"),
        }
    };
    let sexy = fixture!("sexy_ellipse.png");
    let alone = scores(sexy);
    let (told, views) = of(&[crate::PictureModel::BuiltIn, own.clone()], sexy);
    assert_eq!(told, alone);
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["whole", "whole by second"]);
    assert!(views[1].scores.porn > 0.9 && (views[1].scores.porn - alone.sexy).abs() < 1e-5, "{views:?}");
    let (told, views) = of(&[own], sexy);
    assert!(views.is_empty() && told.porn > 0.9, "{told:?}");
}
