//! How many files and sockets the process may have open.
//!
//! Owns the share of them that visitors may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of everything but workers and visitors' connections: some forty files, pipes and
/// sockets, and twenty of the admin port's clients.
const OTHERS: u64 = 64;
/// Those that each worker has besides: listeners, its runtime's, segments.
const OF_A_WORKER: u64 = 8;

/// Raises the soft limit of open files, usually 1,024, to the hard one: each connection needs a
/// descriptor.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files can't be raised");
    }
}

/// Connections that each worker may have, `wanted` at most and one at least: visitors can't take
/// descriptors from the journal, the store or the admin port.
pub fn connections_of_each(workers: usize, wanted: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let others = OTHERS + OF_A_WORKER * workers as u64;
    let room = usize::try_from(limit.saturating_sub(others)).unwrap_or(usize::MAX) / workers;
    let connections = wanted.min(room.max(1));
    if connections < wanted {
        let most = connections * workers;
        tracing::warn!(limit, most, "the limit of open files is too small for edge.max_connections; fewer are held");
    }
    connections
}
