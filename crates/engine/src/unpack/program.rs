//! Packed programs: those that unpack themselves in memory when they are started.
//!
//! A loader stands where compilers put no code, in a section that can be written. What is behind it is seen by letting the loader do
//! its work, in a machine of its own ([`machine`]), until it goes on in what it unpacked. What UPX packed is unpacked as UPX does it
//! ([`upx`]), for every system, and proven by its checksum.

mod image;
mod machine;
#[cfg(test)]
mod tests;
mod upx;

use filesafety_model::Reason;

use super::{Sink, Stop};
use image::{Header, Section};
use machine::{End, Ran};

/// What a program may allocate, beyond a multiple of its own size.
const LEAST_ROOM: u32 = 1 << 20;
const MAX_ROOM: u32 = 32 << 20;
/// What a machine holds beside image and room.
const MACHINE_BYTES: u64 = 1 << 20;
/// A loader that wrote less has unpacked nothing.
const LEAST_WRITTEN: u64 = 64;

/// Looks whether the program is packed, and opens it.
pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    if !content.starts_with(b"MZ") && !content.starts_with(b"\x7fELF") {
        return Ok(());
    }
    if upx::open(content, sink)? {
        return Ok(());
    }
    let Some(header) = Header::parse(content) else { return Ok(()) };
    if !starts_in_writable(&header) {
        return Ok(());
    }
    let seen = if header.is_narrow { unpack(&header, content, sink)? } else { Seen::Nothing };
    match seen {
        Seen::Unpacked => {}
        Seen::Nothing if !is_surely_packed(&header) => {}
        Seen::Nothing | Seen::Part => sink.unexamined(Reason::Unsupported, "PackedProgram"),
    }
    Ok(())
}

/// What the run of a loader showed.
enum Seen {
    /// It came to its end.
    Unpacked,
    /// It works on its own code, and did not come to its end.
    Part,
    /// Nothing that shows a loader.
    Nothing,
}

/// Whether execution begins where the program can write, or in no section: as no compiler has it.
fn starts_in_writable(header: &Header) -> bool {
    header.entry != 0 && header.entry_section().is_none_or(Section::is_writable)
}

/// Whether there is proof that code is not seen: a section for code of which the file has not a byte, or the mark of a packer.
fn is_surely_packed(header: &Header) -> bool {
    const PACKERS: [&[u8]; 17] = [
        b"UPX", b".aspack", b".adata", b".petite", b"MEW", b".WWP32", b"yC", b"FSG!", b".nsp", b"nsp", b"PEC2", b"pec1", b".Upack",
        b".MPRESS", b".RLPack", b"PELOCK", b"PESpin",
    ];
    /// Alignment leaves less.
    const LEAST_EMPTY: u32 = 0x1000;
    let is_filled_later = |section: &Section| section.is_executable() && section.length == 0 && section.memory >= LEAST_EMPTY;
    let names_packer = |section: &Section| PACKERS.iter().any(|name| section.name.starts_with(name));
    header.sections.iter().any(|section| is_filled_later(section) || names_packer(section))
}

/// Runs the loader, and examines what it unpacked.
fn unpack(header: &Header, content: &[u8], sink: &mut dyn Sink) -> Result<Seen, Stop> {
    let Some(image_bytes) = header.image_bytes() else { return Ok(Seen::Nothing) };
    let room = image_bytes.saturating_mul(4).clamp(LEAST_ROOM, MAX_ROOM);
    // Beside the image a bit for each of its bytes.
    let held = u64::from(image_bytes) * 9 / 8 + u64::from(room) + MACHINE_BYTES;
    sink.hold(held)?;
    let Ran { end, mut image, entered, ended_there, written, rewrites } = machine::run(header.load(content, image_bytes, room), sink)?;
    let has_unpacked = written >= LEAST_WRITTEN && (entered.is_some() || rewrites || is_surely_packed(header));
    if has_unpacked {
        // What was unpacked before a loader gave up is worth a look, too.
        header.settle(&mut image, entered.unwrap_or(header.entry));
        sink.part("unpacked", &image)?;
    }
    drop(image);
    sink.release(held);
    Ok(match has_unpacked {
        true if ended_there && end != End::Steps => Seen::Unpacked,
        true if rewrites => Seen::Part,
        true | false => Seen::Nothing,
    })
}
