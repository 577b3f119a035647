//! The models that judge: the built-in one, or one or two of the operator's own.

mod description;
mod own;

use std::{io::Write, path::PathBuf};

use filesafety_model::Scores;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::network::{self, Network, Planes, RunFault};
use crate::LoadError;
use description::Description;

/// A model that judges pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureModel {
    /// nsfwjs' mobilenet_v2, part of the program.
    BuiltIn,
    /// An ONNX file; a TOML file of the same name beside it says what goes in and what comes out.
    File(PathBuf),
}

/// Models as they are handed from one process of the program to another: read and checked, not loaded.
pub(crate) struct Models(Vec<(Option<Description>, Vec<u8>)>);

/// What goes with the bytes of one model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelPart {
    /// `None` for the built-in one, which has no bytes to hand over.
    description: Option<Description>,
    bytes: u64,
}

impl Models {
    /// The built-in one where none is named.
    ///
    /// # Errors
    /// What does not load, by what mends it.
    pub(crate) fn read(choices: &[PictureModel]) -> Result<Self, LoadError> {
        let read = |choice: &PictureModel| match choice {
            PictureModel::BuiltIn => Ok((None, Vec::new())),
            PictureModel::File(path) => description::read(path).map(|(description, onnx)| (Some(description), onnx)),
        };
        let built_in = [PictureModel::BuiltIn];
        let choices = if choices.is_empty() { &built_in[..] } else { choices };
        choices.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// What [`Models::of_parts`] takes beside the bytes.
    pub(crate) fn parts(&self) -> Vec<ModelPart> {
        let part =
            |(description, onnx): &(Option<Description>, Vec<u8>)| ModelPart { description: description.clone(), bytes: onnx.len() as u64 };
        self.0.iter().map(part).collect()
    }

    pub(crate) fn write_to(&self, out: &mut dyn Write) -> std::io::Result<()> {
        self.0.iter().try_for_each(|(_, onnx)| out.write_all(onnx))
    }

    /// `None` where the bytes do not fit the parts.
    pub(crate) fn of_parts(parts: Vec<ModelPart>, mut bytes: &[u8]) -> Option<Self> {
        let mut models = Vec::new();
        for part in parts {
            let (onnx, rest) = bytes.split_at_checked(usize::try_from(part.bytes).ok()?)?;
            models.push((part.description, onnx.to_vec()));
            bytes = rest;
        }
        bytes.is_empty().then_some(Self(models))
    }

    /// Changes whenever the same picture might be judged differently.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"judgement 3\0");
        for (description, onnx) in &self.0 {
            match description {
                None => hash.update(Sha256::digest(network::MODEL)),
                Some(description) => {
                    hash.update(format!("{description:?}"));
                    hash.update(Sha256::digest(onnx));
                }
            }
        }
        hash.finalize().into()
    }

    pub(super) fn load(self) -> Result<Vec<Model>, LoadError> {
        let load = |(description, onnx)| match description {
            None => Network::load().map(Model::BuiltIn),
            Some(description) => own::Network::load(description, onnx)
                .map(|network| Model::Own(Box::new(network)))
                .map_err(|reason| LoadError::Model { message: reason }),
        };
        self.0.into_iter().map(load).collect()
    }
}

/// One that is loaded.
pub(super) enum Model {
    BuiltIn(Network),
    Own(Box<own::Network>),
}

impl Model {
    /// Width and height of what it takes.
    pub(super) fn side(&self) -> usize {
        match self {
            Self::BuiltIn(_) => network::SIDE,
            Self::Own(network) => network.description().size,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::BuiltIn(_) => "builtin",
            Self::Own(network) => &network.description().name,
        }
    }

    /// What it takes while it judges, in bytes.
    pub(super) fn memory(&self) -> u64 {
        /// For each value of its input, as the widest layers of common networks have it.
        const PER_PIXEL: u64 = 160;
        let side = self.side() as u64;
        side * side * PER_PIXEL
    }

    pub(super) fn run(&self, planes: &Planes) -> Result<Scores, RunFault> {
        match self {
            Self::BuiltIn(network) => network.run(planes),
            Self::Own(network) => network.run(planes),
        }
    }
}

#[cfg(test)]
mod tests;
