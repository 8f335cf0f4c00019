//! See `kelly_fuzz::metrics`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::metrics(input));
