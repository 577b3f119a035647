//! The streams of a document: where their data lie, which readings of them there are, and each reading handed on.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::Range;

use filesafety_model::Reason;
use memchr::memmem;

use super::super::{Ended, Sink, Stop};
use super::DETAIL;
use super::actions::{Actions, Source};
use super::blocks::Meter;
use super::crypt::{Decryption, StreamKey};
use super::filters::{Chain, End};
use super::images::pixels;
use super::lexer::{Dictionary, Value, is_white, parse, parse_whole};
use super::objects::{Body, Header, MAX_OBJECT_STREAMS, Objects};
use super::packed::Packed;
use crate::nsfw::{Colours, Pixels};

/// Readings of one stream's filters or length, where objects that it refers to were revised.
const MAX_REVISIONS: usize = 4;
/// `Encrypt` dictionaries that are tried.
const MAX_KEYS: usize = 8;
const NO_PASSWORD: &[u8] = b"";
/// White space between the data and the keyword after them.
const MAX_GAP: usize = 16;

/// Whether streams have to be decrypted.
#[derive(Debug)]
pub(super) enum Protection {
    Open,
    Key(Decryption, Everywhere),
    /// The key is not known. Streams are tried as they are, and what fails then is no news.
    Locked,
}

/// Whether all trailers of the document name the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Everywhere {
    Yes,
    /// A reader may go by one that does not.
    No,
}

pub(super) struct Walk<'a> {
    content: &'a [u8],
    objects: &'a Objects<'a>,
    protection: Protection,
    meter: Meter,
    ends: StreamEnds<'a>,
    packed: OnceCell<Packed>,
    packed_names: OnceCell<HashMap<u32, String>>,
    actions: Actions,
}

/// One stream object.
struct Stream<'d> {
    name: String,
    dictionary: &'d Dictionary,
    kind: Option<Vec<u8>>,
    id: Option<(u32, u32)>,
    /// How to read it, where it is an image.
    pixels: Option<Pixels>,
}

/// Where a stream's data may lie.
struct Extents {
    ranges: Vec<Range<usize>>,
    /// The file ends before the stream does.
    cut: bool,
}

/// `endstream` keywords in the order of the file, each searched for once.
struct StreamEnds<'a> {
    content: &'a [u8],
    known: Cell<(usize, Option<usize>)>,
}

