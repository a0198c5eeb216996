//! Which thread goes first on a core.
//!
//! Owns the rule that workers do: a delivery or a reload at the usual priority on a worker's core makes
//! a redirect wait for whole time slices.

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The nice value of what may take its time, such as reloads: p99.9 was 6 to 9 ms while 100,000
/// signs were reloaded each second, and 30 ms at the usual priority (`cargo bench --bench latency`).
pub const LAST: i32 = 19;
/// The nice value of the delivery, which has to keep up even where workers never pause: on one such
/// core the embedded store took all of 120,000 scans a second at 5, and a fifth of them at 19.
pub const DELIVERY: i32 = 5;

/// Sets the nice value of this thread alone (Linux has one for each, sched(7)), until the thread ends.
pub fn lower(nice: i32) {
    if let Err(error) = setpriority_process(Some(gettid()), nice) {
        tracing::debug!(%error, "a background thread keeps the usual priority");
    }
}
