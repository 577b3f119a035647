//! Any file: opened, and everything inside it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| filesafety_engine::fuzzing::unpack(content));
