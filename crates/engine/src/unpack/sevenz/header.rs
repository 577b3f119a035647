//! The header of a 7z archive: which streams there are, how they were packed, and what files they make.

/// What a header is.
pub(super) enum Header<'a> {
    Plain(Archive<'a>),
    /// The header is packed itself.
    Packed(Streams<'a>),
}

pub(super) struct Archive<'a> {
    pub(super) streams: Streams<'a>,
    names: &'a [u8],
    /// Of each file, whether it has no content.
    empty: Vec<bool>,
}

#[derive(Default)]
pub(super) struct Streams<'a> {
    /// Where the packed streams start, behind the start header.
    pub(super) start: u64,
    /// Their sizes.
    pub(super) packs: Vec<u64>,
    pub(super) folders: Vec<Folder<'a>>,
}

/// Coders that together make one stream.
pub(super) struct Folder<'a> {
    pub(super) coders: Vec<Coder<'a>>,
    /// Which input takes which output.
    pub(super) binds: Vec<(usize, usize)>,
    /// The inputs that take packed streams.
    pub(super) packed: Vec<usize>,
    /// What each output has.
    pub(super) sizes: Vec<u64>,
    pub(super) crc32: Option<u32>,
    pub(super) files: Vec<File>,
}

pub(super) struct Coder<'a> {
    pub(super) method: Method,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) properties: &'a [u8],
}

/// A file's share of a folder.
pub(super) struct File {
    pub(super) size: u64,
    pub(super) crc32: Option<u32>,
}

/// What a coder does (7-Zip, "Methods.txt").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Copy,
    Delta,
    Branches(Branches),
    Bcj2,
    Lzma,
    Lzma2,
    Ppmd,
    Deflate,
    Deflate64,
    Bzip2,
    Zstd,
    Aes,
    Unknown,
}

/// Whose jumps a filter makes absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branches {
    X86,
    PowerPc,
    Ia64,
    Arm,
    ArmThumb,
    Sparc,
    Arm64,
    RiscV,
}

/// As many streams, folders or files are read.
const MAX_ITEMS: u64 = 1 << 20;

/// As many coders, inputs or outputs has a folder (7-Zip reads no more).
const MAX_CODERS: u64 = 32;

const END: u64 = 0;
const HEADER: u64 = 1;
const PROPERTIES: u64 = 2;
const OTHER_STREAMS: u64 = 3;
const MAIN_STREAMS: u64 = 4;
const FILES: u64 = 5;
const PACKS: u64 = 6;
const UNPACKED: u64 = 7;
const SUBSTREAMS: u64 = 8;
const SIZE: u64 = 9;
const CRC: u64 = 10;
const FOLDER: u64 = 11;
const CODER_SIZES: u64 = 12;
const SUBSTREAM_COUNTS: u64 = 13;
const EMPTY_STREAM: u64 = 14;
const NAMES: u64 = 17;
const PACKED_HEADER: u64 = 23;

/// `None` where it is no header.
pub(super) fn parse(header: &[u8]) -> Option<Header<'_>> {
    let mut cursor = Cursor(header);
    match cursor.number()? {
        PACKED_HEADER => cursor.streams().map(Header::Packed),
        HEADER => cursor.archive().map(Header::Plain),
        _ => None,
    }
}

impl Archive<'_> {
    /// The names of the files that have content, in the order of their content.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let mut rest = self.names;
        let names = std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let units = rest.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
            let name: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
            rest = rest.get(name.len() * 2 + 2..).unwrap_or_default();
            Some(String::from_utf16_lossy(&name))
        });
        names.zip(self.empty.iter().copied().chain(std::iter::repeat(false))).filter(|(_, empty)| !empty).map(|(name, _)| name)
    }
}

impl Folder<'_> {
    pub(super) fn is_encrypted(&self) -> bool {
        self.coders.iter().any(|coder| coder.method == Method::Aes)
    }

    /// The output that no other coder takes.
    pub(super) fn result(&self) -> Option<usize> {
        (0..self.sizes.len()).find(|output| !self.binds.iter().any(|(_, bound)| bound == output))
    }

    /// Bytes of the stream that the folder makes.
    pub(super) fn size(&self) -> u64 {
        self.result().and_then(|output| self.sizes.get(output)).copied().unwrap_or(0)
    }
}

