//! See `kelly_fuzz::commit_metadata`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kelly_fuzz::commit_metadata(input));
