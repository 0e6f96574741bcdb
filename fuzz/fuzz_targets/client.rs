#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tenmil_fuzz::client::run(data));
