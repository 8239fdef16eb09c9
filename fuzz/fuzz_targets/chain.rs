//! Runs [`bmm_fuzz::chain`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::chain::run(bytes));
