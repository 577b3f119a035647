//! What stands in a mail.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| filesafety_engine::fuzzing::unpack(&[b"Message-ID: <a@b>\nTo: c\n", body].concat()));
