//! See `kelly_fuzz::redaction`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::redaction(input));
