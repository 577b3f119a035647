//! Header fields (RFC 5322, 2.2), and where the readers of this world see a header end.

/// As many fields of one header are kept.
const MAX_FIELDS: usize = 2_000;
/// And so much of one.
const MAX_VALUE: usize = 64 << 10;

/// One header field, unfolded: line breaks are gone, zeros too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// In small letters.
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// One way to tell header from body.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) fields: Vec<Field>,
    pub(super) body: &'a [u8],
}

impl Reading<'_> {
    /// The values of all fields of this name.
    pub(super) fn all<'r>(&'r self, name: &'r [u8]) -> impl Iterator<Item = &'r [u8]> {
        self.fields.iter().filter(move |field| field.name == name).map(|field| field.value.as_slice())
    }
}

/// Where a header may end: at the first empty line, which is right, and the first of the list; at a line of blanks before it; or at a line
/// before it that is no field. Readings that agree are given once.
pub(super) fn readings(content: &[u8]) -> Vec<Reading<'_>> {
    let mut ends = Ends::default();
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut readings = Vec::new();
    let mut at = 0;
    while let Some(line) = next_line(content, at) {
        let text = line.text;
        if text.is_empty() {
            readings.insert(0, reading(&fields, content, line.end));
            return readings;
        }
        let is_blank = text.iter().all(u8::is_ascii_whitespace);
        if is_blank && !std::mem::replace(&mut ends.blank, true) {
            readings.push(reading(&fields, content, line.end));
        }
        let folds = matches!(text.first(), Some(b' ' | b'\t')) && !fields.is_empty();
        // The line that a mailbox puts before a message.
        let is_odd = !folds && field_name(text).is_none() && !(at == 0 && text.starts_with(b"From "));
        if is_odd && !is_blank && !std::mem::replace(&mut ends.odd, true) {
            readings.push(reading(&fields, content, at));
        }
        if let Some(last) = fields.last_mut().filter(|_| folds) {
            let room = MAX_VALUE.saturating_sub(last.len());
            last.extend(text.iter().take(room));
        } else if fields.len() < MAX_FIELDS {
            fields.push(text.iter().copied().take(MAX_VALUE).collect());
        }
        at = line.end;
    }
    readings.insert(0, reading(&fields, content, content.len()));
    readings
}

/// What stands before the colon, if it can be a field's name.
pub(super) fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.get(..memchr::memchr(b':', line)?)?.trim_ascii_end();
    let well_formed = !name.is_empty() && name.len() <= 200 && name.iter().all(|byte| byte.is_ascii_graphic() || *byte == 0);
    well_formed.then_some(name)
}

/// Which unusual ends were met.
#[derive(Default)]
struct Ends {
    blank: bool,
    odd: bool,
}

fn reading<'a>(lines: &[Vec<u8>], content: &'a [u8], body: usize) -> Reading<'a> {
    let mut fields = Vec::new();
    for line in lines {
        fields.extend(field(line));
        // To some readers a lone carriage return ends a line.
        if memchr::memchr(b'\r', line).is_some() {
            fields.extend(line.split(|&byte| byte == b'\r').skip(1).filter_map(field));
        }
        // To some a zero ends the text; to the others, here, it is nothing.
        if let Some(end) = memchr::memchr(0, line) {
            fields.extend(line.get(..end).and_then(field));
        }
    }
    Reading { fields, body: content.get(body..).unwrap_or_default() }
}

fn field(line: &[u8]) -> Option<Field> {
    let name = field_name(line)?;
    let value = line.get(memchr::memchr(b':', line)? + 1..)?;
    let without_zeros = |bytes: &[u8]| bytes.iter().copied().filter(|&byte| byte != 0).collect::<Vec<_>>();
    Some(Field { name: without_zeros(name).to_ascii_lowercase(), value: without_zeros(value.trim_ascii()) })
}

pub(super) struct Line<'a> {
    /// Without its line break.
    pub(super) text: &'a [u8],
    /// Where the next one begins.
    pub(super) end: usize,
}

/// The line at `at`; `None` at the end of the text.
pub(super) fn next_line(content: &[u8], at: usize) -> Option<Line<'_>> {
    let rest = content.get(at..).filter(|rest| !rest.is_empty())?;
    let length = memchr::memchr(b'\n', rest);
    let text = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Some(Line { text, end: at + length.map_or(rest.len(), |length| length + 1) })
}