impl Method {
    fn of(id: &[u8]) -> Self {
        match id {
            [0] => Self::Copy,
            [3] => Self::Delta,
            [4] | [3, 3, 1, 3] => Self::Branches(Branches::X86),
            [5] | [3, 3, 2, 5] => Self::Branches(Branches::PowerPc),
            [6] | [3, 3, 4, 1] => Self::Branches(Branches::Ia64),
            [7] | [3, 3, 5, 1] => Self::Branches(Branches::Arm),
            [8] | [3, 3, 7, 1] => Self::Branches(Branches::ArmThumb),
            [9] | [3, 3, 8, 5] => Self::Branches(Branches::Sparc),
            [10] => Self::Branches(Branches::Arm64),
            [11] => Self::Branches(Branches::RiscV),
            [3, 3, 1, 0x1b] => Self::Bcj2,
            [3, 1, 1] => Self::Lzma,
            [0x21] => Self::Lzma2,
            [3, 4, 1] => Self::Ppmd,
            [4, 1, 8] => Self::Deflate,
            [4, 1, 9] => Self::Deflate64,
            [4, 2, 2] => Self::Bzip2,
            [4, 0xf7, 0x11, 1] => Self::Zstd,
            [6, 0xf1, 7, 1] => Self::Aes,
            _ => Self::Unknown,
        }
    }
}

