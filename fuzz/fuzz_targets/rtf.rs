//! What stands in rich text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| filesafety_engine::fuzzing::unpack(&[b"{\\rtf1", body].concat()));
