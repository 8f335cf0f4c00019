//! See `kelly_fuzz::cursor`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::cursor(input));
