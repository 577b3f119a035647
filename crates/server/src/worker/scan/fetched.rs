//! The bytes of a URL scan.

use bytes::Bytes;
use filesafety_engine::{Grant, Memory as _};
use filesafety_model::{FailureCode, Judgement, Sha256};
use filesafety_store::FileFacts;
use sha2::Digest as _;

use super::Desk;
use crate::{
    egress::{FetchError, Fetched},
    worker::memory::Reservation,
};

/// A fetched file with the memory that it holds.
pub(super) struct Download {
    pub(super) content: Bytes,
    pub(super) facts: FileFacts,
    pub(super) memory: Reservation,
}

impl Desk {
    /// Fetches `url`, or says how the scan ends.
    pub(super) async fn fetch(&self, url: &str) -> Result<Download, Box<Judgement>> {
        let memory = self.judge.memory.reserve(0).await;
        match self.fetch_into(url, memory).await {
            Ok(Some(download)) => Ok(download),
            // Memory was short: what was fetched is dropped, and fetched again once the whole is free.
            Ok(None) => match self.fetch_into(url, self.judge.memory.reserve_whole(0).await).await {
                Ok(Some(download)) => Ok(download),
                Ok(None) => Err(failed(FetchError::TooLarge)),
                Err(error) => Err(failed(error)),
            },
            Err(error) => Err(failed(error)),
        }
    }

    async fn fetch_into(&self, url: &str, memory: Reservation) -> Result<Option<Download>, FetchError> {
        let mut content = Vec::new();
        let mut digest = sha2::Sha256::new();
        let mut short = false;
        let Fetched { name, .. } = {
            let mut take = |chunk: &[u8]| {
                if !matches!(memory.grow(chunk.len() as u64), Grant::Granted) {
                    short = true;
                    return false;
                }
                digest.update(chunk);
                content.extend_from_slice(chunk);
                true
            };
            match self.egress.fetch(url, self.file_max, self.fetch_timeout, &mut take).await {
                Ok(fetched) => fetched,
                Err(_) if short => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let facts = FileFacts {
            name,
            size: content.len() as u64,
            sha256: Sha256::new(digest.finalize().into()),
            media_type: filesafety_engine::media_type(&content).to_owned(),
        };
        Ok(Some(Download { content: content.into(), facts, memory }))
    }
}

fn failed(error: FetchError) -> Box<Judgement> {
    let code = match &error {
        FetchError::Failed(_) => FailureCode::FetchFailed,
        FetchError::Refused(_) => FailureCode::FetchRefused,
        FetchError::TooLarge => FailureCode::FetchTooLarge,
    };
    Box::new(Judgement::failed(code, error.to_string()))
}
