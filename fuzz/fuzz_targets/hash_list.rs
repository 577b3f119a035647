//! The lines of a hash list.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| filesafety_engine::fuzzing::hash_list(text));
