//! See `kelly_fuzz::histogram`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::histogram(input));
