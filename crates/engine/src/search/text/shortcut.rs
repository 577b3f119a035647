//! Shortcuts of Windows ([MS-SHLLINK]): what they start, as one line of text.

use crate::unpack::{Sink, Stop, u16_at, u32_at};

const HEADER: usize = 76;

/// Bits of the flags that tell which parts follow the header.
const HAS_ID_LIST: u32 = 1;
const HAS_LINK_INFO: u32 = 1 << 1;
const HAS_NAME: u32 = 1 << 2;
const HAS_RELATIVE_PATH: u32 = 1 << 3;
const HAS_FOLDER: u32 = 1 << 4;
const HAS_ARGUMENTS: u32 = 1 << 5;
const IS_WIDE: u32 = 1 << 7;

/// The size of the header, and the class of shortcuts.
pub(super) fn starts(content: &[u8]) -> bool {
    content.starts_with(b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46")
}

/// Gives the path and the arguments as a child.
pub(super) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    let command = command(content);
    if !command.trim().is_empty() {
        sink.child("command", &mut command.as_bytes())?;
    }
    Ok(())
}

fn command(content: &[u8]) -> String {
    let flags = u32_at(content, 20).unwrap_or_default();
    let mut at = HEADER;
    if flags & HAS_ID_LIST != 0 {
        at += 2 + usize::from(u16_at(content, at).unwrap_or_default());
    }
    if flags & HAS_LINK_INFO != 0 {
        at = at.saturating_add(u32_at(content, at).and_then(|size| usize::try_from(size).ok()).unwrap_or_default());
    }
    let mut command = Vec::new();
    for part in [HAS_NAME, HAS_RELATIVE_PATH, HAS_FOLDER, HAS_ARGUMENTS] {
        if flags & part == 0 {
            continue;
        }
        let (text, end) = text(content, at, flags & IS_WIDE != 0);
        at = end;
        if matches!(part, HAS_RELATIVE_PATH | HAS_ARGUMENTS) {
            command.push(text);
        }
    }
    command.join(" ")
}

/// A count of characters, and they.
fn text(content: &[u8], at: usize, is_wide: bool) -> (String, usize) {
    let count = usize::from(u16_at(content, at).unwrap_or_default());
    let start = at.saturating_add(2);
    let end = start.saturating_add(if is_wide { count * 2 } else { count });
    let bytes = content.get(start..end.min(content.len())).unwrap_or_default();
    let text = if is_wide {
        String::from_utf16_lossy(&bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect::<Vec<_>>())
    } else {
        bytes.iter().map(|&byte| char::from(byte)).collect()
    };
    (text, end)
}
