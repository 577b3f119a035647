//! Which bytes of a container belong to something that was read.

use std::{collections::BTreeMap, ops::Range};

use super::{Sink, Stop};

/// Shorter gaps hold no container.
const SMALLEST_GAP: usize = 20;

/// What belongs to no member may still be something: it is examined like a member. Gives what was.
pub(crate) fn examine_gaps(content: &[u8], read: &Ranges, sink: &mut dyn Sink) -> Result<Vec<Range<usize>>, Stop> {
    let mut examined = Vec::new();
    for gap in read.gaps(content.len()) {
        let bytes = content.get(gap.clone()).unwrap_or_default();
        sink.tick()?;
        // The same bytes again would be the same container again.
        if bytes.len() == content.len() || bytes.len() < SMALLEST_GAP || bytes.iter().all(|&byte| byte == 0) {
            continue;
        }
        let trailing = gap.end == content.len();
        sink.note(if trailing { "bytes after the end" } else { "bytes between the members" });
        sink.part(&if trailing { "trailing".to_owned() } else { format!("gap-at-{}", gap.start) }, bytes)?;
        examined.push(gap);
    }
    Ok(examined)
}

/// Disjoint ranges, in order.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<usize, usize>);

impl Ranges {
    pub(crate) fn insert(&mut self, range: Range<usize>) {
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
    pub(crate) fn end_of(&self, at: usize) -> Option<usize> {
        self.0.range(..=at).next_back().map(|(_, &end)| end).filter(|&end| end > at)
    }

    /// Whether a range ends just before `at`.
    pub(crate) fn ends_at(&self, at: usize) -> bool {
        self.0.range(..at).next_back().is_some_and(|(_, &end)| end == at)
    }

    /// What lies in no range of `0..length`.
    pub(crate) fn gaps(&self, length: usize) -> Vec<Range<usize>> {
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
