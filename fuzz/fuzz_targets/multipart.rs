//! A form, in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|form: (u8, &[u8])| {
    let (piece, body) = form;
    filesafety_server::fuzzing::multipart("XX", body, usize::from(piece));
});
