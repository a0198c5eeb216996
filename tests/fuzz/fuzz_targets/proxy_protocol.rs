//! What it promises stands in `src/proxy_protocol.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::proxy_protocol::run(input));
