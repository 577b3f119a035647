//! `multipart/form-data` as it streams (RFC 7578, RFC 2046 section 5.1), with every buffer bounded.

use std::future::Future;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::body::{BodyFault, PacedBody};

/// Where bytes come from.
pub(crate) trait Source {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send;
}

impl Source for PacedBody {
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send {
        PacedBody::next(self)
    }
}

/// A form that is being read: parts one after another, each part's content in pieces.
pub(crate) struct Multipart<S> {
    source: S,
    buffer: BytesMut,
    /// CRLF, two dashes and the boundary.
    delimiter: Vec<u8>,
    place: Place,
    parts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Preamble,
    Content,
    AfterDelimiter,
    End,
}

/// A part's headers, as far as a form has them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
}

/// Why the form cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MultipartError {
    #[error("The content type multipart/form-data has no valid boundary.")]
    NoBoundary,
    #[error("The form ends before its closing boundary; send the body whole, with the boundary that the content type names.")]
    Truncated,
    #[error("The headers of a part are longer than {HEADERS_MAX} bytes.")]
    HeadersTooLong,
    #[error("The form has more than {PARTS_MAX} parts.")]
    TooManyParts,
    #[error("A part of the form is malformed: {0}.")]
    Malformed(&'static str),
    #[error("The body came to no proper end.")]
    Body(BodyFault),
}

/// Headers of one part.
const HEADERS_MAX: usize = 8 * 1024;
const PARTS_MAX: usize = 32;
/// RFC 2046 section 5.1.1.
const BOUNDARY_MAX: usize = 70;
/// What may stand before the first boundary, or between a boundary and its line end.
const SLACK_MAX: usize = 4 * 1024;

impl<S: Source> Multipart<S> {
    /// `content_type` is the request's header value.
    pub(crate) fn new(content_type: &str, source: S) -> Result<Self, MultipartError> {
        let boundary = parameter(content_type, "boundary").ok_or(MultipartError::NoBoundary)?;
        if boundary.is_empty() || boundary.len() > BOUNDARY_MAX || !boundary.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(MultipartError::NoBoundary);
        }
        // The first boundary may open the body; with a line end in front it looks like all the others.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { source, buffer, delimiter: format!("\r\n--{boundary}").into_bytes(), place: Place::Preamble, parts: 0 })
    }

    /// The next part; what is left of the one before is passed over.
    pub(crate) async fn next_part(&mut self) -> Result<Option<Part>, MultipartError> {
        match self.place {
            Place::Preamble => self.skip_preamble().await?,
            Place::Content => while self.chunk().await?.is_some() {},
            Place::AfterDelimiter | Place::End => {}
        }
        if self.place == Place::End || self.after_delimiter().await? == AfterDelimiter::Closes {
            self.place = Place::End;
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(MultipartError::TooManyParts);
        }
        let headers = self.headers().await?;
        self.place = Place::Content;
        parse_headers(&headers).map(Some)
    }

    /// The next bytes of the current part; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, MultipartError> {
        if self.place != Place::Content {
            return Ok(None);
        }
        loop {
            if let Some(end) = memmem::find(&self.buffer, &self.delimiter) {
                if end > 0 {
                    return Ok(Some(self.buffer.split_to(end).freeze()));
                }
                let _ = self.buffer.split_to(self.delimiter.len());
                self.place = Place::AfterDelimiter;
                return Ok(None);
            }
            // The last bytes may be the start of a delimiter.
            let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.fill().await?;
        }
    }

    /// Reads the closing boundary's tail and whatever follows; the request's body is then used up.
    pub(crate) async fn finish(mut self) -> Result<(), MultipartError> {
        self.buffer.clear();
        while self.source.next().await.map_err(MultipartError::Body)?.is_some() {}
        Ok(())
    }

    async fn skip_preamble(&mut self) -> Result<(), MultipartError> {
        loop {
            if let Some(start) = memmem::find(&self.buffer, &self.delimiter) {
                let _ = self.buffer.split_to(start + self.delimiter.len());
                self.place = Place::AfterDelimiter;
                return Ok(());
            }
            if self.buffer.len() > SLACK_MAX {
                return Err(MultipartError::Malformed("it does not begin with the boundary that the content type names"));
            }
            self.fill().await?;
        }
    }

    async fn after_delimiter(&mut self) -> Result<AfterDelimiter, MultipartError> {
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(AfterDelimiter::Closes);
            }
            if let Some(end) = memmem::find(&self.buffer, b"\r\n") {
                let padding = self.buffer.split_to(end + 2);
                let blank = padding.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
                return if blank {
                    Ok(AfterDelimiter::Opens)
                } else {
                    Err(MultipartError::Malformed("text follows a boundary on its line"))
                };
            }
            if self.buffer.len() > SLACK_MAX {
                return Err(MultipartError::Malformed("text follows a boundary on its line"));
            }
            self.fill().await?;
        }
    }

    async fn headers(&mut self) -> Result<Bytes, MultipartError> {
        loop {
            if self.buffer.starts_with(b"\r\n") {
                return Err(MultipartError::Malformed("it has no headers"));
            }
            let end = memmem::find(&self.buffer, b"\r\n\r\n");
            if end.unwrap_or(self.buffer.len()) > HEADERS_MAX {
                return Err(MultipartError::HeadersTooLong);
            }
            if let Some(end) = end {
                return Ok(self.buffer.split_to(end + 4).freeze());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), MultipartError> {
        let bytes = self.source.next().await.map_err(MultipartError::Body)?;
        self.buffer.extend_from_slice(&bytes.ok_or(MultipartError::Truncated)?);
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum AfterDelimiter {
    Opens,
    Closes,
}

fn parse_headers(headers: &[u8]) -> Result<Part, MultipartError> {
    let text = String::from_utf8_lossy(headers);
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition =
        lines.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition")).map(|(_, value)| value.trim());
    let disposition = disposition.ok_or(MultipartError::Malformed("it has no Content-Disposition header"))?;
    if !disposition.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("form-data")) {
        return Err(MultipartError::Malformed("its Content-Disposition is not form-data"));
    }
    let name = parameter(disposition, "name").ok_or(MultipartError::Malformed("its Content-Disposition has no name"))?;
    let extended = parameter(disposition, "filename*").and_then(|value| decode_extended(&value));
    let file_name = extended.or_else(|| parameter(disposition, "filename").map(|name| unescape_browser(&name)));
    Ok(Part { name, file_name })
}

/// The value of `key` among the `; key=value` of a header, quotes removed.
fn parameter(header: &str, key: &str) -> Option<String> {
    let mut rest = &header[header.find(';')?..];
    while let Some(after) = rest.strip_prefix(';') {
        let (name, value) = after.split_once('=')?;
        let (value, tail) = take_value(value)?;
        if name.trim().eq_ignore_ascii_case(key) {
            return Some(value);
        }
        rest = &tail[tail.find(';').unwrap_or(tail.len())..];
    }
    None
}

/// A quoted text or a bare token, and what follows it.
fn take_value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[index + 1..])),
            // Only these two are escapes: old browsers send Windows paths with single backslashes.
            '\\' if quoted[index + 1..].starts_with(['"', '\\']) => value.extend(chars.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    None
}

/// Browsers write a quote and line ends in a name as `%22`, `%0D`, `%0A` (HTML, multipart/form-data encoding algorithm).
fn unescape_browser(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// `UTF-8''na%C3%AFve.txt` (RFC 8187).
fn decode_extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    Some(percent_encoding::percent_decode_str(encoded).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests;
