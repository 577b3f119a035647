//! Content of which only parts were written down: what lies between them is zeros.

use std::{
    collections::VecDeque,
    io::{self, Read},
};

/// Bytes, then zeros in the place of what was not written.
pub(super) struct Stretch<'a> {
    pub(super) piece: &'a [u8],
    pub(super) zeros: u64,
}

/// One after another.
pub(super) struct Stretches<'a>(pub(super) VecDeque<Stretch<'a>>);

impl Read for Stretches<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(stretch) = self.0.front_mut() {
            if !stretch.piece.is_empty() {
                return stretch.piece.read(buffer);
            }
            if stretch.zeros > 0 {
                let count = io::repeat(0).take(stretch.zeros).read(buffer)?;
                stretch.zeros -= count as u64;
                return Ok(count);
            }
            self.0.pop_front();
        }
        Ok(0)
    }
}
