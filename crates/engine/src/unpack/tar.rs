//! Tar archives: v7, ustar, GNU long names, pax (POSIX.1-2017, pax; GNU tar manual, "Basic Tar Format").

mod sparse;
#[cfg(test)]
mod tests;

use filesafety_model::Reason;

use self::sparse::{Map, Pax};
use super::{Sink, Stop};

const BLOCK: usize = 512;

/// Longer names are cut; the rest of the member stays what it is.
const MAX_NAME: usize = 4_096;

/// Whether content starts with a member header whose checksum is right.
pub(crate) fn starts(content: &[u8]) -> bool {
    Header::parse(content, 0).is_some()
}

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut walk = Walk {
        content,
        sink,
        next_name: None,
        next_size: None,
        next_is_sparse: false,
        next_sparse: Pax::default(),
        broken: false,
        parts: Vec::new(),
    };
    walk.run()?;
    let parts = std::mem::take(&mut walk.parts);
    super::zip::open_across(content, &parts, walk.sink)
}

/// A member header.
struct Header<'a> {
    block: &'a [u8; BLOCK],
    size: u64,
}

struct Walk<'a, 's> {
    content: &'a [u8],
    sink: &'s mut dyn Sink,
    /// What an extended header says of the next member.
    next_name: Option<String>,
    next_size: Option<u64>,
    next_is_sparse: bool,
    next_sparse: Pax,
    broken: bool,
    /// What was examined on its own.
    parts: Vec<std::ops::Range<usize>>,
}

impl<'a> Header<'a> {
    fn parse(content: &'a [u8], at: usize) -> Option<Self> {
        let block: &[u8; BLOCK] = content.get(at..)?.first_chunk()?;
        // A block of zeros has the right checksum by some readings.
        let stated = octal(&block[148..156]).filter(|sum| *sum > 0 && (block[0] != 0 || block[345] != 0))?;
        let sum = |of: fn(u8) -> i64| -> i64 {
            block.iter().enumerate().map(|(index, &byte)| if (148..156).contains(&index) { 32 } else { of(byte) }).sum()
        };
        // Some writers of old summed signed bytes.
        let fits = [sum(i64::from), sum(|byte| i64::from(byte as i8))].contains(&i64::try_from(stated).ok()?);
        let size = number(&block[124..136])?;
        fits.then_some(Self { block, size })
    }

    fn kind(&self) -> u8 {
        self.block[156]
    }

    /// Links, devices, directories and pipes have no content, whatever their size field says.
    fn stored_bytes(&self) -> u64 {
        match self.kind() {
            b'1'..=b'6' if self.is_posix() => 0,
            _ => self.size,
        }
    }

    fn is_posix(&self) -> bool {
        self.block[257..262] == *b"ustar"
    }

    fn name(&self) -> String {
        let name = text(&self.block[..100]);
        let prefix = if &self.block[257..263] == b"ustar\0" { text(&self.block[345..500]) } else { String::new() };
        if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
    }

    /// Whether what is stored is not what an opener gives: the content has holes between its runs. One run from the start has none.
    fn has_holes(&self) -> bool {
        const RUNS: std::ops::Range<usize> = 386..482;
        let whole = || {
            let mut runs = self.block[RUNS].chunks_exact(24).filter_map(|run| Some((number(&run[..12])?, number(&run[12..])?)));
            let mut runs = runs.by_ref().filter(|(_, length)| *length > 0);
            // The real size stands behind the maps.
            let same_size = number(&self.block[483..495]) == Some(self.size);
            self.block[482] == 0 && runs.next() == Some((0, self.size)) && runs.next().is_none() && same_size
        };
        self.kind() == b'S' && self.size > 0 && !whole()
    }

    /// An old GNU sparse member has further maps of 512 bytes between header and content, as long as each says so.
    fn sparse_maps(&self, content: &[u8], at: usize) -> usize {
        let mut maps = 0usize;
        let mut extended = self.kind() == b'S' && self.block[482] != 0;
        while extended {
            let map = content.get(at.saturating_add(maps)..).unwrap_or_default();
            extended = map.get(504).is_some_and(|&more| more != 0);
            maps = maps.saturating_add(BLOCK);
        }
        maps
    }
}

