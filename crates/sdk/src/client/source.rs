//! Where the bytes of a file come from, and the request bodies that carry them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

/// A file to scan: bytes, a path, or whatever can be read. A path is streamed; it is never held in memory as a whole.
///
/// ```
/// use filesafety::FileSource;
/// let picture = FileSource::path("/srv/uploads/cat.png");
/// let text = FileSource::bytes("hello").named("hello.txt");
/// let stream = FileSource::reader(tokio::io::empty()).named("empty").length(0);
/// ```
pub struct FileSource {
    name: Option<String>,
    content: Content,
}

type Reader = Pin<Box<dyn AsyncRead + Send>>;

enum Content {
    Bytes(Bytes),
    Path(PathBuf),
    Reader { once: Once, length: Option<u64> },
}

/// A reader that the first body which gets to it takes.
type Once = Arc<Mutex<Option<Reader>>>;

impl FileSource {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { name: None, content: Content::Bytes(bytes.into()) }
    }

    /// A regular file, opened anew for each try, and called by its own name. It must not change while it is sent.
    pub fn path(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { name, content: Content::Path(path.to_owned()) }
    }

    /// Whatever can be read, to its end. It can be read once: when a call fails after it began to read, it is not repeated.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self { name: None, content: Content::Reader { once: Arc::new(Mutex::new(Some(Box::pin(reader)))), length: None } }
    }

    /// What the file is called. The service takes it as a hint and never as a path.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// How many bytes a reader will give, so that a file which is too large is refused before it is sent.
    /// A reader that gives fewer or more breaks the upload. Has no effect on bytes and paths, whose length is known.
    pub fn length(self, bytes: u64) -> Self {
        let content = match self.content {
            Content::Reader { once, length: _ } => Content::Reader { once, length: Some(bytes) },
            known @ (Content::Bytes(_) | Content::Path(_)) => known,
        };
        Self { content, ..self }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether there is still something to send.
    pub(super) fn is_unread(&self) -> bool {
        match &self.content {
            Content::Bytes(_) | Content::Path(_) => true,
            Content::Reader { once, .. } => once.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
        }
    }

    /// A body of `head`, the file and `tail`.
    pub(super) async fn open(&self, head: Bytes, tail: Bytes, progress: Arc<Progress>) -> io::Result<UploadBody> {
        let (part, length) = match &self.content {
            Content::Bytes(bytes) => (Part::Bytes(bytes.clone()), u64::try_from(bytes.len()).ok()),
            Content::Path(path) => {
                let file = tokio::fs::File::open(path).await?;
                let facts = file.metadata().await?;
                if !facts.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display())));
                }
                (Part::read(Box::pin(file), Some(facts.len())), Some(facts.len()))
            }
            Content::Reader { once, length } => (Part::Waiting(once.clone(), *length), *length),
        };
        let around = u64::try_from(head.len() + tail.len()).ok();
        let length = length.zip(around).and_then(|(file, around)| file.checked_add(around));
        Ok(UploadBody { head, part, tail, length, progress })
    }
}

impl From<Bytes> for FileSource {
    fn from(bytes: Bytes) -> Self {
        Self::bytes(bytes)
    }
}

impl From<Vec<u8>> for FileSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&Path> for FileSource {
    fn from(path: &Path) -> Self {
        Self::path(path)
    }
}

impl From<PathBuf> for FileSource {
    fn from(path: PathBuf) -> Self {
        Self::path(path)
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Content::Path(path) => path.display().to_string(),
            Content::Reader { length: Some(length), .. } => format!("a reader of {length} bytes"),
            Content::Reader { length: None, .. } => "a reader".to_owned(),
        };
        f.debug_struct("FileSource").field("name", &self.name).field("content", &content).finish()
    }
}

/// How far a body is, seen from outside.
pub(super) struct Progress(Mutex<State>);

struct State {
    last: Instant,
    fault: Option<io::Error>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { last: Instant::now(), fault: None })))
    }

    /// When bytes were last taken from the body.
    pub(super) fn last(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Why the file could not be read, once it could not.
    pub(super) fn take_fault(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fault.take()
    }

    fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last = Instant::now();
    }

    /// Keeps the error for the caller, and gives the connection one to break off with.
    fn fail(&self, fault: io::Error) -> io::Error {
        let copy = io::Error::new(fault.kind(), "the file cannot be read");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fault = Some(fault);
        copy
    }
}

/// A request body: what comes before the file, the file, what comes after it.
pub(super) struct UploadBody {
    head: Bytes,
    part: Part,
    tail: Bytes,
    length: Option<u64>,
    progress: Arc<Progress>,
}

enum Part {
    Bytes(Bytes),
    /// A reader that is taken when its turn comes.
    Waiting(Once, Option<u64>),
    Reading(Reading),
}

