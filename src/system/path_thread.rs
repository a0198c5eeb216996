//! A thread of its own for each path that may hang.
//!
//! Owns the threads that touch files which others put there. A share that is gone holds a thread in
//! the kernel, in `stat` as in `read`, until the share is back, and nothing can free that thread. So
//! each such path has one thread, all work on the path is asked of that thread, and a caller stops waiting
//! once the thread makes no progress. A thread that hangs is kept: it goes on when the share does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::priority;
use crate::core::lock;

/// A job that has made no progress for this long hangs.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a job that goes on and on.
const LONGEST_TURN: Duration = Duration::from_mins(1);

/// One path's thread. It ends after this is dropped, once its job lets it.
#[derive(Debug)]
pub struct PathThread {
    shared: Arc<Shared>,
}

/// A thread for each of several paths.
#[derive(Debug)]
pub struct PathThreads(Vec<PathThread>);

/// What a job reports to while it is at work.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// Milliseconds from `begun` to the last step.
    last_step: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<Requests>,
    changed: Condvar,
    progress: Progress,
}

#[derive(Debug, Default)]
struct Requests {
    /// The number of the last one, from 1.
    made: u64,
    /// The number of the last one that the job was done for.
    done: u64,
    closed: bool,
}

impl PathThread {
    /// A thread that does `job` whenever it is asked to, and not before.
    pub fn new(name: &str, mut job: impl FnMut(&Progress) + Send + 'static) -> Self {
        let progress = Progress { begun: Instant::now(), last_step: AtomicU64::new(0) };
        let shared = Arc::new(Shared { requests: Mutex::default(), changed: Condvar::new(), progress });
        let ours = shared.clone();
        let work = move || {
            priority::step_back();
            while let Some(number) = ours.next() {
                job(&ours.progress);
                ours.requests().done = number;
                ours.changed.notify_all();
            }
        };
        if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(work) {
            // Its job is never done, so it counts as one that hangs.
            tracing::error!(%error, name, "the system refuses a thread");
        }
        Self { shared }
    }

    /// Asks for the job to be done once more, begun after this call; returns the number of this request,
    /// for [`Self::wait`].
    pub fn ask(&self) -> u64 {
        let mut requests = self.shared.requests();
        if requests.made == requests.done {
            self.shared.progress.step();
        }
        requests.made += 1;
        let made = requests.made;
        // Who is woken may get this core at once, and others want the lock.
        drop(requests);
        self.shared.changed.notify_all();
        made
    }

    /// Waits until a request is done; `false` where the job hangs, or takes longer than `timeout`.
    pub fn wait(&self, number: u64, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut requests = self.shared.requests();
        while requests.done < number {
            if self.shared.progress.quiet() >= HANG_TIMEOUT || Instant::now() >= until {
                return false;
            }
            let short = Duration::from_millis(100);
            requests = self.shared.changed.wait_timeout(requests, short).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether all that was asked for is done.
    fn is_idle(&self) -> bool {
        let requests = self.shared.requests();
        requests.made == requests.done
    }

    /// Whether it has been asked, and has made no progress for [`HANG_TIMEOUT`].
    pub fn hangs(&self) -> bool {
        !self.is_idle() && self.shared.progress.quiet() >= HANG_TIMEOUT
    }
}

impl PathThreads {
    /// Starts a thread for each job, `name-0` and on, and waits until each was done once: no longer than a minute,
    /// nor for one that hangs. Such a one goes on by itself.
    pub fn start<J: FnMut(&Progress) + Send + 'static>(name: &str, jobs: impl Iterator<Item = J>) -> Self {
        let thread = |(at, job)| PathThread::new(&format!("{name}-{at}"), job);
        let threads = Self(jobs.enumerate().map(thread).collect());
        threads.turn();
        threads
    }

    /// Has each job done once more. Returns whether all were, within a minute.
    pub fn turn(&self) -> bool {
        let tickets: Vec<u64> = self.each().map(PathThread::ask).collect();
        // No short cut: each is waited for.
        self.each().zip(tickets).filter(|(thread, ticket)| !thread.wait(*ticket, LONGEST_TURN)).count() == 0
    }

    /// Asks for the jobs once more, but for those that are at work, without waiting for them.
    pub fn ask_idle(&self) {
        self.each().filter(|thread| thread.is_idle()).for_each(|thread| {
            thread.ask();
        });
    }

    /// The threads, in the order of their jobs.
    pub fn each(&self) -> std::slice::Iter<'_, PathThread> {
        self.0.iter()
    }
}

impl Drop for PathThread {
    fn drop(&mut self) {
        self.shared.requests().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        lock(&self.requests)
    }

    /// Waits for a request; `None` at the end.
    fn next(&self) -> Option<u64> {
        let mut requests = self.requests();
        while requests.made == requests.done {
            if requests.closed {
                return None;
            }
            requests = self.changed.wait(requests).unwrap_or_else(PoisonError::into_inner);
        }
        self.progress.step();
        (!requests.closed).then_some(requests.made)
    }
}

impl Progress {
    /// The job goes on.
    pub fn step(&self) {
        self.last_step.store(self.now_ms(), Ordering::Relaxed);
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_step.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_job_that_hangs_is_waited_for_no_longer_and_done_when_it_can_be() {
        let (free, held) = mpsc::channel::<()>();
        let thread = PathThread::new("hangs", move |_| held.recv().unwrap_or(()));
        let number = thread.ask();
        assert!(!thread.wait(number, Duration::from_millis(50)) && !thread.is_idle());
        free.send(()).expect("it waits");
        assert!(thread.wait(number, Duration::from_secs(30)));
        assert!(thread.is_idle() && !thread.hangs());
    }
}
