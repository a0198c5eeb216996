//! Requests are answered: visitors' on the public port, operators' on the admin port and at the terminal,
//! whatever clients send and whatever happens to the files behind. Each module is one promise.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    missing_docs,
    reason = "a test that can't go on panics; counts are exact"
)]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::format_collect,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers, seeds and tables are for people"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod admin_guard;
mod admin_load;
mod agents;
mod background;
mod bad_registry;
mod certificates;
mod commands;
mod configuration;
mod console_access;
mod country;
mod coverage;
mod forwarded;
mod last_answer;
mod limits;
mod logging;
mod observe;
mod pages;
mod place_page;
mod plaintext;
mod privacy;
mod proxy_protocol;
mod reload;
mod restart;
mod scan;
mod slow_tables;
mod stop;
mod systemd;
mod tls;
