//! Any text or page: the views that ClamAV's signatures see, encoded scripts, UTF-16.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| filesafety_engine::fuzzing::normalise(content));
