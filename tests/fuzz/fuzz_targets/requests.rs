//! What it promises stands in `src/requests.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::requests::run(input));
