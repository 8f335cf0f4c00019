//! See `kelly_fuzz::arrow`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::arrow(input));
