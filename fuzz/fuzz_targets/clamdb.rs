//! The lines of ClamAV signature files, and an object to match them with.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| filesafety_engine::fuzzing::clamdb(input));
