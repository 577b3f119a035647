use std::fs;

use super::*;
use crate::nsfw::network::SIDE;
use rten_tensor::NdTensor;

const GOOD: &str = r#"
size = 224
labels = ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"]

[categories]
Drawing = "drawing"
Hentai = "explicit_drawing"
Neutral = "neutral"
Porn = "explicit_nudity"
Sexy = "suggestive"
"#;

/// The built-in model as if it were one of the operator's own.
fn written(text: &str) -> (tempfile::TempDir, PictureModel) {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("own.onnx");
    fs::write(&onnx, network::MODEL).unwrap();
    fs::write(folder.path().join("own.toml"), text).unwrap();
    (folder, PictureModel::File(onnx))
}

fn refusal(text: &str) -> String {
    let (_folder, model) = written(text);
    match Models::read(&[model]) {
        Ok(_) => panic!("{text} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_does_not_fit_is_refused_by_its_field() {
    for (from, to, told) in [
        ("size = 224", "size = 299", "size = 299"),
        ("size = 224", "size = 8", "size = 8 is not from 32"),
        ("size = 224", "", "missing field `size`"),
        ("size = 224", "size = 224\nsise = 1", "unknown field `sise`"),
        ("size = 224", "size = 224\nlayout = \"nhwc\"", "layout = \"nhwc\""),
        ("size = 224", "size = 224\nlayout = \"planes\"", "layout"),
        ("size = 224", "size = 224\ndeviation = [1, 0, 1]", "deviation"),
        ("size = 224", "size = 224\nname = \"a\\tb\"", "name"),
        (", \"Sexy\"]", "]", "no label \"Sexy\""),
        ("Sexy = \"suggestive\"", "", "add \"Sexy\" = \"neutral\""),
        ("Sexy = \"suggestive\"", "Sexy = \"sexy\"", "sexy"),
        ("Sexy\"]", "Sexy\", \"More\"]", "\"More\""),
    ] {
        let found = refusal(&GOOD.replacen(from, to, 1));
        assert!(found.contains(told) && found.contains("own.toml"), "{to}: {found}");
    }
    let harmless = GOOD.replace("explicit_nudity", "neutral").replace("explicit_drawing", "neutral").replace("suggestive", "neutral");
    assert!(refusal(&harmless).contains("find nothing"));
    let one_less = GOOD.replace(", \"Sexy\"]", "]").replace("Sexy = \"suggestive\"", "");
    assert!(refusal(&one_less).contains("gives 5 values, and there are 4 labels"), "{}", refusal(&one_less));
    assert!(refusal("labels =").contains("own.toml"));
}

#[test]
fn a_model_that_is_none_and_files_that_are_missing_are_refused() {
    let (folder, model) = written(GOOD);
    fs::write(folder.path().join("own.onnx"), b"no model").unwrap();
    let error = Models::read(std::slice::from_ref(&model)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("does not load as ONNX"), "{error}");
    fs::remove_file(folder.path().join("own.toml")).unwrap();
    let error = Models::read(std::slice::from_ref(&model)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("own.toml"), "{error}");
    fs::remove_file(folder.path().join("own.onnx")).unwrap();
    let error = Models::read(&[model]).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("own.onnx"), "{error}");
}

#[test]
fn an_own_model_says_what_the_built_in_one_does_and_travels_as_parts() {
    let (_folder, model) = written(GOOD);
    let read = Models::read(&[PictureModel::BuiltIn, model]).unwrap();
    let mut bytes = Vec::new();
    read.write_to(&mut bytes).unwrap();
    let parts: Vec<ModelPart> = serde_json::from_slice(&serde_json::to_vec(&read.parts()).unwrap()).unwrap();
    assert!(Models::of_parts(parts.clone(), &bytes[1..]).is_none());
    let arrived = Models::of_parts(parts, &bytes).unwrap();
    assert_eq!(arrived.fingerprint(), read.fingerprint());
    let models = arrived.load().unwrap();
    let planes = NdTensor::from_fn([1, 3, SIDE, SIDE], |[_, channel, y, x]| ((x * (channel + 1) + y) % 224) as f32 / 223.0);
    let [one, two] = [0, 1].map(|index| models[index].run(&planes).unwrap());
    for (one, two) in
        [(one.drawing, two.drawing), (one.hentai, two.hentai), (one.neutral, two.neutral), (one.porn, two.porn), (one.sexy, two.sexy)]
    {
        assert!((one - two).abs() < 1e-5, "{one} and {two}");
    }
    assert_eq!(models[1].name(), "own");
}

#[test]
fn fingerprints_tell_models_apart() {
    let (_folder, own) = written(GOOD);
    let (_other, otherwise) = written(&GOOD.replace("size = 224", "size = 224\nmean = [0.1, 0.1, 0.1]"));
    let print = |models: &[PictureModel]| Models::read(models).unwrap().fingerprint();
    let built_in = print(&[]);
    assert_eq!(built_in, print(&[PictureModel::BuiltIn]));
    assert_ne!(built_in, print(std::slice::from_ref(&own)));
    assert_ne!(print(std::slice::from_ref(&own)), print(&[otherwise]));
    assert_ne!(print(&[own.clone(), PictureModel::BuiltIn]), print(&[PictureModel::BuiltIn, own]));
}
