//! Formats that are one compressed stream after another: gzip, bzip2, xz, zstd.

use std::io::{self, Read};

use filesafety_model::Reason;

use super::{
    Sink, Stop,
    codec::{Fault, Stream},
};

/// One such format.
pub(crate) struct Codec {
    /// Ends the signatures: `Heuristics.Broken.<detail>`.
    pub(crate) detail: &'static str,
    /// What names of such files end in, in lower case.
    pub(crate) suffixes: &'static [&'static str],
    /// What to search for; [`Codec::starts`] then decides.
    pub(crate) magic: &'static [u8],
    pub(crate) starts: fn(&[u8]) -> Start,
    pub(crate) open: for<'a> fn(&'a [u8]) -> Box<dyn Stream + 'a>,
    /// Bytes that decoding holds beside its output.
    pub(crate) window: fn(&[u8]) -> u64,
    /// The name of the content, where the format has one.
    pub(crate) name: fn(&[u8]) -> Option<String>,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Stream,
    /// So many bytes that belong to the format and hold nothing.
    Skip(usize),
    Nothing,
}

/// What a walk found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    /// Where the last stream ends.
    pub(crate) end: usize,
    pub(crate) streams: u64,
}

/// Opens a file of this format. Each stream is an object; the streams together are another when there are several, since that is what
/// an opener shows. `name` is what the file is called.
pub(crate) fn open(codec: &Codec, content: &[u8], name: Option<&str>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let walked = walk(codec, content, name, sink)?;
    let rest = content.get(walked.end..).unwrap_or_default();
    if walked.streams == 0 {
        sink.unexamined(Reason::Broken, codec.detail);
    }
    super::zip::open_across(content, std::slice::from_ref(&(walked.end..content.len())), sink)?;
    if walked.end == 0 {
        // What follows would be the same bytes again.
        return Ok(());
    }
    if rest.iter().all(|&byte| byte == 0) {
        if !rest.is_empty() {
            sink.note("zero bytes after the end");
        }
        return Ok(());
    }
    sink.note("bytes after the end");
    sink.part("trailing", rest)?;
    Ok(())
}

/// Examines the streams that `content` starts with; zeros may stand between them.
pub(crate) fn walk(codec: &Codec, content: &[u8], name: Option<&str>, sink: &mut dyn Sink) -> Result<Walked, Stop> {
    let mut walked = Walked::default();
    let mut faulty = false;
    while let Some((at, _)) = next_stream(codec, content, walked.end).filter(|_| !faulty) {
        examine_skipped(codec, content, walked.end..at, sink)?;
        let input = content.get(at..).unwrap_or_default();
        let held = (codec.window)(input);
        sink.hold(held)?;
        let mut stream = (codec.open)(input);
        sink.child(&child_name(codec, input, name, walked.streams), &mut *stream)?;
        if let Some(fault) = stream.fault() {
            report(fault, codec.detail, sink);
            faulty = true;
        }
        walked.end = at.saturating_add(stream.consumed().max(1)).min(content.len());
        walked.streams += 1;
        drop(stream);
        sink.release(held);
    }
    // Skippable frames at the end belong to the format.
    while let Start::Skip(length) = (codec.starts)(content.get(walked.end..).unwrap_or_default()) {
        if faulty || length > content.len() - walked.end {
            break;
        }
        examine_skipped(codec, content, walked.end..walked.end + length, sink)?;
        walked.end += length;
    }
    if walked.streams > 1 {
        let input = content.get(..walked.end).unwrap_or_default();
        let held = (codec.window)(input);
        sink.hold(held)?;
        sink.child(&child_name(codec, content, name, 0), &mut Chain { codec, input, at: 0, stream: None })?;
        sink.release(held);
    }
    Ok(walked)
}

/// Says what a fault means for the container.
pub(crate) fn report(fault: Fault, detail: &str, sink: &mut dyn Sink) {
    match fault {
        Fault::Cut | Fault::Damaged => sink.unexamined(Reason::Broken, detail),
        Fault::Window => sink.unexamined(Reason::Limit, "Memory"),
        Fault::Unsupported => sink.unexamined(Reason::Unsupported, detail),
    }
}

/// Decoders pass over skippable frames, and other openers may find an archive in them.
fn examine_skipped(codec: &Codec, content: &[u8], range: std::ops::Range<usize>, sink: &mut dyn Sink) -> Result<(), Stop> {
    /// Less holds no container.
    const SMALLEST: usize = 20;
    let mut at = range.start;
    while at < range.end {
        sink.tick()?;
        let rest = content.get(at..range.end).unwrap_or_default();
        let length = match (codec.starts)(rest) {
            Start::Skip(length) => length.clamp(1, rest.len().max(1)),
            Start::Stream => return Ok(()),
            Start::Nothing => rest.iter().take_while(|&&byte| byte == 0).count().max(1),
        };
        let frame = rest.get(super::zstd::SKIPPABLE_HEADER..length).unwrap_or_default();
        if frame.len() >= SMALLEST && frame.iter().any(|&byte| byte != 0) {
            sink.part(&format!("skipped-at-{at}"), frame)?;
        }
        at = at.saturating_add(length);
    }
    Ok(())
}

/// The place of the next stream, after zeros and frames to skip.
fn next_stream(codec: &Codec, content: &[u8], from: usize) -> Option<(usize, Start)> {
    let mut at = from;
    loop {
        let rest = content.get(at..)?;
        match (codec.starts)(rest) {
            Start::Stream => return Some((at, Start::Stream)),
            Start::Skip(length) => at = at.checked_add(length.max(1))?,
            Start::Nothing => {
                let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
                if zeros == 0 || at == 0 {
                    return None;
                }
                at = at.checked_add(zeros)?;
            }
        }
    }
}

/// The stream's own name, or the file's without its suffix.
fn child_name(codec: &Codec, input: &[u8], name: Option<&str>, index: u64) -> String {
    let own = (codec.name)(input).or_else(|| {
        let name = name?.rsplit('/').next()?;
        let lower = name.to_ascii_lowercase();
        let suffix = codec.suffixes.iter().find(|suffix| lower.ends_with(**suffix))?;
        let stem = name.get(..name.len().checked_sub(suffix.len())?).filter(|stem| !stem.is_empty())?;
        Some(if suffix.starts_with(".t") { format!("{stem}.tar") } else { stem.to_owned() })
    });
    let own = own.unwrap_or_else(|| "content".to_owned());
    if index == 0 { own } else { format!("{own}-{}", index + 1) }
}

/// All streams one after another, as one.
struct Chain<'a> {
    codec: &'a Codec,
    input: &'a [u8],
    at: usize,
    stream: Option<(usize, Box<dyn Stream + 'a>)>,
}

impl Read for Chain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some((from, stream)) = self.stream.as_mut() else {
                let Some((at, _)) = next_stream(self.codec, self.input, self.at) else { return Ok(0) };
                let input = self.input;
                self.stream = Some((at, (self.codec.open)(input.get(at..).unwrap_or_default())));
                continue;
            };
            let count = stream.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.at = from.saturating_add(stream.consumed().max(1));
            self.stream = None;
        }
    }
}
