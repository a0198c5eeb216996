//! What is stored and measured is shown as it is: dashboards, alerts, and the files that start them.
//! Each module is one promise.
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

// What the promises share.
mod grafana;
mod lint;
mod month;
mod plates;
mod prometheus_server;

mod compose;
mod dashboard_rules;
mod dashboard_types;
mod dashboards;
mod dashboards_coverage;
mod dashboards_health;
mod dashboards_look;
mod dashboards_sign;
mod dashboards_usage;
mod prometheus;
