//! Runs [`bmm_fuzz::modules`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::modules::run(bytes));
