//! See `kelly_fuzz::metadata`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::metadata(input));
