//! Where the decoder writes: it owns its writers, so what they hold is shared.

use std::{cell::RefCell, io, rc::Rc};

use crate::budget::Deadline;

/// What was written.
#[derive(Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// More came than was asked for.
    pub(super) overflowed: bool,
}

/// Takes so many bytes until the deadline; then writing fails.
#[derive(Clone)]
pub(super) struct Output {
    content: Rc<RefCell<Content>>,
    left: u64,
    keeps: bool,
    deadline: Option<Deadline>,
}

impl Output {
    pub(super) fn new(most: u64, deadline: Option<Deadline>) -> Self {
        Self { content: Rc::default(), left: most, keeps: true, deadline }
    }

    /// One that only counts.
    pub(super) fn discarding(most: u64, deadline: Option<Deadline>) -> Self {
        Self { keeps: false, ..Self::new(most, deadline) }
    }

    pub(super) fn take(&self) -> Content {
        self.content.take()
    }
}

impl io::Write for Output {
    fn write(&mut self, step: &[u8]) -> io::Result<usize> {
        if step.is_empty() {
            return Ok(0);
        }
        if self.deadline.is_some_and(|deadline| deadline.has_passed()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut content = self.content.borrow_mut();
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let step = step.get(..most).unwrap_or(step);
        if step.is_empty() {
            content.overflowed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.keeps {
            let (length, capacity) = (content.bytes.len(), content.bytes.capacity());
            if length + step.len() > capacity {
                // No more room than was asked for, which a vector that doubles would take.
                let room = (capacity * 2).clamp(length + step.len(), most.saturating_add(length));
                content.bytes.try_reserve_exact(room - length).map_err(|_| io::ErrorKind::OutOfMemory)?;
            }
            content.bytes.extend_from_slice(step);
        }
        self.left -= step.len() as u64;
        Ok(step.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