/// What is left of a header.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// The first byte's leading ones say how many bytes follow, low byte first; its other bits are the highest.
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = first.leading_ones() as usize;
        let low = self.take(more)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        let high = u64::from(first) & (0x7f >> more.min(7));
        Some(if more >= 7 { low } else { low | high << (8 * more) })
    }

    fn count(&mut self, most: u64) -> Option<usize> {
        self.number().filter(|count| *count <= most).and_then(|count| usize::try_from(count).ok())
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn bits(&mut self, count: usize) -> Option<Vec<bool>> {
        let bytes = self.take(count.div_ceil(8))?;
        Some((0..count).map(|index| bytes.get(index / 8).is_some_and(|byte| byte & 0x80 >> (index % 8) != 0)).collect())
    }

    fn digests(&mut self, count: usize) -> Option<Vec<Option<u32>>> {
        let defined = if self.byte()? == 0 { self.bits(count)? } else { vec![true; count] };
        defined.into_iter().map(|is_defined| if is_defined { self.u32().map(Some) } else { Some(None) }).collect()
    }

    fn archive(&mut self) -> Option<Archive<'a>> {
        let mut archive = Archive { streams: Streams::default(), names: &[], empty: Vec::new() };
        loop {
            match self.number()? {
                END => return Some(archive),
                PROPERTIES => {
                    while self.number()? != END {
                        let size = self.count(u64::MAX)?;
                        self.take(size)?;
                    }
                }
                OTHER_STREAMS => drop(self.streams()?),
                MAIN_STREAMS => archive.streams = self.streams()?,
                FILES => self.files(&mut archive)?,
                _ => return None,
            }
        }
    }

    fn files(&mut self, archive: &mut Archive<'a>) -> Option<()> {
        let files = self.count(MAX_ITEMS)?;
        loop {
            let property = self.number()?;
            if property == END {
                return Some(());
            }
            let size = self.count(u64::MAX)?;
            let mut content = Cursor(self.take(size)?);
            match property {
                EMPTY_STREAM => archive.empty = content.bits(files)?,
                // The names may stand elsewhere, which nobody writes.
                NAMES if content.byte()? == 0 => archive.names = content.0,
                NAMES => return None,
                _ => {}
            }
        }
    }

    fn streams(&mut self) -> Option<Streams<'a>> {
        let mut streams = Streams::default();
        let mut divided = false;
        loop {
            match self.number()? {
                END => break,
                PACKS => self.packs(&mut streams)?,
                UNPACKED => self.folders(&mut streams)?,
                SUBSTREAMS => {
                    self.substreams(&mut streams)?;
                    divided = true;
                }
                _ => return None,
            }
        }
        if !divided {
            for folder in &mut streams.folders {
                folder.files = vec![File { size: folder.size(), crc32: folder.crc32 }];
            }
        }
        Some(streams)
    }

    fn packs(&mut self, streams: &mut Streams<'a>) -> Option<()> {
        streams.start = self.number()?;
        let count = self.count(MAX_ITEMS)?;
        loop {
            match self.number()? {
                END => return Some(()),
                SIZE => streams.packs = (0..count).map(|_| self.number()).collect::<Option<_>>()?,
                CRC => drop(self.digests(count)?),
                _ => return None,
            }
        }
    }

    fn folders(&mut self, streams: &mut Streams<'a>) -> Option<()> {
        if self.number()? != FOLDER {
            return None;
        }
        let count = self.count(MAX_ITEMS)?;
        // The folders may stand elsewhere, which nobody writes.
        if self.byte()? != 0 {
            return None;
        }
        for _ in 0..count {
            let folder = self.folder()?;
            streams.folders.push(folder);
        }
        if self.number()? != CODER_SIZES {
            return None;
        }
        for folder in &mut streams.folders {
            let outputs = folder.coders.iter().map(|coder| coder.outputs).sum();
            folder.sizes = (0..outputs).map(|_| self.number()).collect::<Option<_>>()?;
        }
        loop {
            match self.number()? {
                END => return Some(()),
                CRC => {
                    let digests = self.digests(count)?;
                    streams.folders.iter_mut().zip(digests).for_each(|(folder, crc32)| folder.crc32 = crc32);
                }
                _ => return None,
            }
        }
    }

    fn folder(&mut self) -> Option<Folder<'a>> {
        let count = self.count(MAX_CODERS).filter(|count| *count > 0)?;
        let coders = (0..count).map(|_| self.coder()).collect::<Option<Vec<_>>>()?;
        let inputs: usize = coders.iter().map(|coder| coder.inputs).sum();
        let outputs: usize = coders.iter().map(|coder| coder.outputs).sum();
        let bound = outputs.checked_sub(1).filter(|bound| *bound <= inputs && inputs as u64 <= MAX_CODERS)?;
        let place = |cursor: &mut Self| cursor.count(MAX_CODERS);
        let binds = (0..bound).map(|_| Some((place(self)?, place(self)?))).collect::<Option<Vec<_>>>()?;
        let free = |input: &usize| !binds.iter().any(|(bound, _)| bound == input);
        let packed = match inputs - bound {
            1 => vec![(0..inputs).find(free)?],
            packed => (0..packed).map(|_| place(self)).collect::<Option<_>>()?,
        };
        Some(Folder { coders, binds, packed, sizes: Vec::new(), crc32: None, files: Vec::new() })
    }

    fn coder(&mut self) -> Option<Coder<'a>> {
        let flags = self.byte()?;
        let method = Method::of(self.take(usize::from(flags & 0x0f))?);
        let (inputs, outputs) = if flags & 0x10 == 0 { (1, 1) } else { (self.count(MAX_CODERS)?, self.count(MAX_CODERS)?) };
        let properties = if flags & 0x20 == 0 {
            &[][..]
        } else {
            let length = self.count(u64::MAX)?;
            self.take(length)?
        };
        // Alternative methods were thought of and never used.
        (flags & 0x80 == 0).then_some(Coder { method, inputs, outputs, properties })
    }

    fn substreams(&mut self, streams: &mut Streams<'a>) -> Option<()> {
        let mut counts = vec![1; streams.folders.len()];
        let mut id = self.number()?;
        if id == SUBSTREAM_COUNTS {
            for count in &mut counts {
                *count = self.count(MAX_ITEMS)?;
            }
            id = self.number()?;
        }
        for (folder, &count) in streams.folders.iter_mut().zip(&counts) {
            let mut left = folder.size();
            for index in 0..count {
                // The last takes what is left.
                let size = if index + 1 == count {
                    left
                } else if id == SIZE {
                    self.number()?
                } else {
                    return None;
                };
                left = left.checked_sub(size)?;
                folder.files.push(File { size, crc32: folder.crc32.filter(|_| count == 1) });
            }
        }
        if id == SIZE {
            id = self.number()?;
        }
        loop {
            match id {
                END => return Some(()),
                CRC => {
                    let unknown = || streams.folders.iter().flat_map(|folder| &folder.files).filter(|file| file.crc32.is_none());
                    let digests = self.digests(unknown().count())?;
                    let files = streams.folders.iter_mut().flat_map(|folder| &mut folder.files).filter(|file| file.crc32.is_none());
                    files.zip(digests).for_each(|(file, crc32)| file.crc32 = crc32);
                }
                _ => return None,
            }
            id = self.number()?;
        }
    }
}
