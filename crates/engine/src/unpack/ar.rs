//! `ar` archives: Debian packages, static libraries (System V and GNU, BSD: FreeBSD ar(5)).

use filesafety_model::Reason;

use super::{Sink, Stop};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut walk = Walk { content, sink, long_names: &[], parts: Vec::new() };
    walk.run()?;
    let parts = std::mem::take(&mut walk.parts);
    super::zip::open_across(content, &parts, walk.sink)
}

struct Walk<'a, 's> {
    content: &'a [u8],
    sink: &'s mut dyn Sink,
    /// GNU: names that do not fit a header stand together in a member of their own.
    long_names: &'a [u8],
    /// What was examined on its own.
    parts: Vec<std::ops::Range<usize>>,
}

impl<'a> Walk<'a, '_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut at = MAGIC.len();
        while at < self.content.len() {
            self.sink.tick()?;
            let Some(size) = stored_bytes(self.content, at) else { return self.trailing(at) };
            let data = at + HEADER;
            let rest = self.content.get(data..).unwrap_or_default();
            let stored = rest.get(..size).unwrap_or(rest);
            self.member(at, data..data + stored.len())?;
            if stored.len() < size {
                self.sink.unexamined(Reason::Broken, "Ar");
                return Ok(());
            }
            // Members begin at even places.
            at = data.saturating_add(size).saturating_add(size & 1);
        }
        Ok(())
    }

    fn member(&mut self, header: usize, data: std::ops::Range<usize>) -> Result<(), Stop> {
        let field = self.content.get(header..header + 16).unwrap_or_default().trim_ascii_end();
        let stored = self.content.get(data.clone()).unwrap_or_default();
        if field == b"//" {
            self.long_names = stored;
        }
        let (name, content) = match field.strip_prefix(b"#1/").and_then(decimal) {
            // BSD: the name stands before the content.
            Some(length) if length <= stored.len() => stored.split_at(length),
            Some(_) => {
                self.sink.unexamined(Reason::Broken, "Ar");
                (field, stored)
            }
            None => (self.long_name(field).unwrap_or(field), stored),
        };
        if content.is_empty() {
            return Ok(());
        }
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        // GNU ends names with a slash; its tables are called by slashes alone.
        let name = name.strip_suffix(b"/").filter(|name| name.iter().any(|&byte| byte != b'/')).unwrap_or(name);
        self.parts.push(data.end - content.len()..data.end);
        self.sink.part(&String::from_utf8_lossy(name), content)?;
        Ok(())
    }

    /// GNU: `/` and the place of the name.
    fn long_name(&self, field: &[u8]) -> Option<&'a [u8]> {
        let names = self.long_names.get(field.strip_prefix(b"/").and_then(decimal)?..)?;
        names.split(|&byte| byte == b'\n').next()
    }

    /// Where a header should be and none is: filling at the end, or damage.
    fn trailing(&mut self, at: usize) -> Result<(), Stop> {
        let rest = self.content.get(at..).unwrap_or_default();
        if rest.iter().all(|&byte| matches!(byte, 0 | b'\n')) {
            self.sink.note("filling after the end");
            return Ok(());
        }
        self.sink.unexamined(Reason::Broken, "Ar");
        self.parts.push(at..self.content.len());
        self.sink.part("trailing", rest)?;
        Ok(())
    }
}

/// The size in the header at `at`; `None` where no header is.
fn stored_bytes(content: &[u8], at: usize) -> Option<usize> {
    let header = content.get(at..)?.get(..HEADER)?;
    header.ends_with(b"`\n").then(|| decimal(header.get(48..58)?.trim_ascii_end()))?
}

fn decimal(digits: &[u8]) -> Option<usize> {
    let digits = digits.trim_ascii_end();
    let well_formed = !digits.is_empty() && digits.len() <= 15 && digits.iter().all(u8::is_ascii_digit);
    well_formed.then(|| digits.iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::fixtures::{Record, ar, ar_member, eicar};

    fn opened(archive: &[u8]) -> Record {
        let mut record = Record::default();
        open(archive, &mut record).unwrap();
        record
    }

    #[test]
    fn names_of_every_kind() {
        let long =
            [ar_member("//", b"a-name-longer-than-16.o/\nanother-long-name.o/\n"), ar_member("/25", b"two"), ar_member("/0", b"one")]
                .concat();
        let record = opened(&[MAGIC.to_vec(), ar_member("/", b"symbols"), ar_member("short.o/", b"zero"), long].concat());
        let names: Vec<_> = record.children.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["/", "short.o", "//", "another-long-name.o", "a-name-longer-than-16.o"]);
        assert!(record.is_complete());
        let record = opened(&[MAGIC.to_vec(), ar_member("#1/12", b"bsd-name.o\0\0content")].concat());
        assert_eq!(record.children, [("bsd-name.o".to_owned(), b"content".to_vec())]);
    }

    #[test]
    fn damage_is_broken_and_the_rest_examined() {
        let damaged = [ar(&[("a", b"one")]), b"no header, but ".to_vec(), eicar()].concat();
        let record = opened(&damaged);
        assert!(record.says(Reason::Broken, "Ar") && record.children.iter().any(|(_, content)| content.ends_with(&eicar())));
        assert!(opened(&[MAGIC.to_vec(), ar_member("#1/99", b"short")].concat()).says(Reason::Broken, "Ar"));
        assert!(opened(&[ar(&[("a", b"one")]), b"\n\0\0".to_vec()].concat()).is_complete());
    }
}
