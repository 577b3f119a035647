//! Models of the operator's own: checked at the start, and used beside the built-in one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::pictures::SEXY;
use crate::support::{Options, Server};

/// The built-in model under another name: what it calls sexy, this one calls explicit.
const DESCRIPTION: &str = r#"
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

fn written(options: &Options, description: &str) -> PathBuf {
    let onnx = options.folder().join("second.onnx");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/mobilenet_v2.u8.onnx"), &onnx).expect("a model");
    fs::write(options.folder().join("second.toml"), description).expect("its description");
    onnx
}

fn with_model(description: &str, before: &str) -> Options {
    let options = Options::new();
    let onnx = written(&options, description);
    options.env("FILESAFETY_NSFW_MODEL", &format!("{before}{}", onnx.display()))
}

fn judged(server: &Server) -> serde_json::Value {
    server.scan(SEXY).expect_verdict("nsfw")
}

#[test]
fn a_second_model_can_add_a_category_and_leaves_the_scores() {
    let alone = Server::shared().scan(SEXY).expect_verdict("clean");
    let scan = judged(&with_model(DESCRIPTION, "builtin,").start());
    assert_eq!(scan["nsfw"]["categories"], json!(["explicit_nudity"]), "{scan}");
    assert_eq!(scan["nsfw"]["scores"], alone["nsfw"]["scores"]);
    let names: Vec<_> = scan["nsfw"]["views"].as_array().expect("views").iter().map(|view| &view["name"]).collect();
    assert_eq!(names, ["whole", "whole by second"], "{scan}");
}

#[test]
fn one_alone_takes_the_place_of_the_built_in_model() {
    let scan = judged(&with_model(DESCRIPTION, "").start());
    assert!(scan["nsfw"]["scores"]["porn"].as_f64().is_some_and(|score| score > 0.9), "{scan}");
    assert_eq!(scan["nsfw"]["views"], json!([]));
}

#[test]
fn what_does_not_fit_stops_the_start_and_names_the_field() {
    for (description, words) in [
        (DESCRIPTION.replace("size = 224", "size = 299"), ["second.toml", "size = 299"]),
        (DESCRIPTION.replace(", \"Sexy\"]", "]"), ["second.toml", "no label \"Sexy\""]),
        (DESCRIPTION.replace("name =", "nmae ="), ["second.toml", "nmae"]),
    ] {
        let said = with_model(&description, "").refused();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(words.iter().all(|word| said.contains(word)) && !said.contains("panicked"), "{said}");
    }
    for (value, word) in
        [("models/a.onnx", "a.onnx"), ("a.bin", "builtin"), ("builtin,builtin", "same"), ("builtin,a.onnx,b.onnx", "one or two")]
    {
        let said = Options::new().env("FILESAFETY_NSFW_MODEL", value).refused();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(word), "{value}: {said}");
    }
}
