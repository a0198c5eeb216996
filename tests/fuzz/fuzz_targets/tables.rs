//! What it promises stands in `src/tables.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::tables::run(input));
