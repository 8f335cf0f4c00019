//! See `kelly_fuzz::live_position`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::live_position(input));
