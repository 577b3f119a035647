//! A model of the operator's own, run by rten.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use filesafety_model::Scores;
use rten::{Dimension, Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::{AsView, NdTensor, Tensor};

use super::description::{Channels, Description, Layout, Output};
use crate::nsfw::network::{Planes, RunFault};

pub(crate) struct Network {
    model: Model,
    description: Description,
    input: NodeId,
    output: NodeId,
    /// One pool of a single thread for each caller that runs at the same time, as for the built-in network.
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

impl Network {
    /// Reads the model and holds its input against the description.
    ///
    /// # Errors
    /// A sentence that names the field or the remedy.
    pub(super) fn load(description: Description, onnx: Vec<u8>) -> Result<Self, String> {
        // A model is the operator's, and still foreign to the runtime.
        let loaded = catch_unwind(AssertUnwindSafe(|| Model::load(onnx))).map_err(|_| "the model beside it cannot be read".to_owned())?;
        let model = loaded.map_err(|error| format!("the model beside it does not load as ONNX: {error}"))?;
        let (&[input], &[output]) = (model.input_ids(), model.output_ids()) else {
            let (inputs, outputs) = (model.input_ids().len(), model.output_ids().len());
            return Err(format!("the model has {inputs} inputs and {outputs} outputs; export one of each"));
        };
        check_input(&description, model.input_shape(0))?;
        Ok(Self { model, description, input, output, idle: Mutex::new(Vec::new()) })
    }

    /// Tries it.
    pub(super) fn check(&self) -> Result<(), String> {
        let side = self.description.size;
        let tried = catch_unwind(AssertUnwindSafe(|| self.values(&NdTensor::full([1, 3, side, side], 0.5))));
        let values = tried.unwrap_or_else(|_| Err("it panics".to_owned()));
        let values = values.map_err(|error| {
            format!(
                "the model fails on an even picture ({error}); see size, layout and the model's own type of values, which must be float32"
            )
        })?;
        let (found, labels) = (values.len(), self.description.labels.len());
        if found != labels {
            return Err(format!("labels: the model gives {found} values, and there are {labels} labels"));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err("the model gives no numbers for an even picture; see mean and deviation".to_owned());
        }
        let total: f32 = values.iter().sum();
        let probabilities = values.iter().all(|value| (-0.001..=1.001).contains(value)) && (total - 1.0).abs() < 0.01;
        if self.description.output == Output::Probabilities && !probabilities {
            return Err(format!(
                "output: the values that the model gives are no probabilities, their sum is {total}; write \"logits\" or \"sigmoid\""
            ));
        }
        Ok(())
    }

    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    pub(super) fn run(&self, planes: &Planes) -> Result<Scores, RunFault> {
        let values = self.values(planes).map_err(|_| RunFault)?;
        if values.len() != self.description.labels.len() || values.iter().any(|value| !value.is_finite()) {
            return Err(RunFault);
        }
        Ok(self.description.scores(&values))
    }

    fn values(&self, planes: &Planes) -> Result<Vec<f32>, String> {
        let input = self.prepared(planes);
        let pool = self.lock_idle().pop().unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
        let result = self.model.run_n(vec![(self.input, input.view().into())], [self.output], Some(options));
        self.lock_idle().push(pool);
        let [values] = result.map_err(|error| error.to_string())?;
        let values: Tensor<f32> = values.try_into().map_err(|_| "its output is not float32".to_owned())?;
        Ok(values.to_vec())
    }

    /// The picture as the model wants it.
    fn prepared(&self, planes: &Planes) -> NdTensor<f32, 4> {
        let Description { size: side, layout, channels, mean, deviation, .. } = self.description;
        let value = |channel: usize, y: usize, x: usize| {
            let colour = match channels {
                Channels::Rgb => channel,
                Channels::Bgr => 2 - channel,
            };
            (planes[[0, colour, y, x]] - mean[channel]) / deviation[channel]
        };
        match layout {
            Layout::Nchw => NdTensor::from_fn([1, 3, side, side], |[_, channel, y, x]| value(channel, y, x)),
            Layout::Nhwc => NdTensor::from_fn([1, side, side, 3], |[_, y, x, channel]| value(channel, y, x)),
        }
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Arc<ThreadPool>>> {
        // A list of idle pools is whole at any moment, whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the model says of its input, where it says it.
fn check_input(description: &Description, shape: Option<Vec<Dimension>>) -> Result<(), String> {
    let Some(shape) = shape else { return Ok(()) };
    let side = description.size;
    let (wanted, layout) = match description.layout {
        Layout::Nchw => ([1, 3, side, side], "nchw"),
        Layout::Nhwc => ([1, side, side, 3], "nhwc"),
    };
    let fits = |(has, wanted): (&Dimension, &usize)| match has {
        Dimension::Fixed(has) => has == wanted,
        Dimension::Symbolic(_) => true,
    };
    if shape.len() == wanted.len() && shape.iter().zip(&wanted).all(fits) {
        return Ok(());
    }
    let shown: Vec<String> = shape
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(size) => size.to_string(),
            Dimension::Symbolic(name) => name.clone(),
        })
        .collect();
    Err(format!("size = {side} and layout = \"{layout}\" make an input of {wanted:?}; the model has [{}]", shown.join(", ")))
}
