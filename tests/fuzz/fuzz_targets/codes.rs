//! What it promises stands in `src/codes.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::codes::run(input));