impl Protection {
    /// Tries each password, the empty one first.
    pub(super) fn of(objects: &Objects<'_>, passwords: &[&[u8]]) -> Self {
        let mut tried = 0;
        let mut bare = false;
        for trailer in &objects.trailers {
            let Some(encrypt) = &trailer.encrypt else {
                bare = true;
                continue;
            };
            let revisions = if let Value::Reference(number) = encrypt { objects.revisions(*number).max(1) } else { 1 };
            for revision in 0..revisions {
                if tried >= MAX_KEYS {
                    return Self::Locked;
                }
                tried += 1;
                let encrypt = objects.follow(encrypt, revision);
                let Some(encrypt) = encrypt.as_ref().and_then(Value::as_dictionary) else { continue };
                let open = |password: &&[u8]| Decryption::open(encrypt, &trailer.id, objects, password).ok();
                if let Some(decryption) = std::iter::once(&NO_PASSWORD).chain(passwords).find_map(open) {
                    let bare = bare || objects.trailers.iter().any(|trailer| trailer.encrypt.is_none());
                    return Self::Key(decryption, if bare { Everywhere::No } else { Everywhere::Yes });
                }
            }
        }
        if tried > 0 { Self::Locked } else { Self::Open }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(content: &'a [u8], objects: &'a Objects<'a>, protection: Protection, meter: Meter) -> Self {
        let ends = StreamEnds { content, known: Cell::new((0, None)) };
        Self {
            content,
            objects,
            protection,
            meter,
            ends,
            packed: OnceCell::new(),
            packed_names: OnceCell::new(),
            actions: Actions::default(),
        }
    }

    /// Whether the filters between them, or the object streams that were looked into, gave more than they may.
    pub(super) fn is_used_up(&self) -> bool {
        self.meter.is_used_up()
    }

    /// Examines the object at `header`; whether to go on.
    pub(super) fn object(&mut self, header: Header, sink: &mut dyn Sink) -> Result<bool, Stop> {
        let Some(body) = self.objects.body(header) else { return Ok(false) };
        self.act(header, &body, sink)?;
        let Some((data, dictionary)) = body.data.zip(body.value.as_dictionary()) else {
            if body.cut && header.id.is_some() {
                sink.unexamined(Reason::Broken, DETAIL);
            }
            return Ok(true);
        };
        sink.tick()?;
        let kind = dictionary.get("Type").map(|kind| self.objects.resolve(kind));
        let kind = kind.as_ref().and_then(Value::as_name).map(<[u8]>::to_vec);
        if kind.as_deref() == Some(b"EmbeddedFile") || refers(dictionary) {
            self.unpack_object_streams(sink)?;
        }
        let name = self.name(header, kind.as_deref());
        let pixels = self.pixels(header, dictionary);
        let stream = Stream { name, dictionary, kind, id: header.id, pixels };
        self.stream(&stream, &body, data, sink)?;
        Ok(!self.is_used_up())
    }

    /// How to read the image that a stream may be.
    fn pixels(&self, header: Header, dictionary: &Dictionary) -> Option<Pixels> {
        let subtype = dictionary.get("Subtype").map(|subtype| self.objects.resolve(subtype));
        if subtype.as_ref().and_then(Value::as_name) != Some(b"Image") {
            return None;
        }
        // A palette is longer than the strings that are kept elsewhere.
        let whole = parse_whole(self.content, header.body);
        let pixels = pixels(whole.value.as_dictionary()?, &|value| self.resolve(value, 0, &RefCell::new(1)))?;
        match (&self.protection, &pixels.colours) {
            // Its bytes are encrypted as every string is.
            (Protection::Key(..) | Protection::Locked, Colours::Palette(_)) => None,
            (Protection::Open | Protection::Key(..) | Protection::Locked, _) => Some(pixels),
        }
    }

    /// Takes in what the object does.
    fn act(&mut self, header: Header, body: &Body, sink: &mut dyn Sink) -> Result<(), Stop> {
        let (number, generation) = header.id.unwrap_or_default();
        let key = match &self.protection {
            Protection::Open | Protection::Locked => None,
            Protection::Key(decryption, _) => Some(decryption.string_key(number, generation)),
        };
        let name = format!("obj-{number}-{generation}");
        let source = Source { content: self.content, at: header.body, name: &name, key: key.as_ref() };
        let objects = self.objects;
        self.actions.object(&body.value, source, &|value| objects.resolve(value), sink)
    }

    /// The same for the objects inside object streams, then gives what was gathered.
    pub(super) fn finish(&mut self, sink: &mut dyn Sink) -> Result<(), Stop> {
        if !self.objects.object_streams.is_empty() {
            self.unpack_object_streams(sink)?;
        }
        let mut actions = std::mem::take(&mut self.actions);
        if let Some(packed) = self.packed.get() {
            let resolve = |value: &Value| self.resolve(value, 0, &RefCell::new(1)).unwrap_or(Value::Null);
            for (number, content, at) in packed.in_order() {
                if self.objects.is_exhausted() {
                    break;
                }
                let parsed = parse(content, at);
                self.objects.charge(parsed.end.saturating_sub(at));
                let name = format!("obj-{number}-0");
                actions.object(&parsed.value, Source { content, at, name: &name, key: None }, &resolve, sink)?;
            }
        }
        actions.give(sink)
    }

    fn stream(&self, stream: &Stream<'_>, body: &Body, data: usize, sink: &mut dyn Sink) -> Result<(), Stop> {
        if body.overflow {
            sink.member_unexamined(&stream.name, Reason::Limit, DETAIL);
        }
        let extents = self.extents(stream.dictionary, data);
        let chains = self.chains(stream, sink);
        let mut broken = extents.cut;
        for chain in &chains {
            match chain.end {
                End::Data => {}
                End::UnknownFilter => sink.member_unexamined(&stream.name, Reason::Unsupported, "PdfFilter"),
                End::UnknownPredictor => sink.member_unexamined(&stream.name, Reason::Unsupported, "PdfPredictor"),
                End::TooMany => sink.member_unexamined(&stream.name, Reason::Limit, "PdfFilters"),
            }
            let mut whole = false;
            for range in &extents.ranges {
                whole |= self.reading(stream, chain, range, sink)?;
            }
            broken |= !whole;
        }
        if broken && !self.is_used_up() && !matches!(self.protection, Protection::Locked) {
            sink.member_unexamined(&stream.name, Reason::Broken, DETAIL);
        }
        Ok(())
    }

    /// Hands on one reading of a stream; whether it decodes to its end.
    fn reading(&self, stream: &Stream<'_>, chain: &Chain, range: &Range<usize>, sink: &mut dyn Sink) -> Result<bool, Stop> {
        let data = self.content.get(range.clone()).unwrap_or_default();
        if data.iter().all(|byte| is_white(*byte)) {
            return Ok(true);
        }
        let examine = |key: Option<&StreamKey>, sink: &mut dyn Sink| -> Result<bool, Stop> {
            let mut reader = chain.reader(data, key, &self.meter);
            let decoded = match stream.pixels.as_ref().filter(|_| chain.end == End::Data && !chain.is_picture) {
                Some(pixels) => sink.pixels(&stream.name, pixels, &mut reader)?,
                None => sink.child(&stream.name, &mut reader)?,
            };
            Ok(decoded.ended == Ended::AtEnd)
        };
        match &self.protection {
            Protection::Open | Protection::Locked => examine(None, sink),
            Protection::Key(decryption, everywhere) => {
                let (number, generation) = stream.id.unwrap_or_default();
                let key = decryption.stream_key(number, generation, stream.kind.as_deref(), chain.crypt_filter.as_deref());
                let Some(key) = key else {
                    sink.member_unexamined(&stream.name, Reason::Encrypted, DETAIL);
                    return examine(None, sink).map(|_| true);
                };
                let whole = examine(Some(&key), sink)?;
                let certain = *everywhere == Everywhere::Yes && !decryption.may_be_clear(stream.kind.as_deref());
                // What does not decrypt may have been left in the clear by a later writer.
                if whole && certain { Ok(true) } else { Ok(examine(None, sink)? || whole) }
            }
        }
    }

    /// Every way to read the stream's filters, nearly always one.
    fn chains(&self, stream: &Stream<'_>, sink: &mut dyn Sink) -> Vec<Chain> {
        let dictionary = stream.dictionary;
        let mut filters: Vec<Option<&Value>> = dictionary.all("Filter").map(Some).collect();
        if filters.is_empty() {
            // Some readers take the abbreviation outside of inline images as well.
            filters.push(dictionary.get("F").filter(|value| matches!(value, Value::Name(_) | Value::Array(_))));
        }
        let parameters = dictionary.get("DecodeParms").or_else(|| dictionary.get("DP"));
        let mut chains = Vec::new();
        for filter in filters {
            let mut revision = 0;
            loop {
                let revisions = RefCell::new(1);
                let resolve = |value: &Value| self.resolve(value, revision, &revisions);
                let chain = Chain::new(filter, parameters, &resolve);
                if !chains.contains(&chain) {
                    chains.push(chain);
                }
                revision += 1;
                if revision >= revisions.into_inner() {
                    break;
                }
                if chains.len() >= MAX_REVISIONS {
                    sink.member_unexamined(&stream.name, Reason::Limit, "PdfFilters");
                    return chains;
                }
            }
        }
        chains
    }

    /// Follows a reference, into object streams as well. `None` where that cannot be told, `Null` for what the document does not have.
    fn resolve(&self, value: &Value, revision: usize, revisions: &RefCell<usize>) -> Option<Value> {
        let Value::Reference(number) = value else { return Some(value.clone()) };
        let packed = self.packed.get();
        let inside = packed.and_then(|packed| packed.get(*number));
        if let Some((_, read)) = &inside {
            self.objects.charge(*read);
        }
        let outside = self.objects.revisions(*number);
        revisions.replace_with(|most| (*most).max(outside + usize::from(inside.is_some())));
        match inside {
            Some((value, _)) if revision >= outside => Some(value),
            _ => match self.objects.follow(value, revision) {
                Some(value) => Some(value),
                None if packed.is_some_and(|packed| packed.incomplete) || self.objects.overflow || outside > 0 => None,
                None => Some(Value::Null),
            },
        }
    }

    fn extents(&self, dictionary: &Dictionary, data: usize) -> Extents {
        let end = self.ends.after(data, self.objects);
        let searched = data..end.map_or(self.content.len(), |end| without_line_end(self.content, data, end));
        let mut ranges = vec![searched.clone()];
        let mut cut = end.is_none();
        for length in self.lengths(dictionary) {
            let Some(by_length) = data.checked_add(length).filter(|end| *end <= self.content.len()).map(|end| data..end) else { continue };
            let next = keyword_after(self.content, by_length.end);
            let consistent = next.is_some();
            // Closed by `endobj` alone, it is whole all the same.
            cut &= !consistent;
            if consistent && next == end {
                // Both readings end at the same keyword and differ in a line end at most: the length says which bytes are data.
                if let Some(first) = ranges.first_mut() {
                    *first = by_length;
                }
            } else if !ranges.contains(&by_length) {
                let place = if consistent { 0 } else { ranges.len() };
                ranges.insert(place, by_length);
            }
        }
        Extents { ranges, cut }
    }

    /// What the dictionary gives as the length, in every revision of it.
    fn lengths(&self, dictionary: &Dictionary) -> Vec<usize> {
        let mut lengths = Vec::new();
        for value in dictionary.all("Length").take(MAX_REVISIONS) {
            let revisions = if let Value::Reference(number) = value { self.objects.revisions(*number) } else { 1 };
            for revision in 0..revisions.min(MAX_REVISIONS) {
                let length = self.objects.follow(value, revision).and_then(|value| value.as_integer());
                if let Some(length) = length.and_then(|length| usize::try_from(length).ok())
                    && !lengths.contains(&length)
                {
                    lengths.push(length);
                }
            }
        }
        lengths
    }

    fn name(&self, header: Header, kind: Option<&[u8]>) -> String {
        let Some((number, generation)) = header.id else { return format!("obj-at-{}", header.body) };
        let known = self.objects.file_names.get(&number);
        let known = known.or_else(|| if kind == Some(b"EmbeddedFile") { self.packed_names().get(&number) } else { None });
        known.filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| format!("obj-{number}-{generation}"))
    }

