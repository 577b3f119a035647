//! Which bytes of a container belong to something that was read.

use std::{collections::BTreeMap, ops::Range};

/// Disjoint ranges, in order.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<usize, usize>);

impl Ranges {
    pub(super) fn insert(&mut self, range: Range<usize>) {
        let (mut start, mut end) = (range.start, range.end);
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            self.0.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.0.insert(start, end);
    }

    /// The end of the range that `at` lies in.
    pub(super) fn end_of(&self, at: usize) -> Option<usize> {
        self.0.range(..=at).next_back().map(|(_, &end)| end).filter(|&end| end > at)
    }

    /// Whether a range ends just before `at`.
    pub(super) fn ends_at(&self, at: usize) -> bool {
        self.0.range(..at).next_back().is_some_and(|(_, &end)| end == at)
    }

    /// What lies in no range of `0..length`.
    pub(super) fn gaps(&self, length: usize) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (&start, &end) in &self.0 {
            if start > at {
                gaps.push(at..start.min(length));
            }
            at = at.max(end);
        }
        if at < length {
            gaps.push(at..length);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_leave_gaps() {
        let mut ranges = Ranges::default();
        for range in [5..5, 10..20, 30..40, 18..30, 50..60, 2..4, 0..100] {
            ranges.insert(range.clone());
            assert!(range.is_empty() || ranges.end_of(range.start) >= Some(range.end));
        }
        assert_eq!(ranges.gaps(120).first(), Some(&(100..120)));
        let mut ranges = Ranges::default();
        ranges.insert(10..20);
        ranges.insert(30..40);
        assert_eq!(ranges.gaps(50), [0..10, 20..30, 40..50]);
        assert_eq!((ranges.end_of(9), ranges.end_of(10), ranges.end_of(20)), (None, Some(20), None));
        assert!(ranges.ends_at(20) && !ranges.ends_at(30));
    }
}
