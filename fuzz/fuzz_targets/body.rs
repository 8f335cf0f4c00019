//! See `kelly_fuzz::body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::body(input));
