//! Who hears of findings while a scan goes on.

use filesafety_model::{Detection, PictureReport};

/// Hears of findings when they are made. What it was told counts even if the scan comes to no report: the process may be ended for its
/// time, or may bring itself down with the next object.
pub trait Watcher {
    /// A detection that will be part of the report.
    fn detected(&self, detection: &Detection);
    /// A picture that counts beside those before it.
    fn pictured(&self, picture: &PictureReport);
}

/// Nobody: for who waits for the report in the same process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unwatched;

impl Watcher for Unwatched {
    fn detected(&self, _: &Detection) {}
    fn pictured(&self, _: &PictureReport) {}
}
