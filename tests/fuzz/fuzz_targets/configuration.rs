//! What it promises stands in `src/configuration.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::configuration::run(input));
