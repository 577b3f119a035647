//! Macro projects (MS-OVBA): the source of each module as text. The project's own directory names the modules; where it is damaged or
//! lies, source is found by how every module begins.

mod compression;
mod project;
#[cfg(test)]
mod tests;

use std::io::Read;

use filesafety_model::Reason;
use memchr::memmem;

use self::{compression::Unpacked, project::Project};
use super::{Ended, Sink, Stop, source as words};

const DETAIL: &str = "Vba";

/// The first token group of a module's source: `Attribut`, a group's flags, `e `.
const BEGINNING: &[u8] = b"\x00Attribut\x00e ";
/// In front of it stand the signature of the container and the header of its first chunk.
const BEFORE: usize = 3;
/// Of a module so much source is kept for the joined text.
const MOST_SOURCE: u64 = 16 << 20;

/// How it is known that source starts at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The project says so.
    Told,
    /// By its first bytes: it may be a remnant.
    Found,
}

/// The streams of a macro storage, by name.
pub(crate) struct Storage<'a> {
    pub(crate) streams: Vec<(String, &'a [u8])>,
}

impl Storage<'_> {
    fn stream(&self, name: &str) -> Option<&[u8]> {
        self.streams.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, bytes)| *bytes)
    }
}

/// Examines the source of every module, each on its own and all of them together, as a rule may look for words of several modules.
pub(crate) fn open(storage: &Storage<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let project = storage.stream("dir").map(Project::read).unwrap_or_default();
    if project.is_damaged {
        sink.note("the list of the macro modules is damaged");
    }
    let mut joined = Joined::default();
    for (stream, bytes) in &storage.streams {
        if stream.eq_ignore_ascii_case("dir") {
            continue;
        }
        module(&project, stream, bytes, &mut joined, sink)?;
    }
    joined.examine(sink)
}

/// Finds source without any structure: in a stream that belongs to no project, or in a file that is none any more.
pub(crate) fn search(bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    for at in sources(bytes) {
        source(&format!("VBA/source-at-{at}.bas"), bytes.get(at..).unwrap_or_default(), Trust::Found, sink)?;
    }
    Ok(())
}

fn module(project: &Project, stream: &str, bytes: &[u8], joined: &mut Joined, sink: &mut dyn Sink) -> Result<(), Stop> {
    let known = project.modules.iter().find(|module| module.stream.eq_ignore_ascii_case(stream));
    let name = known.map_or(stream, |module| &module.name);
    let mut has_source = false;
    let told = known.and_then(|module| usize::try_from(module.offset).ok());
    let mut found: Vec<usize> = sources(bytes).collect();
    if let Some(at) = told.filter(|at| !found.contains(at)) {
        found.insert(0, at);
    }
    for (index, at) in found.into_iter().enumerate() {
        let container = bytes.get(at..).unwrap_or_default();
        let shown = if index == 0 { format!("VBA/{name}.bas") } else { format!("VBA/{name}-at-{at}.bas") };
        let trust = if told == Some(at) { Trust::Told } else { Trust::Found };
        has_source |= source(&shown, container, trust, sink)?;
        joined.add(container, sink)?;
    }
    if let Some(at) = told.filter(|_| !has_source) {
        // Office runs the compiled form where it fits its own version.
        let note = if at > 0 && !bytes.is_empty() { "has compiled code and no source" } else { "has no source" };
        sink.note(&format!("the macro module {name} {note}"));
    }
    Ok(())
}

/// Where source seems to start.
fn sources(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memmem::find_iter(bytes, BEGINNING)
        .filter_map(|at| at.checked_sub(BEFORE))
        .filter(|at| bytes.get(*at) == Some(&1) && bytes.get(at + 2).is_some_and(|high| high & 0xf0 == 0xb0))
}

/// Unpacks a module's source and examines it; whether there was any.
fn source(name: &str, container: &[u8], trust: Trust, sink: &mut dyn Sink) -> Result<bool, Stop> {
    let Some(mut unpacked) = Unpacked::new(container) else {
        return Ok(false);
    };
    let decoded = sink.child(name, &mut unpacked)?;
    if decoded.ended == Ended::InError && trust == Trust::Told {
        sink.member_unexamined(name, Reason::Broken, DETAIL);
    }
    Ok(decoded.bytes > 0)
}

/// The source of several modules.
#[derive(Default)]
struct Joined {
    text: Vec<u8>,
    modules: usize,
}

impl Joined {
    fn add(&mut self, container: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
        let Some(unpacked) = Unpacked::new(container) else { return Ok(()) };
        let mut step = Vec::new();
        // Where it is damaged was told already; what came before is kept.
        let _: std::io::Result<usize> = unpacked.take(MOST_SOURCE.saturating_sub(self.text.len() as u64)).read_to_end(&mut step);
        sink.hold(step.len() as u64)?;
        self.text.append(&mut step);
        self.text.push(b'\n');
        self.modules += 1;
        Ok(())
    }

    fn examine(self, sink: &mut dyn Sink) -> Result<(), Stop> {
        words::judge(&self.text, sink);
        if self.modules > 1 {
            sink.part("VBA/project.bas", &self.text)?;
        }
        sink.release((self.text.len() - self.modules) as u64);
        Ok(())
    }
}
