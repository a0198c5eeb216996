//! How a thread in the background makes way for workers that share its core.
//!
//! Owns the pauses. A worker that always finds more to do never sleeps, and so never wakes up: the kernel then leaves
//! the core to whoever got it until its next tick, 4 ms at 250 Hz, and everybody who scans meanwhile waits. Priorities
//! and short time slices do not change that (benches/README.md, "The tail"). So the thread stops by itself: its work is
//! done in pieces of [`PIECE`], and while workers make progress it sleeps after each. While they make none there is nobody
//! to wait for it, and it goes on at once.
//!
//! A pace belongs to a thread, as its priority does: long work calls [`step`] as it goes, and on a thread without a pace
//! that does nothing.

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What a thread does at once, in CPU time; to sleep and to wake up costs some 5 µs. A worker that wakes up meanwhile waits
/// until it is over: the kernel shares the core out, and does not ask who is in a hurry.
const PIECE: Duration = Duration::from_micros(40);
/// How long a pause mostly is, in pieces: an eighth of a busy worker's core is taken.
pub const PAUSE: u32 = 7;
/// What counts at most of work that can't be parted, such as a commit: nothing waits for seconds because of one.
const MOST: Duration = Duration::from_millis(2);
/// For how long workers count as busy after they were seen to make progress.
const BUSY: Duration = Duration::from_millis(20);

thread_local! {
    static PACE: RefCell<Option<Pace>> = const { RefCell::new(None) };
}

/// The pace of this thread.
struct Pace {
    /// A figure that grows as workers do something.
    progress: Box<dyn Fn() -> u64>,
    seen: u64,
    busy_until: Instant,
    /// When the piece began: by the clock, which is quickly read, and in CPU time of the thread.
    began: Instant,
    began_cpu: Duration,
    /// How long the next pause is, in pieces.
    pause: Box<dyn Fn() -> u32>,
}

/// Gives this thread a pace, until it ends. `progress` is a figure that grows as workers do something; `pause` says, before
/// each pause, how many pieces long it is: the thread has one part in `pause + 1` of a busy worker's core. (One batch may take
/// seconds, in which others come to wait.)
pub fn keep(progress: impl Fn() -> u64 + 'static, pause: impl Fn() -> u32 + 'static) {
    let (now, seen) = (Instant::now(), progress());
    let pace = Pace {
        progress: Box::new(progress),
        seen,
        busy_until: now,
        began: now,
        began_cpu: cpu_time(),
        pause: Box::new(pause),
    };
    PACE.set(Some(pace));
}

/// Pauses if this thread has done a piece, and workers are busy. Called between some microseconds of work.
#[inline]
pub fn step() {
    PACE.with_borrow_mut(|pace| pace.as_mut().map(Pace::step));
}

impl Pace {
    fn step(&mut self) {
        let now = Instant::now();
        if now - self.began < PIECE {
            return;
        }
        // What it waited for, the core above all, it has not worked.
        let worked = cpu_time().saturating_sub(self.began_cpu);
        if worked < PIECE {
            self.began = now.checked_sub(worked).unwrap_or(now);
            return;
        }
        match self.pause_after(worked, now, (self.progress)()) {
            Some(pause) => thread::sleep(pause),
            // A worker on this core that has become busy makes progress now, and is seen by it after the next piece.
            None => thread::yield_now(),
        }
        (self.began, self.began_cpu) = (Instant::now(), cpu_time());
    }

    /// How long to sleep after a piece; `None` while workers have nothing to do.
    fn pause_after(&mut self, worked: Duration, now: Instant, progress: u64) -> Option<Duration> {
        if progress != self.seen {
            (self.seen, self.busy_until) = (progress, now + BUSY);
        }
        (now < self.busy_until).then(|| worked.min(MOST) * (self.pause)())
    }
}

/// Of this thread, so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let parts = u64::try_from(time.tv_sec).ok().zip(u32::try_from(time.tv_nsec).ok());
    parts.map_or(Duration::ZERO, |(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_pauses_while_workers_make_progress_and_for_a_moment_after() {
        let start = Instant::now();
        let mut pace = Pace {
            progress: Box::new(|| 0),
            seen: 7,
            busy_until: start,
            began: start,
            began_cpu: Duration::ZERO,
            pause: Box::new(|| PAUSE),
        };
        let mut after = |ms, progress| pace.pause_after(PIECE, start + Duration::from_millis(ms), progress);
        assert_eq!(after(0, 7), None, "nobody waits");
        assert_eq!(after(1, 8), Some(7 * PIECE), "a worker has answered");
        assert_eq!(after(20, 8), Some(7 * PIECE), "and may be about to go on");
        assert_eq!(after(21, 8), None, "it has not");
        assert_eq!(
            pace.pause_after(Duration::from_secs(10), start + Duration::from_millis(22), 9),
            Some(7 * MOST),
            "however long it was"
        );
        pace.pause = Box::new(|| 1);
        assert_eq!(pace.pause_after(PIECE, start, 10), Some(PIECE), "one who is behind pauses less");
    }

    #[test]
    fn a_thread_without_a_pace_goes_on() {
        assert!(PACE.with_borrow(Option::is_none));
        step();
        assert!(PACE.with_borrow(Option::is_none));
    }
}
