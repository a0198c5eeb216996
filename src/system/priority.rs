//! Which thread goes first on a core.
//!
//! Owns the rule that workers do: a reload at the usual priority on a worker's core makes a redirect wait for whole time
//! slices. The delivery has the usual priority and a pace (`pace.rs`): it must keep up where workers never pause, and of
//! such a core a thread at nice 5 gets a fifth whatever waits, less than the embedded store needs.

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The nice value of what may take its time, such as reloads: p99.9 was 6 to 9 ms while 100,000
/// signs were reloaded each second, and 30 ms at the usual priority (`cargo bench --bench latency`).
pub const LAST: i32 = 19;

/// Sets the nice value of this thread alone (Linux has one for each, sched(7)), until the thread ends.
pub fn lower(nice: i32) {
    if let Err(error) = setpriority_process(Some(gettid()), nice) {
        tracing::debug!(%error, "a background thread keeps the usual priority");
    }
}
