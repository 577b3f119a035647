//! The bytes of a URL scan.

use std::io::Write as _;

use filesafety_engine::{Grant, Memory as _};
use filesafety_model::{FailureCode, Judgement, Sha256};
use filesafety_sandbox::FileContent;
use filesafety_store::FileFacts;
use sha2::Digest as _;

use super::Desk;
use crate::{
    egress::{FetchError, Fetched},
    worker::memory::Reservation,
};

/// A fetched file with the memory that it holds.
pub(super) struct Download {
    pub(super) content: FileContent,
    pub(super) facts: FileFacts,
    pub(super) memory: Reservation,
}

/// What a download is first given room for where memory was short before.
const ROOM: u64 = 64 << 20;

impl Desk {
    /// Fetches `url`, or says how the scan ends.
    pub(super) async fn fetch(&self, url: &str) -> Result<Download, Judgement> {
        let mut room = 0;
        loop {
            let memory = self.judge.memory.reserve(room).await;
            match self.fetch_into(url, memory, room).await {
                Ok(Taken::All(download)) => return Ok(download),
                // What was fetched is dropped, and fetched again once there is more room.
                Ok(Taken::Short) if room < self.file_max => room = (room * 2).max(ROOM).min(self.file_max),
                Ok(Taken::Short) => return Err(failed(FetchError::TooLarge)),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// `room` bytes are reserved already; more are asked for as they come.
    async fn fetch_into(&self, url: &str, memory: Reservation, room: u64) -> Result<Taken, FetchError> {
        let mut content = FileContent::writer().map_err(no_memory)?;
        let (mut size, mut held) = (0u64, 0u64);
        let mut digest = sha2::Sha256::new();
        let mut short = false;
        let mut take = |chunk: &[u8]| {
            size += chunk.len() as u64;
            if held < size {
                let wanted = (held + held / 2).max(size).max(1 << 16);
                let more = wanted.saturating_sub(room).saturating_sub(held.saturating_sub(room));
                if more > 0 && !matches!(memory.grow(more), Grant::Granted) {
                    short = true;
                    return false;
                }
                held = wanted;
            }
            digest.update(chunk);
            short = content.write_all(chunk).is_err();
            !short
        };
        let Fetched { name, .. } = match self.egress.fetch(url, self.file_max, self.fetch_timeout, &mut take).await {
            Ok(fetched) => fetched,
            Err(_) if short => return Ok(Taken::Short),
            Err(error) => return Err(error),
        };
        let content = content.finish().map_err(no_memory)?;
        let facts = FileFacts {
            name,
            size: content.len() as u64,
            sha256: Sha256::new(digest.finalize().into()),
            media_type: filesafety_engine::media_type(&content).to_owned(),
        };
        Ok(Taken::All(Download { content, facts, memory }))
    }
}

/// What came of a fetch.
enum Taken {
    All(Download),
    /// Memory was short.
    Short,
}

fn no_memory(error: std::io::Error) -> FetchError {
    FetchError::Failed(format!("no memory for the file: {error}"))
}

fn failed(error: FetchError) -> Judgement {
    let code = match &error {
        FetchError::Failed(_) => FailureCode::FetchFailed,
        FetchError::Refused(_) => FailureCode::FetchRefused,
        FetchError::TooLarge => FailureCode::FetchTooLarge,
    };
    Judgement::failed(code, error.to_string())
}
