//! What is counted while scans are answered.
//!
//! Owns the live figures of the edge. Each worker has counters of its own, written by
//! it alone and read by a scrape, so counting costs a store and never a cache line of
//! another core. Only the tallies by sign are written by all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use crate::core::Code;
use crate::core::scan::{Agent, Outcome, Scan};
use crate::registry::SignRef;

/// A figure with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more. Only the worker that owns the counter may call it.
    #[inline]
    pub fn add(&self) {
        self.add_many(1);
    }

    /// Several more, under the same rule.
    #[inline]
    pub fn add_many(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// One less, for what is open now.
    pub fn sub(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// The figure at this moment.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the histogram's buckets, in seconds. A redirect takes about 10 µs.
pub const SERVICE_BOUNDS: [f64; 16] =
    [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0];

/// How long answers took, with one writer.
#[derive(Debug, Default)]
pub struct ServiceTimes {
    /// By bucket; the last is for what is beyond all bounds.
    buckets: [Counter; SERVICE_BOUNDS.len() + 1],
    sum_ns: Counter,
}

impl ServiceTimes {
    /// `count` requests that took so long. Only the worker that owns it may call it.
    pub fn observe(&self, took: Duration, count: u32) {
        let seconds = took.as_secs_f64();
        let bucket = SERVICE_BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(SERVICE_BOUNDS.len());
        self.buckets[bucket].add_many(u64::from(count));
        self.sum_ns.add_many(took.as_nanos() as u64 * u64::from(count));
    }

    /// How many were in each bucket, and their sum in nanoseconds.
    pub fn get(&self) -> ([u64; SERVICE_BOUNDS.len() + 1], u64) {
        (std::array::from_fn(|bucket| self.buckets[bucket].get()), self.sum_ns.get())
    }
}

/// One worker's counters. Aligned so that no two workers write one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Redirects, HEAD included.
    pub found: Counter,
    /// `410`, HEAD included.
    pub retired: Counter,
    /// `404` for code-shaped text, HEAD included.
    pub unknown: Counter,
    /// Of the unknown, those beyond the rate that is recorded.
    pub unknown_unrecorded: Counter,
    /// HEAD of a code: answered, never recorded.
    pub head: Counter,
    /// `/CODE+`
    pub inspected: Counter,
    /// `/`, `/go` and the small fixed answers.
    pub page: Counter,
    /// `404` for anything else.
    pub other: Counter,
    /// `405`
    pub method_not_allowed: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub open: Counter,
    /// Connections that failed to be accepted.
    pub accept_errors: Counter,
    /// Connections closed because they were idle or slow for too long.
    pub timed_out: Counter,
    /// Connections that ended in an error, or in what is not HTTP.
    pub connection_errors: Counter,
    /// From a request's bytes read to its answer handed to the kernel.
    pub service: ServiceTimes,
}

/// Scans of one sign since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignTally {
    /// Headline figure: by a person, and no repeat.
    pub scans: u64,
    /// By a person, within the repeat window of another.
    pub repeats: u64,
    /// By a bot, or a browser that fetched ahead.
    pub bots: u64,
    /// Answered with `410`.
    pub retired: u64,
}

/// The live tallies by sign; they outlive generations of the registry.
///
/// A sign of a generation remembers the number of its tally after its first scan, so
/// counting touches one line of memory beside the sign's own row, and takes no lock. With a
/// map for each scan, its lock, table and entry were 0.2 µs of waiting for memory.
#[derive(Debug, Default)]
pub struct Tallies {
    numbers: DashMap<Code, u32, foldhash::fast::FixedState>,
    /// Number 1 is the first.
    live: boxcar::Vec<LiveTally>,
}

#[derive(Debug, Default)]
struct LiveTally {
    scans: AtomicU64,
    repeats: AtomicU64,
    bots: AtomicU64,
    retired: AtomicU64,
}

impl Tallies {
    /// Counts a scan of a sign.
    #[inline]
    pub fn count(&self, sign: SignRef<'_>, scan: &Scan) {
        let mut number = sign.tally().load(Ordering::Acquire);
        if number == 0 {
            number = self.number(scan.code);
            sign.tally().store(number, Ordering::Release);
        }
        let Some(tally) = self.live.get(number as usize - 1) else { return };
        let figure = match (scan.outcome, scan.client.agent, scan.repeat) {
            (Outcome::Retired, ..) => &tally.retired,
            (_, Agent::Person, false) => &tally.scans,
            (_, Agent::Person, true) => &tally.repeats,
            (_, Agent::Bot | Agent::Prefetch, _) => &tally.bots,
        };
        figure.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of a code's tally, which it has from its first scan to the end of the process.
    #[cold]
    fn number(&self, code: Code) -> u32 {
        *self.numbers.entry(code).or_insert_with(|| {
            let at = self.live.push(LiveTally::default());
            u32::try_from(at + 1).expect("signs are counted in 32 bits")
        })
    }

    /// Every sign that was scanned, and its figures.
    #[must_use]
    pub fn all(&self) -> Vec<(Code, SignTally)> {
        let read = |tally: &LiveTally| SignTally {
            scans: tally.scans.load(Ordering::Relaxed),
            repeats: tally.repeats.load(Ordering::Relaxed),
            bots: tally.bots.load(Ordering::Relaxed),
            retired: tally.retired.load(Ordering::Relaxed),
        };
        let tally = |number: u32| self.live.get(number as usize - 1).map(read).unwrap_or_default();
        self.numbers.iter().map(|entry| (*entry.key(), tally(*entry.value()))).collect()
    }
}

/// How many unknown codes are recorded: so many in each second of the clock.
#[derive(Debug)]
pub struct UnknownRate {
    most: u32,
    /// The second in the upper half, how many were allowed in it in the lower.
    state: AtomicU64,
}

impl UnknownRate {
    /// At most `most` a second, on this edge.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, state: AtomicU64::new(0) }
    }

    /// Whether one more may be recorded.
    pub fn allows(&self, now_ms: i64) -> bool {
        let second = (now_ms / 1000) as u64 & 0xffff_ffff;
        let next = |state: u64| {
            let used = if state >> 32 == second { state & 0xffff_ffff } else { 0 };
            (used < u64::from(self.most)).then_some(second << 32 | (used + 1))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::UnknownRate;

    #[test]
    fn unknown_codes_are_allowed_up_to_the_rate_of_each_second() {
        let rate = UnknownRate::new(2);
        assert_eq!(
            [0, 1, 2, 999, 1000, 1001, 1002].map(|ms| rate.allows(ms)),
            [true, true, false, false, true, true, false]
        );
        assert!(!UnknownRate::new(0).allows(5000));
    }
}
