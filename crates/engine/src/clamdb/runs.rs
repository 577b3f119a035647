//! Sets of names, as runs of their numbers: neighbours mostly come from one file.

use serde::{Deserialize, Serialize};

use super::names::NameId;

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Runs {
    /// The first, and the one after the last; ascending.
    runs: Vec<(NameId, NameId)>,
}

impl Runs {
    /// Numbers are added in ascending order.
    pub(super) fn add(&mut self, name: NameId) {
        match self.runs.last_mut() {
            Some((_, end)) if *end == name => *end = name + 1,
            _ => self.runs.push((name, name + 1)),
        }
    }

    pub(super) fn contains(&self, name: NameId) -> bool {
        let after = self.runs.partition_point(|&(_, end)| end <= name);
        self.runs.get(after).is_some_and(|&(start, _)| start <= name)
    }
}
