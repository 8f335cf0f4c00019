//! See `kelly_fuzz::log_recovery`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::log_recovery(input));
