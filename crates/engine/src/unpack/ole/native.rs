//! Files and objects embedded by the first version of OLE (MS-OLEDS 2.2, and the stream that the packager writes).

use memchr::memmem;

use super::compound;
use crate::unpack::{Sink, Stop, field, u32_at};

/// A name in a header is no longer than a path.
const LONGEST_NAME: usize = 1_024;

/// The stream `\1Ole10Native`: its size, then what the packager wrote, or bytes of a server of its own.
pub(super) fn open_native(stream: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let rest = stream.get(4..).unwrap_or_default();
    let said = u32_at(stream, 0).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    let body = rest.get(..said).unwrap_or(rest);
    match package(body).or_else(|| package(rest)) {
        Some((name, file)) => sink.part(&name, file).map(drop),
        None if body.is_empty() => Ok(()),
        None => sink.part("native", body).map(drop),
    }
}

/// What the packager writes: a label, the file's name, two numbers, a path for its copy, and the file.
fn package(body: &[u8]) -> Option<(String, &[u8])> {
    let rest = body.strip_prefix(&[2, 0])?;
    let (label, rest) = zero_ended(rest)?;
    let (path, rest) = zero_ended(rest)?;
    // Reserved, the kind of package, and the length of the path, which ends in a zero itself.
    let rest = rest.get(4..)?;
    let length = usize::try_from(u32_at(rest, 0)?).ok()?;
    let rest = rest.get(4..)?.get(length..)?;
    let size = usize::try_from(u32_at(rest, 0)?).ok()?;
    let rest = rest.get(4..)?;
    let name = [label, path].into_iter().find(|name| !name.is_empty()).unwrap_or(b"package");
    Some((last_of_path(name), rest.get(..size).unwrap_or(rest)))
}

/// An object in the format of OLE 1: version, kind, class, topic and item, then its data. Examined is whatever it turns out to hold.
pub(crate) fn embedded_object(name: &str, object: &[u8], sink: &mut dyn Sink) -> Result<bool, Stop> {
    let Some((class, data)) = object_of(object) else { return Ok(false) };
    let class = String::from_utf8_lossy(class).into_owned();
    if let Some((inner, file)) = package(data).filter(|_| class.eq_ignore_ascii_case("Package")) {
        sink.part(&inner, file)?;
        return Ok(true);
    }
    sink.part(&if class.is_empty() { name.to_owned() } else { class }, data)?;
    Ok(true)
}

/// The class and the data.
fn object_of(object: &[u8]) -> Option<(&[u8], &[u8])> {
    const EMBEDDED: u32 = 2;
    if u32_at(object, 4)? != EMBEDDED {
        return None;
    }
    let (class, rest) = counted(object.get(8..)?)?;
    let (_, rest) = counted(rest)?;
    let (_, rest) = counted(rest)?;
    let size = usize::try_from(u32_at(rest, 0)?).ok()?;
    let rest = rest.get(4..)?;
    // One that says too little is read by what follows.
    let is_short = size < compound::MAGIC.len() && rest.get(size..).is_some_and(|more| more.len() > compound::MAGIC.len());
    Some((class, if is_short { rest } else { rest.get(..size).unwrap_or(rest) }))
}

/// The stream `\\1Ole` of a linked object: an address moniker leads into the network.
pub(super) fn judge_link(stream: &[u8], sink: &mut dyn Sink) {
    const ADDRESS_MONIKER: &[u8] = b"\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b";
    const LONGEST: usize = 2_048;
    for at in memmem::find_iter(stream, ADDRESS_MONIKER) {
        let text = stream.get(at + ADDRESS_MONIKER.len() + 4..).unwrap_or_default();
        let units = text.get(..LONGEST).unwrap_or(text).as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let address: String = char::decode_utf16(units.take_while(|unit| *unit != 0)).filter_map(Result::ok).collect();
        field::judge_object(&address, sink);
    }
}

/// A string behind its length, which counts the zero at its end.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok().filter(|length| *length <= LONGEST_NAME)?;
    let (text, rest) = bytes.get(4..)?.split_at_checked(length)?;
    Some((text.strip_suffix(&[0]).unwrap_or(text), rest))
}

fn zero_ended(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes.get(..LONGEST_NAME).unwrap_or(bytes))?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

fn last_of_path(path: &[u8]) -> String {
    let name = path.rsplit(|byte| matches!(byte, b'\\' | b'/')).next().unwrap_or(path);
    String::from_utf8_lossy(if name.is_empty() { path } else { name }).into_owned()
}
