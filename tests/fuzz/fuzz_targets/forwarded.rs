//! What it promises stands in `src/forwarded.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::forwarded::run(input));
