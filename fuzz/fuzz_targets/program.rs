//! A program that may be packed: its headers, its loader, the blocks of UPX.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| filesafety_engine::fuzzing::program(content));
