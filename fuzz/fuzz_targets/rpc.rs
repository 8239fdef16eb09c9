//! Runs [`bmm_fuzz::rpc`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bmm_fuzz::rpc::run(bytes));
