//! What the fuzzers call; compiled for them alone (`--cfg fuzzing`).

use bytes::Bytes;

use crate::intake::{BodyFault, Multipart, MultipartError, Source};

/// The body in pieces of one size.
struct Pieces {
    body: Bytes,
    size: usize,
}

impl Source for Pieces {
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send {
        let take = self.size.min(self.body.len());
        std::future::ready(Ok((take > 0).then(|| self.body.split_to(take))))
    }
}

/// Reads a form. The sizes of the pieces that it comes in must not matter.
pub fn multipart(boundary: &str, body: &[u8], piece: usize) {
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let whole = read(&content_type, body, usize::MAX);
    let pieces = read(&content_type, body, piece.max(1));
    assert_eq!(whole, pieces, "a form depends on how it arrives");
}

type Form = Result<Vec<(String, Option<String>, Vec<u8>)>, MultipartError>;

fn read(content_type: &str, body: &[u8], size: usize) -> Form {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(async {
        let mut form = Multipart::new(content_type, Pieces { body: Bytes::copy_from_slice(body), size })?;
        let mut parts = Vec::new();
        while let Some(part) = form.next_part().await? {
            let mut content = Vec::new();
            while let Some(chunk) = form.chunk().await? {
                content.extend_from_slice(&chunk);
            }
            parts.push((part.name, part.file_name, content));
        }
        Ok(parts)
    })
}
