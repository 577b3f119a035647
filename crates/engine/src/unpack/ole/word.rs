//! Fields in the text of a document of Word 6 to 2003 (MS-DOC 2.8.25).

use memchr::memmem;

use crate::unpack::{Sink, field};

const FIELD_BEGINS: u8 = 0x13;
const FIELD_SEPARATES: u8 = 0x14;
const FIELD_ENDS: u8 = 0x15;
/// An instruction is no longer, in bytes.
const LONGEST: usize = 2_048;

/// Judges the fields that exchange data; text is of one or two bytes a character.
pub(super) fn open(stream: &[u8], sink: &mut dyn Sink) {
    // In the order of the text; a field more or less does not change what the document does.
    const MOST: usize = 100;
    for (needle, width) in [(&b"DDE"[..], 1), (b"D\0D\0E\0", 2)] {
        for at in memmem::find_iter(stream, needle).filter(|at| begins_field(stream, *at, width)).take(MOST) {
            let text = stream.get(at..).unwrap_or_default();
            field::judge(&instruction(text.get(..LONGEST).unwrap_or(text), width), sink);
        }
    }
}

/// Whether nothing but spaces stands between the place and a field's mark.
fn begins_field(stream: &[u8], at: usize, width: usize) -> bool {
    const MOST_SPACES: usize = 32;
    let before = stream.get(..at).unwrap_or_default();
    let mut characters = before.rchunks_exact(width).take(MOST_SPACES).map(|character| character.first().copied().unwrap_or_default());
    characters.find(|character| *character != b' ') == Some(FIELD_BEGINS)
}

fn instruction(text: &[u8], width: usize) -> String {
    let characters = text.chunks_exact(width).map(|character| character.first().copied().unwrap_or_default());
    characters.take_while(|character| !matches!(*character, FIELD_SEPARATES | FIELD_ENDS | 0)).map(char::from).collect()
}
