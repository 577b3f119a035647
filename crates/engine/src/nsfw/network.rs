//! The neural network itself: a tensor of 224 × 224 pixels goes in, five probabilities come out.

use std::sync::{Arc, Mutex, PoisonError};

use filesafety_model::Scores;
use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::{AsView, NdTensor};

use crate::LoadError;

/// Width and height of the network's input, in pixels.
pub(super) const SIDE: usize = 224;

/// nsfwjs' mobilenet_v2; `models/README.md` says how it was made.
pub(super) const MODEL: &[u8] = include_bytes!("../../../../models/mobilenet_v2.u8.onnx");

/// One picture as the network takes it: three planes (red, green, blue) of `SIDE` rows of `SIDE` values in 0..=1.
pub(super) type Planes = NdTensor<f32, 4>;

/// The loaded network, to be shared by all threads.
pub(super) struct Network {
    model: Model,
    input: NodeId,
    output: NodeId,
    /// The runtime computes inside a pool of threads. Each call borrows one of a single thread, so that a caller takes one core and
    /// callers do not wait for each other; there are never more than there were callers at the same time.
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

/// The runtime failed on a picture. It does not depend on the pixels: all pictures have the same shape.
#[derive(Debug)]
pub(super) struct RunFault;

impl Network {
    /// Reads the embedded model. The runtime dequantises the weights here, once: they do not depend on the input.
    pub(super) fn load() -> Result<Self, LoadError> {
        let invalid = |message: String| LoadError::Model { message };
        let model = Model::load_static_slice(MODEL).map_err(|error| invalid(error.to_string()))?;
        let input = model.node_id("input").map_err(|error| invalid(error.to_string()))?;
        let output = model.node_id("probs").map_err(|error| invalid(error.to_string()))?;
        Ok(Self { model, input, output, idle: Mutex::new(Vec::new()) })
    }

    /// The five probabilities of one picture; about 17 ms of one core.
    pub(super) fn run(&self, picture: &Planes) -> Result<Scores, RunFault> {
        let pool = self.borrow_pool();
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
        let result = self.model.run_n(vec![(self.input, picture.view().into())], [self.output], Some(options));
        self.lock_idle().push(pool);

        let [probabilities] = result.map_err(|_| RunFault)?;
        let probabilities: NdTensor<f32, 2> = probabilities.try_into().map_err(|_| RunFault)?;
        match probabilities.to_vec().as_slice() {
            &[drawing, hentai, neutral, porn, sexy] => Ok(Scores { drawing, hentai, neutral, porn, sexy }),
            _ => Err(RunFault),
        }
    }

    fn borrow_pool(&self) -> Arc<ThreadPool> {
        let idle = self.lock_idle().pop();
        idle.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)))
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Arc<ThreadPool>>> {
        // A list of idle pools is whole at any moment, whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
