//! How a visitor's bytes come and go.
//!
//! Owns sockets and the system calls on them. What passes over a connection is reported to
//! [`Connection`](super::connection::Connection); nothing here knows what a request is.

pub(super) mod admission;
pub(super) mod listen;
pub(super) mod plain;
pub mod proxy_protocol;
pub(super) mod stream;
pub(super) mod tls;

/// What a listener's connections begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// A TLS handshake.
    pub has_tls: bool,
    /// Before anything else, a header of the PROXY protocol.
    pub has_proxy_header: bool,
}
