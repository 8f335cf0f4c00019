//! See `kelly_fuzz::activities`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::activities(input));
