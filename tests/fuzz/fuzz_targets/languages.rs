//! What it promises stands in `src/languages.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::languages::run(input));