    fn packed_names(&self) -> &HashMap<u32, String> {
        self.packed_names.get_or_init(|| {
            let mut names = HashMap::new();
            let Some(packed) = self.packed.get() else { return names };
            for number in packed.numbers() {
                if self.objects.is_exhausted() {
                    break;
                }
                if let Some((value, read)) = packed.get(number) {
                    self.objects.charge(read);
                    super::objects::file_names(&value, &mut names);
                }
            }
            names
        })
    }

    /// Decodes the object streams, when an object may be in them for the first time.
    fn unpack_object_streams(&self, sink: &mut dyn Sink) -> Result<(), Stop> {
        if self.packed.get().is_some() {
            return Ok(());
        }
        let mut packed = Packed::default();
        packed.incomplete |= self.objects.object_streams.len() >= MAX_OBJECT_STREAMS;
        for header in &self.objects.object_streams {
            sink.tick()?;
            let Some(body) = self.objects.body(*header).filter(|_| !self.is_used_up()) else {
                packed.incomplete = true;
                break;
            };
            let Some((data, dictionary)) = body.data.zip(body.value.as_dictionary()) else { continue };
            self.unpack_objects(*header, dictionary, data, &mut packed);
        }
        self.packed.get_or_init(|| packed);
        Ok(())
    }

