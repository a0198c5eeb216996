//! What it promises stands in `src/journal.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::journal::run(input));
