//! Pictures: judged on what they show, and never called infected for being large or broken.

use std::time::{Duration, Instant};

use image::ImageFormat;
use serde_json::{Value, json};

use crate::support::archives::{Member, zip};
use crate::support::eicar::eicar;
use crate::support::pictures::{HENTAI, PORN, SEXY, SEXY_NOISE, black_png, encoded, gif, jpeg, landscape};
use crate::support::{Options, Server};

fn scan(content: &[u8]) -> Value {
    Server::shared().scan(content).expect(200)
}

#[test]
fn the_unsafe_positives_are_nsfw() {
    for (content, category, score) in [(PORN, "explicit_nudity", "porn"), (HENTAI, "explicit_drawing", "hentai")] {
        let scan = scan(content);
        assert_eq!(scan["verdict"], "nsfw", "{scan}");
        assert_eq!(scan["virus"]["clean"], true);
        assert_eq!(scan["nsfw"]["clean"], false);
        assert_eq!(scan["nsfw"]["applied"], true);
        assert_eq!(scan["nsfw"]["categories"], json!([category]));
        assert!(scan["nsfw"]["confidence"].as_f64().is_some_and(|confidence| confidence >= 0.7), "{scan}");
        assert!(scan["nsfw"]["scores"][score].as_f64().is_some_and(|value| value >= 0.7), "{scan}");
    }
}

#[test]
fn the_suggestive_ones_are_clean_with_their_score_shown() {
    for content in [SEXY, SEXY_NOISE] {
        let scan = scan(content);
        assert_eq!(scan["verdict"], "clean", "{scan}");
        assert_eq!(scan["nsfw"]["clean"], true);
        assert_eq!(scan["nsfw"]["categories"], json!([]));
        assert!(scan["nsfw"]["scores"]["sexy"].as_f64().is_some_and(|value| value >= 0.8), "{scan}");
    }
}

#[test]
fn they_are_nsfw_once_suggestive_is_on() {
    let server = Options::new().env("FILESAFETY_POLICY", "strict,nsfw.suggestive=0.8").start();
    for content in [SEXY, SEXY_NOISE] {
        let scan = server.scan(content).expect_verdict("nsfw");
        assert_eq!(scan["nsfw"]["categories"], json!(["suggestive"]), "{scan}");
    }
    // The thresholds of the others stay.
    let scan = server.scan(PORN).expect_verdict("nsfw");
    assert_eq!(scan["nsfw"]["categories"], json!(["explicit_nudity"]), "{scan}");
    let infected = zip(&[Member::deflated("eicar.com", &eicar()), Member::deflated("b.png", SEXY)]);
    let scan = server.scan(&infected).expect_verdict("mixed");
    assert_eq!(scan["nsfw"]["path"], "b.png", "{scan}");
}

#[test]
fn a_threshold_may_be_switched_off() {
    let server = Options::new().env("FILESAFETY_POLICY", "strict,nsfw.explicit_nudity=off,nsfw.explicit_drawing=0.95").start();
    for content in [PORN, HENTAI] {
        server.scan(content).expect_verdict("clean");
    }
}

#[test]
fn the_tiles_of_a_long_picture_are_shown_beside_its_scores() {
    let mut long = landscape(300, 1500);
    let found = image::load_from_memory(PORN).expect("a PNG").resize_exact(300, 300, image::imageops::FilterType::Triangle).to_rgb8();
    image::imageops::overlay(&mut long, &found, 0, 600);
    let scan = scan(&encoded(&long, ImageFormat::Png));
    assert_eq!(scan["verdict"], "nsfw", "{scan}");
    let views = scan["nsfw"]["views"].as_array().expect("views");
    assert_eq!(views[0]["name"], "tile 0,600 300x300", "{scan}");
    assert_eq!(views[0]["scores"]["porn"], scan["nsfw"]["confidence"], "{scan}");
    let whole = views.iter().find(|view| view["name"] == "whole").expect("the whole");
    assert_eq!(whole["scores"], scan["nsfw"]["scores"], "{scan}");
}

