//! Opening containers: one module per format, every byte through the budget.

pub(crate) mod pdf;

use std::io::Read;

use filesafety_model::Reason;

/// The scan cannot go on: the budget is used up or memory is short. The pipeline knows which; an opener only passes it on with `?`.
#[derive(Debug)]
pub(crate) struct Stop;

/// How the decoding of one child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The reader reached its end.
    AtEnd,
    /// The reader failed after what was decoded; the opener says whether that is broken.
    InError,
}

/// A child's decoding, after the child itself has been examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Bytes that came out.
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    pub(crate) ended: Ended,
}

/// What an opener tells of the container that it walks.
pub(crate) trait Sink {
    /// Reads `content` to its end under the budget, then examines it as a child called `name` (nested containers included).
    /// What was decoded before an error is examined as well.
    fn child(&mut self, name: &str, content: &mut dyn Read) -> Result<Decoded, Stop>;

    /// A part of this container stays unseen; `detail` ends the signature: `Zip` in `Heuristics.Broken.Zip`.
    fn unexamined(&mut self, reason: Reason, detail: &str);

    /// The same of a part with a name of its own.
    fn member_unexamined(&mut self, name: &str, reason: Reason, detail: &str);

    /// Worth knowing, and examined all the same: trailing bytes, a repaired index.
    fn note(&mut self, note: &str);

    /// To be called now and then in long walks that decode nothing: time and the count of entries.
    fn tick(&mut self) -> Result<(), Stop>;
}
