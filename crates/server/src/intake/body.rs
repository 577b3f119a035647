//! Request bodies that must keep a pace.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use crate::config::IntakeLimits;

/// A body that has to bring so many bytes within each window of time, and all of them before a deadline.
pub(crate) struct PacedBody {
    body: Body,
    pace_bytes: u64,
    pace_window: Duration,
    deadline: Instant,
    window_ends: Instant,
    window_bytes: u64,
}

/// Why no more bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Below the pace, or past the deadline.
    TooSlow,
    /// The connection ended early, or what came was no body.
    Broken,
}

impl PacedBody {
    pub(crate) fn new(body: Body, limits: &IntakeLimits) -> Self {
        let now = Instant::now();
        Self {
            body,
            pace_bytes: limits.pace_bytes,
            pace_window: limits.pace_window,
            deadline: now + limits.deadline,
            window_ends: now + limits.pace_window,
            window_bytes: 0,
        }
    }

    /// The next bytes, never empty; `None` at the body's proper end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyFault> {
        loop {
            let Ok(frame) = timeout_at(self.window_ends.min(self.deadline), self.body.frame()).await else {
                self.open_next_window()?;
                continue;
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| BodyFault::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            self.window_bytes += data.len() as u64;
            if Instant::now() >= self.window_ends {
                self.open_next_window()?;
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    fn open_next_window(&mut self) -> Result<(), BodyFault> {
        let now = Instant::now();
        if self.window_bytes < self.pace_bytes || now >= self.deadline {
            return Err(BodyFault::TooSlow);
        }
        self.window_bytes = 0;
        self.window_ends = now + self.pace_window;
        Ok(())
    }
}
