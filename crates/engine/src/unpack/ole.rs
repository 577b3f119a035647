//! Compound files (MS-CFB), which documents, messages and installers of many kinds are. Every stream is a child, whether the directory's
//! tree leads to it or not; what a kind of document hides inside its streams is looked for after that.

mod compound;
mod directory;
mod encrypted;
mod hangul;
mod message;
mod native;
mod pictures;
mod slides;
#[cfg(test)]
mod tests;
mod word;

use filesafety_model::Reason;
use memchr::memmem;

use self::{
    compound::{Compound, Content},
    directory::{Entry, Kind, Tree},
};
use super::{Sink, Stop, excel, vba, zip};
use crate::search;

pub(crate) use compound::MAGIC;
pub(crate) use native::embedded_object;
pub(crate) use pictures::{open as pictures, picture};

/// What the signatures of this opener end with.
const DETAIL: &str = "Ole";

/// Whether content starts like a compound file.
pub(crate) fn starts(content: &[u8]) -> bool {
    content.starts_with(compound::MAGIC)
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut file = Compound::read(content, sink)?;
    let held = file.held;
    let result = Walk::over(&mut file, sink).and_then(|mut walk| walk.run(content));
    drop(file);
    sink.release(held);
    result
}

/// Opens compound files that stand somewhere in content of another type: an installer in a program, an object in a page.
pub(crate) fn open_embedded(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut end = 1;
    for at in memmem::find_iter(content, compound::MAGIC) {
        let candidate = content.get(at..).unwrap_or_default();
        if at < end || !compound::has_plausible_header(candidate) {
            continue;
        }
        sink.tick()?;
        let file = Compound::read(candidate, sink)?;
        let (held, extent) = (file.held, file.extent());
        let is_whole = !file.is_damaged && file.entries().any(|entry| entry.kind == Kind::Stream);
        drop(file);
        sink.release(held);
        if is_whole {
            end = at + extent;
            sink.part(&format!("ole-at-{at}"), candidate.get(..extent).unwrap_or(candidate))?;
        }
    }
    Ok(())
}

/// A stream that the walk knows.
struct Listed {
    entry: Entry,
    path: String,
    /// The storage around it; none where the tree does not lead to it.
    storage: Option<u32>,
}

struct Walk<'a, 'f, 's> {
    file: &'f mut Compound<'a>,
    sink: &'s mut dyn Sink,
    streams: Vec<Listed>,
}

impl<'a, 'f, 's> Walk<'a, 'f, 's> {
    fn over(file: &'f mut Compound<'a>, sink: &'s mut dyn Sink) -> Result<Self, Stop> {
        let tree = Tree::of(file, sink)?;
        let mut streams = Vec::new();
        for entry in file.entries().filter(|entry| entry.kind == Kind::Stream) {
            sink.tick()?;
            streams.push(Listed { path: tree.path(file, &entry), storage: tree.storage(&entry), entry });
        }
        // Remnants may share sectors with what has them now.
        streams.sort_by_key(|listed| listed.storage.is_none());
        Ok(Self { file, sink, streams })
    }

    fn run(&mut self, content: &[u8]) -> Result<(), Stop> {
        let mut parts = Vec::new();
        message::name_attachments(&mut self.streams, self.file);
        for index in 0..self.streams.len() {
            self.stream(index, content, &mut parts)?;
        }
        self.macros()?;
        self.encrypted()?;
        self.hangul()?;
        if self.file.is_damaged {
            self.sink.unexamined(Reason::Broken, DETAIL);
        }
        self.unread(content)?;
        zip::open_across(content, &parts, self.sink)
    }

    /// Examines a stream, then what is packed in it.
    fn stream(&mut self, index: usize, content: &[u8], parts: &mut Vec<std::ops::Range<usize>>) -> Result<(), Stop> {
        let Some(listed) = self.streams.get(index) else { return Ok(()) };
        let stream = self.file.stream(&listed.entry, self.sink)?;
        if !stream.bytes.is_empty() {
            self.sink.part(&listed.path, &stream.bytes)?;
        }
        // Nobody who follows the tree comes to an entry outside of it.
        if !stream.is_whole && listed.storage.is_some() {
            self.sink.member_unexamined(&listed.path, Reason::Broken, DETAIL);
        }
        parts.extend(place(content, &stream));
        look_inside(&listed.entry.name, &listed.path, &stream.bytes, self.sink)?;
        stream.give_back(self.sink);
        Ok(())
    }

    /// Every storage that holds a macro project.
    fn macros(&mut self) -> Result<(), Stop> {
        let of_project =
            |listed: &&Listed| listed.entry.name.eq_ignore_ascii_case("dir") || listed.path.to_ascii_uppercase().contains("VBA/");
        let mut storages: Vec<Option<u32>> = self.streams.iter().filter(of_project).map(|listed| listed.storage).collect();
        storages.sort_unstable();
        storages.dedup();
        for storage in storages {
            let inside: Vec<Entry> =
                self.streams.iter().filter(|listed| listed.storage == storage).map(|listed| listed.entry.clone()).collect();
            let mut contents = Vec::new();
            for entry in &inside {
                contents.push(self.file.stream(entry, self.sink)?);
            }
            let streams = inside.iter().zip(&contents).map(|(entry, content)| (entry.name.clone(), &*content.bytes)).collect();
            vba::open(&vba::Storage { streams }, self.sink)?;
            contents.into_iter().for_each(|content| content.give_back(self.sink));
        }
        Ok(())
    }

    /// Sectors that belong to nothing: whatever container stands there is opened if it proves itself.
    fn unread(&mut self, content: &[u8]) -> Result<(), Stop> {
        for run in self.file.unread() {
            let bytes = content.get(run).unwrap_or_default();
            self.sink.tick()?;
            if bytes.iter().all(|byte| matches!(byte, 0 | 0xff)) {
                continue;
            }
            search::embedded(bytes, self.sink)?;
            vba::search(bytes, self.sink)?;
        }
        // Chains that led astray may have cut the source of macros apart from where it starts.
        if self.file.is_damaged { vba::search(content, self.sink) } else { Ok(()) }
    }
}

/// What is packed in a stream, by the stream's name.
fn look_inside(name: &str, path: &str, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    match name.to_ascii_lowercase().as_str() {
        "\u{1}ole10native" => native::open_native(bytes, sink),
        // Records cut its pictures into pieces, which it puts together itself.
        "workbook" | "book" => excel::open(bytes, excel::Records::AsStored, sink),
        "powerpoint document" => {
            slides::open(bytes, sink)?;
            pictures(path, bytes, sink)
        }
        "worddocument" => {
            word::open(bytes, sink);
            pictures(path, bytes, sink)
        }
        "\u{1}ole" => {
            native::judge_link(bytes, sink);
            Ok(())
        }
        "equation native" => {
            sink.note("an object of the old equation editor");
            Ok(())
        }
        message::RICH_TEXT => message::rich_text(bytes, sink),
        _ => pictures(path, bytes, sink),
    }
}

/// Where a stream lies in the file, if in one piece.
fn place(content: &[u8], stream: &Content<'_>) -> Option<std::ops::Range<usize>> {
    let std::borrow::Cow::Borrowed(bytes) = stream.bytes else { return None };
    let start = (bytes.as_ptr() as usize).checked_sub(content.as_ptr() as usize)?;
    Some(start..start + bytes.len())
}