    fn unpack_objects(&self, header: Header, dictionary: &Dictionary, data: usize, packed: &mut Packed) {
        let number = |key: &str| self.objects.lookup(dictionary, key).and_then(|value| value.as_integer()).unwrap_or(0);
        let resolve = |value: &Value| self.objects.follow(value, 0);
        let parameters = dictionary.get("DecodeParms").or_else(|| dictionary.get("DP"));
        let chain = Chain::new(dictionary.get("Filter"), parameters, &resolve);
        let extents = self.extents(dictionary, data);
        let Some(data) = extents.ranges.first().and_then(|range| self.content.get(range.clone())) else { return };
        let key = match &self.protection {
            Protection::Open | Protection::Locked => None,
            Protection::Key(decryption, _) => {
                let (number, generation) = header.id.unwrap_or_default();
                decryption.stream_key(number, generation, Some(b"ObjStm"), chain.crypt_filter.as_deref())
            }
        };
        let read = packed.add(&mut chain.reader(data, key.as_ref(), &self.meter), number("N"), number("First"));
        self.meter.charge(read);
    }
}

impl StreamEnds<'_> {
    /// The first `endstream` at or after `start`.
    fn after(&self, start: usize, objects: &Objects<'_>) -> Option<usize> {
        let (from, found) = self.known.get();
        if from <= start && (from > 0 || found.is_some()) && found.is_none_or(|found| start <= found) {
            return found;
        }
        let found = memmem::find(self.content.get(start..)?, b"endstream").map(|at| start + at);
        // Streams that are not in the order of the file, which objects inside strings make, are paid for.
        objects.charge(found.unwrap_or(self.content.len()).saturating_sub(start));
        self.known.set((start, found));
        found
    }
}

/// Whether the way to decode a stream is told by other objects.
fn refers(dictionary: &Dictionary) -> bool {
    fn leads_on(value: &Value) -> bool {
        match value {
            Value::Reference(_) => true,
            Value::Array(values) => values.iter().any(leads_on),
            Value::Dictionary(dictionary) => dictionary.values().any(leads_on),
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Real | Value::Text(_) | Value::Name(_) => false,
        }
    }
    ["Filter", "F", "DecodeParms", "DP"].iter().any(|key| dictionary.all(key).any(leads_on))
}

/// Where `endstream` or `endobj` stands, if only white space is before it.
fn keyword_after(content: &[u8], at: usize) -> Option<usize> {
    let rest = content.get(at..)?;
    let gap = rest.iter().take(MAX_GAP).take_while(|byte| is_white(**byte)).count();
    let rest = rest.get(gap..)?;
    (rest.starts_with(b"endstream") || rest.starts_with(b"endobj")).then_some(at + gap)
}

fn without_line_end(content: &[u8], start: usize, end: usize) -> usize {
    let line_end = match content.get(start..end) {
        Some([.., b'\r', b'\n']) => 2,
        Some([.., b'\r' | b'\n']) => 1,
        _ => 0,
    };
    end - line_end
}
