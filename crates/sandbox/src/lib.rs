//! Child processes that read file content, and may do nothing else.
//!
//! A [`Pool`] keeps as many sandboxes as files are scanned at the same time. Each is this same program started again, with no environment
//! and one socket; it takes the loaded engines over by descriptors ([`filesafety_engine::Blueprint`]), starts all that needs starting, and
//! then gives up every right that scanning does not take ([`Layers`]). Whatever foreign content does to it ends one scan: the owner reads
//! its answers as it reads a stranger's, ends it when its time is over, and starts another in its place.

mod child;
mod content;
mod job;
mod lockdown;
mod pool;
mod sandbox;
mod wire;

pub use child::run as run_child;
pub use content::{FileContent, FileWriter};
pub use lockdown::{Confinement, Layer, Layers};
pub use pool::{Pool, PoolConfig, Program, Scanned, StartError, Warmth, probe};
pub use sandbox::{Fault, Job};
