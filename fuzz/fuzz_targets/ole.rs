//! A compound file behind its magic number.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| filesafety_engine::fuzzing::unpack(&[b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", body].concat()));
