//! See `kelly_fuzz::token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::token(input));
