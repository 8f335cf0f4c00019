//! See `kelly_fuzz::decompression`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::decompression(input));
