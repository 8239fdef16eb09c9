//! Runs [`bmm_fuzz::market`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::market::run(bytes));
