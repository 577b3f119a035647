//! What stands in a PDF.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| filesafety_engine::fuzzing::unpack(&[b"%PDF-1.7\n", body].concat()));
