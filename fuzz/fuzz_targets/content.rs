//! Runs [`bmm_fuzz::content`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::content::run(bytes));
