//! The coders of a folder, put together to one stream.

use std::io::{self, BufReader, Read};

use deflate64::Deflate64Decoder;
use lzma_rust2::{
    Lzma2Reader, LzmaReader,
    filter::{bcj::BcjReader, bcj2::Bcj2Reader, delta::DeltaReader},
};
use ppmd_rust::Ppmd7Decoder;

use super::{
    crypt::{CoderKeys, Decrypting},
    header::{Branches, Coder, Folder, Method},
};
use crate::unpack::{
    codec::{Fault, Foreign, MAX_WINDOW},
    u32_at,
};

type Input<'a> = Box<dyn Read + 'a>;

/// The stream that the folder makes of its packed streams.
pub(super) fn stream<'a>(folder: &'a Folder<'a>, packs: &'a [&'a [u8]], keys: &'a CoderKeys) -> Foreign<'a, Input<'a>> {
    let open = |_| {
        let output = folder.result().ok_or(Fault::Damaged)?;
        Chain { folder, packs, keys }.output(output, folder.coders.len())
    };
    Foreign::new(&[], open, |_| 0)
}

impl Folder<'_> {
    /// Bytes that decoding holds beside its output.
    pub(super) fn memory(&self) -> u64 {
        let of = |(coder, size): (&Coder<'_>, &u64)| match coder.method {
            Method::Lzma => (8 << 20) + used(lzma_dictionary(coder), *size),
            Method::Lzma2 => (2 << 20) + used(lzma2_dictionary(coder), *size),
            Method::Ppmd => u32_at(coder.properties, 1).map_or(0, u64::from).min(MAX_PPMD),
            Method::Zstd => MAX_WINDOW,
            Method::Bzip2 => 5 << 20,
            Method::Deflate64 | Method::Bcj2 => 512 << 10,
            Method::Copy | Method::Delta | Method::Branches(_) | Method::Deflate | Method::Aes | Method::Unknown => 128 << 10,
        };
        self.coders.iter().zip(&self.sizes).map(of).sum()
    }
}

/// As much memory is given to the model of PPMd; 7-Zip's own levels ask for 192 MiB.
const MAX_PPMD: u64 = 256 << 20;

struct Chain<'a> {
    folder: &'a Folder<'a>,
    packs: &'a [&'a [u8]],
    keys: &'a CoderKeys,
}

impl<'a> Chain<'a> {
    /// What comes out of `output`. Coders that take each other's outputs in a circle would be deeper than there are coders.
    fn output(&self, output: usize, depth: usize) -> Result<Input<'a>, Fault> {
        let depth = depth.checked_sub(1).ok_or(Fault::Damaged)?;
        let folder = self.folder;
        // All that is known here have one output.
        let coder = folder.coders.get(output).filter(|_| folder.coders.iter().all(|coder| coder.outputs == 1));
        let (coder, size) = coder.zip(folder.sizes.get(output)).ok_or(Fault::Unsupported)?;
        let first: usize = folder.coders.iter().take(output).map(|coder| coder.inputs).sum();
        let inputs = (first..first + coder.inputs).map(|input| self.input(input, depth)).collect::<Result<Vec<_>, _>>()?;
        let decoder = decoder(coder, inputs, *size, self.keys.of(output))?;
        Ok(Box::new(Sized { inner: decoder, left: *size }))
    }

    fn input(&self, input: usize, depth: usize) -> Result<Input<'a>, Fault> {
        if let Some((_, output)) = self.folder.binds.iter().find(|(bound, _)| *bound == input) {
            return self.output(*output, depth);
        }
        let index = self.folder.packed.iter().position(|packed| *packed == input).ok_or(Fault::Damaged)?;
        let pack: &'a [u8] = self.packs.get(index).ok_or(Fault::Damaged)?;
        Ok(Box::new(pack))
    }
}

