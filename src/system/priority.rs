//! Which thread goes first on a core.
//!
//! Owns the rule that workers do: a reload at the usual priority on a worker's core makes a redirect wait for whole time
//! slices. The delivery has the usual priority and a pace (`pace.rs`): it must keep up where workers never pause, and of
//! such a core a thread at nice 5 gets a fifth whatever waits, less than the embedded store needs.

use std::io;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The nice value of such a thread where the system refuses `SCHED_IDLE`.
const LOWEST: i32 = 19;

/// Makes this thread one that may take its time, as for a reload or a password's hash: it runs where nothing else wants
/// to, and gives the core away as soon as something does (`SCHED_IDLE`, sched(7)). Only its end undoes that.
///
/// The lowest nice value alone is not enough. A thread that has it keeps the core until its slice of 3 ms ends: while
/// people signed in, p99 was 2.9 ms instead of 0.3 (`cargo bench --bench latency`).
pub fn go_last() {
    let Err(error) = become_idle() else { return };
    tracing::debug!(%error, "a background thread keeps a core until its slice ends");
    if let Err(error) = setpriority_process(Some(gettid()), LOWEST) {
        tracing::debug!(%error, "a background thread keeps the usual priority");
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
