//! How a visitor's bytes come and go.
//!
//! Owns sockets and the system calls on them. What passes over a connection is reported to
//! [`Connection`](super::connection::Connection); nothing here knows what a request is.

pub(super) mod admission;
pub(super) mod listen;
pub(super) mod plain;
pub mod proxy_protocol;
