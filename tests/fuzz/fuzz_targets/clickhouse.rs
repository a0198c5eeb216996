//! What it promises stands in `src/clickhouse.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| waypost_fuzz::clickhouse::run(input));
