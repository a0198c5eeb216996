//! Which thread goes first on a core.
//!
//! Owns the rule that workers do: a reload at the usual priority on a worker's core makes a redirect wait for whole time
//! slices. The delivery has the usual priority and a pace (`pace.rs`): it must keep up where workers never pause, and of
//! such a core a thread at nice 5 gets a fifth whatever waits, less than the embedded store needs.

use std::io;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The least that a thread of the usual policy can have: 15 parts of a core where others have 1,024.
const LOWEST: i32 = 19;

/// Gives this thread the lowest nice value until it ends. Beside threads that want a core all the time it gets a turn after
/// 0.2 s for each of them.
pub fn step_back() {
    if let Err(error) = setpriority_process(Some(gettid()), LOWEST) {
        tracing::debug!(%error, "a background thread keeps the usual priority");
    }
}

/// Has this thread run where no other wants the core, until it ends. Beside threads that want a core all the time it gets
/// a turn after 1 s for each of them, so it is for one that holds nothing which a scan, a reload or the admin port waits
/// for.
///
/// A thread that has only stepped back keeps a core until its slice of 3 ms ends, though a worker wakes up: p99 was 2.4 ms
/// instead of 0.5 while people signed in (`cargo bench --bench latency`). One of the policy `SCHED_IDLE` (sched(7)) gives
/// the core away at once. It can't come back from there without a privilege.
pub fn go_last() {
    if let Err(error) = become_idle() {
        tracing::debug!(%error, "a background thread keeps a core until its slice ends");
    }
}

/// rustix has no call for it.
fn become_idle() -> io::Result<()> {
    const THIS_THREAD: libc::pid_t = 0;
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameters, which live longer than the call, and writes nothing.
    #[allow(unsafe_code)]
    let result = unsafe { libc::sched_setscheduler(THIS_THREAD, libc::SCHED_IDLE, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
