//! See `kelly_fuzz::timestamp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::timestamp(input));
