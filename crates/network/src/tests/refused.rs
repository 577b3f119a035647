//! What is not computed here is refused, and says why.

use super::draft::{Attribute, Conv, Draft, Model};
use crate::{LoadError, Network, RunError};

const PLAIN: Conv = Conv { outputs: 4, kernel: [1, 1], stride: 1, pads: [0; 4], depthwise: false, codes: false };

fn refusal(model: &[u8]) -> String {
    match Network::load(model) {
        Ok(_) => "loaded".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn small() -> Draft {
    let mut draft = Draft::new(3, 8, 8, 1);
    draft.conv(Conv { kernel: [3, 3], ..PLAIN });
    draft
}

/// A model of one more node on a small picture of four channels.
fn with_node(operator: &str, attributes: &[(&str, Attribute<'_>)]) -> String {
    let mut draft = small();
    draft.value.name = draft.model.node(operator, &[&draft.value.name], attributes);
    draft.mean();
    refusal(&draft.finish().0)
}

#[test]
fn operators_and_attributes_that_are_not_known_are_named() {
    assert_eq!(with_node("Relu", &[]), "loaded");
    assert_eq!(with_node("HardSwish", &[]), "not a network that is computed here: operator \"HardSwish\"");
    assert_eq!(with_node("Flatten", &[]), "not a network that is computed here: Flatten of more than one pixel");
    assert_eq!(
        with_node("GlobalAveragePool", &[("padding", Attribute::Int(1))]),
        "not a network that is computed here: GlobalAveragePool with attribute \"padding\""
    );
    let long = with_node(&"x\n".repeat(1000), &[]);
    assert!(long.len() < 200 && !long.contains('\n'), "{long}");
}

#[test]
fn convolutions_of_other_kinds_are_refused() {
    let conv = |change: &dyn Fn(&mut Draft)| {
        let mut draft = small();
        change(&mut draft);
        draft.mean();
        refusal(&draft.finish().0)
    };
    let padded = conv(&|draft| draft.conv(Conv { kernel: [3, 3], pads: [1; 4], ..PLAIN }));
    assert_eq!(padded, "not a network that is computed here: a convolution of 3 × 3 in 1 groups, 4 channels to 4");
    let large = conv(&|draft| draft.conv(Conv { kernel: [5, 5], depthwise: true, ..PLAIN }));
    assert_eq!(large, "not a network that is computed here: a convolution of 5 × 5 in 4 groups, 4 channels to 4");
    let steps = conv(&|draft| draft.conv(Conv { stride: 3, depthwise: true, kernel: [3, 3], ..PLAIN }));
    assert_eq!(steps, "not a network that is computed here: a convolution with strides [3, 3]");

    for (name, value) in [("dilations", Attribute::Ints(&[2, 2])), ("auto_pad", Attribute::Text("SAME_UPPER"))] {
        let mut draft = Draft::new(3, 8, 8, 1);
        let weights = draft.model.floats(&[4, 3, 1, 1], &[0.5; 12]);
        draft.value.name = draft.model.node("Conv", &["input", &weights], &[(name, value)]);
        draft.value.channels = 4;
        draft.mean();
        assert_eq!(refusal(&draft.finish().0), "not a network that is computed here: a convolution with dilation or automatic padding");
    }
}

#[test]
fn what_a_later_layer_would_change_is_not_shared() {
    // The sum before ReLU is read twice: fusing would change what the other reader sees.
    let mut draft = small();
    let before = draft.value.clone();
    draft.relu();
    draft.conv(PLAIN);
    draft.add(&before, false);
    draft.mean();
    assert!(refusal(&draft.finish().0).contains("read elsewhere too"));

    let mut twice = small();
    let same = twice.value.clone();
    twice.add(&same, false);
    twice.mean();
    assert!(refusal(&twice.finish().0).contains("a sum of other than a convolution"));
}

#[test]
fn models_that_contradict_themselves_are_malformed() {
    let nothing = Model::new(&[3, 8, 8]).finish("result");
    assert_eq!(refusal(&nothing), "not a sound ONNX model: an output that nothing makes");

    let mut unknown = Model::new(&[3, 8, 8]);
    let output = unknown.node("Relu", &["somewhere"], &[]);
    assert_eq!(refusal(&unknown.finish(&output)), "not a sound ONNX model: Relu reads \"somewhere\", which nothing before it makes");

    let mut again = Model::new(&[3, 8, 8]);
    again.node_to("Identity", &["input"], "input", &[]);
    assert!(refusal(&again.finish("elsewhere")).contains("made twice"));

    let mut short = Model::new(&[3, 8, 8]);
    let weights = short.floats(&[4, 3, 3, 3], &[0.0; 5]);
    let output = short.node("Conv", &["input", &weights], &[]);
    assert!(refusal(&short.finish(&output)).contains("the size of tensor"));

    let mut large = Model::new(&[3, 2, 2]);
    let weights = large.floats(&[1, 3, 3, 3], &[0.0; 27]);
    let output = large.node("Conv", &["input", &weights], &[]);
    assert!(refusal(&large.finish(&output)).contains("larger than its picture"));

    let mut not_finite = Model::new(&[1, 2, 2]);
    let weights = not_finite.floats(&[1, 1, 1, 1], &[f32::NAN]);
    let output = not_finite.node("Conv", &["input", &weights], &[]);
    assert!(refusal(&not_finite.finish(&output)).contains("weights that are not finite"));
}

#[test]
fn shapes_that_would_take_much_memory_or_time_are_refused() {
    assert!(refusal(&Model::new(&[3, 1 << 20, 1 << 20]).finish("input")).contains("not one picture of planes"));

    // 4096 × 4096 pixels of 64 channels are 4 GiB.
    let mut wide = Model::new(&[1, 4096, 4096]);
    let weights = wide.floats(&[64, 1, 1, 1], &[1.0; 64]);
    let conv = wide.node("Conv", &["input", &weights], &[]);
    let mean = wide.node("GlobalAveragePool", &[&conv], &[]);
    let flat = wide.node("Flatten", &[&mean], &[]);
    assert!(refusal(&wide.finish(&flat)).contains("MiB for a picture"));

    // The same weights over and over.
    let mut repeated = Model::new(&[1, 1, 1]);
    let stem = repeated.floats(&[1024, 1, 1, 1], &[1.0; 1024]);
    let weights = repeated.floats(&[1024, 1024, 1, 1], &vec![0.0; 1 << 20]);
    let mut value = repeated.node("Conv", &["input", &stem], &[]);
    for _ in 0..100 {
        value = repeated.node("Conv", &[&value, &weights], &[]);
    }
    let mean = repeated.node("GlobalAveragePool", &[&value], &[]);
    let flat = repeated.node("Flatten", &[&mean], &[]);
    assert!(refusal(&repeated.finish(&flat)).contains("far more weights than the file has bytes"));
}

#[test]
fn old_and_future_versions_of_the_operators_are_refused() {
    for (version, known) in [(9, false), (10, true), (13, true), (25, true), (26, false)] {
        let mut draft = small();
        draft.mean();
        let model = draft.model.finish_version(&draft.value.name, version);
        assert_eq!(Network::load(&model).is_ok(), known, "{version}");
    }
}

#[test]
fn bounds_stand_in_attributes_where_the_operators_are_older() {
    let clip = |version| {
        let mut draft = small();
        draft.value.name =
            draft.model.node("Clip", &[&draft.value.name], &[("min", Attribute::Float(0.0)), ("max", Attribute::Float(6.0))]);
        draft.mean();
        refusal(&draft.model.finish_version(&draft.value.name, version))
    };
    assert_eq!(clip(10), "loaded");
    assert_eq!(clip(11), "not a network that is computed here: Clip with attribute \"min\"");
}

#[test]
fn a_picture_of_another_shape_has_no_result() {
    let mut draft = small();
    draft.mean();
    let network = std::sync::Arc::new(Network::load(&draft.finish().0).unwrap());
    let mut runner = network.runner();
    assert_eq!(runner.run(&[0.0; 3 * 8 * 8 - 1]), Err(RunError::Shape));
    assert_eq!(runner.run(&[]), Err(RunError::Shape));
    assert_eq!(runner.run(&[f32::NAN; 3 * 8 * 8]), Err(RunError::NotANumber));
    assert_eq!(runner.run(&[f32::MAX; 3 * 8 * 8]), Err(RunError::NotANumber));
    assert!(runner.run(&[0.5; 3 * 8 * 8]).is_ok());
}

#[test]
fn bytes_that_are_no_model_are_malformed() {
    for bytes in [b"".as_slice(), b"\0", b"PK\x03\x04 a zip", &[0xFF; 64], b"{\"json\": true}"] {
        assert!(matches!(Network::load(bytes), Err(LoadError::Malformed(_))), "{bytes:?}");
    }
}
