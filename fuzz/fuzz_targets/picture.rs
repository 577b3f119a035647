//! Any picture through the decoders.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| filesafety_engine::fuzzing::picture(content));