impl Walk<'_, '_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut at = 0usize;
        let mut zero_blocks = 0;
        while at < self.content.len() {
            self.sink.tick()?;
            let rest = self.content.get(at..).unwrap_or_default();
            let block = rest.get(..BLOCK).unwrap_or(rest);
            if block.iter().all(|&byte| byte == 0) {
                zero_blocks += 1;
                at = at.saturating_add(BLOCK);
                continue;
            }
            if let Some(header) = Header::parse(self.content, at) {
                // Readers that ignore zero blocks go on behind the end, so we do.
                zero_blocks = 0;
                at = self.member(&header, at.saturating_add(BLOCK))?;
            } else if zero_blocks >= 1 {
                return self.trailing(at);
            } else {
                self.broken = true;
                at = self.resume(at)?;
            }
        }
        if self.broken {
            self.sink.unexamined(Reason::Broken, "Tar");
        } else if zero_blocks == 0 {
            self.sink.note("no end blocks");
        }
        Ok(())
    }

    /// Examines what follows a header; gives where the next header should be.
    fn member(&mut self, header: &Header<'_>, data: usize) -> Result<usize, Stop> {
        let extended = matches!(header.kind(), b'x' | b'X' | b'g' | b'L' | b'K');
        let declared = if extended { None } else { self.next_size.take() };
        let maps = data;
        let data = data.saturating_add(header.sparse_maps(self.content, data));
        let stored = declared.unwrap_or_else(|| header.stored_bytes());
        let length = usize::try_from(stored).unwrap_or(usize::MAX);
        let rest = self.content.get(data..).unwrap_or_default();
        let content = rest.get(..length).unwrap_or(rest);
        if content.len() < length {
            self.broken = true;
        }
        match header.kind() {
            b'L' => self.next_name = Some(text(content.get(..MAX_NAME).unwrap_or(content))),
            b'K' => {}
            b'x' | b'X' => self.read_pax(content),
            // Records for all members name none of them.
            b'g' => {}
            _ => {
                let name = self.next_name.take().unwrap_or_else(|| header.name());
                if !content.is_empty() {
                    self.parts.push(data..data.saturating_add(content.len()));
                    self.sink.part(&name, content)?;
                }
                let told = std::mem::take(&mut self.next_sparse);
                if std::mem::take(&mut self.next_is_sparse) {
                    self.with_holes(&name, told.map(content), content)?;
                } else if header.has_holes() {
                    let further = self.content.get(maps..data).unwrap_or_default();
                    self.with_holes(&name, Map::old(header.block, further).map(|map| (map, 0)), content)?;
                }
                // Two readers would disagree on the size: what the other would see is examined as well.
                let other = usize::try_from(header.stored_bytes()).unwrap_or(usize::MAX);
                if declared.is_some() && other != length && other > 0 {
                    self.sink.part(&name, rest.get(..other).unwrap_or(rest))?;
                }
            }
        }
        Ok(data.saturating_add(length.div_ceil(BLOCK).saturating_mul(BLOCK)))
    }

    /// Examines a sparse member as an opener gives it.
    fn with_holes(&mut self, name: &str, map: Option<(Map, usize)>, content: &[u8]) -> Result<(), Stop> {
        let filled = map.as_ref().and_then(|(map, taken)| map.fill(content.get(*taken..)?));
        match filled {
            Some(mut whole) => drop(self.sink.child(name, &mut whole)?),
            None => self.sink.member_unexamined(name, Reason::Unsupported, "TarSparse"),
        }
        Ok(())
    }

    /// `<length> <key>=<value>\n`, one after another.
    fn read_pax(&mut self, mut records: &[u8]) {
        while let Some(space) = memchr::memchr(b' ', records.get(..20).unwrap_or(records)) {
            let length = records.get(..space).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
            let Some((record, rest)) = length.and_then(|length: usize| records.split_at_checked(length)) else { return };
            records = rest;
            let Some(record) = record.get(space + 1..).map(|record| record.strip_suffix(b"\n").unwrap_or(record)) else { return };
            let Some(equals) = memchr::memchr(b'=', record) else { return };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            self.next_is_sparse |= key.starts_with(b"GNU.sparse.");
            self.next_sparse.read(key, value);
            match key {
                b"path" | b"GNU.sparse.name" => self.next_name = Some(text(value.get(..MAX_NAME).unwrap_or(value))),
                b"size" => self.next_size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()),
                _ => {}
            }
        }
    }

    /// Behind a header that is none: examines the bytes up to the next header that is one.
    fn resume(&mut self, at: usize) -> Result<usize, Stop> {
        let mut next = at.saturating_add(BLOCK);
        while next < self.content.len() && Header::parse(self.content, next).is_none() {
            self.sink.tick()?;
            next = next.saturating_add(BLOCK);
        }
        let next = next.min(self.content.len());
        let lost = self.content.get(at..next).unwrap_or_default();
        self.sink.part(&format!("damaged-at-{at}"), lost)?;
        Ok(next)
    }

    fn trailing(&mut self, at: usize) -> Result<(), Stop> {
        if self.broken {
            self.sink.unexamined(Reason::Broken, "Tar");
        }
        self.sink.note("bytes after the end");
        self.parts.push(at..self.content.len());
        self.sink.part("trailing", self.content.get(at..).unwrap_or_default())?;
        Ok(())
    }
}

/// Octal digits, or base 256 where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, bytes @ ..] => {
            let (high, low) = bytes.split_at(bytes.len().checked_sub(8)?);
            high.iter().all(|&byte| byte == 0).then(|| low.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
        }
        _ => octal(field),
    }
}

/// Digits between blanks and zeros; an empty field is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = field.get(start..).unwrap_or_default().split(blank).next().unwrap_or_default();
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = matches!(digit, b'0'..=b'7').then(|| u64::from(digit - b'0'))?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

fn text(field: &[u8]) -> String {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}
