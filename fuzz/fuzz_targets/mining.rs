//! Runs [`bmm_fuzz::mining`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::mining::run(bytes));
