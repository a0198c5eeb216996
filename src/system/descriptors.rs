//! How many files and sockets the process may have open.
//!
//! Owns the share of them that visitors may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of everything but workers and visitors' connections: some forty files, pipes and
/// sockets, and 64 connections of the admin port's clients.
const OTHERS: u64 = 112;
/// Those that each worker has besides: its runtime's, segments, and the connections that have given way and are
/// about to end.
const OF_A_WORKER: u64 = 8 + 16;
/// Those of each of its listeners: itself, and a spare.
const OF_A_LISTENER: u64 = 2;

/// Raises the soft limit of open files, usually 1,024, to the hard one: each connection needs a
/// descriptor.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files can't be raised");
    }
}

/// Connections that there may be: `wanted`, or what the limit of open files leaves of it. Visitors can't take
/// descriptors from the journal, the store or the admin port.
pub fn connections(workers: usize, listeners: usize, wanted: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let most = fit(limit, workers, listeners, wanted);
    if most < wanted {
        tracing::warn!(limit, most, "the limit of open files is too small for edge.max_connections; fewer are held");
    }
    most
}

/// Connections that there may be once the limit is raised, and that limit, if it leaves fewer than `wanted`.
pub fn misfit(workers: usize, listeners: usize, wanted: usize) -> Option<(usize, u64)> {
    let limit = getrlimit(Resource::Nofile).maximum?;
    let most = fit(limit, workers, listeners, wanted);
    (most < wanted).then_some((most, limit))
}

fn fit(limit: u64, workers: usize, listeners: usize, wanted: usize) -> usize {
    let others = OTHERS + (OF_A_WORKER + OF_A_LISTENER * listeners as u64) * workers as u64;
    // Of a limit as small as the reserve a quarter, for few admin clients come, and no burst.
    let room = limit.saturating_sub(others).max(limit / 4).max(1);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX))
}
