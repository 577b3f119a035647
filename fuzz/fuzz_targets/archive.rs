//! One opener of archives, which the first byte chooses, given any bytes as an archive of its kind.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| filesafety_engine::fuzzing::archive(content));
