//! Live counts of scans for each sign, since the start of the process.
//!
//! Owns the counts; they outlive generations of the registry. A sign of a generation remembers the
//! number of its tally after its first scan, so counting touches one line of memory beside the sign's
//! own row, and takes no lock. With a map for each scan, its lock, table and entry were 0.2 µs of
//! waiting for memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::core::scan::{Agent, Outcome, Scan};
use crate::core::{Code, lock};
use crate::registry::SignRef;
use crate::system::memory;

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

/// The tallies of all signs. They never move, and where a number's is can be said without looking at it.
#[derive(Debug, Default)]
pub struct Tallies {
    numbers: DashMap<Code, u32, foldhash::fast::FixedState>,
    /// How many numbers have been given; 1 is the first.
    given: Mutex<u32>,
    chunks: boxcar::Vec<Box<[LiveTally]>>,
}

/// Tallies that are made at once, when the first of them is needed: 32 KiB, which takes 2 µs.
const CHUNK: usize = 1024;

/// Two lie in a line of memory, and none in two.
#[derive(Debug, Default)]
#[repr(align(32))]
struct LiveTally {
    scans: AtomicU64,
    repeats: AtomicU64,
    bots: AtomicU64,
    retired: AtomicU64,
}

impl Tallies {
    /// The tally of a sign.
    #[inline]
    fn of(&self, sign: SignRef<'_>) -> Option<&LiveTally> {
        let mut number = sign.tally().load(Ordering::Acquire);
        if number == 0 {
            number = self.number(sign.code());
            sign.tally().store(number, Ordering::Release);
        }
        self.live(number)
    }

    /// Counts a scan of a sign.
    #[inline]
    pub fn count(&self, sign: SignRef<'_>, scan: &Scan) {
        let Some(tally) = self.of(sign) else { return };
        let figure = match (scan.outcome, scan.client.agent, scan.repeat) {
            (Outcome::Retired, ..) => &tally.retired,
            (_, Agent::Person, false) => &tally.scans,
            (_, Agent::Person, true) => &tally.repeats,
            (_, Agent::Bot | Agent::Prefetch, _) => &tally.bots,
        };
        figure.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the tally of a sign fetched, which counts soon.
    #[inline]
    pub fn prefetch(&self, sign: SignRef<'_>) {
        let number = sign.tally().load(Ordering::Acquire);
        if number > 0
            && let Some(tally) = self.live(number)
        {
            memory::prefetch(tally);
        }
    }

    /// The number of a code's tally, which it has from its first scan to the end of the process.
    #[cold]
    fn number(&self, code: Code) -> u32 {
        *self.numbers.entry(code).or_insert_with(|| {
            let mut given = lock(&self.given);
            if *given as usize == self.chunks.count() * CHUNK {
                self.chunks.push((0..CHUNK).map(|_| LiveTally::default()).collect());
            }
            *given = given.checked_add(1).expect("signs are counted in 32 bits");
            *given
        })
    }

    /// The tally with a number that has been given.
    #[inline]
    fn live(&self, number: u32) -> Option<&LiveTally> {
        let at = number as usize - 1;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
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
        let tally = |number: u32| self.live(number).map(read).unwrap_or_default();
        self.numbers.iter().map(|entry| (*entry.key(), tally(*entry.value()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn each_code_has_a_tally_of_its_own_whichever_worker_meets_it_first() {
        let (tallies, codes) = (Tallies::default(), 5 * CHUNK / 2);
        let code = |n: usize| format!("A{n}").parse().expect("a code");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..codes {
                        let number = tallies.number(code(n));
                        tallies.live(number).expect("it is there").scans.fetch_add(n as u64, Ordering::Relaxed);
                    }
                });
            }
        });
        let all = tallies.all();
        assert_eq!(all.len(), codes);
        for (counted, tally) in all {
            let n: u64 = counted.text()[1..].parse().expect("a number");
            assert_eq!(tally.scans, 4 * n, "{counted}");
        }
    }
}
