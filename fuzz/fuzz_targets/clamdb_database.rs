//! A ClamAV database: header, tar, signature files.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| filesafety_engine::fuzzing::clamdb_database(content));
