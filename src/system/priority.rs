//! Which thread goes first on a core.
//!
//! Owns the rule that workers do: a reload at the usual priority on a worker's core makes a redirect wait for whole time
//! slices. The delivery has the usual priority and a pace (`pace.rs`): it must keep up where workers never pause, and of
//! such a core a thread at nice 5 gets a fifth whatever waits, less than the embedded store needs.

use std::io;
use std::panic::resume_unwind;
use std::thread::{self, Builder};

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

/// Computes something where no other thread wants the core, and waits for it. For what takes milliseconds, and holds no
/// lock meanwhile: beside threads that want a core all the time it gets a turn after 1 s for each of them.
///
/// A thread that has only stepped back keeps a core until its slice of 3 ms ends, though a worker wakes up: p99 was 2.4 ms
/// instead of 0.4 while people signed in (`cargo bench --bench latency`). One of the policy `SCHED_IDLE` (sched(7)) gives
/// the core away at once. It can't come back from there without a privilege, so the thread is one for this alone.
pub fn compute_last<T: Send>(compute: impl Fn() -> T + Sync) -> T {
    thread::scope(|scope| {
        let last = || {
            if let Err(error) = become_idle() {
                tracing::debug!(%error, "a computation keeps a core until its slice ends");
            }
            compute()
        };
        match Builder::new().name("computes".to_owned()).spawn_scoped(scope, last) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system refuses a thread: rather here than not at all.
            Err(_) => compute(),
        }
    })
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The 41st field of `/proc/thread-self/stat` (proc_pid_stat(5)), counted after the name, which is the second.
    fn policy() -> String {
        let stat = fs::read_to_string("/proc/thread-self/stat").expect("a thread");
        stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(41 - 3)).expect("a policy").to_owned()
    }

    #[test]
    fn what_is_computed_last_is_idle_and_who_waits_for_it_is_not() {
        let before = policy();
        assert_eq!((compute_last(policy), policy()), (libc::SCHED_IDLE.to_string(), before));
    }

    #[test]
    #[should_panic(expected = "as it was")]
    fn a_panic_is_passed_on() {
        compute_last(|| panic!("as it was"));
    }
}
