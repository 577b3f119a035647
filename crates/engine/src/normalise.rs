//! Text and HTML as ClamAV's signatures for targets 7 and 3 see them: pure functions of the content, linear in its length.
//!
//! The views follow `sigtool --ascii-normalise` and `--html-normalise` of ClamAV 1.4, oddities included, since signatures were made from
//! what those print; `tests.rs` compares both where sigtool is installed. What a view leaves out is still scanned raw.

mod encoded_script;
mod entities;
mod html;
#[cfg(test)]
mod tests;
mod utf16;

pub(crate) use encoded_script::decode as decode_script;
pub(crate) use html::{html, script_bodies};
pub(crate) use utf16::{Endian, to_utf8};

/// The view of target 7, which target 0 sees beside the raw bytes: letters small, every run of white space one blank, other control
/// characters and everything beyond ASCII left out. Never longer than `content`.
pub(crate) fn text(content: &[u8]) -> Vec<u8> {
    let mut view = Vec::with_capacity(content.len());
    let mut blank = false;
    for &byte in content {
        if is_space(byte) {
            if !blank {
                view.push(b' ');
            }
            blank = true;
        } else if matches!(byte, 0x20..=0x7f) {
            view.push(byte.to_ascii_lowercase());
            blank = false;
        }
    }
    view
}

/// White space as C has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}
