//! The neural network itself: a tensor of 224 × 224 pixels goes in, five probabilities come out.

use std::sync::{Arc, Mutex, PoisonError};

use filesafety_model::Scores;
use filesafety_network::{RunError, Runner};
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
    fast: Fast,
}

/// The runtime failed on a picture. It does not depend on the pixels: all pictures have the same shape.
#[derive(Debug)]
pub(super) struct RunFault;

impl Network {
    /// Reads the embedded model.
    pub(super) fn load() -> Result<Self, LoadError> {
        let fast = Fast::load(MODEL).map_err(|error| LoadError::Model { message: error.to_string() })?;
        Ok(Self { fast })
    }

    /// The five probabilities of one picture; a few milliseconds of one core.
    pub(super) fn run(&self, picture: &Planes) -> Result<Scores, RunFault> {
        match *self.fast.run(picture)? {
            [drawing, hentai, neutral, porn, sexy] => Ok(Scores { drawing, hentai, neutral, porn, sexy }),
            _ => Err(RunFault),
        }
    }
}

/// A network that our own runtime computes.
pub(super) struct Fast {
    network: Arc<filesafety_network::Network>,
    /// Each call borrows the buffers of one inference; there are never more than there were callers at the same time.
    idle: Mutex<Vec<Runner>>,
}

impl Fast {
    /// Fails as well for networks of another kind, which the general runtime may know.
    pub(super) fn load(model: &[u8]) -> Result<Self, filesafety_network::LoadError> {
        let network = Arc::new(filesafety_network::Network::load(model)?);
        Ok(Self { network, idle: Mutex::new(Vec::new()) })
    }

    /// What the network gives for one picture; all of it finite.
    pub(super) fn run(&self, picture: &Planes) -> Result<Box<[f32]>, RunFault> {
        let idle = self.lock_idle().pop();
        let mut runner = idle.unwrap_or_else(|| self.network.runner());
        let result = match picture.data() {
            Some(planes) => runner.run(planes),
            None => Err(RunError::Shape),
        };
        let result = result.map(Box::from).map_err(|_| RunFault);
        self.lock_idle().push(runner);
        result
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Runner>> {
        // A list of idle buffers is whole at any moment, whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
