//! A change set that was approved is in the tables, in what visitors get, and in the history, or in none of them: through
//! kills at every system call, edits by hand, full disks, and times at which the process was down. Each module is one
//! promise.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on panics")]
#![allow(
    clippy::print_stderr,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::format_collect,
    reason = "small numbers and seeds are for people"
)]

#[path = "../support/mod.rs"]
mod support;

mod conflicts;
mod full_disk;
mod killed;
mod office;
mod outside;
mod rounds;
mod scheduled;
