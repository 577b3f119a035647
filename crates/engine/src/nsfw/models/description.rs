//! The TOML file beside a model: what goes in, what comes out, and what it means here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use filesafety_model::Scores;
use serde::{Deserialize, Serialize};

use super::own::Network;
use crate::LoadError;

/// Larger models are not read.
const LARGEST: u64 = 512 << 20;
const SIZES: std::ops::RangeInclusive<usize> = 32..=1024;
const MOST_LABELS: usize = 1000;
const LONGEST_NAME: usize = 40;

/// What the operator writes of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    /// As it stands in the names of views.
    #[serde(default)]
    pub(super) name: String,
    /// Width and height of its input, in pixels.
    pub(super) size: usize,
    #[serde(default)]
    pub(super) layout: Layout,
    #[serde(default)]
    pub(super) channels: Channels,
    /// Of a value in 0..=1, so much is taken away, for each channel in the order of `channels`,
    #[serde(default)]
    pub(super) mean: [f32; 3],
    /// and the rest is divided by so much.
    #[serde(default = "one")]
    pub(super) deviation: [f32; 3],
    #[serde(default)]
    pub(super) output: Output,
    /// In the order of the output.
    pub(super) labels: Vec<String>,
    /// What each label means.
    pub(super) categories: BTreeMap<String, Class>,
}

fn one() -> [f32; 3] {
    [1.0; 3]
}

/// The order of the input's dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Channels {
    #[default]
    Rgb,
    Bgr,
}

/// What the numbers that come out are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Output {
    /// Of labels that exclude each other: they come to one.
    #[default]
    Probabilities,
    /// The same before the softmax.
    Logits,
    /// Of labels that may hold together, before the sigmoid.
    Sigmoid,
}

/// What a label means: the categories of a verdict, and the two classes that are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    ExplicitNudity,
    ExplicitDrawing,
    Suggestive,
    Drawing,
    Neutral,
}

impl Class {
    fn is_unsafe(self) -> bool {
        match self {
            Self::ExplicitNudity | Self::ExplicitDrawing | Self::Suggestive => true,
            Self::Drawing | Self::Neutral => false,
        }
    }
}

/// Reads a model and what stands beside it, and tries it on an even picture.
///
/// # Errors
/// What is wrong, by file and field, and what to write instead.
pub(super) fn read(onnx: &Path) -> Result<(Description, Vec<u8>), LoadError> {
    let beside = onnx.with_extension("toml");
    let wrong = |path: &Path, reason: String| LoadError::PictureModel { path: path.to_owned(), reason };
    let unreadable = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |cause| LoadError::Read { path, cause }
    };
    let size = std::fs::metadata(onnx).map_err(unreadable(onnx))?.len();
    if size > LARGEST {
        return Err(wrong(onnx, format!("{size} bytes are more than a model may have, {LARGEST}")));
    }
    let bytes = std::fs::read(onnx).map_err(unreadable(onnx))?;
    let text = std::fs::read_to_string(&beside).map_err(unreadable(&beside))?;
    let mut description: Description = toml::from_str(&text).map_err(|error| wrong(&beside, error.to_string().trim_end().to_owned()))?;
    if description.name.is_empty() {
        let stem = onnx.file_stem().unwrap_or_default().to_string_lossy();
        description.name = stem.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect();
    }
    description.check().map_err(|reason| wrong(&beside, reason))?;
    Network::load(description.clone(), bytes.clone()).and_then(|network| network.check()).map_err(|reason| wrong(&beside, reason))?;
    Ok((description, bytes))
}

impl Description {
    fn check(&self) -> Result<(), String> {
        if !SIZES.contains(&self.size) {
            return Err(format!("size = {} is not from {} to {}", self.size, SIZES.start(), SIZES.end()));
        }
        if self.name.chars().count() > LONGEST_NAME || self.name.chars().any(char::is_control) {
            return Err(format!("name: at most {LONGEST_NAME} characters that can be printed"));
        }
        if !self.mean.iter().chain(&self.deviation).all(|value| value.is_finite()) || self.deviation.contains(&0.0) {
            return Err("mean and deviation: three numbers each, and no deviation is 0".to_owned());
        }
        if self.labels.is_empty() || self.labels.len() > MOST_LABELS {
            return Err(format!("labels: from one to {MOST_LABELS}, in the order of the model's output"));
        }
        if let Some(label) = self.labels.iter().find(|label| !self.categories.contains_key(*label)) {
            return Err(format!("categories: the label {label:?} has none; add {label:?} = \"neutral\", or what it means"));
        }
        if let Some(stray) = self.categories.keys().find(|name| !self.labels.contains(name)) {
            return Err(format!("categories: there is no label {stray:?}; take it out, or add it to labels"));
        }
        if !self.categories.values().any(|class| class.is_unsafe()) {
            return Err(
                "categories: no label is explicit_nudity, explicit_drawing or suggestive, so the model would find nothing".to_owned()
            );
        }
        Ok(())
    }

    /// The scores of the classes, from what the model gives for each label. Labels of one class are added where they exclude each other;
    /// where they do not, the highest counts.
    pub(super) fn scores(&self, output: &[f32]) -> Scores {
        let softmax = |values: &[f32]| {
            let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = values.iter().map(|value| (value - highest).exp()).collect();
            let total: f32 = powers.iter().sum();
            powers.into_iter().map(|power| power / total).collect::<Vec<_>>()
        };
        let values = match self.output {
            Output::Probabilities => output.to_vec(),
            Output::Logits => softmax(output),
            Output::Sigmoid => output.iter().map(|value| 1.0 / (1.0 + (-value).exp())).collect(),
        };
        let of = |class: Class| {
            let values = self.labels.iter().zip(&values).filter(|(label, _)| self.categories.get(*label) == Some(&class));
            let together = match self.output {
                Output::Probabilities | Output::Logits => values.map(|(_, value)| *value).sum::<f32>(),
                Output::Sigmoid => values.map(|(_, value)| *value).fold(0.0, f32::max),
            };
            together.clamp(0.0, 1.0)
        };
        Scores {
            drawing: of(Class::Drawing),
            hentai: of(Class::ExplicitDrawing),
            neutral: of(Class::Neutral),
            porn: of(Class::ExplicitNudity),
            sexy: of(Class::Suggestive),
        }
    }
}
