//! What signatures take an object for.

use memchr::memmem;

use super::executable::{Executable, Sort};

/// The number of the target, by the manual's *File Types*; `None` for what is of none but 0.
pub(super) fn of(content: &[u8], executable: Option<&Executable>) -> Option<u8> {
    if let Some(executable) = executable {
        return Some(match executable.sort {
            Sort::Pe => 1,
            Sort::Elf => 6,
            Sort::MachO => 9,
        });
    }
    let number = match content {
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ..] => 2,
        [b'%', b'P', b'D', b'F', b'-', ..] => 10,
        [b'F' | b'C' | b'Z', b'W', b'S', ..] => 11,
        [0xca, 0xfe, 0xba, 0xbe, ..] => 12,
        _ if is_picture(content) => 5,
        _ if crate::filetype::is_mail(content) => 4,
        // Readers look for the header within the first 1,024 bytes.
        _ if memmem::find(content.get(..1_024 + 5).unwrap_or(content), b"%PDF-").is_some() => 10,
        _ => return None,
    };
    Some(number)
}

fn is_picture(content: &[u8]) -> bool {
    let starts: [&[u8]; 8] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\x01\0", b"8BPS"];
    starts.iter().any(|start| content.starts_with(start)) || content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP")
}