#[test]
fn the_scores_are_those_of_the_model() {
    let scan = scan(PORN);
    let score = scan["nsfw"]["scores"]["porn"].as_f64().expect("a score");
    assert!((score - 0.972).abs() < 0.002, "{score}");
    let total: f64 =
        ["drawing", "hentai", "neutral", "porn", "sexy"].iter().map(|name| scan["nsfw"]["scores"][name].as_f64().expect("a score")).sum();
    assert!((total - 1.0).abs() < 0.01, "{total}");
}

#[test]
fn every_format_is_judged() {
    let picture = landscape(320, 200);
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
        let scan = scan(&encoded(&picture, format));
        assert_eq!(scan["verdict"], "clean", "{format:?}: {scan}");
        assert_eq!(scan["nsfw"]["applied"], true, "{format:?}: {scan}");
        assert!(scan["nsfw"]["scores"]["neutral"].is_number(), "{format:?}: {scan}");
    }
}

#[test]
fn a_picture_in_an_archive_is_judged() {
    let scan = scan(&zip(&[Member::stored("a.txt", b"text"), Member::deflated("pictures/b.png", PORN)]));
    assert_eq!(scan["verdict"], "nsfw", "{scan}");
}

#[test]
fn fifty_thousand_pixels_squared_are_too_large_and_not_infected() {
    let content = black_png(50_000, 50_000);
    let start = Instant::now();
    let scan = scan(&content);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(scan["verdict"], "nsfw", "unjudged counts by default: {scan}");
    assert_eq!(scan["virus"]["clean"], true, "{scan}");
    assert_eq!(scan["nsfw"]["clean"], Value::Null);
    assert_eq!(scan["nsfw"]["applied"], false);
    assert_eq!(scan["nsfw"]["reason"], "too_large");
    assert_eq!(scan["nsfw"]["categories"], json!(["unjudged"]));
    assert_eq!(scan["coverage"]["complete"], true, "{scan}");
}

#[test]
fn the_policy_may_allow_the_unjudged() {
    let server = Options::new().env("FILESAFETY_POLICY", "nsfw.unjudged=allow").start();
    let scan = server.scan(&black_png(50_000, 50_000)).expect_verdict("clean");
    assert_eq!(scan["nsfw"]["reason"], "too_large");
    assert_eq!(scan["nsfw"]["clean"], Value::Null);
}

#[test]
fn a_header_that_lies_about_size_costs_nothing() {
    let mut content = encoded(&landscape(8, 8), ImageFormat::Png);
    content[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let crc = crc32fast::hash(&content[12..29]).to_be_bytes();
    content[29..33].copy_from_slice(&crc);
    let scan = scan(&content);
    assert_eq!(scan["nsfw"]["reason"], "too_large", "{scan}");
    assert_eq!(scan["virus"]["clean"], true);
}

#[test]
fn a_truncated_jpeg_is_judged_on_what_decodes() {
    let whole = jpeg(&landscape(640, 480));
    for part in [whole.len() / 2, whole.len() * 9 / 10, whole.len() - 2] {
        let scan = scan(&whole[..part]);
        assert_eq!(scan["verdict"], "clean", "{part} of {}: {scan}", whole.len());
        assert_eq!(scan["nsfw"]["applied"], true, "{scan}");
    }
}

#[test]
fn a_picture_of_noise_bytes_is_broken_and_not_infected() {
    let content = [b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".as_slice(), &[0x5b; 3000]].concat();
    let scan = scan(&content);
    assert_eq!(scan["virus"]["clean"], true, "{scan}");
    assert_eq!(scan["nsfw"]["clean"], Value::Null, "{scan}");
    assert_eq!(scan["nsfw"]["reason"], "broken", "{scan}");
    assert_eq!(scan["verdict"], "nsfw", "{scan}");
}

#[test]
fn a_gif_of_ten_thousand_frames_ends_soon() {
    let content = gif(10_000);
    let start = Instant::now();
    let scan = scan(&content);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(scan["verdict"], "clean", "{scan}");
    assert_eq!(scan["nsfw"]["applied"], true, "{scan}");
}

#[test]
fn only_asking_for_malware_judges_no_picture() {
    let form = crate::support::Form::of("a.png", PORN).text("scan_types", r#"["virus"]"#);
    let scan = Server::shared().post("/v1/scan").form(form).send().expect_verdict("clean");
    assert_eq!(scan["nsfw"], Value::Null);
}
