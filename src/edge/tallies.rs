//! Live counts of scans for each sign, since the start of the process.
//!
//! Owns the counts; they outlive generations of the registry. A sign of a generation remembers the
//! number of its tally after its first scan, so counting touches one line of memory beside the sign's
//! own row, and takes no lock. With a map for each scan, its lock, table and entry were 0.2 µs of
//! waiting for memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;

use crate::core::Code;
use crate::core::scan::{Agent, Outcome, Scan};
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

/// The tallies of all signs. They never move: each table is twice as long as the one before, so that where a number's is can
/// be said without looking at it.
#[derive(Debug, Default)]
pub struct Tallies {
    numbers: DashMap<Code, u32, foldhash::fast::FixedState>,
    /// How many numbers have been given.
    given: AtomicU32,
    tables: [OnceLock<Box<[LiveTally]>>; TABLES],
}

/// Tallies in the first table.
const FIRST: u32 = 1 << 10;
/// Tables for all numbers of 32 bits, and more signs than any registry has.
const TABLES: usize = 22;

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
            let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
            let (table, _) = place(number);
            self.tables[table].get_or_init(|| (0..FIRST << table).map(|_| LiveTally::default()).collect());
            number
        })
    }

    /// The tally with a number that has been given.
    #[inline]
    fn live(&self, number: u32) -> Option<&LiveTally> {
        let (table, at) = place(number);
        self.tables[table].get()?.get(at)
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

/// Where the tally with a number is: its table, and its place there.
#[inline]
fn place(number: u32) -> (usize, usize) {
    // The first number is 1, and a table begins at a power of two.
    let at = number - 1 + FIRST;
    let table = at.ilog2() - FIRST.ilog2();
    (table as usize, (at - (FIRST << table)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for number in 1..5 * FIRST {
            assert_eq!(place(number), next, "{number}");
            next.1 += 1;
            if next.1 == (FIRST as usize) << next.0 {
                next = (next.0 + 1, 0);
            }
        }
        assert_eq!(place(u32::MAX - FIRST).0, TABLES - 1);
    }
}
