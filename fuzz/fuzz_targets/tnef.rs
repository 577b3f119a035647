//! The attributes of a `winmail.dat`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|attributes: &[u8]| filesafety_engine::fuzzing::unpack(&[b"\x78\x9f\x3e\x22\x01\x00", attributes].concat()));