fn decoder<'a>(coder: &Coder<'_>, mut inputs: Vec<Input<'a>>, size: u64, key: Option<&[u8; 32]>) -> Result<Input<'a>, Fault> {
    if coder.method == Method::Bcj2 {
        let reader = Bcj2Reader::try_new(inputs, size).map_err(|_| Fault::Damaged)?;
        return Ok(Box::new(reader));
    }
    let input = inputs.pop().filter(|_| inputs.is_empty()).ok_or(Fault::Unsupported)?;
    let properties = coder.properties;
    Ok(match coder.method {
        Method::Copy => input,
        Method::Delta => Box::new(DeltaReader::new(input, usize::from(*properties.first().ok_or(Fault::Damaged)?) + 1)),
        Method::Branches(branches) => filtered(branches, input, properties),
        Method::Lzma => {
            let dictionary = window(lzma_dictionary(coder), size)?;
            let properties = *properties.first().ok_or(Fault::Damaged)?;
            let mut reader = LzmaReader::new_with_props(input, size, properties, dictionary, None).map_err(|_| Fault::Damaged)?;
            reader.set_defer_errors(true);
            Box::new(reader)
        }
        Method::Lzma2 => Box::new(Lzma2Reader::new(input, window(lzma2_dictionary(coder), size)?, None)),
        Method::Ppmd => {
            let (order, memory) = properties.first().zip(u32_at(properties, 1)).ok_or(Fault::Damaged)?;
            if u64::from(memory) > MAX_PPMD {
                return Err(Fault::Window);
            }
            Box::new(Ppmd7Decoder::new(BufReader::new(input), u32::from(*order), memory).map_err(|_| Fault::Damaged)?)
        }
        Method::Deflate => Box::new(flate2::read::DeflateDecoder::new(input)),
        Method::Deflate64 => Box::new(Deflate64Decoder::new(input)),
        Method::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(input)),
        Method::Zstd => {
            let reader = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(input, MAX_WINDOW).map_err(|_| Fault::Damaged)?;
            Box::new(reader)
        }
        Method::Aes => Box::new(Decrypting::new(input, properties, key.ok_or(Fault::Damaged)?).ok_or(Fault::Damaged)?),
        Method::Bcj2 | Method::Unknown => return Err(Fault::Unsupported),
    })
}

/// The dictionary that LZMA asks for.
fn lzma_dictionary(coder: &Coder<'_>) -> u64 {
    u32_at(coder.properties, 1).map_or(0, u64::from)
}

/// The same for LZMA2: two sizes for each power of two.
fn lzma2_dictionary(coder: &Coder<'_>) -> u64 {
    match u32::from(coder.properties.first().copied().unwrap_or(0)) {
        bits @ 0..=39 => u64::from(2 | bits & 1) << (bits / 2 + 11),
        _ => u64::from(u32::MAX),
    }
}

/// What of a dictionary is ever used: no more than comes out.
fn used(dictionary: u64, size: u64) -> u64 {
    dictionary.min(size).clamp(1 << 12, MAX_WINDOW + 1)
}

fn window(dictionary: u64, size: u64) -> Result<u32, Fault> {
    let used = used(dictionary, size);
    if used > MAX_WINDOW { Err(Fault::Window) } else { u32::try_from(used).map_err(|_| Fault::Window) }
}

fn filtered<'a>(branches: Branches, input: Input<'a>, properties: &[u8]) -> Input<'a> {
    let start = u32_at(properties, 0).map_or(0, |start| start as usize);
    Box::new(match branches {
        Branches::X86 => BcjReader::new_x86(input, start),
        Branches::PowerPc => BcjReader::new_ppc(input, start),
        Branches::Ia64 => BcjReader::new_ia64(input, start),
        Branches::Arm => BcjReader::new_arm(input, start),
        Branches::ArmThumb => BcjReader::new_arm_thumb(input, start),
        Branches::Sparc => BcjReader::new_sparc(input, start),
        Branches::Arm64 => BcjReader::new_arm64(input, start),
        Branches::RiscV => BcjReader::new_riscv(input, start),
    })
}

/// Gives as many bytes as the header tells, or fails.
struct Sized<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Sized<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..most).filter(|room| !room.is_empty()) else { return Ok(0) };
        let count = self.inner.read(room)?.min(most);
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}
