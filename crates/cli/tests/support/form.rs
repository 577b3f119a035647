//! Multipart bodies, right ones and wrong ones.

/// A `multipart/form-data` body under construction.
#[derive(Clone)]
pub(crate) struct Form {
    body: Vec<u8>,
}

impl Form {
    pub(crate) const BOUNDARY: &'static str = "----a-boundary-of-the-tests";

    pub(crate) fn new() -> Self {
        Self { body: Vec::new() }
    }

    /// A form with nothing but a file.
    pub(crate) fn of(name: &str, content: &[u8]) -> Self {
        Self::new().file(name, content)
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.part(
            &format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream"),
            content,
        )
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
    }

    /// A part with headers of the caller's own, without their last line end.
    pub(crate) fn part(mut self, headers: &str, content: &[u8]) -> Self {
        self.body.extend_from_slice(format!("--{}\r\n{headers}\r\n\r\n", Self::BOUNDARY).as_bytes());
        self.body.extend_from_slice(content);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// The body as far as it is written: without its last boundary.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.body
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.body.extend_from_slice(format!("--{}--\r\n", Self::BOUNDARY).as_bytes());
        self.body
    }

    pub(crate) fn content_type() -> String {
        format!("multipart/form-data; boundary={}", Self::BOUNDARY)
    }
}
