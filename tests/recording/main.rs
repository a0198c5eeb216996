//! A scan that was answered stays recorded until it is stored, or is counted as lost: through kills,
//! power cuts, damage, full disks and a store that is away. Each module is one promise.
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

mod books;
mod damage;
mod full_disk;
mod outage;
mod power_cut;
mod recovery;
mod refused;
mod replaced;
