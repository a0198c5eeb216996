//! A thread of its own for each path that may hang.
//!
//! Owns the threads that touch files which others put there. A share that is gone holds a thread in
//! the kernel, in `stat` as in `read`, until the share is back, and nothing can free it. So each such
//! path has one thread, whoever needs the path asks that thread, and nobody waits for it longer than
//! it makes progress. A thread that hangs is not given up: it answers when the share does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// A job that has made no step for this long hangs.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(5);

/// One path's thread. It ends after this is dropped, once its job lets it.
#[derive(Debug)]
pub struct PathThread {
    shared: Arc<Shared>,
}

/// What a job reports to while it is at work.
#[derive(Debug)]
pub struct Progress {
    since: Instant,
    /// Milliseconds from `since` to the last step.
    last: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
    steps: Progress,
}

#[derive(Debug, Default)]
struct Desk {
    asked: u64,
    answered: u64,
    closed: bool,
}

impl PathThread {
    /// A thread that does `job` whenever it is asked to, and not before.
    pub fn new(name: &str, mut job: impl FnMut(&Progress) + Send + 'static) -> Self {
        let steps = Progress { since: Instant::now(), last: AtomicU64::new(0) };
        let shared = Arc::new(Shared { desk: Mutex::default(), changed: Condvar::new(), steps });
        let ours = shared.clone();
        let work = move || {
            // Workers go first: see `app::step_back`.
            setpriority_process(Some(gettid()), 19).ok();
            while let Some(ticket) = ours.next() {
                job(&ours.steps);
                ours.desk().answered = ticket;
                ours.changed.notify_all();
            }
        };
        if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(work) {
            // It never answers, and is told as one that hangs.
            tracing::error!(%error, name, "the system refuses a thread");
        }
        Self { shared }
    }

    /// Has the job done once more, and tells the number of this question.
    pub fn ask(&self) -> u64 {
        let mut desk = self.shared.desk();
        if desk.asked == desk.answered {
            self.shared.steps.step();
        }
        desk.asked += 1;
        self.shared.changed.notify_all();
        desk.asked
    }

    /// Waits for the answer to a question; `false` where the job hangs, or takes longer than `most`.
    pub fn wait(&self, ticket: u64, most: Duration) -> bool {
        let until = Instant::now() + most;
        let mut desk = self.shared.desk();
        while desk.answered < ticket {
            if self.shared.steps.quiet() >= HANG_TIMEOUT || Instant::now() >= until {
                return false;
            }
            let short = Duration::from_millis(100);
            desk = self.shared.changed.wait_timeout(desk, short).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether nothing is asked that has no answer yet.
    pub fn is_idle(&self) -> bool {
        let desk = self.shared.desk();
        desk.asked == desk.answered
    }

    /// Whether it has been asked, and has made no step for [`HANG_TIMEOUT`].
    pub fn hangs(&self) -> bool {
        !self.is_idle() && self.shared.steps.quiet() >= HANG_TIMEOUT
    }
}

impl Drop for PathThread {
    fn drop(&mut self) {
        self.shared.desk().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a question; `None` at the end.
    fn next(&self) -> Option<u64> {
        let mut desk = self.desk();
        while desk.asked == desk.answered {
            if desk.closed {
                return None;
            }
            desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        self.steps.step();
        (!desk.closed).then_some(desk.asked)
    }
}

impl Progress {
    /// The job goes on.
    pub fn step(&self) {
        self.last.store(self.now_ms(), Ordering::Relaxed);
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nobody_waits_for_a_job_that_hangs_and_it_answers_when_it_can() {
        let (free, held) = mpsc::channel::<()>();
        let aside = PathThread::new("hangs", move |_| held.recv().unwrap_or(()));
        let ticket = aside.ask();
        assert!(!aside.wait(ticket, Duration::from_millis(50)) && !aside.is_idle());
        free.send(()).expect("it waits");
        assert!(aside.wait(ticket, Duration::from_secs(30)));
        assert!(aside.is_idle() && !aside.hangs());
    }
}
