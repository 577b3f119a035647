//! The hash of a PE's imports: MD5 over `library.function`, small letters, joined by commas, in the order of the tables.

use md5::{Digest as _, Md5};

use super::{Executable, at};
use crate::unpack::{u16_at, u32_at, u64_at};

/// Libraries and functions beyond these make no hash: no linker writes as many.
const MAX_LIBRARIES: usize = 1024;
const MAX_FUNCTIONS: usize = 65_536;
const MAX_TEXT: usize = 4 << 20;
/// Longer names end there.
const MAX_NAME: usize = 512;

/// The MD5, and the length of the text it is over; `None` without imports.
pub(in crate::clamdb) fn import_hash(content: &[u8], executable: &Executable) -> Option<([u8; 16], usize)> {
    let table = executable.offset_of(executable.directories.get(1).map(|directory| directory.address).filter(|&address| address > 0)?)?;
    let mut text = Vec::new();
    let mut functions = 0;
    for index in 0..=MAX_LIBRARIES {
        let descriptor = at(content, table + index * 20);
        let (Some(lookup), Some(name), Some(addresses)) = (u32_at(descriptor, 0), u32_at(descriptor, 12), u32_at(descriptor, 16)) else {
            break;
        };
        if name == 0 {
            break;
        }
        if index == MAX_LIBRARIES {
            return None;
        }
        let Some(library) = executable.offset_of(name).map(|from| name_at(content, from)) else { break };
        let thunks = executable.offset_of(if lookup == 0 { addresses } else { lookup });
        add_library(content, executable, &library_stem(&library), thunks?, &mut text, &mut functions)?;
    }
    (!text.is_empty()).then(|| (Md5::digest(&text).into(), text.len()))
}

/// `None` once there are too many.
fn add_library(
    content: &[u8],
    executable: &Executable,
    library: &[u8],
    thunks: usize,
    text: &mut Vec<u8>,
    functions: &mut usize,
) -> Option<()> {
    for index in 0.. {
        let thunk = if executable.wide { u64_at(content, thunks + index * 8) } else { u32_at(content, thunks + index * 4).map(u64::from) };
        let Some(thunk) = thunk.filter(|&thunk| thunk != 0) else { break };
        *functions += 1;
        if *functions > MAX_FUNCTIONS || text.len() > MAX_TEXT {
            return None;
        }
        let by_number = thunk >> if executable.wide { 63 } else { 31 } == 1;
        let function = if by_number {
            format!("ord{}", thunk & 0xffff).into_bytes()
        } else {
            let Some(hint) = u32::try_from(thunk).ok().and_then(|address| executable.offset_of(address)) else { continue };
            u16_at(content, hint)?;
            name_at(content, hint + 2)
        };
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(library);
        text.push(b'.');
        text.extend_from_slice(&function);
    }
    Some(())
}

fn name_at(content: &[u8], from: usize) -> Vec<u8> {
    at(content, from).iter().take(MAX_NAME).take_while(|&&byte| byte != 0).map(u8::to_ascii_lowercase).collect()
}

/// A library without the ending of its kind.
fn library_stem(library: &[u8]) -> Vec<u8> {
    let stem = [b".dll", b".ocx", b".sys"].into_iter().find_map(|ending| library.strip_suffix(ending));
    stem.unwrap_or(library).to_vec()
}
