//! What is recorded is stored once, and counted as it was. Each module is one promise.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    missing_docs,
    reason = "a test that can't go on panics; counts are exact"
)]
#![allow(
    clippy::print_stderr,
    clippy::format_collect,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers, seeds and tables are for people"
)]

#[path = "../support/mod.rs"]
mod support;

mod confirmed;
mod delivery;
mod health;
mod https;
mod keep;
mod registry;
mod sign_health;
mod token;
mod told;
mod usage;
mod warehouse;