struct Reading {
    reader: Reader,
    /// Still to come, where it is known.
    left: Option<u64>,
    buffer: Vec<u8>,
    /// Sent once the next read is done: the last bytes leave only when the end is seen to be where it was said to be.
    held: Option<Bytes>,
    ended: bool,
}

const CHUNK: usize = 64 * 1024;

impl UploadBody {
    /// A body without a file.
    pub(super) fn of(bytes: Bytes, progress: Arc<Progress>) -> Self {
        let length = u64::try_from(bytes.len()).ok();
        Self { head: bytes, part: Part::Bytes(Bytes::new()), tail: Bytes::new(), length, progress }
    }
}

impl Part {
    fn read(reader: Reader, length: Option<u64>) -> Self {
        Self::Reading(Reading { reader, left: length, buffer: vec![0; CHUNK], held: None, ended: false })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(Ok(None)),
            Self::Bytes(bytes) => Poll::Ready(Ok(Some(bytes.split_to(bytes.len().min(CHUNK))))),
            Self::Waiting(once, length) => {
                let reader = once.lock().unwrap_or_else(PoisonError::into_inner).take();
                let length = *length;
                match reader {
                    Some(reader) => {
                        *self = Self::read(reader, length);
                        self.poll(context)
                    }
                    None => Poll::Ready(Err(io::Error::other("it was read before and cannot be read again"))),
                }
            }
            Self::Reading(reading) => reading.poll(context),
        }
    }
}

impl Reading {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while !self.ended {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            ready!(self.reader.as_mut().poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            self.ended = bytes.is_empty();
            if let Some(left) = &mut self.left {
                let read = bytes.len() as u64;
                *left = left.checked_sub(read).ok_or_else(|| io::Error::other("it became longer while it was sent"))?;
                if self.ended && *left > 0 {
                    return Poll::Ready(Err(io::Error::other("it became shorter while it was sent")));
                }
            }
            if !self.ended
                && let Some(before) = self.held.replace(Bytes::copy_from_slice(bytes))
            {
                return Poll::Ready(Ok(Some(before)));
            }
        }
        Poll::Ready(Ok(self.held.take()))
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let chunk = if !this.head.is_empty() {
            Some(std::mem::take(&mut this.head))
        } else {
            match ready!(this.part.poll(context)) {
                Ok(Some(chunk)) => Some(chunk),
                Ok(None) if this.tail.is_empty() => None,
                Ok(None) => Some(std::mem::take(&mut this.tail)),
                Err(fault) => return Poll::Ready(Some(Err(this.progress.fail(fault)))),
            }
        };
        this.progress.note();
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn sent(source: &FileSource) -> (io::Result<String>, Option<u64>, Option<String>) {
        let progress = Progress::new();
        let body = source.open(Bytes::from_static(b"<"), Bytes::from_static(b">"), progress.clone()).await.unwrap();
        let declared = body.size_hint().exact();
        let text = body.collect().await.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
        (text, declared, progress.take_fault().map(|fault| fault.to_string()))
    }

    #[tokio::test]
    async fn a_reader_that_is_not_as_long_as_it_said_never_comes_to_its_end() {
        for (length, word) in [(2, "longer"), (4, "shorter"), (0, "longer")] {
            let (text, declared, fault) = sent(&FileSource::reader(&b"abc"[..]).length(length)).await;
            assert!(text.is_err() && fault.unwrap().contains(word));
            assert_eq!(declared, Some(length + 2));
        }
    }

    #[tokio::test]
    async fn a_reader_is_read_once() {
        let source = FileSource::reader(&b"abc"[..]);
        assert!(source.is_unread());
        assert_eq!(sent(&source).await.0.unwrap(), "<abc>");
        assert!(!source.is_unread());
        assert!(sent(&source).await.0.is_err());
    }

    #[tokio::test]
    async fn declared_lengths_are_true() {
        let long = "x".repeat(3 * CHUNK + 1);
        for source in [FileSource::bytes(long.clone()), FileSource::reader(io::Cursor::new(long.clone())).length(long.len() as u64)] {
            let (text, declared, _) = sent(&source).await;
            let text = text.unwrap();
            assert_eq!((declared, &text), (Some(text.len() as u64), &format!("<{long}>")));
        }
        assert_eq!(sent(&FileSource::reader(tokio::io::empty())).await.1, None);
        assert_eq!(sent(&FileSource::bytes("").length(7)).await.0.unwrap(), "<>");
    }

    #[tokio::test]
    async fn folders_and_missing_files_are_refused() {
        for path in ["/", "/nonexistent/file"] {
            assert!(FileSource::path(path).open(Bytes::new(), Bytes::new(), Progress::new()).await.is_err());
        }
    }
}
