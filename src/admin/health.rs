//! Whether the edge is alive, and whether it wants visitors.
//!
//! Owns what probes are told. Neither waits for anything: a liveness probe must not end an edge
//! whose store, disk or tables hang, since visitors are answered all the same.

use hyper::StatusCode;

use super::{Response, plain};
use crate::core::Stage;

/// `/livez`: who answers is alive.
pub(super) fn live() -> Response {
    plain(StatusCode::OK, "alive\n")
}

/// `/readyz`: ready until the stop begins, so that a load balancer looks elsewhere in time.
pub(super) fn ready(stage: Stage) -> Response {
    match stage {
        Stage::Serving => plain(StatusCode::OK, "ready\n"),
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}
