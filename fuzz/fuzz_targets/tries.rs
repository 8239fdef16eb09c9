//! Runs [`bmm_fuzz::tries`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::tries::run(bytes));
